"""ACL and password policies through the API."""

from __future__ import annotations

import base64

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied

READ = 'path "kv-v1/a" { capabilities = ["read"] }'


async def test_a_policy_s_life(server):
    text = f"# as written\n{READ}"
    assert (await server.call("update", "sys/policies/acl/Mixed", {"policy": text})).data is None
    assert (await server.call("read", "sys/policies/acl/mixed")).data == {"name": "mixed", "policy": text}
    assert (await server.call("read", "sys/policy/MIXED")).data == {"name": "mixed", "rules": text}
    assert (await server.call("list", "sys/policies/acl")).data == {"keys": ["default", "mixed", "root"]}
    assert (await server.call("read", "sys/policy")).data["policies"] == ["default", "mixed", "root"]
    await server.call("delete", "sys/policies/acl/mixed")
    with pytest.raises(NotFound):
        await server.call("read", "sys/policies/acl/mixed")
    await server.call("delete", "sys/policies/acl/mixed")


async def test_names_with_slashes_and_per_cent_signs(server):
    names = ["team", "team/a", "team/b/c", "te%2Fam", "50%"]
    for name in names:
        await server.call("update", f"sys/policies/acl/{name}", {"policy": READ})
    for name in names:
        assert (await server.call("read", f"sys/policies/acl/{name}")).data["name"] == name.lower()
    assert (await server.call("list", "sys/policies/acl/team")).data["keys"] == ["team/a", "team/b/c"]
    assert (await server.call("list", "sys/policy/team/b")).data["keys"] == ["team/b/c"]
    with pytest.raises(NotFound):
        await server.call("list", "sys/policies/acl/none")
    listed = (await server.call("list", "sys/policies/acl")).data["keys"]
    assert sorted(listed) == sorted([*(name.lower() for name in names), "default", "root"])
    await server.call("update", "kv-v1/a", {"x": "1"})
    assert (await server.call("read", "kv-v1/a", token=await server.token(["team/a"]))).data


async def test_a_change_counts_for_tokens_that_exist(server):
    await server.call("update", "kv-v1/a", {"x": "1"})
    await server.policy("p", READ)
    token = await server.token(["p"])
    await server.call("read", "kv-v1/a", token=token)
    await server.policy("p", 'path "kv-v1/b" { capabilities = ["read"] }')
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/a", token=token)
    await server.policy("p", READ)
    await server.call("read", "kv-v1/a", token=token)
    await server.call("delete", "sys/policies/acl/p")
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/a", token=token)


async def test_text_may_be_base64_and_rules_is_an_old_name(server):
    await server.call("update", "sys/policies/acl/p", {"policy": base64.b64encode(READ.encode()).decode()})
    assert (await server.call("read", "sys/policies/acl/p")).data["policy"] == READ
    answer = await server.call("update", "sys/policy/q", {"rules": READ})
    assert answer.warnings == ["'rules' is deprecated, please use 'policy' instead"]
    assert not (await server.call("update", "sys/policy/q", {"rules": READ, "policy": READ})).warnings


@pytest.mark.parametrize("name", ["root", "response-wrapping"])
async def test_built_in_policies_stay(server, name):
    with pytest.raises(InvalidRequest, match="cannot update"):
        await server.call("update", f"sys/policies/acl/{name}", {"policy": READ})
    with pytest.raises(InvalidRequest, match="cannot delete"):
        await server.call("delete", f"sys/policies/acl/{name}")
    with pytest.raises(InvalidRequest, match="cannot delete default policy"):
        await server.call("delete", "sys/policies/acl/default")


@pytest.mark.parametrize(
    "text", ["", "nonsense", 'path "a" {', 'path "a" { capabilities = ["fly"] }', 'path "a/+*" {}', '{"path": ']
)
async def test_policies_that_are_refused(server, text):
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/policies/acl/p", {"policy": text})
    with pytest.raises(NotFound):
        await server.call("read", "sys/policies/acl/p")


async def test_the_name_is_bounded(server):
    await server.call("update", f"sys/policies/acl/{'x' * 512}", {"policy": READ})
    with pytest.raises(InvalidRequest, match="512"):
        await server.call("update", f"sys/policies/acl/{'x' * 513}", {"policy": READ})


async def test_password_policies(server):
    text = 'length = 20\nrule "charset" { charset = "ab" }'
    with pytest.raises(NotFound):
        await server.call("list", "sys/policies/password")
    await server.call("update", "sys/policies/password/p", {"policy": base64.b64encode(text.encode()).decode()})
    assert (await server.call("list", "sys/policies/password")).data == {"keys": ["p"]}
    assert (await server.call("read", "sys/policies/password/p")).data == {"policy": text}
    password = (await server.call("read", "sys/policies/password/p/generate")).data["password"]
    assert len(password) == 20
    assert set(password) <= {"a", "b"}
    for wrong in ("", "length = 3", "nonsense"):
        with pytest.raises(InvalidRequest):
            await server.call("update", "sys/policies/password/p", {"policy": wrong})
    await server.call("delete", "sys/policies/password/p")
    for path in ("sys/policies/password/p", "sys/policies/password/p/generate"):
        with pytest.raises(NotFound):
            await server.call("read", path)
