"""Policies as the server keeps them, and the ACL that a token gets from them."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied
from caveau.server.policies import normalise
from hypothesis import given
from hypothesis import strategies as st

names = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["root", " Root", "default", "DEFAULT ", "a", "A "])))


@given(names=names, default=st.booleans())
def test_names_are_normalised_once_and_for_all(names, default):
    found = normalise(names, default=default)
    assert normalise(found, default=False) == found
    assert list(found) == sorted(set(found))
    assert all(name and name == name.strip().lower() for name in found)
    if "root" in found:
        assert found == ("root",)
    elif default:
        assert "default" in found


@pytest.mark.parametrize(
    ("given_names", "default", "found"),
    [
        (["B", "a", " a "], False, ("a", "b")),
        ([], True, ("default",)),
        (["x", "ROOT"], True, ("root",)),
        (["", "  "], False, ()),
        (["root\u200b"], False, ("root\u200b",)),
    ],
)
def test_normalise(given_names, default, found):
    assert normalise(given_names, default=default) == found


@pytest.mark.parametrize("name", ["root", "ROOT", "Root", "response-wrapping", "Control-Group"])
async def test_policies_that_nobody_writes_or_deletes(server, name):
    for op in ("update", "delete"):
        with pytest.raises(InvalidRequest, match="cannot"):
            await server.call(op, f"sys/policies/acl/{name}", {"policy": 'path "*" { capabilities = ["sudo"] }'})


async def test_default_can_be_changed_and_not_deleted(server):
    await server.policy("default", 'path "kv-v1/*" { capabilities = ["list"] }')
    token = await server.token(["default"])
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token)
    with pytest.raises(InvalidRequest, match="cannot delete"):
        await server.call("delete", "sys/policies/acl/default")
    await server.seal()
    await server.unseal()
    with pytest.raises(NotFound):
        await server.call("list", "kv-v1", token=token)


async def test_a_policy_of_any_spelling_is_one_policy(server):
    await server.policy("Team-A", 'path "kv-v1/*" { capabilities = ["create"] }')
    assert "team-a" in (await server.call("list", "sys/policies/acl")).data["keys"]
    token = await server.token(["TEAM-a"])
    await server.call("update", "kv-v1/x", {"a": 1}, token)


async def test_no_policy_gives_what_root_gives(server):
    """Only the name ``root`` itself does; what looks like it is a policy like any other, and there is none."""
    for name in ("r\u043eot", "ｒｏｏｔ", "root\u200b", "root/", "./root", "root\u0307"):
        token = await server.token([name], no_default_policy=True)
        for op, path in (("read", "sys/mounts"), ("update", "auth/token/create"), ("list", "kv-v1")):
            with pytest.raises(PermissionDenied):
                await server.call(op, path, token=token)


async def test_a_rule_ends_when_it_says(server):
    at = "2025-06-15T16:06:40Z"  # 1_750_003_600
    await server.policy("p", f'path "kv-v1/*" {{ capabilities = ["create", "update"] expiration = "{at}" }}')
    token = await server.token(["p"])
    await server.call("update", "kv-v1/x", {"a": 1}, token)
    server.clock.advance(3600)
    with pytest.raises(PermissionDenied):
        await server.call("update", "kv-v1/x", {"a": 1}, token)


async def test_policies_of_a_token_add_up_and_deny_wins(server):
    await server.policy("a", 'path "kv-v1/*" { capabilities = ["create"] }')
    await server.policy("b", 'path "kv-v1/*" { capabilities = ["read"] }')
    await server.policy("no", 'path "kv-v1/*" { capabilities = ["deny"] }')
    both, denied = await server.token(["a", "b"]), await server.token(["a", "b", "no"])
    await server.call("update", "kv-v1/x", {"a": 1}, both)
    assert (await server.call("read", "kv-v1/x", token=both)).data
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/x", token=denied)


async def test_the_acl_is_compiled_once_until_a_policy_changes(server):
    store, policies = server.node.store, server.node.policies
    await server.policy("a", 'path "kv-v1/*" { capabilities = ["read"] }')
    first = await policies.acl(store, ("a", "default"))
    assert await policies.acl(store, ("a", "default")) is first
    await server.policy("b", 'path "x" { capabilities = ["read"] }')
    assert await policies.acl(store, ("a", "default")) is first
    await server.policy("a", 'path "kv-v1/*" { capabilities = ["list"] }')
    second = await policies.acl(store, ("a", "default"))
    assert second.allow("list", "kv-v1/x").allowed
    assert not second.allow("read", "kv-v1/x").allowed
