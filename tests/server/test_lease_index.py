"""How many leases there are, counted while they come and go."""

from __future__ import annotations

from caveau.server.lease_index import LeaseIndex, escape, unescape
from caveau.storage.inmem import InmemStore
from caveau.storage.store import Store
from hypothesis import given
from hypothesis import strategies as st


class Plain:
    """A cipher that is none."""

    def encrypt_batch(self, writes):
        return dict(writes)

    def decrypt(self, key: str, ciphertext: bytes) -> bytes:
        return ciphertext


async def change(index, store, add=(), remove=()):
    async def write(txn):
        for id_ in add:
            index.add(txn, id_)
        for id_ in remove:
            index.remove(txn, id_)

    await store.run(write)


async def test_what_changes_while_it_counts_is_counted_once():
    store = Store(InmemStore(), Plain())
    index = LeaseIndex(store, "n/")
    await change(index, store, add=["m/a", "m/b", "m/c", "m/d", "m/e"])
    walk = index.below

    async def below(prefix=""):
        async for id_ in walk(prefix):
            yield id_
            if id_ == "m/b":  # the page that is walked was read before
                await change(index, store, add=["m/aa", "m/z", "m/cc"], remove=["m/a", "m/d"])
            if id_ == "m/e":
                await change(index, store, remove=["m/cc", "m/b"])

    index.below = below
    await index.count_all()
    assert index.counts == {"m/": 4}  # aa, c, e, z
    await change(index, store, add=["x/1"], remove=["m/z"])
    assert (index.count("m/"), index.count("x/"), index.total) == (3, 1, 4)


async def test_the_walk_goes_through_folders_in_order():
    store = Store(InmemStore(), Plain())
    index = LeaseIndex(store, "n/")
    ids = sorted([*(f"a/b/{n:04}" for n in range(600)), "a/b-c/x", "a/b", "z/1", *(f"m/{n:03}/x" for n in range(300))])
    await change(index, store, add=ids)
    assert [id_ async for id_ in index.below()] == ids
    assert [id_ async for id_ in index.below("a/b-c/")] == ["a/b-c/x"]


@given(st.text())
def test_an_id_is_one_segment_and_comes_back(id_):
    assert "/" not in escape(id_)
    assert unescape(escape(id_)) == id_
