"""Response wrapping: one pick-up, by whoever holds the token, within its time."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from caveau.framework.errors import CaveauError, InvalidRequest, PermissionDenied
from caveau.tests.server.harness import Server, SlowStore

SECRET = {"user": "u", "password": "p"}


async def wrapped(server: Server, ttl: float = 60, **data: Any):
    answer = await server.call("update", "sys/wrapping/wrap", data or SECRET, wrap_ttl=ttl)
    return answer.wrap_info


async def unwrap(server: Server, token: str) -> dict[str, Any]:
    """As a receiver who has nothing but the wrapping token."""
    return (await server.call("update", "sys/wrapping/unwrap", token=token)).data


async def test_an_answer_is_picked_up_once(server):
    info = await wrapped(server)
    assert info.token.startswith("hvs.")
    assert (info.ttl, info.creation_path) == (60, "sys/wrapping/wrap")
    answer = await unwrap(server, info.token)
    assert answer["data"] == SECRET
    assert answer["request_id"] != info.token
    with pytest.raises(CaveauError):
        await unwrap(server, info.token)
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/wrapping/unwrap", {"token": info.token})


async def test_another_token_can_pick_up(server):
    info = await wrapped(server)
    holder = await server.token(["default"])
    answer = await server.call("update", "sys/wrapping/unwrap", {"token": info.token}, holder)
    assert answer.data["data"] == SECRET
    with pytest.raises(InvalidRequest, match="wrapping token is not valid or does not exist"):
        await server.call("update", "sys/wrapping/unwrap", {"token": info.token}, holder)


async def test_of_many_who_hurry_one_gets_it():
    server = await Server(SlowStore()).start()
    info = await wrapped(server)
    done = await asyncio.gather(*(unwrap(server, info.token) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, dict) for each in done) == 1
    await server.core.stop()


async def test_nothing_of_it_is_left(server):
    before = set(await server.keys_stored("namespaces/"))
    info = await wrapped(server)
    assert info.token.encode() not in b"".join((await server.plain()).values())
    await unwrap(server, info.token)
    assert set(await server.keys_stored("namespaces/")) == before


async def test_any_answer_can_be_wrapped_and_says_how_it_came_to_be(server):
    await server.call("update", "kv-v2/data/a", {"data": SECRET})
    info = (await server.call("read", "kv-v2/data/a", wrap_ttl=60.0)).wrap_info
    assert info.creation_path == "kv-v2/data/a"
    answer = await unwrap(server, info.token)
    assert answer["data"]["data"] == SECRET
    made = (await server.call("update", "auth/token/create", {"policies": ["default"]}, wrap_ttl=60.0)).wrap_info
    token = (await unwrap(server, made.token))["auth"]
    assert made.wrapped_accessor == token["accessor"]
    assert await server.alive(token["client_token"])


async def test_what_has_no_content_or_no_envelope_is_not_wrapped(server):
    assert (await server.call("update", "kv-v1/a", {"x": 1}, wrap_ttl=60.0)).wrap_info is None
    assert (await server.call("read", "sys/health", wrap_ttl=60.0)).wrap_info is None


async def test_looking_does_not_use_it_up(server):
    info = await wrapped(server, 90)
    for token in ("", server.root):
        for _ in range(2):
            shown = (await server.call("update", "sys/wrapping/lookup", {"token": info.token}, token)).data
            assert shown["creation_path"] == "sys/wrapping/wrap"
            assert shown["creation_ttl"] == 90
            assert shown["creation_time"].endswith("Z")
    assert (await unwrap(server, info.token))["data"] == SECRET
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/wrapping/lookup", {"token": info.token})


async def test_its_time_ends(server):
    info = await wrapped(server, 60)
    server.clock.advance(61)
    for data, token in (({}, info.token), ({"token": info.token}, None)):
        with pytest.raises(CaveauError):
            await server.call("update", "sys/wrapping/unwrap", data, token)
    before = len(await server.keys_stored("namespaces/"))
    await server.reap()
    assert len(await server.keys_stored("namespaces/")) < before


async def test_rewrapping_gives_a_new_token_and_the_time_again(server):
    info = await wrapped(server, 60)
    server.clock.advance(50)
    fresh = (await server.call("update", "sys/wrapping/rewrap", {"token": info.token})).wrap_info
    assert fresh.token != info.token
    assert (fresh.ttl, fresh.creation_path) == (60, "sys/wrapping/wrap")
    with pytest.raises(CaveauError):
        await unwrap(server, info.token)
    server.clock.advance(50)
    assert (await unwrap(server, fresh.token))["data"] == SECRET


@pytest.mark.parametrize(
    ("op", "path"),
    [
        ("read", "auth/token/lookup-self"),
        ("read", "kv-v1/a"),
        ("update", "auth/token/create"),
        ("update", "sys/capabilities-self"),
        ("update", "sys/wrapping/wrap"),
    ],
)
async def test_a_wrapping_token_does_nothing_else_and_is_spent_by_trying(server, op, path):
    info = await wrapped(server)
    with pytest.raises(PermissionDenied):
        await server.call(op, path, {"paths": ["a"]}, info.token)
    with pytest.raises(CaveauError):
        await unwrap(server, info.token)


async def test_tokens_that_wrap_nothing(server):
    plain = await server.token(["default"])
    for path in ("sys/wrapping/unwrap", "sys/wrapping/rewrap", "sys/wrapping/lookup"):
        for token in (plain, "none", server.root):
            with pytest.raises(InvalidRequest, match="wrapping token is not valid or does not exist"):
                await server.call("update", path, {"token": token})
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/wrapping/unwrap", token=plain)
    with pytest.raises(PermissionDenied):
        await server.call("update", "sys/wrapping/unwrap", token="")
    assert await server.alive(plain)


async def test_wrapping_has_to_be_asked_for(server):
    with pytest.raises(InvalidRequest, match="requires response wrapping"):
        await server.call("update", "sys/wrapping/wrap", SECRET)


async def test_the_lifetime_is_capped(server):
    maximum = 768 * 3600
    assert (await wrapped(server, maximum * 10)).ttl == maximum
    await server.call("update", "sys/auth/token/tune", {"max_lease_ttl": "1h"})
    assert (await wrapped(server, 7200)).ttl == 3600


async def test_policies_bound_the_lifetime(server):
    await server.call("update", "kv-v1/a", {"x": "1"})
    await server.policy(
        "p", 'path "kv-v1/a" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "1h" }'
    )
    token = await server.token(["p"])
    assert (await server.call("read", "kv-v1/a", token=token, wrap_ttl=120.0)).wrap_info.ttl == 120
    for ttl in (None, 0.0, 30.0, 7200.0):
        with pytest.raises(PermissionDenied):
            await server.call("read", "kv-v1/a", token=token, wrap_ttl=ttl)


async def test_exact_numbers_and_any_text_survive(server):
    odd = {"n": 12345678901234567890123, "f": 0.1, "t": "\u0000é\U0001f600", "deep": {"a": [None, True]}}
    info = await wrapped(server, **odd)
    answer = await unwrap(server, info.token)
    assert answer["data"] == odd
    assert orjson.dumps(answer["warnings"]) == b"null"
