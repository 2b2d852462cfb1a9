"""Leases: how they are given, renewed, listed and counted."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, Unavailable
from caveau.tests.server.leasing import alive, give, lookup

# Giving


async def test_a_secret_with_a_lease_tells_of_it_in_the_envelope(db):
    answer = await db.call("read", "db/creds/web")
    head, _, tail = answer.lease_id.rpartition("/")
    assert (head, len(tail), tail.isalnum()) == ("db/creds/web", 24, True)
    assert (answer.renewable, answer.lease_duration, answer.data) == (True, 3600, {"user": "u1"})
    shown = await lookup(db, answer.lease_id)
    assert shown == {
        "id": answer.lease_id, "path": "db/creds/web", "renewable": True, "ttl": 3600, "last_renewal": None,
        "issue_time": "2025-06-15T15:06:40Z", "expire_time": "2025-06-15T16:06:40Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "ttl", "warned"),
    [
        ({}, 3600, False),
        ({"ttl": 60}, 60, False),
        ({"ttl": 7200, "max_ttl": 5000}, 5000, True),
        ({"ttl": 90000}, 36000, True),
        ({"max_ttl": 100}, 100, True),
    ],
)
async def test_a_lease_is_bounded_by_role_and_mount(db, asked, ttl, warned):
    answer = await db.call("read", "db/creds/web", asked)
    assert answer.lease_duration == ttl
    assert bool(answer.warnings) == warned


async def test_the_secret_ends_with_its_lease(db):
    await give(db, ttl=60)
    db.clock.advance(59)
    await db.reap()
    assert db.users.present == {"u1"}
    db.clock.advance(1)
    await db.reap()
    assert db.users.present == set()


async def test_nothing_of_a_lease_is_left(db):
    before = set(await db.plain())
    await give(db, ttl=60)
    await db.call("update", "db/inner/x", {"ttl": 60})
    db.clock.advance(60)
    await db.reap()
    assert set(await db.plain()) == before


async def test_what_came_due_while_sealed_is_revoked_after_unsealing(db):
    await give(db, ttl=60)
    users = db.users
    await db.seal()
    db.clock.advance(61)
    await db.unseal()
    await db.reap()
    fresh = db.node.router.get("db/").engine
    assert fresh is not users
    assert fresh.users == {"u1": 1}


async def test_a_secret_that_could_not_be_stored_is_taken_back(db):
    async def meddle():
        async def write(txn):
            txn.put(db.node.router.get("db/").prefix + "clash", b"theirs")

        await db.node.store.run(write)

    db.users.meddle = meddle
    with pytest.raises(Unavailable):
        await db.call("read", "db/clash/web")
    assert db.users.made == 1  # not made again
    await db.reap()
    assert db.users.users == {"u1": 1}
    assert db.users.present == set()


async def test_the_last_use_of_a_token_gives_no_lease(db):
    token = await db.token(["all"], num_uses=1)
    with pytest.raises(InvalidRequest, match="token had one use left"):
        await give(db, token=token)
    await db.reap()
    assert db.users.present == set()


async def test_a_wrapped_secret_has_its_lease_inside(db):
    wrapped = await db.call("read", "db/creds/web", wrap_ttl=60.0)
    assert not wrapped.lease_id
    inner = await db.call("update", "sys/wrapping/unwrap", {"token": wrapped.wrap_info.token})
    assert await alive(db, inner.data["lease_id"])
    assert inner.data["lease_duration"] == 3600


# Renewal


async def test_renewal_gives_what_was_asked_within_bounds(db):
    id_ = await give(db, ttl=100, max_ttl=1000)

    async def renew(**params):
        return await db.call("update", "sys/leases/renew", {"lease_id": id_, **params})

    db.clock.advance(10)
    assert (await renew()).lease_duration == 100
    assert (await renew(increment=20)).lease_duration == 20
    assert (await renew()).lease_duration == 100  # what the role gives, not what was given last
    capped = await renew(increment=5000)
    assert capped.lease_duration == 990
    assert capped.warnings == [
        'TTL of "1h23m20s" exceeded the effective max_ttl of "16m30s"; TTL value is capped accordingly'
    ]
    assert db.users.renewals == [100, 20, 100, 990]
    assert (await lookup(db, id_))["last_renewal"] == "2025-06-15T15:06:50Z"
    db.clock.advance(101)
    await db.reap()
    assert await alive(db, id_)


async def test_the_path_may_carry_the_id_and_the_body_wins(db):
    id_ = await give(db, ttl=100)
    for path in (f"sys/leases/renew/{id_}", f"sys/renew/{id_}"):
        assert (await db.call("update", path, {"increment": "30s"})).lease_duration == 30
    with pytest.raises(InvalidRequest, match="lease not found"):
        await db.call("update", f"sys/leases/renew/{id_}", {"lease_id": "other"})


@pytest.mark.parametrize(("path", "runs"), [("db/creds/web", 1), ("db/inner/web", 2)])
async def test_only_renewals_within_the_store_run_again(db, path, runs):
    """An engine that tells another system of the new end is not asked twice for one request."""
    answer = await db.call("read" if "creds" in path else "update", path, {"ttl": 100})

    async def meddle():
        db.users.meddle = nothing
        await db.node.leases.renew(answer.lease_id, 7)

    nothing, db.users.meddle = db.users.meddle, meddle
    renewal = db.call("update", f"sys/leases/renew/{answer.lease_id}", {"increment": 20})
    if runs == 1:
        with pytest.raises(Unavailable):
            await renewal
    else:
        assert (await renewal).lease_duration == 20
    assert db.users.renewals == [20, 7] + [20] * (runs - 1)


async def test_what_cannot_be_renewed_says_why(db):
    fixed = await give(db, renewable=False)
    brief = await give(db, ttl=10)
    db.clock.advance(10)
    for id_, reason in ((fixed, "lease is not renewable"), (brief, "lease expired"), ("x", "lease not found"),
                        ("", "lease_id must be specified")):  # fmt: skip
        with pytest.raises(InvalidRequest, match=reason):
            await db.call("update", "sys/leases/renew", {"lease_id": id_})


async def test_a_mount_whose_maximum_was_lowered_renews_no_further(db):
    id_ = await give(db)
    await db.call("update", "sys/mounts/db/tune", {"default_lease_ttl": 60, "max_lease_ttl": 60})
    db.clock.advance(61)
    with pytest.raises(InvalidRequest, match="past the max TTL, cannot renew"):
        await db.call("update", "sys/leases/renew", {"lease_id": id_})


# Listing and counting


async def test_leases_are_listed_as_a_tree(db):
    id_ = await give(db)
    assert (await db.call("list", "sys/leases/lookup")).data["keys"] == ["db/"]
    assert (await db.call("list", "sys/leases/lookup/db")).data["keys"] == ["creds/"]
    assert (await db.call("list", "sys/leases/lookup/db/creds/web")).data["keys"] == [id_.rpartition("/")[2]]
    with pytest.raises(NotFound):
        await db.call("list", "sys/leases/lookup/none")


async def test_counts_by_mount_follow_what_happens_and_survive_sealing(db):
    await db.node.leases.index.count_all()
    ids = [await give(db, f"db/creds/r{n % 5}") for n in range(600)]
    await db.token(["default"])
    assert (db.node.leases.count("db/"), db.node.leases.count("auth/token/")) == (600, 1)
    for id_ in ids[:100]:
        await db.call("update", "sys/leases/revoke", {"lease_id": id_})
    assert db.node.leases.total == 501
    await db.seal()
    await db.unseal()
    counting = asyncio.create_task(db.node.leases.index.count_all())
    for id_ in ids[100:200]:  # while it counts
        await db.call("update", "sys/leases/revoke", {"lease_id": id_})
        await give(db, "db/creds/aaa")
        await asyncio.sleep(0)
    await counting
    assert db.node.leases.index.counts == {"db/": 500, "auth/token/": 1}
