"""Leases end: with their token, by hand, and in spite of failures."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, StoreError
from caveau.server.lease import ATTEMPTS, retry_delay
from caveau.server.lease_index import escape
from caveau.server.mounts import MountEntry
from caveau.storage.inmem import InmemStore
from caveau.tests.server.leasing import Codes, alive, give, lookup, mount, serve


@pytest.fixture
async def codes(db):
    """The engine at ``codes/``, whose leases are in the store alone."""
    db.core.own_engines["codes"] = Codes
    entry = MountEntry.new("codes/", "codes")
    mounted = await db.node.store.run(lambda txn: db.node.enable(txn, entry, txn.on_commit))
    return mounted.engine


# Tokens


async def test_leases_end_with_their_token(db):
    token = await db.token(["all"], ttl="10m")
    other = await give(db)
    mine = [await give(db, token=token) for _ in range(3)]
    child = await db.token(["all"], by=token)
    mine.append(await give(db, token=child))
    await db.call("update", "auth/token/revoke", {"token": token})
    await db.reap()
    assert db.users.present == {"u1"}
    assert await alive(db, other)
    assert not any([await alive(db, id_) for id_ in mine])


async def test_leases_end_when_their_token_expires(db):
    token = await db.token(["all"], ttl="10m")
    await give(db, token=token)
    db.clock.advance(601)
    await db.reap()
    await db.reap()
    assert db.users.present == set()


async def test_a_token_of_many_leases_ends_at_once_and_they_after_it(db):
    token = await db.token(["all"])
    for _ in range(600):
        await give(db, token=token)
    await db.call("update", "auth/token/revoke", {"token": token})
    assert not await db.alive(token)
    await db.reap()
    assert db.users.present == set()
    assert not await db.keys_stored("namespaces/root/sys/lease/token/")


async def test_a_lease_of_a_batch_token_does_not_outlive_it(db):
    token = await db.token(["all"], type="batch", ttl="100s")
    answer = await db.call("read", "db/creds/web", token=token)
    assert answer.lease_duration == 100
    db.clock.advance(40)
    renewed = await db.call("update", "sys/leases/renew", {"lease_id": answer.lease_id, "increment": 500})
    assert renewed.lease_duration == 60


async def test_a_lease_of_a_batch_token_ends_with_its_parent(db):
    parent = await db.token(["all"])
    batch = await db.token(["all"], by=parent, type="batch")
    await give(db, token=batch)
    await db.call("update", "auth/token/revoke", {"token": parent})
    await db.reap()
    assert db.users.present == set()


async def test_a_token_is_a_lease_too(db):
    token = await db.token(["default"], ttl="1h")
    (name,) = (await db.call("list", "sys/leases/lookup/auth/token/create")).data["keys"]
    shown = await lookup(db, f"auth/token/create/{name}")
    assert (shown["path"], shown["ttl"], shown["renewable"]) == ("auth/token/create", 3600, True)
    with pytest.raises(InvalidRequest, match="tokens cannot be renewed through this endpoint"):
        await db.call("update", "sys/leases/renew", {"lease_id": shown["id"]})
    await db.call("update", "sys/leases/revoke", {"lease_id": shown["id"]})
    assert not await db.alive(token)
    with pytest.raises(NotFound):
        await db.call("list", "sys/leases/lookup/auth/token/create")


async def test_revoking_the_prefix_of_a_login_path_ends_its_tokens(db):
    tokens = [await db.token(["default"]) for _ in range(3)]
    await db.call("update", "sys/leases/revoke-prefix/auth/token/create")
    assert [await db.alive(token) for token in tokens] == [False] * 3
    assert await db.alive(db.root)


# Revocation


async def test_revocation_takes_back_and_forgets(db):
    for path, data in (("sys/leases/revoke", True), ("sys/revoke", True), ("sys/leases/revoke/", False)):
        id_ = await give(db)
        await db.call("update", path if data else path + id_, {"lease_id": id_} if data else {})
        assert not await alive(db, id_)
        assert db.users.present == set()
    assert await db.call("update", "sys/leases/revoke", {"lease_id": "no/such/lease"})


async def test_a_failed_revocation_is_told_and_the_lease_stays(db):
    id_ = await give(db)
    db.users.broken = "connection refused"
    with pytest.raises(InvalidRequest, match="failed to revoke entry: connection refused"):
        await db.call("update", "sys/leases/revoke", {"lease_id": id_})
    assert (await lookup(db, id_))["ttl"] == 3600


async def test_revocation_in_the_background(db):
    id_ = await give(db)
    answer = await db.call("update", "sys/leases/revoke", {"lease_id": id_, "sync": False})
    assert answer.status == 202
    assert (await lookup(db, id_))["ttl"] == 0
    await db.reap()
    assert db.users.present == set()


async def test_revocation_of_all_under_a_prefix(db):
    for path in ("db/creds/a", "db/creds/a", "db/creds/b", "db/creds/ab"):
        await give(db, path)
    await db.call("update", "sys/leases/revoke-prefix/db/creds/a")
    assert db.users.present == {"u3", "u4"}
    await db.call("update", "sys/leases/revoke-prefix/db/cre")
    assert db.users.present == {"u3", "u4"}
    answer = await db.call("update", "sys/revoke-prefix/db", {"sync": False})
    db.clock.advance(0.01)
    await give(db)
    await db.reap()
    assert answer.status == 202
    assert db.users.present == {"u5"}  # given after the request


async def test_force_forgets_what_cannot_be_taken_back(db):
    for _ in range(3):
        await give(db)
    db.users.broken = "gone for good"
    with pytest.raises(InvalidRequest, match=r'failed to revoke "db/creds/web/\w+" \(3 / 3\): .*gone for good'):
        await db.call("update", "sys/leases/revoke-prefix/db")
    await db.call("update", "sys/leases/revoke-force/db")
    with pytest.raises(NotFound):
        await db.call("list", "sys/leases/lookup/db")


async def test_a_disabled_engine_takes_its_leases_with_it(db):
    await give(db)
    db.users.broken = "connection refused"
    with pytest.raises(InvalidRequest, match="connection refused"):
        await db.call("delete", "sys/mounts/db")
    db.users.broken = ""
    await db.call("delete", "sys/mounts/db")
    assert db.users.present == set()
    assert db.node.leases.count("db/") == 0


async def test_a_moved_engine_leaves_its_leases_behind(db):
    await give(db)
    await db.call("update", "sys/remount", {"from": "db", "to": "db2"})
    assert db.users.present == set()


# Failures


async def irrevocable(db, count=1):
    await db.node.leases.index.count_all()
    ids = [await give(db, ttl=60) for _ in range(count)]
    db.users.broken = "no route to host"
    db.clock.advance(60)
    for _ in range(ATTEMPTS):
        await db.reap()
        db.clock.advance(10_000)
    return ids


async def test_a_failed_revocation_is_tried_again_ever_later_and_at_last_given_up(db):
    id_ = await give(db, ttl=60)
    db.users.broken = "no route to host"
    db.clock.advance(60)
    waits, waited = [], 0
    while db.users.users.get("u1", 0) < ATTEMPTS:
        before = db.users.users.get("u1", 0)
        await db.reap()
        if db.users.users["u1"] > before:
            waits.append(waited)
            waited = 0
        db.clock.advance(1)
        waited += 1
    assert waits == [0, 10, 20, 40, 80, 160]
    db.clock.advance(1_000_000)
    await db.reap()
    assert db.users.users["u1"] == ATTEMPTS
    shown = await lookup(db, id_)
    assert (shown["ttl"], shown["renewable"]) == (0, False)
    assert "no route to host" in shown["revoke_error"]


def test_retries_are_spread():
    assert [retry_delay(1, luck) for luck in (0.0, 0.5, 1.0)] == [7.5, 10.0, 12.5]


async def test_irrevocable_leases_are_listed_and_counted(db):
    ids = await irrevocable(db, 3)
    accessor = db.node.router.get("db/").entry.accessor
    listed = (await db.call("read", "sys/leases", {"type": "irrevocable"})).data
    assert listed["lease_count"] == 3
    assert sorted(lease["lease_id"] for lease in listed["leases"]) == sorted(ids)
    assert {lease["mount_id"] for lease in listed["leases"]} == {accessor}
    assert "no route to host" in listed["leases"][0]["error"]
    some = await db.call("read", "sys/leases", {"type": "irrevocable", "limit": "2"})
    assert (some.data["lease_count"], bool(some.warnings)) == (2, True)
    counted = (await db.call("read", "sys/leases/count", {"type": "irrevocable"})).data
    assert counted == {"lease_count": 3, "counts": {accessor: 3}}
    assert db.node.namespaces.leases.irrevocable == 3
    with pytest.raises(NotFound):
        await db.call("read", "sys/leases", {"type": "other"})
    with pytest.raises(InvalidRequest, match="limit must be 'none' or a positive integer"):
        await db.call("read", "sys/leases", {"type": "irrevocable", "limit": "-1"})


async def test_an_irrevocable_lease_can_be_revoked_once_its_engine_is_well(db):
    first, second, third = await irrevocable(db, 3)
    db.users.broken = ""
    await db.call("update", "sys/leases/revoke", {"lease_id": first})
    await db.call("update", "sys/leases/revoke", {"lease_id": second, "sync": False})
    await db.reap()
    assert not await alive(db, second)
    db.users.broken = "again"
    await db.call("update", f"sys/leases/revoke-force/{third}")
    assert (await db.call("read", "sys/leases", {"type": "irrevocable"})).data["lease_count"] == 0
    assert db.node.namespaces.leases.irrevocable == 0
    assert db.node.namespaces.leases.total == 0
    assert not await db.keys_stored("namespaces/root/sys/lease/i")


async def test_one_engine_that_hangs_does_not_hold_up_others(db):
    other = await mount(db, "db2/")
    for _ in range(40):
        await give(db, ttl=10)
    for _ in range(40):
        await give(db, "db2/creds/x", ttl=20)
    gate = asyncio.Event()

    async def hang(req, lease):
        await gate.wait()

    db.users.drop = hang
    db.clock.advance(30)
    await db.node.expiry.start(db.clock.time())
    for _ in range(200):
        if not other.present:
            break
        await asyncio.sleep(0)
    assert other.present == set()
    assert len(db.users.present) == 40
    gate.set()
    await db.reap()


async def code(db):
    return (await db.call("update", "codes/code/x")).lease_id


async def codes_left(db):
    return await db.node.storage(db.node.store, "codes/").list("code/")


async def test_leases_of_the_store_alone_end_though_one_of_them_cannot(db, codes):
    ids = [await code(db) for _ in range(5)]
    codes.broken = "3"
    db.clock.advance(61)
    await db.reap()
    assert await codes_left(db) == ["3"]
    assert (await db.node.leases.get(db.node.store, ids[2])).failures == 1
    codes.broken = ""
    db.clock.advance(15)
    await db.reap()
    assert await codes_left(db) == []
    assert not await db.keys_stored("namespaces/root/sys/lease/")
    assert not await db.keys_stored("namespaces/root/sys/expire/")


async def test_a_lease_of_the_store_alone_that_was_renewed_lives_on(db, codes):
    id_ = await code(db)
    await db.call("update", "sys/leases/renew", {"lease_id": id_, "increment": 3600})

    async def stale(txn):
        db.node.expiry.add(txn, db.clock.time() + 1, "lease", escape(id_))

    await db.node.store.run(stale)
    db.clock.advance(61)
    await db.reap()
    assert await codes_left(db) == ["1"]
    assert await alive(db, id_)


async def test_a_server_killed_while_it_revokes_goes_on_after_the_next_unseal(db):
    token = await db.token(["all"])
    for _ in range(30):
        await give(db, token=token)
    reached = asyncio.Event()

    async def hang(req, lease):
        if int(lease.internal["user"][1:]) % 2:
            db.users.present.discard(lease.internal["user"])
        else:
            reached.set()
            await asyncio.Event().wait()

    users = db.users
    users.drop = hang
    await db.call("update", "auth/token/revoke", {"token": token})
    work = asyncio.create_task(db.reap())
    await reached.wait()
    await db.seal()  # nothing of what is under way is stored
    work.cancel()
    await db.unseal()
    left = db.node.router.get("db/").engine
    await db.reap()
    assert set(left.users) >= {f"u{n}" for n in range(2, 31, 2)}
    assert not await db.keys_stored("namespaces/root/sys/lease/token/")
    with pytest.raises(NotFound):
        await db.call("list", "sys/leases/lookup/db")


async def test_a_store_that_fails_is_no_fault_of_the_lease():
    class Failing(InmemStore):
        broken = False

        def commit(self, batch):
            if self.broken:
                done = asyncio.get_running_loop().create_future()
                done.set_exception(StoreError("the disk is full"))
                return done
            return super().commit(batch)

    server, users = await serve(Failing())
    id_ = (await server.call("read", "db/creds/web", {"ttl": 60})).lease_id
    server.clock.advance(61)
    server.store.broken = True
    with pytest.raises(StoreError):
        await server.reap()
    server.store.broken = False
    entry = await server.node.leases.get(server.node.store, id_)
    assert entry.failures == 0
    await server.reap()
    assert users.present == set()
    await server.core.stop()


async def test_tidy_revokes_what_has_outlived_its_token(db):
    token = await db.token(["all"])
    id_ = await give(db, token=token)
    key = db.node.tokens.hash(token)

    async def lose(txn):
        txn.delete(f"namespaces/root/sys/token/id/{key}")

    await db.node.store.run(lose)
    first, second = await asyncio.gather(*(db.call("update", "sys/leases/tidy") for _ in range(2)))
    assert (first.status, second.warnings) == (202, ["Tidy operation already in progress."])
    await asyncio.gather(*(task for task in db.node._tasks if task.get_name() == "tidy leases"))
    await db.reap()
    assert not await alive(db, id_)
    with pytest.raises(NotFound):
        await db.call("list", "sys/leases/lookup/auth")


# Namespaces


@pytest.fixture
async def below(db):
    """The engine, mounted at ``db/`` of the namespace ``n1/`` too."""
    spaces = db.node.namespaces
    made = await db.node.store.run(lambda txn: spaces.create(txn, db.node, "n1", {}, txn.on_commit, "some-uuid"))
    users = await mount(db, node=await spaces.node(made))
    users.namespace = made
    return users


async def test_a_token_ends_the_leases_it_took_in_a_namespace_below(db, below):
    token = await db.token(["root"])
    answer = await db.call("read", "db/creds/web", {}, token, namespace="n1/")
    assert answer.lease_id.startswith("db/creds/web/")
    assert below.present == {"u1"}
    await db.call("update", "auth/token/revoke", {"token": token})
    await db.reap()
    assert below.present == set()
    with pytest.raises(NotFound):
        await db.call("list", "sys/leases/lookup/db", namespace="n1/")


async def test_a_deleted_namespace_takes_back_what_was_given_in_it(db, below):
    await db.call("read", "db/creds/web", {}, namespace="n1/")
    spaces = db.node.namespaces
    await db.node.store.run(lambda txn: spaces.delete(txn, below.namespace, txn.on_commit))
    await asyncio.gather(*spaces._deletions)
    assert below.present == set()
