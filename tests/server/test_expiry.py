"""What ends when, by a clock that tests advance."""

from __future__ import annotations

import asyncio
import logging

import pytest
from caveau.framework.errors import PermissionDenied, StoreError
from caveau.server.agenda import Agenda
from caveau.server.expiry import Expiry
from caveau.storage.inmem import InmemStore
from caveau.storage.store import Store


class Plain:
    """A cipher that is none."""

    def encrypt_batch(self, writes):
        return dict(writes)

    def decrypt(self, key: str, ciphertext: bytes) -> bytes:
        return ciphertext


@pytest.fixture
def expiry():
    """An index whose things, when they end, are noted in ``ended``; kind ``broken`` cannot end."""
    store = Store(InmemStore(), Plain())
    ended: list[str] = []

    async def end(txn, id_):
        ended.append(id_)

    async def fail(txn, id_):
        raise RuntimeError("cannot end this")

    async def unreachable(txn, id_):
        raise StoreError("the disk is gone")

    enders = {"thing": end, "broken": fail, "unreachable": unreachable}
    index = Expiry(store, "namespaces/root/", enders, Agenda())
    index.ended = ended
    index.store = store
    return index


async def note(index, when, kind, id_):
    async def add(txn):
        index.add(txn, when, kind, id_)

    await index.store.run(add)


async def test_ends_what_is_due_in_the_order_of_time(expiry):
    for when, name in ((30.0, "c"), (10.5, "a"), (20.0, "b"), (1e10, "far")):
        await note(expiry, when, "thing", name)
    assert await expiry.reap(10.4) == 0
    assert await expiry.reap(20.0) == 2
    assert await expiry.reap(29.9) == 0
    assert await expiry.reap(31.0) == 1
    assert expiry.ended == ["a", "b", "c"]


async def test_ends_each_once_however_many_there_are(expiry):
    names = [f"n{i}" for i in range(700)]
    for i, name in enumerate(names):
        await note(expiry, 5.0 + i % 3, "thing", name)
    while await expiry.reap(100.0):
        pass
    assert sorted(expiry.ended) == sorted(names)


async def test_some_end_in_one_transaction(expiry, monkeypatch):
    commits = []
    commit = expiry.store.commit

    async def count(txn):
        commits.append(txn)
        await commit(txn)

    for i in range(64):
        await note(expiry, 5.0, "thing", f"n{i:02}")
    monkeypatch.setattr(expiry.store, "commit", count)
    assert await expiry.reap(10.0) == 64
    assert len(commits) == 4
    assert expiry.ended == [f"n{i:02}" for i in range(64)]


async def test_no_more_begin_than_the_pace_allows_unless_they_are_late(expiry, monkeypatch):
    pauses = []
    sleep = asyncio.sleep

    async def pause(seconds):
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    for now in (5.5, 500.0):
        for i in range(64):
            await note(expiry, 5.0, "thing", f"n{i:02}")
        pauses.clear()
        assert await expiry.reap(now) == 64
        assert bool(pauses) is (now < 60)


async def test_what_was_taken_back_does_not_end(expiry):
    await note(expiry, 5.0, "thing", "a")

    async def remove(txn):
        expiry.remove(txn, 5.0, "thing", "a")

    await expiry.store.run(remove)
    assert await expiry.reap(10.0) == 0


async def test_what_cannot_end_does_not_hold_up_the_rest_and_is_tried_again(expiry, caplog):
    await note(expiry, 1.0, "broken", "x")
    await note(expiry, 2.0, "thing", "a")
    await note(expiry, 1.0, "kind-of-a-plugin-that-is-gone", "y")
    with caplog.at_level(logging.CRITICAL, "caveau.server.expiry"):
        assert await expiry.reap(10.0) == 3
        assert expiry.ended == ["a"]
        assert await expiry.reap(10.0) == 0
        assert await expiry.reap(1000.0) == 2


async def test_a_store_out_of_reach_keeps_what_is_due(expiry):
    await note(expiry, 1.0, "unreachable", "x")
    for _ in range(2):
        with pytest.raises(StoreError):
            await expiry.reap(10.0)


async def test_an_expired_token_is_refused_before_it_is_reaped(server):
    token = await server.token(["default"], ttl="1h")
    server.clock.advance(3599.5)
    await server.call("read", "auth/token/lookup-self", token=token)
    server.clock.advance(0.5)
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token)


async def test_reaping_a_token_takes_its_cubbyhole_and_its_children(server):
    await server.policy("maker", 'path "auth/token/create" { capabilities = ["update"] }')
    before = set(await server.plain())
    parent = await server.token(["maker", "default"], ttl="1h")
    child = await server.token(by=parent, ttl="10h")
    for token in (parent, child):
        await server.call("update", "cubbyhole/deep/down", {"x": 1}, token)
    server.clock.advance(3600)
    assert await server.reap() == 1
    assert not await server.alive(child)
    assert set(await server.plain()) == before


async def test_a_token_that_was_renewed_lives_on(server):
    token = await server.token(["default"], ttl="1h")
    server.clock.advance(1800)
    await server.call("update", "auth/token/renew-self", token=token)
    server.clock.advance(1801)
    assert await server.reap() == 0
    assert await server.alive(token)
    server.clock.advance(1800)
    assert await server.reap() == 1
    assert not await server.alive(token)


async def test_a_token_renewed_while_it_is_reaped_lives_on(server):
    """The index may say that it is over when the token says that it is not: the token is right."""
    token = await server.token(["default"], ttl="1h")
    found = await server.node.tokens.lookup(server.node.store, token)
    await server.call("update", "auth/token/renew", {"token": token, "increment": "2h"})

    async def stale(txn):
        server.node.expiry.add(txn, found.expire_time, "token", found.key)

    await server.node.store.run(stale)
    server.clock.advance(3601)
    assert await server.reap() == 1
    assert await server.alive(token)


async def test_what_came_due_while_sealed_ends_after_unsealing(server):
    token = await server.token(["default"], ttl="1h")
    await server.call("update", "cubbyhole/x", {"a": 1}, token)
    await server.seal()
    server.clock.advance(7200)
    await server.unseal()
    assert not await server.alive(token)
    await server.reap()
    assert not await server.keys_stored("namespaces/root/sys/expire/")


async def test_a_wrapping_token_takes_what_it_keeps(server):
    before = set(await server.plain())
    await server.call("read", "sys/mounts", wrap_ttl=60.0)
    assert set(await server.plain()) > before
    server.clock.advance(60)
    assert await server.reap() == 1
    assert set(await server.plain()) == before
