"""What user interfaces and generators are told: the mounts one may see, and an OpenAPI document."""

from __future__ import annotations

import re

import pytest
from caveau.framework.errors import PermissionDenied

UI = "sys/internal/ui/mounts"


async def seen(server, token: str | None) -> set[str]:
    data = (await server.call("read", UI, token=token)).data
    return {*data["secret"], *(f"auth/{path}" for path in data["auth"])}


async def test_who_sees_which_mounts(server):
    await server.policy("p", 'path "kv-v1/deep/*" { capabilities = ["read"] }')
    token = await server.token(["p"], no_default_policy=True)
    assert await seen(server, "") == set()
    assert await seen(server, None) == {"auth/token/", "cubbyhole/", "identity/", "kv-v1/", "kv-v2/", "sys/"}
    assert await seen(server, token) == {"kv-v1/"}
    await server.call("update", "sys/mounts/kv-v2/tune", {"listing_visibility": "unauth"})
    assert await seen(server, "") == {"kv-v2/"}
    assert await seen(server, token) == {"kv-v1/", "kv-v2/"}
    with pytest.raises(PermissionDenied):
        await seen(server, "none")


async def test_without_a_token_little_is_told_of_a_visible_mount(server):
    await server.call("update", "sys/mounts/kv-v2/tune", {"listing_visibility": "unauth"})
    data = (await server.call("read", UI, token="")).data
    assert data["secret"]["kv-v2/"].keys() == {"description", "options", "type"}
    assert "accessor" in (await server.call("read", UI)).data["secret"]["kv-v2/"]


async def test_which_mount_serves_a_path(server):
    found = (await server.call("read", f"{UI}/kv-v2/some/secret")).data
    assert (found["path"], found["type"], found["options"]) == ("kv-v2/", "kv", {"version": "2"})
    weak = await server.token(["default"])
    for path, token in (("kv-v2", weak), ("none", weak), ("none", None), ("kv-v2", "")):
        with pytest.raises(PermissionDenied):
            await server.call("read", f"{UI}/{path}", token=token)


async def test_resultant_acl(server):
    await server.policy("p", 'path "a" { capabilities = ["read"] }\npath "b/*" { capabilities = ["list"] }')
    token = await server.token(["p"])  # the default policy lets it ask
    shown = (await server.call("read", "sys/internal/ui/resultant-acl", token=token)).data
    assert shown["exact_paths"]["a"]["capabilities"] == ["read"]
    assert shown["glob_paths"]["b/"]["capabilities"] == ["list"]
    assert shown["root"] is False
    assert (await server.call("read", "sys/internal/ui/resultant-acl")).data["root"] is True


@pytest.mark.parametrize("generic", [False, True])
async def test_the_openapi_document_is_whole(server, generic):
    """What generators stumble over: ids used twice, parameters of the path that nothing declares (OpenAPI 3.0.2)."""
    document = (await server.call("read", "sys/internal/specs/openapi", {"generic_mount_paths": generic})).data
    assert document["openapi"].startswith("3.0.")
    assert ("/{kv_mount_path}/data/{path}" if generic else "/kv-v2/data/{path}") in document["paths"]
    ids = []
    for path, item in document["paths"].items():
        assert path.startswith("/")
        declared = [each["name"] for each in item.get("parameters", []) if each["in"] == "path"]
        assert sorted(declared) == sorted(re.findall(r"\{(\w+)\}", path)), path
        for verb in item.keys() & {"get", "post", "patch", "delete"}:
            ids.append(item[verb]["operationId"])
            assert item[verb]["responses"]
            names = [(each["name"], each["in"]) for each in item[verb].get("parameters", [])]
            assert len(names) == len(set(names)), path
    assert len(ids) == len(set(ids))


async def test_the_openapi_document_shows_what_the_caller_reaches(server):
    async def paths(token: str) -> set[str]:
        document = (await server.call("read", "sys/internal/specs/openapi", token=token)).data
        return {path.split("/")[1] for path in document["paths"]}

    await server.policy("p", 'path "kv-v1/*" { capabilities = ["read"] }')
    assert await paths("") == {"sys"}
    assert await paths(await server.token(["p"], no_default_policy=True)) == {"sys", "kv-v1"}
    with pytest.raises(PermissionDenied):
        await paths("none")
