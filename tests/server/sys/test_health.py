"""What load balancers ask: the status code says how the server stands, and can be chosen."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, PermissionDenied, Sealed
from caveau.tests.server.harness import Server

CODES = {"activecode": "210", "standbycode": "211", "sealedcode": "212", "uninitcode": "213"}


async def health(server: Server, **query: str):
    answer = await server.call("read", "sys/health", query, "")
    return answer.status, answer.data


async def test_uninitialised_sealed_active(server):
    fresh = Server()
    status, body = await health(fresh)
    assert (status, body["initialized"], body["sealed"]) == (501, False, True)
    assert (await health(fresh, **CODES))[0] == 213
    status, body = await health(server)
    assert (status, body["initialized"], body["sealed"], body["standby"]) == (200, True, False, False)
    assert body["cluster_name"]
    assert body["cluster_id"]
    assert body["server_time_utc"] == int(server.clock.time())
    assert (await health(server, **CODES))[0] == 210
    await server.seal()
    status, body = await health(server)
    assert (status, body["initialized"], body["sealed"]) == (503, True, True)
    assert "cluster_id" not in body
    assert (await health(server, **CODES))[0] == 212


@pytest.mark.parametrize("code", ["0", "99", "199", "600", "-1", "x", "²", "200.5"])
async def test_codes_that_http_does_not_have(server, code):
    with pytest.raises(InvalidRequest):
        await health(server, activecode=code)


async def test_flags_are_flags(server):
    assert (await health(server, standbyok="true", perfstandbyok="1"))[0] == 200
    with pytest.raises(InvalidRequest):
        await health(server, standbyok="maybe")


async def test_a_sealed_server_answers_what_opens_it_and_nothing_else(server):
    await server.seal()
    for path in ("sys/health", "sys/seal-status", "sys/init", "sys/leader", "sys/rekey/init"):
        try:
            await server.call("read", path, token="")
        except Sealed:
            assert path == "sys/rekey/init"
    for op, path in (
        ("read", "sys/mounts"), ("read", "kv-v1/a"), ("read", "auth/token/lookup-self"), ("read", "none"),
        ("update", "sys/wrapping/unwrap"), ("read", "sys/internal/ui/mounts"), ("read", "sys/internal/specs/openapi"),
        ("help", "sys/mounts"),
    ):  # fmt: skip
        with pytest.raises(Sealed, match="Vault is sealed"):
            await server.call(op, path)


async def test_sealing_takes_a_token_with_sudo(server):
    await server.policy("p", 'path "sys/seal" { capabilities = ["update"] }')
    for token in ("", await server.token(["p"])):
        with pytest.raises(Exception, match="permission denied"):
            await server.call("update", "sys/seal", token=token)
    await server.call("update", "sys/seal")
    assert server.core.sealed


async def test_the_one_node_is_listed_and_active(server):
    (node,) = (await server.call("read", "sys/ha-status")).data["nodes"]
    assert node["active_node"]
    assert node["hostname"]
    with pytest.raises(PermissionDenied):
        await server.call("read", "sys/ha-status", token="")
