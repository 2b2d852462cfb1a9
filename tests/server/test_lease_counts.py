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
    "data", [{}, {"max_leases": 0}, {"max_leases": -1}, {"max_leases": 1, "path": "db/creds/a"},
             {"max_leases": 1, "path": "none"}],
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
