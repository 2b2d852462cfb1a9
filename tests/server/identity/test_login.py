"""Logins get an entity, and tokens get what their entity has."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from caveau.framework.errors import InvalidRequest, PermissionDenied
from caveau.tests.server.harness import SlowStore
from caveau.tests.server.identity.conftest import Identities


async def stored(server):
    """Every entry as it lies in the store: written again, it is another text."""
    return {key: await server.store.get(key) for key in await server.keys_stored()}


async def test_the_first_login_makes_an_entity_and_later_ones_find_it(server):
    first = await server.login("Bob", alias_meta={"city": "Bern"})
    assert await server.login("bob", alias_meta={"city": "Bern"}) == first
    assert await server.login("bob", "two") != first
    shown = await server.read(f"entity/id/{first}")
    assert shown["name"].startswith("entity_")
    (alias,) = shown["aliases"]
    assert (alias["name"], alias["metadata"]) == ("Bob", {"city": "Bern"})
    assert (alias["mount_path"], alias["mount_type"]) == ("auth/one/", "token")


async def test_a_login_that_changes_nothing_writes_nothing(server):
    await server.login("bob", alias_meta={"a": "b"})
    before = await stored(server)
    await server.login("bob", alias_meta={"a": "b"})
    assert await stored(server) == before


async def test_metadata_of_the_alias_is_that_of_the_last_login(server):
    id_ = await server.login("bob", alias_meta={"a": "b"})
    await server.login("bob", alias_meta={"c": "d"})
    assert (await server.read(f"entity/id/{id_}"))["aliases"][0]["metadata"] == {"c": "d"}


async def test_a_disabled_entity_can_neither_log_in_nor_use_its_tokens(server):
    id_ = await server.login("bob")
    token = await server.token_of(id_)
    await server.call("read", "auth/token/lookup-self", token=token)
    await server.write(f"entity/id/{id_}", disabled=True)
    with pytest.raises(PermissionDenied):
        await server.login("bob")
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token)
    await server.write(f"entity/id/{id_}", disabled=False)
    await server.call("read", "auth/token/lookup-self", token=token)


@pytest.mark.parametrize("type_", ["service", "batch"])
async def test_policies_of_entity_and_groups_count_from_the_moment_they_are_written(server, type_):
    for name in ("of-entity", "of-group", "of-parent"):
        await server.policy(name, f'path "kv-v1/{name}" {{ capabilities = ["read"] }}')
    id_ = await server.login("bob")
    token = await server.token_of(id_, type_=type_)
    for name in ("of-entity", "of-group", "of-parent"):
        assert await server.capabilities(token, f"kv-v1/{name}") == ["deny"]
    await server.write(f"entity/id/{id_}", policies="of-entity")
    assert await server.capabilities(token, "kv-v1/of-entity") == ["read"]
    group = await server.group("g", member_entity_ids=[id_])
    assert await server.capabilities(token, "kv-v1/of-group") == ["deny"]
    await server.write(f"group/id/{group}", policies=["of-group"])
    assert await server.capabilities(token, "kv-v1/of-group") == ["read"]
    parent = await server.group("p", member_group_ids=[group], policies=["of-parent"])
    assert await server.capabilities(token, "kv-v1/of-parent") == ["read"]
    await server.call("delete", f"identity/group/id/{group}")
    assert await server.capabilities(token, "kv-v1/of-group") == ["deny"]
    assert await server.capabilities(token, "kv-v1/of-parent") == ["deny"]
    assert (await server.read(f"group/id/{parent}"))["member_group_ids"] is None
    await server.write(f"entity/id/{id_}", policies=[])
    assert await server.capabilities(token, "kv-v1/of-entity") == ["deny"]


async def test_templates_are_filled_for_each_entity_and_anew_when_it_changes(server):
    rules = (
        'path "kv-v1/{{identity.entity.name}}/*" { capabilities = ["read"] }\n'
        'path "kv-v1/meta/{{identity.entity.metadata.team}}" { capabilities = ["list"] }\n'
        f'path "kv-v1/alias/{{{{identity.entity.aliases.{server.accessor()}.name}}}}" {{ capabilities = ["update"] }}\n'
        'path "kv-v1/group/{{identity.groups.names.ops.id}}" { capabilities = ["delete"] }\n'
    )
    await server.policy("templated", rules)
    bob, eve = await server.login("bob"), await server.login("eve")
    await server.write(f"entity/id/{bob}", name="robert", metadata={"team": "blue"})
    ours, hers = await server.token_of(bob, "templated", "default"), await server.token_of(eve, "templated", "default")
    assert await server.capabilities(ours, "kv-v1/robert/x") == ["read"]
    assert await server.capabilities(hers, "kv-v1/robert/x") == ["deny"]
    assert await server.capabilities(ours, "kv-v1/meta/blue") == ["list"]
    assert await server.capabilities(ours, "kv-v1/alias/bob") == ["update"]
    assert await server.capabilities(hers, "kv-v1/alias/eve") == ["update"]
    group = await server.group("ops", member_entity_ids=[bob])
    assert await server.capabilities(ours, f"kv-v1/group/{group}") == ["delete"]
    assert await server.capabilities(hers, f"kv-v1/group/{group}") == ["deny"]
    await server.write(f"entity/id/{bob}", name="bobby")
    assert await server.capabilities(ours, "kv-v1/robert/x") == ["deny"]
    assert await server.capabilities(ours, "kv-v1/bobby/x") == ["read"]
    assert (await server.call("read", f"identity/entity/id/{bob}", token=ours)).data["id"] == bob
    with pytest.raises(PermissionDenied):
        await server.call("read", f"identity/entity/id/{bob}", token=hers)


async def test_tokens_of_a_deleted_entity_are_refused(server):
    id_ = await server.login("bob")
    token = await server.token_of(id_)
    await server.capabilities(token, "kv-v1/a")
    await server.call("delete", f"identity/entity/id/{id_}")
    with pytest.raises(PermissionDenied):
        await server.capabilities(token, "kv-v1/a")
    assert await server.login("bob") != id_


async def test_external_groups_follow_what_the_login_says(server):
    groups = {name: await server.group(name, type="external", policies=[name]) for name in ("a", "b", "c")}
    for name, mount in (("a", "one"), ("b", "one"), ("c", "two")):
        await server.write("group-alias", name=name, mount_accessor=server.accessor(mount), canonical_id=groups[name])
    inner = await server.group("inner")
    id_ = await server.login("bob", group_aliases=["A", "c", "unknown"])
    await server.write(f"group/id/{inner}", member_entity_ids=[id_])
    assert sorted((await server.read(f"entity/id/{id_}"))["direct_group_ids"]) == sorted([groups["a"], inner])
    await server.login("bob", group_aliases=["b"])
    assert sorted((await server.read(f"entity/id/{id_}"))["direct_group_ids"]) == sorted([groups["b"], inner])
    assert (await server.read(f"group/id/{groups['a']}"))["member_entity_ids"] is None
    assert (await server.read(f"group/id/{groups['b']}"))["member_entity_ids"] == [id_]
    assert await server.node.identity.policies(server.node.store, id_) == ("b",)
    await server.login("bob")  # by a method that knows of no groups
    assert groups["b"] in (await server.read(f"entity/id/{id_}"))["direct_group_ids"]
    await server.login("bob", group_aliases=[])
    assert (await server.read(f"entity/id/{id_}"))["direct_group_ids"] == [inner]


async def test_a_profile_is_the_same_object_until_something_of_it_changes(server):
    id_ = await server.login("bob")
    identity, store = server.node.identity, server.node.store
    group = await server.group("g", member_entity_ids=[id_], policies=["p"])
    profile = await identity.profile(store, id_)
    assert await identity.profile(store, id_) is profile
    store.invalidate()
    assert await identity.profile(store, id_) is profile
    await server.write(f"group/id/{group}", policies=["q"])
    assert (await identity.profile(store, id_)).policies == ("q",)


async def test_a_login_and_a_look_up_show_the_policies_that_come_of_identity(server):
    await server.call("update", "sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "auth/userpass/users/bob", {"password": "p", "token_policies": ["own", "both"]})
    login = (await server.call("update", "auth/userpass/login/bob", {"password": "p"}, "")).auth
    assert login["entity_id"]
    assert "identity_policies" not in login
    await server.write(f"entity/id/{login['entity_id']}", policies=["extra", "both"])
    again = (await server.call("update", "auth/userpass/login/bob", {"password": "p"}, "")).auth
    assert again["entity_id"] == login["entity_id"]
    assert list(again["token_policies"]) == ["both", "default", "own"]
    assert list(again["identity_policies"]) == ["both", "extra"]
    assert list(again["policies"]) == ["both", "default", "extra", "own"]
    shown = await server.lookup(login["client_token"])
    assert list(shown["policies"]) == ["both", "default", "own"]
    assert list(shown["identity_policies"]) == ["both", "extra"]
    renewed = (await server.call("update", "auth/token/renew-self", token=login["client_token"])).auth
    assert list(renewed["identity_policies"]) == ["both", "extra"]


async def test_a_child_token_has_the_entity_of_its_parent_and_an_orphan_has_none(server):
    await server.policy("maker", 'path "auth/token/create*" { capabilities = ["update", "sudo"] }')
    id_ = await server.login("bob")
    token = await server.token_of(id_, "maker")
    child = (await server.call("update", "auth/token/create", {}, token)).auth
    assert child["entity_id"] == id_
    orphan = (await server.call("update", "auth/token/create-orphan", {}, token)).auth
    assert orphan["entity_id"] == ""


async def test_a_token_role_binds_to_the_entity_of_an_alias_it_allows(server):
    await server.call(
        "update", "auth/token/roles/r", {"allowed_entity_aliases": ["bob", "app-*"], "allowed_policies": "default"}
    )
    made = (await server.call("update", "auth/token/create/r", {"entity_alias": "Bob"})).auth
    again = (await server.call("update", "auth/token/create/r", {"entity_alias": "bob", "type": "batch"})).auth
    assert made["entity_id"] == again["entity_id"] != ""
    assert (await server.lookup(made["client_token"]))["entity_id"] == made["entity_id"]
    other = (await server.call("update", "auth/token/create/r", {"entity_alias": "app-1"})).auth
    assert other["entity_id"] != made["entity_id"]
    with pytest.raises(InvalidRequest, match="invalid 'entity_alias' value"):
        await server.call("update", "auth/token/create/r", {"entity_alias": "eve"})
    with pytest.raises(InvalidRequest, match="in combination with token role"):
        await server.call("update", "auth/token/create", {"entity_alias": "bob"})
    await server.write(f"entity/id/{made['entity_id']}", disabled=True)
    with pytest.raises(PermissionDenied, match="is disabled"):
        await server.call("update", "auth/token/create/r", {"entity_alias": "bob"})


async def test_logins_at_the_same_moment_make_one_entity():
    made = await Identities(SlowStore()).prepare()
    group = await made.group("devs", type="external")
    await made.write("group-alias", name="devs", mount_accessor=made.accessor(), canonical_id=group)
    names = ["ann", "bob", "Ann", "eve", "ANN", "bob"]
    ids = await asyncio.gather(*(made.login(name, group_aliases=["devs"]) for name in names))
    assert ids[0] == ids[2] == ids[4]
    assert ids[1] == ids[5]
    assert (await made.read(f"group/id/{group}"))["member_entity_ids"] == sorted(set(ids))
    assert len((await made.call("list", "identity/entity/id")).data["keys"]) == 3
    await made.core.stop()


async def test_names_that_are_taken_at_the_same_moment():
    made = await Identities(SlowStore()).prepare()
    answers = await asyncio.gather(*(made.write("entity", name=name) for name in ("ann", "Ann", "ANN")))
    assert sum("id" in answer for answer in answers) == 1
    assert len((await made.call("list", "identity/entity/id")).data["keys"]) == 1
    await made.core.stop()


async def test_a_login_leaves_the_groups_of_other_mounts_alone(server):
    there = await server.group("there", type="external")
    await server.write("group-alias", name="g", mount_accessor=server.accessor("two"), canonical_id=there)
    id_ = await server.login("bob", "two", group_aliases=["g"])
    await server.write("entity-alias", name="bob", mount_accessor=server.accessor(), canonical_id=id_)
    assert await server.login("bob", group_aliases=["g"]) == id_
    assert (await server.read(f"entity/id/{id_}"))["direct_group_ids"] == [there]


async def test_what_a_transaction_saw_and_was_never_stored_counts_for_nothing(server):
    id_ = await server.login("bob")
    await server.write(f"entity/id/{id_}", policies=["old"])
    identity, store = server.node.identity, server.node.store
    assert await identity.policies(store, id_) == ("old",)

    async def change(txn):
        entity = await identity.entity(txn, id_)
        identity.save(txn, replace(entity, policies=("new",)), entity)
        assert await identity.policies_in(txn, id_) == ("new",)
        assert (await identity.login(txn, server.mounts["one"], "bob")).policies == ("new",)
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await store.run(change)
    assert await identity.policies(store, id_) == ("old",)
    assert await store.run(lambda txn: identity.policies_in(txn, id_)) == ("old",)
