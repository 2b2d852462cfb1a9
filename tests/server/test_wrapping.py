from __future__ import annotations

import pytest
from caveau.framework import jsontext
from caveau.framework.errors import InvalidRequest, PermissionDenied

PICK_UPS = ("sys/wrapping/unwrap", "sys/wrapping/rewrap")


async def wrapped(server) -> str:
    return (await server.call("read", "sys/mounts", wrap_ttl=60.0)).wrap_info.token


@pytest.mark.parametrize("at", PICK_UPS)
async def test_a_spent_token_is_told_whoever_asks(server, at):
    token = await wrapped(server)
    await server.call("update", "sys/wrapping/unwrap", {}, token)
    for data, by in (({}, token), ({"token": token}, token), ({"token": token}, ""), ({"token": token}, None)):
        with pytest.raises(InvalidRequest, match="wrapping token is not valid or does not exist"):
            await server.call("update", at, data, by)


@pytest.mark.parametrize("at", PICK_UPS)
async def test_who_names_no_token_is_told_so(server, at):
    with pytest.raises(PermissionDenied, match="token is empty"):
        await server.call("update", at, {}, "")


@pytest.mark.parametrize("at", PICK_UPS)
async def test_a_stranger_picks_nothing_up(server, at):
    token = await wrapped(server)
    for by in ("", "hvs.nonsense"):
        with pytest.raises(PermissionDenied):
            await server.call("update", at, {"token": token}, by)
    assert (await server.call("update", "sys/wrapping/unwrap", {"token": token})).data["data"]


@pytest.mark.parametrize("at", [*PICK_UPS, "sys/wrapping/lookup"])
@pytest.mark.parametrize("token", ["", 5, ["a"]])
async def test_what_is_no_token_is_refused_before_the_caller_is_looked_at(server, at, token):
    for by in ("", None):
        with pytest.raises(PermissionDenied, match="token in request body"):
            await server.call("update", at, {"token": token}, by)


async def test_what_is_picked_up_can_be_wrapped_again(server):
    token = await wrapped(server)
    by_name = await server.call("update", "sys/wrapping/unwrap", {"token": token}, wrap_ttl=30.0)
    assert by_name.data is None
    assert (by_name.wrap_info.ttl, by_name.wrap_info.creation_path) == (30, "sys/wrapping/unwrap")
    by_itself = await server.call("update", "sys/wrapping/unwrap", {}, by_name.wrap_info.token, wrap_ttl=20.0)
    assert "sys/" in (await server.call("update", "sys/wrapping/unwrap", {}, by_itself.wrap_info.token)).data["data"]
    for spent in (token, by_name.wrap_info.token):
        with pytest.raises(InvalidRequest):
            await server.call("update", "sys/wrapping/unwrap", {"token": spent})


async def test_an_exchange_is_not_wrapped_itself(server):
    fresh = await server.call("update", "sys/wrapping/rewrap", {"token": await wrapped(server)}, wrap_ttl=30.0)
    assert (fresh.wrap_info.ttl, fresh.wrap_info.creation_path) == (60, "sys/mounts")
    assert "sys/" in (await server.call("update", "sys/wrapping/unwrap", {}, fresh.wrap_info.token)).data["data"]


async def test_the_old_way_to_pick_up_gives_the_answer_and_no_more(server):
    answer = await server.call("read", "cubbyhole/response", token=await wrapped(server))
    assert list(jsontext.loads(jsontext.dumps(answer.data))) == ["response"]
    assert "sys/wrapping/unwrap" in answer.warnings[0]
    await server.call("update", "cubbyhole/response", {"a": "b"})
    assert not (await server.call("read", "cubbyhole/response")).warnings
