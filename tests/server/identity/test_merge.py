"""Merging entities."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound


async def merge(server, into, *others, **more):
    return await server.write("entity/merge", to_entity_id=into, from_entity_ids=list(others), **more)


async def test_the_one_that_stays_gets_aliases_groups_and_tokens_of_the_other(server):
    ann, other = await server.login("ann"), await server.login("ann", "two")
    group = await server.group("g", member_entity_ids=[other], policies=["of-group"])
    await server.write(f"entity/id/{ann}", policies=["mine"])
    await server.write(f"entity/id/{other}", policies=["theirs"], metadata={"a": "b"})
    token = await server.token_of(other)
    assert await merge(server, ann, other) == {}
    shown = await server.read(f"entity/id/{ann}")
    assert list(shown["merged_entity_ids"]) == [other]
    assert (list(shown["policies"]), shown["metadata"]) == (["mine"], None)
    assert {a["mount_accessor"] for a in shown["aliases"]} == {server.accessor(), server.accessor("two")}
    assert (await server.read(f"group/id/{group}"))["member_entity_ids"] == [ann]
    with pytest.raises(NotFound):
        await server.read(f"entity/id/{other}")
    assert await server.login("ann", "two") == ann
    assert list((await server.lookup(token))["identity_policies"]) == ["mine", "of-group"]
    await server.call("read", "auth/token/lookup-self", token=token)


async def test_tokens_follow_a_chain_of_mergers_and_end_with_the_last(server):
    first, second, third = await server.login("a"), await server.entity("b"), await server.entity("c", policies=["p"])
    token = await server.token_of(first)
    await merge(server, second, first)
    await merge(server, third, second)
    assert list((await server.lookup(token))["identity_policies"]) == ["p"]
    assert await server.login("a") == third
    await server.call("delete", f"identity/entity/id/{third}")
    assert await server.keys_stored("namespaces/root/identity/") == []


async def test_of_two_aliases_on_a_mount_one_is_to_be_chosen(server):
    ann, eve, bob = await server.login("ann"), await server.login("eve"), await server.login("bob")
    ids = {
        name: (await server.read(f"entity/id/{id_}"))["aliases"][0]["id"] for name, id_ in (("ann", ann), ("eve", eve))
    }
    refused = await server.call(
        "update", "identity/entity/merge", {"to_entity_id": ann, "from_entity_ids": [eve], "force": True}
    )
    assert refused.status == 400
    assert ids["ann"] in refused.data["errors"][0]
    assert [told["alias"] for told in refused.data["data"]] == ["ann", "eve"]
    for keep, match in (["none"], "neither were present"), ([ids["ann"], ids["eve"]], "only one"):
        with pytest.raises(InvalidRequest, match=match):
            await merge(server, ann, eve, conflicting_alias_ids_to_keep=keep)
    many = {"to_entity_id": ann, "from_entity_ids": [eve, bob], "conflicting_alias_ids_to_keep": [ids["eve"]]}
    assert (await server.call("update", "identity/entity/merge", many)).status == 400
    await merge(server, ann, eve, conflicting_alias_ids_to_keep=[ids["eve"]])
    assert [a["name"] for a in (await server.read(f"entity/id/{ann}"))["aliases"]] == ["eve"]
    assert await server.login("eve") == ann
    assert await server.login("ann") != ann


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({}, "missing entity id to merge to"),
        ({"to_entity_id": "{ann}"}, "missing entity ids to merge from"),
        ({"to_entity_id": "{ann}", "from_entity_ids": ["{ann}"]}, "should not be present"),
        ({"to_entity_id": "none", "from_entity_ids": ["{ann}"]}, "merge to is invalid"),
        ({"to_entity_id": "{ann}", "from_entity_ids": ["none"]}, "merge from is invalid"),
    ],
)
async def test_what_is_refused(server, data, match):
    ann = await server.entity("ann")
    filled = {k: [i.format(ann=ann) for i in v] if isinstance(v, list) else v.format(ann=ann) for k, v in data.items()}
    with pytest.raises(InvalidRequest, match=match):
        await server.write("entity/merge", **filled)
