"""Lockout: who fails too often is refused for a while, and nobody learns more from it."""

from __future__ import annotations

import asyncio

import pytest
from caveau.auth import userpass
from caveau.framework.errors import InvalidCredentials, InvalidRequest, PermissionDenied, StoreError
from caveau.server import lockout
from caveau.server.config.model import UserLockoutConfig
from caveau.tests.server.harness import Server

MINUTE = 60


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch):
    monkeypatch.setattr(userpass, "_COST", 4)
    monkeypatch.setattr(userpass, "_NOBODY", b"$2b$04$" + userpass._NOBODY[7:])


async def with_ann(**config):
    server = await Server(**config).start()
    await server.call("update", "sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "auth/userpass/users/ann", {"password": "right"})
    return server


@pytest.fixture
async def server():
    return await with_ann()


async def login(server, name="ann", password="right"):
    return await server.call("update", f"auth/userpass/login/{name}", {"password": password}, token="")


async def fail(server, times=1, name="ann"):
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            await login(server, name, "wrong")


async def locked(server, **params):
    return (await server.call("read", "sys/locked-users", params)).data


async def accessor(server):
    return (await server.call("read", "sys/auth/userpass")).data["accessor"]


async def tune(server, **settings):
    await server.call("update", "sys/auth/userpass/tune", {"user_lockout_config": settings})


async def test_five_failures_lock_out_for_a_quarter_of_an_hour(server):
    await fail(server, 4)
    await login(server)  # which makes an end of the row
    await fail(server, 5)
    with pytest.raises(PermissionDenied):
        await login(server, "ANN")
    server.clock.advance(15 * MINUTE - 1)
    with pytest.raises(PermissionDenied):
        await login(server)
    server.clock.advance(1)
    await login(server)


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_a_lockout_does_not_tell_who_exists(server, name):
    await fail(server, 5, name)
    with pytest.raises(PermissionDenied):
        await login(server, name, "wrong")


async def test_failures_that_lie_apart_do_not_add_up(server):
    for _ in range(10):
        await fail(server)
        server.clock.advance(15 * MINUTE)
    await login(server)


async def test_after_a_lockout_one_may_fail_again(server):
    await fail(server, 5)
    server.clock.advance(15 * MINUTE)
    await fail(server, 4)
    await login(server)


async def test_many_guesses_at_once_are_no_more_guesses(server):
    guesses = [login(server, password="right" if number == 40 else "wrong") for number in range(41)]
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(answer, InvalidCredentials) for answer in answers) == 5
    assert sum(isinstance(answer, PermissionDenied) for answer in answers) == 36


async def test_others_are_not_locked_out(server):
    await server.call("update", "auth/userpass/users/bob", {"password": "right"})
    await server.call("update", "sys/auth/other", {"type": "userpass"})
    await server.call("update", "auth/other/users/ann", {"password": "right"})
    await fail(server, 5)
    await login(server, "bob")
    await server.call("update", "auth/other/login/ann", {"password": "right"}, token="")


async def test_locked_users_are_listed_and_let_in_again(server):
    empty = await locked(server)
    assert empty == {
        "by_namespace": [{"namespace_id": "root", "namespace_path": "", "counts": 0, "mount_accessors": []}],
        "total": 0,
    }
    await fail(server, 5)
    await fail(server, 5, "nobody")  # is not a user
    of = await accessor(server)
    found = await locked(server)
    assert found["total"] == 1
    assert found["by_namespace"][0]["mount_accessors"] == [
        {"mount_accessor": of, "counts": 1, "alias_identifiers": ["ann"]}
    ]
    assert await locked(server, mount_accessor=of) == found
    assert (await locked(server, mount_accessor="other"))["total"] == 0
    await server.call("update", f"sys/locked-users/{of}/unlock/ann")
    await server.call("update", f"sys/locked-users/{of}/unlock/ann")  # of nobody: nothing happens
    assert await locked(server) == empty
    await login(server)


