"""What one listener is told to refuse, bound, put on its answers and log, over real connections."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

import pytest
from caveau.framework.jsontext import dumps
from caveau.framework.storage import Batch
from caveau.server.logs import StandardFormat
from caveau.storage.inmem import InmemStore
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import Client, serving


def nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


async def test_json_over_a_limit_is_refused_by_its_name(server):
    async with serving(server, max_json_object_entry_count=2, max_request_json_strings=20) as http:
        assert (await http.ask("POST", "/v1/kv-v1/a", {"a": 1, "b": 2})).status == 204
        refused = await http.ask("POST", "/v1/kv-v1/a", {"a": 1, "b": 2, "c": 3})
        assert refused.status == 400
        assert refused.errors == [
            "refused JSON input due to high complexity: an object of 3 entries; max_json_object_entry_count is 2"
        ]
        refused = await http.ask("POST", "/v1/kv-v1/a", {"a": ["x"] * 20})
        assert (refused.status, "max_request_json_strings is 20" in refused.errors[0]) == (400, True)


async def test_json_as_deep_as_is_accepted_comes_back_whole(server):
    async with serving(server) as http:
        deepest = nested(499)
        assert (await http.ask("POST", "/v1/kv-v1/a", dumps({"a": deepest}))).status == 204
        assert (await http.ask("GET", "/v1/kv-v1/a")).json["data"] == {"a": deepest}
        data = nested(499)  # one level more is the body itself
        assert (await http.ask("POST", "/v1/kv-v2/data/a", dumps({"data": data}))).status == 200
        assert (await http.ask("GET", "/v1/kv-v2/data/a")).json["data"]["data"] == data
        assert (await http.ask("GET", "/v1/kv-v2/subkeys/a")).status == 200
        patch = {"content_type": "application/merge-patch+json"}
        assert (await http.ask("PATCH", "/v1/kv-v2/data/a", dumps({"data": data}), **patch)).status == 200
        wrapped = await http.ask("GET", "/v1/kv-v2/data/a", x_vault_wrap_ttl="60")
        token = wrapped.json["wrap_info"]["token"]
        assert (await http.ask("POST", "/v1/sys/wrapping/unwrap", token=token)).json["data"]["data"] == data
        refused = await http.ask("POST", "/v1/kv-v1/a", dumps({"a": nested(500)}))
        assert (refused.status, "max_json_depth is 500" in refused.errors[0]) == (400, True)


async def test_a_listener_may_insist_on_the_header_that_browsers_do_not_send(server):
    async with serving(server, require_request_header=True) as http:
        for given in (None, "True", "false"):
            refused = await http.ask("GET", "/v1/sys/health", x_vault_request=given)
            assert (refused.status, refused.errors) == (412, ['missing "X-Vault-Request" header'])
        assert (await http.ask("GET", "/v1/sys/health", x_vault_request="true")).status == 200


async def test_a_listener_for_metrics_serves_nothing_else(server):
    async with serving(server, role="metrics_only") as http:
        assert (await http.ask("GET", "/v1/sys/health")).status == 200
        for path in ("/v1/kv-v1/a", "/v1/sys/seal-status", "/v1/sys/mounts", "/v1/auth/token/lookup-self"):
            assert (await http.ask("GET", path)).status == 404
        assert (await http.ask("POST", "/v1/sys/unseal", {"key": "x"})).status == 404


class HeldStore(InmemStore):
    """Commits land once ``released`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.released.set()

    def commit(self, batch: Batch) -> Awaitable[None]:
        done = super().commit(batch)

        async def later() -> None:
            await self.released.wait()
            await done

        return later()


async def status(http: Client, wanted: int, verb: str, path: str, body: object = None) -> None:
    """Ask until the answer has the status."""
    async with asyncio.timeout(5):
        while (await http.ask(verb, path, body)).status != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


TOO_LONG = "the request took longer than max_request_duration, 0.05 seconds, and was stopped"


@pytest.fixture
async def held() -> AsyncIterator[tuple[Server, HeldStore]]:
    store = HeldStore()
    server = await Server(store).start(("kv-v1",))
    yield server, store
    store.released.set()
    await server.core.stop()


async def test_a_request_that_takes_too_long_is_stopped_and_answered(server, monkeypatch):
    stopped = []

    async def endless(incoming):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(incoming.path)
            raise

    async with serving(server, max_request_duration=0.05) as http:
        with monkeypatch.context() as patch:
            patch.setattr(server.core, "handle", endless)
            answer = await http.ask("GET", "/v1/kv-v1/a")
        assert (answer.status, answer.headers["connection"], stopped) == (503, "close", ["kv-v1/a"])
        assert answer.errors[0].startswith(TOO_LONG)
        assert (await http.ask("GET", "/v1/sys/health")).status == 200


async def test_quick_requests_are_not_added_up(server):
    async with serving(server, max_request_duration=0.2) as http:
        async with asyncio.timeout(10):
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < began + 0.6:
                assert (await http.ask("GET", "/v1/sys/health")).status == 200


async def test_what_was_given_to_the_store_is_kept(held):
    server, store = held
    async with serving(server, max_request_duration=0.05) as http:
        store.released.clear()
        answer = await http.ask("POST", "/v1/kv-v1/a", {"b": "c"})
        assert answer.errors[0].startswith(TOO_LONG)
        store.released.set()
    async with serving(server) as http:
        assert (await http.ask("GET", "/v1/kv-v1/a")).json["data"] == {"b": "c"}


async def test_a_mount_is_made_or_unmade_whole_though_the_answer_says_that_it_took_too_long(held):
    server, store = held
    async with serving(server, max_request_duration=0.05) as http, serving(server) as patient:
        for body, verb, shown in (({"type": "kv"}, "POST", 200), (None, "DELETE", 400)):
            store.released.clear()
            answer = await http.ask(verb, "/v1/sys/mounts/new", body)
            assert answer.errors[0].startswith(TOO_LONG)
            store.released.set()
            await status(patient, shown, "GET", "/v1/sys/mounts/new")
        await status(patient, 204, "POST", "/v1/sys/mounts/new", {"type": "kv"})  # the path is free: it was purged


async def test_sealing_goes_on_to_its_end(held, monkeypatch):
    server, _ = held
    begun, go_on, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    close = server.node.close

    async def slow_close():
        begun.set()
        await go_on.wait()
        await close()
        closed.set()

    monkeypatch.setattr(server.node, "close", slow_close)
    async with serving(server, max_request_duration=0.05) as http:
        answer = await http.ask("POST", "/v1/sys/seal")
        assert answer.errors[0].startswith(TOO_LONG)
        assert begun.is_set()
        go_on.set()
        async with asyncio.timeout(5):
            await closed.wait()
        await status(http, 503, "GET", "/v1/sys/health")
        await server.unseal()
        assert (await http.ask("GET", "/v1/kv-v1/none")).status == 404


async def test_every_answer_can_name_the_host(server):
    server.core.config = replace(server.core.config, enable_response_header_hostname=True)
    async with serving(server) as http:
        for path in ("/v1/sys/health", "/v1/kv-v1/none", "/none", "/v1//sys/health"):
            assert (await http.ask("GET", path)).headers["x-vault-hostname"] == socket.gethostname()
    server.core.config = replace(server.core.config, enable_response_header_hostname=False)
    async with serving(server) as http:
        assert "x-vault-hostname" not in (await http.ask("GET", "/v1/sys/health")).headers


async def test_completed_requests_can_be_logged(server, caplog):
    server.core.config = replace(server.core.config, log_requests_level="info")
    caplog.set_level("INFO", "caveau.server.access")
    async with serving(server) as http:
        answer = await http.ask("LIST", "/v1/kv-v1/a?after=hunter", token=server.root)
        await http.ask("POST", "/v1/kv-v1/b", {"password": "hunter"})
        await http.ask("GET", f"/v1/auth/token/lookup/{server.root}")
        caplog.set_level("WARNING", "caveau.server.access")
        await http.ask("GET", "/v1/kv-v1/unseen")
    lines = [StandardFormat().format(record) for record in caplog.records if record.name == "caveau.server.access"]
    assert len(lines) == 3
    assert re.search(
        r"\[INFO\]  access: completed_request: request_id=[0-9a-f-]{36} request_method=LIST request_path=/v1/kv-v1/a "
        rf"status_code={answer.status} duration=[0-9.]+ms client_address=127\.0\.0\.1$",
        lines[0],
    )
    assert not [line for line in lines if "hunter" in line or server.root in line]


async def test_the_logged_id_is_the_one_in_the_answer(server, caplog):
    server.core.config = replace(server.core.config, log_requests_level="info")
    caplog.set_level("INFO", "caveau.server.access")
    async with serving(server) as http:
        answer = await http.ask("GET", "/v1/sys/mounts")
    assert caplog.records[-1].values["request_id"] == answer.json["request_id"]


async def test_requests_are_not_logged_unless_asked_for(server, caplog):
    caplog.set_level(1, "caveau.server.access")
    async with serving(server) as http:
        await http.ask("GET", "/v1/sys/mounts")
    assert not [record for record in caplog.records if record.name == "caveau.server.access"]
