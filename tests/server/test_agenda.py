"""Which of many namespaces have something due."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import StoreError
from caveau.server.agenda import Agenda
from caveau.storage.store import Store
from caveau.tests.server.harness import Server, SlowStore
from caveau.tests.server.test_expiry import Plain

PREFIX = "namespaces/abc/"
LOOK = "sys/expire/"


@pytest.fixture
def agenda():
    agenda = Agenda()
    agenda.physical = SlowStore()
    agenda.store = Store(agenda.physical, Plain())
    return agenda


async def note(agenda: Agenda, when: float, name: str = "a") -> None:
    async def add(txn):
        agenda.add(txn, PREFIX, when, "thing", name)

    await agenda.store.run(add)


async def test_a_namespace_that_nobody_has_looked_at_may_have_something_due(agenda):
    assert agenda.may_have_due(PREFIX, 0.0)
    assert not await agenda.has_due(agenda.store, PREFIX, 5.0)
    assert not agenda.may_have_due(PREFIX, 1e10)


async def test_the_first_of_a_namespace_is_known_to_the_millisecond(agenda):
    await note(agenda, 20.0005)
    await agenda.has_due(agenda.store, PREFIX, 0.0)
    await note(agenda, 10.0005, "b")
    assert (agenda.may_have_due(PREFIX, 9.999), agenda.may_have_due(PREFIX, 10.0001)) == (False, True)
    assert agenda.may_have_due("namespaces/root/", 0.0)


async def test_what_commits_during_a_look_is_not_missed(agenda, monkeypatch):
    await agenda.has_due(agenda.store, PREFIX, 0.0)
    list_ = agenda.store.list

    async def slow(*args, **options):
        names = await list_(*args, **options)
        await note(agenda, 3.0)
        return names

    monkeypatch.setattr(agenda.store, "list", slow)
    assert await agenda.has_due(agenda.store, PREFIX, 3.0)


async def test_a_namespace_whose_look_failed_is_looked_at_again(agenda, monkeypatch):
    async def fail(*args, **options):
        raise StoreError("the disk is gone")

    monkeypatch.setattr(agenda.store, "list", fail)
    with pytest.raises(StoreError):
        await agenda.has_due(agenda.store, PREFIX, 0.0)
    assert agenda.may_have_due(PREFIX, 0.0)


async def test_of_500_namespaces_those_are_looked_at_that_have_something_due(monkeypatch):
    server = await Server().start()
    namespaces = server.core.namespaces
    namespaces._reaper.cancel()  # the test says itself when
    for i in range(500):
        await server.call("update", f"sys/namespaces/n{i}")
        await server.token(["default"], ttl=f"{100 + i}s", at=f"n{i}/auth/token/create")
        if i % 50 == 0:
            await asyncio.sleep(0)
    await namespaces.reap()
    looked, list_ = [], namespaces.store.list

    async def look(prefix="", *args, **options):
        if prefix.endswith(LOOK) and not prefix.startswith("namespaces/root/"):
            looked.append(prefix)
        return await list_(prefix, *args, **options)

    monkeypatch.setattr(namespaces.store, "list", look)
    await namespaces.reap()
    assert not looked
    server.clock.advance(100 + 299.5)
    assert await namespaces.reap() == 300
    assert len(set(looked)) == 300
    await server.call("update", "sys/leases/revoke-prefix/auth/token", {"sync": False}, namespace="n499/")
    assert await namespaces.reap() == 1
    assert looked[-1] == f"{namespaces.at('n499/').prefix}{LOOK}"
    assert await namespaces.reap() == 0
    await server.seal()
