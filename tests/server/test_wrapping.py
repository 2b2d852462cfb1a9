from __future__ import annotations

import pytest
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
