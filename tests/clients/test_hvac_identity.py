"""hvac on identity: entities, aliases, groups, and what a login gets of them."""

from __future__ import annotations

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

from ..peers import Server


@pytest.fixture
def accessor(root: hvac.Client, name: str) -> str:
    """Accessor of a userpass mount of the test's own, at its ``name``, with the user ann."""
    root.sys.enable_auth_method("userpass", path=name)
    root.auth.userpass.create_or_update_user("ann", password="p", policies="default", mount_point=name)
    return root.sys.list_auth_methods()["data"][f"{name}/"]["accessor"]


def test_entities(root: hvac.Client, name: str) -> None:
    identity = root.secrets.identity
    id_ = identity.create_or_update_entity(name, metadata={"a": "b"}, policies=["p"])["data"]["id"]
    identity.update_entity(id_, name=f"{name}-2", disabled=True)
    entity = identity.read_entity(id_)["data"]
    assert entity == identity.read_entity_by_name(f"{name}-2")["data"] == identity.lookup_entity(entity_id=id_)["data"]
    assert (entity["metadata"], entity["policies"], entity["disabled"]) == ({"a": "b"}, ["p"], True)
    assert id_ in identity.list_entities()["data"]["keys"]
    assert f"{name}-2" in identity.list_entities_by_name(method="GET")["data"]["keys"]
    identity.create_or_update_entity_by_name(f"{name}-3", policies=["q"])
    identity.delete_entity_by_name(f"{name}-3")
    identity.delete_entity(id_)
    with pytest.raises(InvalidPath):
        identity.read_entity(id_)
    with pytest.raises(InvalidRequest):
        identity.create_or_update_entity(name, policies=["root"])


def test_aliases_and_merging(root: hvac.Client, name: str, accessor: str) -> None:
    identity = root.secrets.identity
    ann = identity.create_or_update_entity(name)["data"]["id"]
    alias = identity.create_or_update_entity_alias("ann", ann, accessor)["data"]["id"]
    identity.update_entity_alias(alias, "anna", ann, accessor)
    assert identity.read_entity_alias(alias)["data"]["name"] == "anna"
    assert identity.list_entity_aliases()["data"]["key_info"][alias]["canonical_id"] == ann
    found = identity.lookup_entity(alias_name="ANNA", alias_mount_accessor=accessor)["data"]
    assert found["id"] == ann
    other = identity.create_or_update_entity(f"{name}-other")["data"]["id"]
    identity.merge_entities([ann], other)
    assert identity.lookup_entity(alias_id=alias)["data"]["id"] == other
    identity.delete_entity_alias(alias)
    with pytest.raises(InvalidPath):
        identity.read_entity_alias(alias)


def test_groups(root: hvac.Client, name: str, accessor: str) -> None:
    identity = root.secrets.identity
    ann = identity.create_or_update_entity(name)["data"]["id"]
    group = identity.create_or_update_group(name, policies=["p"], member_entity_ids=[ann])["data"]["id"]
    above = identity.create_or_update_group(f"{name}-up", member_group_ids=[group])["data"]["id"]
    identity.update_group(group, f"{name}-2", metadata={"a": "b"}, member_entity_ids=[ann])
    assert identity.read_group(group)["data"]["parent_group_ids"] == [above]
    assert identity.read_group_by_name(f"{name}-2")["data"]["metadata"] == {"a": "b"}
    assert identity.read_entity(ann)["data"]["group_ids"] == [group, above]
    assert group in identity.list_groups()["data"]["keys"]
    assert f"{name}-2" in identity.list_groups_by_name()["data"]["keys"]
    external = identity.create_or_update_group(f"{name}-ext", group_type="external")["data"]["id"]
    alias = identity.create_or_update_group_alias("devs", mount_accessor=accessor, canonical_id=external)["data"]["id"]
    assert identity.lookup_group(alias_id=alias)["data"]["id"] == external
    assert identity.read_group_alias(alias)["data"]["mount_accessor"] == accessor
    identity.update_group_alias(alias, "ops", mount_accessor=accessor, canonical_id=external)
    assert identity.list_group_aliases()["data"]["key_info"][alias]["name"] == "ops"
    identity.delete_group_alias(alias)
    identity.delete_group_by_name(f"{name}-up")
    identity.delete_group(group)
    with pytest.raises(InvalidPath):
        identity.read_group(group)


def test_a_login_gets_what_its_entity_and_groups_have(
    dev_server: Server, root: hvac.Client, name: str, accessor: str
) -> None:
    identity = root.secrets.identity
    root.sys.create_or_update_policy(
        name, 'path "cubbyhole/{{identity.entity.name}}" { capabilities = ["read", "sudo"] }\n'
        f'path "cubbyhole/{{{{identity.entity.aliases.{accessor}.name}}}}" {{ capabilities = ["list", "sudo"] }}'
    )  # fmt: skip
    login = root.auth.userpass.login("ann", "p", mount_point=name, use_token=False)["auth"]
    entity = login["entity_id"]
    identity.update_entity(entity, name=name)
    identity.create_or_update_group(name, policies=[name], member_entity_ids=[entity])
    client = hvac.Client(url=dev_server.address, token=login["client_token"])
    try:
        shown = client.auth.token.lookup_self()["data"]
        assert (shown["policies"], shown["identity_policies"], shown["entity_id"]) == (["default"], [name], entity)
        paths = [f"cubbyhole/{name}", "cubbyhole/ann", "cubbyhole/other"]
        found = client.sys.get_capabilities(paths)["data"]
        assert found[paths[0]] == ["read", "sudo"]
        assert found[paths[1]] == ["list", "sudo"]
        assert "sudo" not in found[paths[2]]
        assert client.secrets.identity.read_entity(entity)["data"]["name"] == name
        again = root.auth.userpass.login("ann", "p", mount_point=name, use_token=False)["auth"]
        assert (again["entity_id"], again["policies"]) == (entity, ["default", name])
        identity.update_entity(entity, name=name, disabled=True)
        with pytest.raises(Forbidden):
            client.auth.token.lookup_self()
    finally:
        client.adapter.close()
