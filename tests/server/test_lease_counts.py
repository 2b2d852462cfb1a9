"""How many leases and tokens there may be."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, RateLimited
from caveau.tests.server.leasing import serve

COUNT = "sys/quotas/lease-count"


@pytest.fixture
async def db():
    server, server.users = await serve()
    await server.node.leases.index.count_all()
    yield server
    await server.core.stop()


async def test_a_limit_from_creation_to_deletion(db):
    with pytest.raises(NotFound):
        await db.call("list", COUNT)
    await db.call("update", f"{COUNT}/q", {"max_leases": 5, "path": "db"})
    await db.call("read", "db/creds/a")
    assert (await db.call("read", f"{COUNT}/q")).data == {
        "name": "q", "type": "lease-count", "path": "db/", "role": "", "inheritable": False,
        "max_leases": 5, "counter": 1,
    }  # fmt: skip
    await db.seal()
    await db.unseal()
    assert (await db.call("list", COUNT)).data == {"keys": ["q"]}
    await db.call("delete", f"{COUNT}/q")
    with pytest.raises(NotFound):
        await db.call("read", f"{COUNT}/q")
    assert not db.core.quotas.limits_leases


@pytest.mark.parametrize(
    "data", [{}, {"max_leases": 0}, {"max_leases": -1}, {"max_leases": 1, "path": "none"},
             {"max_leases": 1, "path": "db", "role": "a"}, {"max_leases": 1, "path": "auth/token", "role": "a"}],
)  # fmt: skip
async def test_what_is_refused(db, data):
    with pytest.raises(InvalidRequest):
        await db.call("update", f"{COUNT}/q", data)


async def test_a_lease_too_many_is_refused_and_undone(db):
    await db.call("update", f"{COUNT}/q", {"max_leases": 2, "path": "db"})
    leases = [(await db.call("read", "db/creds/a")).lease_id for _ in range(2)]
    with pytest.raises(RateLimited, match='request path "db/creds/a": lease count quota exceeded'):
        await db.call("read", "db/creds/a")
    while await db.reap():
        pass
    assert len(db.users.present) == 2  # what the engine had made for the third is taken back
    await db.call("update", "sys/leases/revoke", {"lease_id": leases[0], "sync": True})
    await db.call("read", "db/creds/a")
    text = (await db.call("read", "sys/metrics", {"format": "prometheus"})).body.decode()
    assert 'vault_quota_lease_count_violation{name="q"} 1' in text
    assert 'quota_lease_count_counter{name="q"} 2' in text


async def test_a_token_too_many(db):
    await db.call("update", f"{COUNT}/q", {"max_leases": 1, "path": "auth/token"})
    await db.token(["default"])
    for params in ({}, {"type": "batch"}):
        with pytest.raises(RateLimited):
            await db.token(["default"], **params)
    await db.token(["root"])  # there is always a way in
    await db.call("read", "db/creds/a")


async def test_a_login_too_many(db):
    await db.call("update", "sys/auth/userpass", {"type": "userpass"})
    await db.call("update", "auth/userpass/users/ann", {"password": "pass"})
    await db.call("update", f"{COUNT}/q", {"max_leases": 1, "path": "auth/userpass"})
    login = {"password": "pass"}
    token = (await db.call("update", "auth/userpass/login/ann", login, "")).auth["client_token"]
    with pytest.raises(RateLimited, match="lease count quota exceeded"):
        await db.call("update", "auth/userpass/login/ann", login, "")
    await db.call("update", "auth/token/revoke", {"token": token})
    await db.call("update", "auth/userpass/login/ann", login, "")


async def test_all_leases_of_the_server(db):
    await db.call("update", f"{COUNT}/q", {"max_leases": 2})
    await db.call("read", "db/creds/a")
    await db.token(["default"])
    with pytest.raises(RateLimited):
        await db.call("read", "db/creds/a")
    await db.call("update", f"{COUNT}/db", {"max_leases": 10, "path": "db"})  # the more specific one applies
    await db.call("read", "db/creds/a")


async def _refused(db, op, path, **data):
    with pytest.raises(RateLimited):
        await db.call(op, path, data)


async def _count(db, name="q"):
    return (await db.call("read", f"{COUNT}/{name}")).data["counter"]


async def test_a_path_in_a_mount(db):
    for name in ("a", "b", "ab"):
        await db.call("read", f"db/creds/{name}")
    await db.call("update", f"{COUNT}/q", {"max_leases": 2, "path": "db/creds/a"})
    assert await _count(db) == 1  # what was there before, and no other path
    kept = await db.call("read", "db/creds/a")
    await _refused(db, "read", "db/creds/a")
    await db.call("read", "db/creds/b")
    await db.call("read", "db/creds/ab")
    await db.call("update", "sys/leases/revoke", {"lease_id": kept.lease_id, "sync": True})
    assert await _count(db) == 1
    await db.call("read", "db/creds/a")
    await _refused(db, "read", "db/creds/a")
    await db.seal()
    await db.unseal()
    await _refused(db, "read", "db/creds/a")  # also right after a start
    assert (
        'quota_lease_count_counter{name="q"} 2'
        in (await db.call("read", "sys/metrics", {"format": "prometheus"})).body.decode()
    )


async def test_paths_that_begin_alike(db):
    await db.call("update", f"{COUNT}/q", {"max_leases": 2, "path": "db/creds/we*"})
    await db.call("read", "db/creds/web")
    await db.call("read", "db/creds/west")
    await db.call("read", "db/creds/w")
    await _refused(db, "read", "db/creds/web")
    await db.call("update", f"{COUNT}/web", {"max_leases": 2, "path": "db/creds/web"})  # more specific
    await db.call("read", "db/creds/web")
    assert (await _count(db), await _count(db, "web")) == (3, 2)
    await db.call("update", f"{COUNT}/q", {"max_leases": 4, "path": "db/creds/we*"})
    assert await _count(db) == 3
    await db.call("delete", f"{COUNT}/q")
    await db.call("delete", f"{COUNT}/web")
    assert not db.node.leases.index.watches


async def test_a_path_of_token_creation(db):
    await db.call("update", f"{COUNT}/q", {"max_leases": 1, "path": "auth/token/create"})
    await db.token(["default"])
    with pytest.raises(RateLimited):
        await db.token(["default"])
    await db.token(["default"], at="auth/token/create-orphan")


async def test_a_role_of_logins(db):
    await db.call("update", "sys/auth/approle", {"type": "approle"})
    for role in ("a", "b"):
        await db.call("update", f"auth/approle/role/{role}", {"role_id": role, "bind_secret_id": False,
                                                              "token_bound_cidrs": "127.0.0.0/8"})  # fmt: skip

    async def log_in(role):
        return (await db.call("update", "auth/approle/login", {"role_id": role}, "")).auth["client_token"]

    await log_in("a")  # nobody had to know for which role
    await db.call("update", f"{COUNT}/q", {"max_leases": 2, "path": "auth/approle", "role": "a"})
    first = await log_in("a")
    await log_in("b")
    await log_in("a")
    for _ in range(2):
        with pytest.raises(RateLimited):
            await log_in("a")
        await log_in("b")
        await db.seal()
        await db.unseal()
    assert await _count(db) == 2
    await db.call("update", "auth/token/revoke", {"token": first})
    assert await _count(db) == 1
    await log_in("a")
    assert await _count(db) == 2


async def test_a_quota_of_a_namespace_that_nobody_has_used(db):
    await db.call("update", "sys/namespaces/ns")
    await db.call("update", "ns/sys/auth/approle", {"type": "approle"})
    await db.call("update", f"{COUNT}/q", {"max_leases": 2, "path": "ns/auth/approle", "role": "a"})
    await db.seal()
    await db.unseal()
    assert await _count(db) == 0


async def test_leases_that_come_while_a_quota_counts(db):
    for number in range(3):
        await db.call("read", f"db/creds/{number}")
    index = db.node.leases.index
    walk, met = index.below, []

    async def added(txn):
        index.add(txn, "db/creds/0/zzz")

    async def below(prefix=""):
        async for id_ in walk(prefix):
            yield id_
            if not met:
                met.append(id_)
                await db.node.store.run(added)
                await db.call("update", "sys/leases/revoke-prefix/db/creds/1")
                await db.call("update", "sys/leases/revoke", {"lease_id": id_, "sync": True})

    index.below = below
    await db.call("update", f"{COUNT}/q", {"max_leases": 9, "path": "db/creds/*"})
    assert await _count(db) == 2
    index.below = walk
    db.node.leases.index.watches.clear()
    assert await _count(db) == 2
