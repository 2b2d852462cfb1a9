"""Which leases there are: their ids on disk, and how many each mount has in memory.

``sys/lease/id/<lease id>`` holds the record of a lease, or nothing for that of a token, whose entry is elsewhere;
``sys/lease/irrevocable/`` names those whose revocation was given up. A lease id is a path
(``database/creds/web/<random>``), so that the tree of paths is the tree of keys.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

from ..framework.storage import View
from ..storage.store import Store, Transaction

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

    def forget(self, prefix: str) -> None:
        """The namespace is gone."""
        self._known.pop(prefix, None)


class LeaseIndex:
    """The ids of one namespace. ``mount_of``: the mount point that a lease id is under."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._root = f"{prefix}sys/lease/id/"
        self.mount_of: Callable[[str], str] = lambda id_: id_.partition("/")[0] + "/"
        self._given_up = f"{prefix}sys/lease/irrevocable/"
        self.irrevocable = 0
        self._counts: Counter[str] = Counter()
        self._counted: str | None = None  # ids up to this one have been counted; None: nobody counts yet
        self._ahead: dict[str, bool] | None = {}  # what has come and gone beyond; None once all are counted

    def key(self, id_: str) -> str:
        return self._root + id_

    def add(self, view: View, id_: str, record: bytes = b"") -> None:
        """Put a new id there; it counts once the transaction has committed."""
        view.put(self._root + id_, record, new=True)
        self._note(view, id_, present=True)

    def remove(self, view: View, id_: str) -> None:
        """Delete an id that the transaction knows to be there."""
        view.delete(self._root + id_)
        self._note(view, id_, present=False)

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
        """All leases, those of tokens too. Until ``count`` is through: those that it has seen."""
        return self._counts.total()

    def count(self, point: str) -> int:
        """The leases under one mount point."""
        return self._counts[point]

    @property
    def counts(self) -> dict[str, int]:
        """By mount point."""
        return {point: number for point, number in self._counts.items() if number}

    async def count_all(self) -> None:
        """Count what is stored, once, in the background of an unsealed server.

        What comes and goes meanwhile is counted at once where the walk has been, and at the end beyond that.
        """
        if self._counted is not None:
            return
        self._counted = ""
        self.irrevocable += len(await self._store.list(self._given_up))
        assert self._ahead is not None
        steps = 0
        async for id_ in self.below():
            self._counted = id_
            if id_ not in self._ahead:
                self._counts[self.mount_of(id_)] += 1
            steps += 1
            if steps % PAGE == 0:
                await asyncio.sleep(0)
        ahead, self._ahead = self._ahead, None
        for id_, present in ahead.items():
            self._counts[self.mount_of(id_)] += present

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
            if self._counted is not None:
                self.irrevocable += change

        if isinstance(view, Transaction):
            view.on_commit(count)

    def _note(self, view: View, id_: str, *, present: bool) -> None:
        if isinstance(view, Transaction):  # as every view is that can write
            view.on_commit(lambda: self._changed(id_, present))

    def _changed(self, id_: str, present: bool) -> None:
        if self._counted is None:
            return
        if self._ahead is not None and (id_ in self._ahead or id_ > self._counted):
            self._ahead[id_] = present
        else:
            self._counts[self.mount_of(id_)] += 1 if present else -1
