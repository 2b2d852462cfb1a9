"""Whatever secrets requests carry, none gets into the log, at its most talkative."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from caveau.server import log_levels
from caveau.server.log_levels import TRACE
from caveau.tests.server.overhttp import serving

SECRETS = ("planted-value", "planted-password", "planted-query", "planted-broken", "planted-header")


@pytest.fixture
def lines(caplog):
    """Everything that is logged, as the log would have it."""
    before = log_levels.of_server()
    log_levels.set_server(TRACE)
    caplog.set_level(1)
    yield lambda: "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    log_levels.set_server(before)
    logging.getLogger("caveau").setLevel(logging.NOTSET)


async def test_no_secret_of_a_request_is_logged(server, lines):
    server.core.config = replace(server.core.config, log_requests_level="trace")
    async with serving(server) as client:
        await client.ask("POST", "/v1/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        await client.ask("POST", "/v1/kv/data/a", {"data": {"x": "planted-value"}})
        await client.ask("POST", "/v1/sys/auth/userpass", {"type": "userpass"})
        await client.ask("POST", "/v1/auth/userpass/users/u", {"password": "planted-password"})
        login = await client.ask("POST", "/v1/auth/userpass/login/u", {"password": "planted-password"}, token="")
        await client.ask("POST", "/v1/auth/userpass/login/u", {"password": "planted-password-wrong"}, token="")
        await client.ask("GET", "/v1/kv/data/a?version=planted-query")
        await client.ask("POST", "/v1/kv/data/a", b'{"planted-broken": ')
        await client.ask("GET", "/v1/kv/data/a", token="hvs.planted-header")
        await client.ask("POST", "/v1/sys/unseal", {"key": "planted-value"})
        wrapped = await client.ask("GET", "/v1/kv/data/a", x_vault_wrap_ttl="60")
        await client.ask("POST", "/v1/sys/wrapping/unwrap", token=wrapped.json["wrap_info"]["token"])
        answers = [login.json["auth"]["client_token"], wrapped.json["wrap_info"]["token"], server.root, *server.keys]
    await server.seal()
    text = lines()
    assert "completed_request" in text
    assert text.count("request_id") >= 12
    for secret in (*SECRETS, *answers):
        assert secret not in text, secret
