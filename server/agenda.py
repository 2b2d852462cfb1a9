"""What ends when, on disk, and when the next thing of each namespace does, in memory.

An entry is the key ``sys/expire/<milliseconds, 12 hex digits>.<kind>.<id>`` of a namespace with an empty value. It is
written in the transaction that gives the thing its end, so the two cannot come apart. Of thousands of namespaces most
have nothing due at any moment: which have is known without a look into the store.
"""

from __future__ import annotations

import asyncio
from functools import partial

from ..framework.storage import View
from ..storage.store import Store, Transaction
from .layout import ROOT

_NEVER = 1 << 48  # milliseconds since the epoch, beyond what an entry has


def is_over(when: float, now: float) -> bool:
    """Whether what ends at ``when`` is due at ``now``, by the milliseconds that the index knows."""
    return _ms(when) <= _ms(now)


def folder(prefix: str) -> str:
    """Where the entries of the namespace with this ``prefix`` of its keys are."""
    return f"{prefix}sys/expire/"


def entry_key(prefix: str, when: float, kind: str, id_: str) -> str:
    """Where the entry of a thing is. ``id_`` has no slash in it."""
    return f"{prefix}sys/expire/{_ms(when):012x}.{kind}.{id_}"


class Agenda:
    """Of all namespaces, by the prefix of their keys. ``soon`` is set when something is due from now on."""

    def __init__(self) -> None:
        self.soon = asyncio.Event()
        self._first: dict[str, int] = {}  # no later than the first entry of each; without the root one and unknown ones

    def add(self, view: View, prefix: str, when: float, kind: str, id_: str) -> None:
        """Note that a thing of the namespace with this ``prefix`` ends at ``when`` (seconds since the epoch)."""
        view.put(entry_key(prefix, when, kind, id_), b"", new=True)
        if prefix != ROOT.prefix and isinstance(view, Transaction):  # as every view is that can write
            view.on_commit(partial(self._lower, prefix, _ms(when)))

    def remove(self, view: View, prefix: str, when: float, kind: str, id_: str) -> None:
        """Take the note back: the thing ends at another time, or has ended."""
        view.delete(entry_key(prefix, when, kind, id_))

    def may_have_due(self, prefix: str, now: float) -> bool:
        """Whether something of a namespace may be due, for all that is known: always in the root one."""
        return self._first.get(prefix, 0) <= _ms(now)

    async def has_due(self, store: Store, prefix: str, now: float) -> bool:
        """Whether something of a namespace is due, by a look into the store."""
        self._first[prefix] = _NEVER  # whatever commits during the look lowers it
        try:
            names = await store.list(folder(prefix), limit=1)
        except BaseException:
            self.forget(prefix)
            raise
        if names:
            self._lower(prefix, int(names[0].partition(".")[0], 16))
        return self.may_have_due(prefix, now)

    def forget(self, prefix: str) -> None:
        """It is not known when the first thing of a namespace ends, or the namespace is no more."""
        self._first.pop(prefix, None)

    def _lower(self, prefix: str, first: int) -> None:
        if first < self._first.get(prefix, 0):
            self._first[prefix] = first


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