async def test_a_namespace_sees_its_own(server):
    mount, counts = server.node.router.get("auth/userpass/"), server.core.lockout
    for path in ("n1", "n2"):
        await server.call("update", f"sys/namespaces/{path}")
    namespaces = server.core.namespaces
    here, below, beside = [await namespaces.node(namespaces.at(path)) for path in ("", "n1/", "n2/")]
    for name, node in (("ann", here), ("zoe", below), ("bob", beside)):
        for _ in range(5):
            await counts.failed(node, mount, name, known=True)
    of = mount.entry.accessor

    def seen(node):
        return [(where.path, names) for where, names in counts.locked(node.namespace)]

    assert seen(here) == [("", {of: ["ann"]}), ("n1/", {of: ["zoe"]}), ("n2/", {of: ["bob"]})]
    assert seen(below) == [("n1/", {of: ["zoe"]})]
    await counts.unlock(below, of, "ann")  # not theirs
    await counts.unlock(below, of, "zoe")
    assert seen(here) == [("", {of: ["ann"]}), ("n2/", {of: ["bob"]})]


async def test_a_mount_has_its_own_rules(server):
    await tune(server, lockout_threshold=2, lockout_duration="1m")
    await tune(server, lockout_counter_reset_duration=30)  # what is not given stays
    shown = (await server.call("read", "sys/auth/userpass/tune")).data
    assert (shown["user_lockout_threshold"], shown["user_lockout_duration"]) == (2, 60)
    await fail(server)
    server.clock.advance(30)
    await fail(server)
    await login(server)
    await fail(server, 2)
    with pytest.raises(PermissionDenied):
        await login(server)
    server.clock.advance(60)
    await login(server)
    await tune(server, lockout_disable=True)
    await fail(server, 10)
    await login(server)


@pytest.mark.parametrize("settings", [{"lockout_threshold": -1}, {"lockout_duration": "x"}, {"lockout_treshold": 3}])
async def test_rules_that_are_refused(server, settings):
    with pytest.raises(InvalidRequest, match="user_lockout_config"):
        await tune(server, **settings)


async def test_the_configuration_has_rules_for_a_method_and_for_all():
    rules = {"all": UserLockoutConfig(lockout_threshold=1), "userpass": UserLockoutConfig(lockout_threshold=2)}
    server = await with_ann(user_lockouts=rules)
    await server.call("update", "sys/auth/approle", {"type": "approle"})
    await server.call("update", "auth/approle/role/r", {"role_id": "r"})
    await fail(server, 2)
    with pytest.raises(PermissionDenied):
        await login(server)
    for error in (InvalidCredentials, PermissionDenied):
        with pytest.raises(error):
            await server.call("update", "auth/approle/login", {"role_id": "r", "secret_id": "x"}, token="")


async def test_memory_is_bounded_and_a_flood_of_names_frees_no_user(server, monkeypatch):
    monkeypatch.setattr(lockout, "_UNKNOWN", 3)
    await fail(server, 5)
    for number in range(10):
        await fail(server, 1, f"nobody-{number}")
    assert len(server.core.lockout._unknown) == 3
    with pytest.raises(PermissionDenied):
        await login(server)


