"""Tokens with more descendants than end in one transaction."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import Sealed, StoreError
from caveau.server import token_trees
from caveau.server.tokens import TokenEntry, lease_id
from caveau.tests.server.harness import Server

MAKER = 'path "auth/token/create" { capabilities = ["update"] }'
ENDING = "namespaces/root/sys/token/ending/"


async def child(server: Server, by: str, **params) -> str:
    return await server.token(["maker"], by=by, **params)


async def grow(server: Server, text: str, number: int, *, chain: bool = False) -> list[str]:
    """So many children of a token, or a chain of tokens, without requests: their texts."""
    tokens, texts = server.node.tokens, []

    async def make(txn):
        parent = tokens.hash(text)
        for _ in range(number):
            entry = TokenEntry("", ("maker",), "auth/token/create", server.clock.time(), parent=parent,
                               expire_time=server.clock.time() + 3600)  # fmt: skip
            made, new = await tokens.create(txn, entry)
            texts.append(new)
            parent = made.key if chain else parent

    await server.node.store.run(make)
    return texts


@pytest.fixture
async def big(server):
    """A server whose token ``parent`` has 1,000 children, ``child`` among them, which has one of its own.

    ``before``: what was stored without them.
    """
    await server.policy("maker", MAKER)
    server.before = set(await server.plain())
    server.parent = await child(server, server.root)
    server.child, *server.children = await grow(server, server.parent, 1000)
    server.grandchild = await child(server, server.child)
    return server


def hold(server: Server) -> None:
    """From now on nothing goes on by itself."""
    server.node.namespaces._revoker.cancel()


async def revoke(server: Server, token: str, path: str = "auth/token/revoke") -> asyncio.Task:
    """Begin to revoke a token, and return when it is gone itself."""
    task = asyncio.create_task(server.call("update", path, {"token": token}))
    for _ in range(10_000):
        if await server.node.tokens.by_key(server.node.store, server.node.tokens.hash(token)) is None:
            return task
        await asyncio.sleep(0)
    raise AssertionError("it is still there")


@pytest.mark.parametrize("path", ["auth/token/revoke", "sys/leases/revoke"])
async def test_a_thousand_children_have_gone_when_their_parent_s_revocation_is_answered(big, path):
    lease = lease_id(await big.node.tokens.lookup(big.node.store, big.parent))
    await big.call("update", path, {"token": big.parent, "lease_id": lease, "sync": True})
    assert set(await big.plain()) == big.before


async def test_no_transaction_ends_more_than_some(big, monkeypatch):
    sizes = []
    commit = big.store.commit
    monkeypatch.setattr(big.store, "commit", lambda batch: [sizes.append(len(batch)), commit(batch)][1])
    await big.call("update", "auth/token/revoke", {"token": big.parent})
    assert len(sizes) > 5
    assert max(sizes) < 5 * (token_trees._MOST + 2)


async def test_a_chain_of_5000_dies_with_its_first(big):
    first = await child(big, big.root)
    last = (await grow(big, first, 5000, chain=True))[-1]
    await big.call("update", "auth/token/revoke", {"token": first})
    await big.call("update", "auth/token/revoke", {"token": big.parent})
    assert not await big.alive(last)
    assert set(await big.plain()) == big.before


async def test_whatever_descends_from_a_token_is_refused_before_its_turn_to_end_has_come(big):
    other = await child(big, big.root)
    batch = await child(big, big.grandchild, type="batch")
    accessor = (await big.lookup(big.grandchild))["accessor"]
    hold(big)
    waiting = await revoke(big, big.parent)
    stored = [big.node.tokens.hash(text) for text in (big.child, *big.children)]
    assert sum([await big.node.tokens.by_key(big.node.store, key) is not None for key in stored]) > 800
    assert not any([await big.alive(text) for text in (big.child, *big.children, big.grandchild, batch)])
    assert await big.node.tokens.by_accessor(big.node.store, accessor) is None
    assert await big.alive(other)
    assert not waiting.done()
    await big.seal()
    with pytest.raises(Sealed):
        await waiting


async def test_what_was_begun_goes_on_after_the_next_unseal(big):
    hold(big)
    waiting = await revoke(big, big.parent)
    assert await big.keys_stored(ENDING)
    await big.seal()
    with pytest.raises(Sealed):
        await waiting
    await big.unseal()
    hold(big)
    assert not await big.alive(big.children[-1])
    await big.seal()
    await big.unseal()
    await big.node.tokens.trees.ended(big.node.tokens.hash(big.parent))
    assert set(await big.plain()) == big.before


async def test_a_thousand_become_orphans(big):
    hold(big)
    waiting = await revoke(big, big.parent, "auth/token/revoke-orphan")
    assert all([await big.alive(text) for text in (big.child, *big.children, big.grandchild)])
    await big.seal()
    with pytest.raises(Sealed):
        await waiting
    await big.unseal()
    await big.node.tokens.trees.ended(big.node.tokens.hash(big.parent))
    assert all([(await big.lookup(text))["orphan"] for text in (big.child, *big.children)])
    assert not (await big.lookup(big.grandchild))["orphan"]
    assert not await big.keys_stored(ENDING)


async def test_a_token_whose_time_is_over_takes_all_with_it(big):
    big.clock.advance(3601 * 24 * 40)
    while await big.reap():
        pass
    for key in list(big.node.tokens.trees._trees):
        await big.node.tokens.trees.ended(key)
    assert set(await big.plain()) == big.before


async def test_one_that_cannot_end_keeps_no_other_from_ending(big, monkeypatch):
    tokens, other = big.node.tokens, await child(big, big.root)
    await grow(big, other, 500)
    monkeypatch.setattr(token_trees, "_AGAIN_SECONDS", 0.0)
    broken, by_key = tokens.hash(big.children[0]), tokens.by_key

    async def fail(view, key):
        if key == broken:
            raise StoreError("this page is gone")
        return await by_key(view, key)

    hold(big)
    first, second = await revoke(big, other), await revoke(big, big.parent)
    monkeypatch.setattr(tokens, "by_key", fail)
    worker = asyncio.create_task(tokens.trees.work(big.node.store))
    await first
    assert not second.done()
    monkeypatch.undo()
    await second
    worker.cancel()
    assert set(await big.plain()) == big.before
