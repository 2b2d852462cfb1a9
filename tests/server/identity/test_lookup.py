"""Looking up an entity or a group."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest


@pytest.mark.parametrize("kind", ["entity", "group"])
async def test_every_way_finds_it_and_says_nothing_when_there_is_none(server, kind):
    where = {"mount_accessor": server.accessor()}
    if kind == "entity":
        id_ = await server.entity("ann")
        alias = await server.write("entity-alias", name="al", canonical_id=id_, **where)
    else:
        id_ = await server.group("ann", type="external")
        alias = await server.write("group-alias", name="al", canonical_id=id_, **where)
    ways = (
        {"id": id_},
        {"name": "ANN"},
        {"alias_id": alias["id"]},
        {"alias_name": "AL", "alias_mount_accessor": server.accessor()},
    )
    for way in ways:
        assert await server.write(f"lookup/{kind}", **way) == await server.read(f"{kind}/id/{id_}")
        first = next(iter(way))
        assert await server.write(f"lookup/{kind}", **(way | {first: "none"})) == {}


@pytest.mark.parametrize("kind", ["entity", "group"])
async def test_one_way_and_one_only(server, kind):
    for data, match in (
        ({}, "not supplied"),
        ({"id": "a", "name": "b"}, "conflict"),
        ({"alias_name": "a"}, "needs to be set"),
        ({"alias_mount_accessor": "a", "name": "b"}, "needs to be set"),
    ):
        with pytest.raises(InvalidRequest, match=match):
            await server.write(f"lookup/{kind}", **data)