async def test_lockouts_in_a_namespace(server):
    await server.call("update", "sys/namespaces/n1")
    await server.call("update", "n1/sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "n1/auth/userpass/users/zoe", {"password": "right"})
    for error in (*[InvalidCredentials] * 5, PermissionDenied):
        with pytest.raises(error):
            await server.call("update", "n1/auth/userpass/login/zoe", {"password": "wrong"}, token="")
    for path in ("sys/locked-users", "n1/sys/locked-users"):
        (found,) = (await server.call("read", path)).data["by_namespace"]
        assert (found["namespace_path"], found["counts"]) == ("n1/", 1)
    of = (await server.call("read", "n1/sys/auth/userpass")).data["accessor"]
    await server.call("update", f"n1/sys/locked-users/{of}/unlock/zoe")
    await server.call("update", "n1/auth/userpass/login/zoe", {"password": "right"}, token="")


async def restarted(server):
    """Another server on the same store, unsealed."""
    await server.core.stop()
    fresh = Server(server.store)
    fresh.keys, fresh.root, fresh.clock = server.keys, server.root, server.clock
    fresh.core.clock = fresh.core.lockout._clock = server.clock
    await fresh.unseal()
    return fresh


async def records(server):
    return [key for key in await server.plain() if "sys/lockout/" in key]


async def test_a_lockout_survives_a_restart(server):
    await fail(server, 4)
    assert not await records(server)  # one that is none yet
    await fail(server)
    await fail(server, 5, "nobody")
    assert len(await records(server)) == 2
    server = await restarted(server)
    for name in ("ann", "nobody"):
        with pytest.raises(PermissionDenied):
            await login(server, name, "wrong")
    assert (await locked(server))["total"] == 1
    server.clock.advance(15 * MINUTE - 1)
    with pytest.raises(PermissionDenied):
        await login(server)
    server.clock.advance(1)
    await login(server)
    assert len(await records(server)) == 1
    server = await restarted(server)
    assert not await records(server)  # over
    await fail(server, 4)
    await login(server)


async def test_who_was_let_in_again_stays_so(server):
    await fail(server, 5)
    await server.call("update", f"sys/locked-users/{await accessor(server)}/unlock/ann")
    assert not await records(server)
    server = await restarted(server)
    await login(server)


async def test_lockouts_of_a_mount_that_is_gone_are_deleted(server):
    await fail(server, 5)
    await server.call("delete", "sys/auth/userpass")
    server = await restarted(server)
    assert not await records(server)


async def test_lockouts_in_a_namespace_that_nobody_has_used_since_the_start(server):
    await server.call("update", "sys/namespaces/n1")
    await server.call("update", "n1/sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "n1/auth/userpass/users/zoe", {"password": "right"})
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await server.call("update", "n1/auth/userpass/login/zoe", {"password": "wrong"}, token="")
    server = await restarted(server)
    assert (await locked(server))["total"] == 1
    server = await restarted(server)
    with pytest.raises(PermissionDenied):
        await server.call("update", "n1/auth/userpass/login/zoe", {"password": "right"}, token="")


async def test_a_store_that_fails_unlocks_nobody(server, monkeypatch, caplog):
    await fail(server, 4)
    real = server.node.store.run

    async def run(work, *more):
        if work.__qualname__.startswith("_store"):
            raise StoreError("full")
        return await real(work, *more)

    monkeypatch.setattr(server.node.store, "run", run)
    await fail(server)
    assert "lockouts are not stored" in caplog.text
    with pytest.raises(PermissionDenied):
        await login(server)


@pytest.mark.parametrize("name", ["x" * 300, "a\ud800b", "new\nline"])
async def test_names_as_nobody_has_are_kept_short(server, name):
    await server.call("update", "sys/auth/approle", {"type": "approle"})
    for error in (*[InvalidCredentials] * 5, PermissionDenied):
        with pytest.raises(error):
            await server.call("update", "auth/approle/login", {"role_id": name, "secret_id": "x"}, token="")
    ((_, kept),) = server.core.lockout._unknown
    assert len(kept) == 64
    with pytest.raises(PermissionDenied):
        await (await restarted(server)).call(
            "update", "auth/approle/login", {"role_id": name, "secret_id": "x"}, token=""
        )


async def test_a_flood_of_names_does_not_fill_the_store(server, monkeypatch):
    monkeypatch.setattr(lockout, "_UNKNOWN", 2)
    for number in range(5):
        await fail(server, 5, f"nobody-{number}")
    assert len(await records(server)) == 2
