"""Which leases there are: their ids on disk, and how many each mount has in memory.

``sys/lease/id/<lease id>`` holds the record of a lease, or nothing for that of a token, whose entry is elsewhere;
``sys/lease/irrevocable/`` names those whose revocation was given up. A lease id is a path
(``database/creds/web/<random>``), so that the tree of paths is the tree of keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from ..framework.errors import StoreError
from ..framework.storage import View
from ..storage.store import Store, Transaction
from .lease_counts import Tally, Watch

if TYPE_CHECKING:
    from .quotas import LeaseCount

PAGE = 256


def escape(id_: str) -> str:
    """A lease id, or a prefix, as one segment of a storage key."""
    return id_.replace("%", "%25").replace("/", "%2F")


def unescape(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")


class LeaseIndexes:
    """Those of all namespaces that anybody has asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, LeaseIndex] = {}

    def of(self, prefix: str) -> LeaseIndex:
        """The index of the namespace with this prefix of its keys."""
        index = self._known.get(prefix)
        if index is None:
            index = self._known[prefix] = LeaseIndex(self._store, prefix)
        return index

    @property
    def total(self) -> int:
        """All leases, those of tokens too, of the namespaces in use since the server was unsealed."""
        return sum(index.total for index in self._known.values())

    @property
    def irrevocable(self) -> int:
        """How many of them are irrevocable."""
        return sum(index.irrevocable for index in self._known.values())

    def unwatch(self, quota: LeaseCount) -> None:
        """The quota is gone: its leases are counted no more."""
        for index in self._known.values():
            index.watches.pop(quota, None)

    def forget(self, prefix: str) -> None:
        """The namespace is gone."""
        self._known.pop(prefix, None)


class LeaseIndex:
    """The ids of one namespace. ``mount_of``: the mount point that a lease id is under; ``role_of``: the role of the
    login that gave the token with this lease id, if it had one."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._root = f"{prefix}sys/lease/id/"
        self.mount_of: Callable[[str], str] = lambda id_: id_.partition("/")[0] + "/"
        self.role_of: Callable[[str], Awaitable[str]]
        self._given_up = f"{prefix}sys/lease/irrevocable/"
        self.irrevocable = 0
        self._counting = False  # whether anybody has begun
        self._by_mount = Tally()
        self.watches: dict[LeaseCount, Watch] = {}

    def key(self, id_: str) -> str:
        return self._root + id_

    def add(self, view: View, id_: str, record: bytes = b"", role: str = "", point: str = "") -> None:
        """Put a new id there; it counts once the transaction has committed. ``role``: see ``role_of``; ``point``: what
        ``mount_of`` gives, where that is known."""
        view.put(self._root + id_, record, new=True)
        self._note(view, id_, role, point, present=True)

    def remove(self, view: View, id_: str, role: str = "") -> None:
        """Delete an id that the transaction knows to be there."""
        view.delete(self._root + id_)
        self._note(view, id_, role, "", present=False)

    async def children(self, prefix: str) -> list[str]:
        """The names right under a path; folders end in a slash."""
        return await self._store.list(self._root + (f"{prefix}/" if prefix else ""))

    async def below(self, prefix: str = "") -> AsyncIterator[str]:
        """Every id under a path (empty, or ending in a slash), in byte order, some hundreds read at a time."""
        folders = [(prefix, "")]
        while folders:
            folder, after = folders.pop()
            names = await self._store.list(self._root + folder, after, PAGE)
            for name in names:
                if name.endswith("/"):
                    folders.append((folder, name))
                    folders.append((folder + name, ""))
                    break
                yield folder + name
            else:
                if len(names) == PAGE:
                    folders.append((folder, names[-1]))

    # How many there are

    @property
    def total(self) -> int:
        """All leases, those of tokens too. Until ``count_all`` is through: those that it has seen."""
        return self._by_mount.counts.total()

    def count(self, point: str) -> int:
        """The leases under one mount point."""
        return self._by_mount.counts[point]

    @property
    def counts(self) -> dict[str, int]:
        """By mount point."""
        return {point: number for point, number in self._by_mount.counts.items() if number}

    async def count_all(self) -> None:
        """Count what is stored, once, in the background of an unsealed server."""
        if self._counting:
            return
        self._counting = True
        self.irrevocable += len(await self._store.list(self._given_up))
        await self._by_mount.count((id_, self.mount_of(id_)) async for id_ in self.below())

    def watched(self, quota: LeaseCount) -> int:
        """How many leases there are of a quota for a path in a mount or for a role, as far as ``watch`` has counted."""
        watch = self.watches.get(quota)
        return watch.tally.counts[""] if watch else 0

    async def watch(self, quota: LeaseCount) -> int:
        """The same, counted from now on, for as long as there is the quota; the first time all that is stored."""
        watch = self.watches.get(quota)
        if watch is None:
            watch = self.watches[quota] = Watch(quota.mount, quota.suffix, quota.role)
            watch.counted = asyncio.ensure_future(watch.tally.count(self._covered(watch)))
        assert watch.counted is not None
        try:
            await asyncio.shield(watch.counted)
        except StoreError:
            self.watches.pop(quota, None)  # to be counted anew
            raise
        return watch.tally.counts[""]

    async def _covered(self, watch: Watch) -> AsyncIterator[tuple[str, str]]:
        async for id_ in self.below(watch.folder):
            if watch.covers(id_, await self.role_of(id_) if watch.role else ""):
                yield id_, ""

    def give_up(self, view: View, id_: str) -> None:
        """Put a lease among the irrevocable ones."""
        view.put(self._given_up + escape(id_), b"")
        self._count_given_up(view, 1)

    def resume(self, view: View, id_: str) -> None:
        """Take one from among them."""
        view.delete(self._given_up + escape(id_))
        self._count_given_up(view, -1)

    async def given_up(self, limit: int = 0) -> list[str]:
        """The ids of the irrevocable ones, at most ``limit`` (0: all)."""
        return [unescape(name) for name in await self._store.list(self._given_up, limit=limit)]

    def _count_given_up(self, view: View, change: int) -> None:
        def count() -> None:
            if self._counting:
                self.irrevocable += change

        if isinstance(view, Transaction):
            view.on_commit(count)

    def _note(self, view: View, id_: str, role: str, point: str, *, present: bool) -> None:
        if isinstance(view, Transaction):  # as every view is that can write
            view.on_commit(lambda: self._changed(id_, role, point, present))

    def _changed(self, id_: str, role: str, point: str, present: bool) -> None:
        if self._by_mount.begun:
            self._by_mount.changed(id_, point or self.mount_of(id_), present=present)
        if self.watches:
            for watch in self.watches.values():
                if watch.covers(id_, role):
                    watch.tally.changed(id_, "", present=present)
