"""Entities by id and by name."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied


async def test_what_is_not_given_stays(server):
    id_ = await server.entity("Ann", metadata={"a": "b"}, policies=["X", " y ", "x"])
    assert await server.write("entity", name="ann", disabled=True) == {}
    shown = await server.read(f"entity/id/{id_}")
    assert shown["metadata"] == {"a": "b"}
    assert list(shown["policies"]) == ["x", "y"]
    assert (shown["disabled"], shown["name"], shown["namespace_id"]) == (True, "ann", "root")


async def test_names_are_one_whatever_their_case_and_are_free_again_after_a_change(server):
    id_ = await server.entity("Ann/of the/North")
    assert (await server.read("entity/name/ANN/of the/north"))["id"] == id_
    other = await server.entity("eve")
    with pytest.raises(InvalidRequest, match="already in use"):
        await server.write(f"entity/id/{other}", name="ann/of the/north")
    await server.write(f"entity/id/{id_}", name="ann")
    await server.write(f"entity/id/{other}", name="Ann/of the/North")
    assert (await server.read("entity/name/ann"))["id"] == id_


async def test_last_update_moves_and_creation_stays(server):
    id_ = await server.entity("ann")
    server.clock.advance(60)
    await server.write(f"entity/id/{id_}", policies=["a"])
    shown = await server.read(f"entity/id/{id_}")
    assert shown["creation_time"] < shown["last_update_time"]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"id": "none"}, "entity not found from id"),
        ({"policies": ["a", "ROOT"]}, "cannot contain root"),
        ({"metadata": {str(n): "v" for n in range(65)}}, "more than 64"),
        ({"metadata": {"a" * 129: "v"}}, "key is too long"),
        ({"metadata": {"a": "v" * 513}}, "value is too long"),
        ({"metadata": {"": "v"}}, "key cannot be blank"),
        ({"metadata": {"é": "v"}}, "invalid characters"),
    ],
)
async def test_what_is_refused_leaves_nothing(server, data, match):
    before = await server.keys_stored()
    with pytest.raises(InvalidRequest, match=match):
        await server.write("entity", name="ann", **data)
    assert await server.keys_stored() == before


async def test_deleting_leaves_nothing_behind(server):
    before = set(await server.keys_stored("namespaces/root/identity/"))
    id_ = await server.login("ann")
    group = await server.group("g", member_entity_ids=[id_])
    await server.call("delete", f"identity/entity/id/{id_}")
    assert (await server.read(f"group/id/{group}"))["member_entity_ids"] is None
    await server.call("delete", "identity/group/name/g")
    assert set(await server.keys_stored("namespaces/root/identity/")) == before
    with pytest.raises(NotFound):
        await server.read(f"entity/id/{id_}")
    await server.call("delete", f"identity/entity/id/{id_}")


async def test_many_are_deleted_at_once(server):
    ids = [await server.entity(name) for name in "abc"]
    await server.write("entity/batch-delete", entity_ids=[ids[0], "none", ids[2]])
    assert (await server.call("list", "identity/entity/id")).data["keys"] == [ids[1]]


async def test_lists(server):
    for kind in ("id", "name"):
        with pytest.raises(NotFound):
            await server.call("list", f"identity/entity/{kind}")
    ids = sorted([await server.entity(f"e{n}") for n in range(5)])
    ann = await server.login("ann")
    listed = (await server.call("list", "identity/entity/id")).data
    assert listed["keys"] == sorted([*ids, ann])
    (alias,) = listed["key_info"][ann]["aliases"]
    assert (alias["name"], alias["mount_accessor"]) == ("ann", server.accessor())
    assert set(listed["key_info"][ids[0]]) == {"name"}
    names = (await server.call("list", "identity/entity/name")).data["keys"]
    assert {"e0", "e4"} < set(names)
    assert len(names) == 6


async def test_policies_decide_who_may(server):
    token = await server.token(["default"])
    for op, path in (("update", "entity"), ("read", "entity/name/x"), ("list", "entity/id"), ("delete", "entity/id/x")):
        with pytest.raises(PermissionDenied):
            await server.call(op, f"identity/{path}", token=token)


async def test_nothing_is_lost_when_the_server_seals(server):
    id_ = await server.login("ann", alias_meta={"a": "b"})
    await server.group("g", member_entity_ids=[id_], policies=["p"])
    before = await server.read(f"entity/id/{id_}")
    await server.seal()
    await server.unseal()
    assert await server.read(f"entity/id/{id_}") == before
    assert await server.node.identity.policies(server.node.store, id_) == ("p",)


async def test_an_older_store_gets_the_mount_when_it_is_opened(server):
    entry = server.node.router.get("identity/").entry
    await server.node.store.run(lambda txn: _forget(txn, "namespaces/root/" + entry.key))
    await server.seal()
    await server.unseal()
    mounts = (await server.call("read", "sys/mounts")).data
    assert mounts["identity/"]["description"] == "identity store"
    assert [path for path in mounts if path == "cubbyhole/"] == ["cubbyhole/"]


async def _forget(txn, key):
    txn.delete(key)
