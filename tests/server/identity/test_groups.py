"""Groups, the groups in them, and the aliases of external ones."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound


async def test_members_come_and_go(server):
    one, two = await server.entity("one"), await server.entity("two")
    group = await server.group("Ops", member_entity_ids=[one, one], policies="P,a", metadata={"a": "b"})
    shown = await server.read("group/name/ops")
    assert (shown["member_entity_ids"], list(shown["policies"]), shown["type"]) == ([one], ["a", "p"], "internal")
    await server.write(f"group/id/{group}", member_entity_ids=f"{one},{two}")
    assert (await server.read(f"group/id/{group}"))["member_entity_ids"] == sorted([one, two])
    await server.write("group/name/OPS", member_entity_ids=[two])
    assert (await server.read(f"entity/id/{one}"))["group_ids"] == []
    assert (await server.read(f"entity/id/{two}"))["direct_group_ids"] == [group]
    shown = await server.read(f"group/id/{group}")
    assert (shown["metadata"], shown["modify_index"]) == ({"a": "b"}, 3)


async def test_groups_in_groups(server):
    ann = await server.entity("ann")
    low = await server.group("low", member_entity_ids=[ann], policies=["l"])
    mid = await server.group("mid", member_group_ids=[low], policies=["m"])
    top = await server.group("top", member_group_ids=[mid], policies=["t"])
    shown = await server.read(f"entity/id/{ann}")
    assert (shown["direct_group_ids"], sorted(shown["inherited_group_ids"])) == ([low], sorted([mid, top]))
    assert await server.node.identity.policies(server.node.store, ann) == ("l", "m", "t")
    for id_ in (mid, top):
        with pytest.raises(InvalidRequest, match="cyclic relationship"):
            await server.write(f"group/id/{low}", member_group_ids=[id_])
    with pytest.raises(InvalidRequest, match="same as the ID of the group"):
        await server.write(f"group/id/{low}", member_group_ids=[low])
    await server.write(f"group/id/{top}", member_group_ids=[low])
    assert list((await server.read(f"group/id/{low}"))["parent_group_ids"]) == sorted([mid, top])
    assert (await server.read(f"group/id/{mid}"))["parent_group_ids"] is None
    await server.call("delete", f"identity/group/id/{mid}")
    assert list((await server.read(f"group/id/{low}"))["parent_group_ids"]) == [top]
    assert await server.node.identity.policies(server.node.store, ann) == ("l", "t")


async def test_lists(server):
    for kind in ("id", "name"):
        with pytest.raises(NotFound):
            await server.call("list", f"identity/group/{kind}")
    ann = await server.entity("ann")
    low = await server.group("low", member_entity_ids=[ann])
    top = await server.group("top", member_group_ids=[low])
    listed = (await server.call("list", "identity/group/id")).data
    assert listed["keys"] == sorted([low, top])
    assert listed["key_info"][low] == {"name": "low", "num_member_entities": 1, "num_parent_groups": 1}
    assert set((await server.call("list", "identity/group/name")).data["keys"]) == {"low", "top"}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"type": "weird"}, "invalid group type"),
        ({"id": "none"}, "invalid group ID"),
        ({"policies": ["root"]}, "cannot contain root"),
        ({"member_entity_ids": ["none"]}, 'invalid entity ID "none"'),
        ({"member_group_ids": ["none"]}, 'invalid member group ID "none"'),
        ({"type": "external", "member_entity_ids": ["none"]}, "set manually for external groups"),
        ({"type": "external", "member_group_ids": ["none"]}, "set for external groups"),
    ],
)
async def test_what_is_refused_leaves_nothing(server, data, match):
    before = await server.keys_stored()
    with pytest.raises(InvalidRequest, match=match):
        await server.write("group", name="g", **data)
    assert await server.keys_stored() == before


async def test_neither_name_nor_kind_of_another_group(server):
    group = await server.group("a")
    await server.group("b")
    with pytest.raises(InvalidRequest, match="already in use"):
        await server.write(f"group/id/{group}", name="B")
    with pytest.raises(InvalidRequest, match="type cannot be changed"):
        await server.write("group", name="a", type="external")


async def test_the_alias_of_an_external_group(server):
    group, other = await server.group("a", type="external"), await server.group("b", type="external")
    internal = await server.group("i")
    where = {"mount_accessor": server.accessor()}
    first = await server.write("group-alias", name="Devs", canonical_id=group, **where)
    for data, match in (
        ({"name": "DEVS", "canonical_id": other}, "already in use"),
        ({"name": "x", "canonical_id": internal}, "internal group"),
        ({"name": "x", "canonical_id": "none"}, "invalid group ID"),
        ({"canonical_id": other}, "missing alias name"),
        ({"name": "x", "canonical_id": other, "mount_accessor": "none"}, "invalid mount accessor"),
        ({"name": "x", "canonical_id": other, "mount_accessor": ""}, "missing mount_accessor"),
        ({"id": "none", "name": "x"}, "invalid group alias ID"),
    ):
        with pytest.raises(InvalidRequest, match=match):
            await server.write("group-alias", **(where | data))
    assert (await server.read(f"group-alias/id/{first['id']}"))["canonical_id"] == group
    moved = await server.write(f"group-alias/id/{first['id']}", name="devs", canonical_id=other, **where)
    assert moved == {"canonical_id": other, "id": first["id"]}
    assert (await server.read(f"group/id/{group}"))["alias"] == {}
    second = await server.write("group-alias", name="new", canonical_id=other, **where)
    with pytest.raises(NotFound):
        await server.read(f"group-alias/id/{first['id']}")
    assert (await server.call("list", "identity/group-alias/id")).data["keys"] == [second["id"]]
    await server.call("delete", f"identity/group-alias/id/{second['id']}")
    assert (await server.read(f"group/id/{other}"))["alias"] == {}
    made = await server.write("group-alias", name="new", **where)
    assert (await server.read(f"group/id/{made['canonical_id']}"))["type"] == "external"


async def test_deleting_leaves_nothing_behind(server):
    group = await server.group("a", type="external")
    await server.write("group-alias", name="a", mount_accessor=server.accessor(), canonical_id=group)
    ann = await server.login("ann", group_aliases=["a"])
    await server.call("delete", "identity/group/name/A")
    await server.call("delete", f"identity/entity/id/{ann}")
    assert await server.keys_stored("namespaces/root/identity/") == []
