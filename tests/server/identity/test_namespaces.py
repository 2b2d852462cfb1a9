"""Every namespace has identities of its own, and their policies name what lies below it."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import NotFound


@pytest.fixture
async def inner(server):
    """An entity that has logged in in the namespace ``a/``, and its token."""
    for path in ("a", "b"):
        await server.call("update", f"sys/namespaces/{path}")
    await server.call("update", "sys/namespaces/deep", namespace="a/")
    await server.call("update", "sys/auth/up", {"type": "userpass"}, namespace="a/")
    await server.call("update", "auth/up/users/ann", {"password": "p"}, namespace="a/")
    auth = (await server.call("update", "auth/up/login/ann", {"password": "p"}, "", namespace="a/")).auth
    return auth["entity_id"], auth["client_token"]


async def test_an_entity_is_seen_in_its_namespace_only(server, inner):
    id_, _ = inner
    shown = (await server.call("read", f"identity/entity/id/{id_}", namespace="a/")).data
    assert shown["aliases"][0]["mount_path"] == "auth/up/"
    assert shown["namespace_id"] != "root"
    for elsewhere in ("", "b/", "a/deep/"):
        with pytest.raises(NotFound):
            await server.call("read", f"identity/entity/id/{id_}", namespace=elsewhere)


async def test_names_of_one_namespace_are_free_in_another(server, inner):
    ids = {
        (await server.call("update", "identity/entity", {"name": "n"}, namespace=ns)).data["id"] for ns in ("", "a/")
    }
    assert len(ids) == 2


async def test_policies_of_its_entity_reach_below_its_namespace(server, inner):
    id_, token = inner
    rules = 'path "deep/sys/policies/acl/{{identity.entity.name}}" { capabilities = ["read"] }'
    await server.call("update", "sys/policies/acl/p", {"policy": rules}, namespace="a/")
    await server.call("update", f"identity/entity/id/{id_}", {"policies": "p", "name": "default"}, namespace="a/")
    assert (await server.call("read", "sys/policies/acl/default", token=token, namespace="a/deep/")).data["name"]
    shown = (await server.call("read", "auth/token/lookup-self", token=token, namespace="a/")).data
    assert list(shown["identity_policies"]) == ["p"]


async def test_deleting_a_namespace_deletes_its_identities(server, inner):
    id_, _ = inner
    assert [key for key in await server.keys_stored() if id_ in key]
    for name, parent in ("deep", "a/"), ("a", ""):
        await server.call("delete", f"sys/namespaces/{name}", namespace=parent)
        await asyncio.gather(*server.core.namespaces._deletions)
    assert not [key for key in await server.keys_stored() if id_ in key]
