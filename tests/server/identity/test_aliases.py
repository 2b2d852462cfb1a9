"""Aliases: names by which mounts know an entity."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound


async def alias(server, name, mount="one", **more):
    return await server.write("entity-alias", name=name, mount_accessor=server.accessor(mount), **more)


async def test_a_login_under_an_alias_made_before_finds_its_entity(server):
    ann = await server.entity("ann")
    made = await alias(server, "Ann@example.com", canonical_id=ann, custom_metadata={"k": "v"})
    assert made["canonical_id"] == ann
    assert await server.login("ann@EXAMPLE.com", alias_meta={"a": "b"}) == ann
    shown = await server.read(f"entity-alias/id/{made['id']}")
    assert (shown["metadata"], shown["custom_metadata"]) == ({"a": "b"}, {"k": "v"})
    assert shown["namespace_id"] == "root"


async def test_an_alias_without_an_entity_gets_a_new_one(server):
    made = await alias(server, "ann")
    assert await server.login("ann") == made["canonical_id"]


async def test_an_entity_has_one_alias_on_a_mount(server):
    ann = await server.entity("ann")
    first = await alias(server, "a", canonical_id=ann)
    second = await alias(server, "a", "two", entity_id=ann)
    with pytest.raises(InvalidRequest, match="already exists for requested entity"):
        await alias(server, "b", canonical_id=ann)
    with pytest.raises(InvalidRequest, match="already has an alias for the given"):
        await server.write(f"entity-alias/id/{first['id']}", mount_accessor=server.accessor("two"))
    other = await alias(server, "c")
    with pytest.raises(InvalidRequest, match="given entity already has an alias"):
        await server.write(f"entity-alias/id/{other['id']}", canonical_id=ann)
    assert {a["id"] for a in (await server.read(f"entity/id/{ann}"))["aliases"]} == {first["id"], second["id"]}


async def test_a_renamed_alias_is_known_by_its_new_name_only(server):
    made = await alias(server, "ann")
    assert await server.login("ann") == made["canonical_id"]
    await server.write(f"entity-alias/id/{made['id']}", name="anna")
    assert await server.login("anna") == made["canonical_id"]
    assert await server.login("ann") != made["canonical_id"]
    with pytest.raises(InvalidRequest, match="already exists"):
        await server.write(f"entity-alias/id/{made['id']}", name="ANN")


async def test_an_alias_moves_to_another_entity(server):
    made = await alias(server, "ann")
    assert await server.login("ann") == made["canonical_id"]
    target = await server.entity("target")
    assert (await alias(server, "ann", canonical_id=target))["canonical_id"] == target
    assert await server.login("ann") == target
    assert (await server.read(f"entity/id/{made['canonical_id']}"))["aliases"] == []


async def test_nothing_changed_is_no_content(server):
    made = await alias(server, "ann")
    assert await alias(server, "ann") == {}
    assert await server.write(f"entity-alias/id/{made['id']}", name="ann") == {}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({}, "must be provided"),
        ({"name": "a", "mount_accessor": "none"}, "invalid mount accessor"),
        ({"id": "none"}, "invalid alias ID"),
        ({"name": "a", "mount_accessor": "{one}", "canonical_id": "none"}, "invalid canonical ID"),
        ({"name": "a", "mount_accessor": "{one}", "custom_metadata": {"a": "v" * 513}}, "value is too long"),
    ],
)
async def test_what_is_refused(server, data, match):
    if data.get("mount_accessor") == "{one}":
        data = data | {"mount_accessor": server.accessor()}
    with pytest.raises(InvalidRequest, match=match):
        await server.write("entity-alias", **data)


async def test_deleting(server):
    made = await alias(server, "ann")
    await server.call("delete", f"identity/entity-alias/id/{made['id']}")
    with pytest.raises(NotFound):
        await server.read(f"entity-alias/id/{made['id']}")
    with pytest.raises(NotFound):
        await server.call("list", "identity/entity-alias/id")
    assert await server.login("ann") != made["canonical_id"]


async def test_aliases_of_a_mount_go_with_it(server):
    ann = await server.entity("ann")
    await alias(server, "ann", canonical_id=ann)
    kept = await alias(server, "ann", "two", canonical_id=ann)
    for n in range(120):  # more than go in one transaction
        await alias(server, f"user-{n}")
    group = await server.group("g", type="external")
    await server.write("group-alias", name="g", mount_accessor=server.accessor(), canonical_id=group)
    await server.call("delete", "sys/auth/one")
    assert [a["id"] for a in (await server.read(f"entity/id/{ann}"))["aliases"]] == [kept["id"]]
    assert (await server.call("list", "identity/entity-alias/id")).data["keys"] == [kept["id"]]
    assert (await server.read(f"group/id/{group}"))["alias"] == {}
    assert not [key for key in await server.keys_stored() if server.accessor() in key]
