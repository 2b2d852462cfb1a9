"""What ends when: an index on disk, in the order of time, and the reaper that works it off.

An entry is the key ``sys/expire/<milliseconds, 12 hex digits>/<kind>.<id>`` with an empty value. It is written in
the transaction that gives the thing its end, so the two cannot come apart, and nothing of it is in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ..framework.errors import StoreError, Unavailable
from ..framework.storage import View
from ..storage.store import Store, Transaction

End = Callable[[Transaction, str], Awaitable[None]]
"""Ends the thing of that id, in the given transaction; does nothing when it is gone or lives on."""

_log = logging.getLogger(__name__)
_BATCH = 256
_AGAIN_SECONDS = 300


def _key(prefix: str, when: float, kind: str, id_: str) -> str:
    return f"{prefix}sys/expire/{int(when * 1000):012x}/{kind}.{id_}"


def add(view: View, prefix: str, when: float, kind: str, id_: str) -> None:
    """Note that a thing of the namespace with this ``prefix`` ends at ``when`` (seconds since the epoch)."""
    view.put(_key(prefix, when, kind, id_), b"", new=True)


def remove(view: View, prefix: str, when: float, kind: str, id_: str) -> None:
    view.delete(_key(prefix, when, kind, id_))


class Expiry:
    """The index of one namespace (``prefix`` of its keys). ``enders``: what to do, by kind."""

    def __init__(self, store: Store, prefix: str, enders: Mapping[str, End]) -> None:
        self._store = store
        self._prefix = prefix
        self._enders = enders

    def add(self, view: View, when: float, kind: str, id_: str) -> None:
        """Note that the thing ends at ``when`` (seconds since the epoch)."""
        add(view, self._prefix, when, kind, id_)

    def remove(self, view: View, when: float, kind: str, id_: str) -> None:
        remove(view, self._prefix, when, kind, id_)

    async def reap(self, now: float) -> int:
        """End what is due, at most some hundreds of things, each in its own transaction; how many were tried.

        What cannot be ended is tried again later, and does not keep the rest from ending. Raises Unavailable
        and StoreError when the store is out of reach or the server seals.
        """
        root = f"{self._prefix}sys/expire/"
        limit = f"{int(now * 1000):012x}/"
        tried = 0
        for bucket in await self._store.list(root, limit=_BATCH):
            if bucket > limit:
                break
            for name in await self._store.list(root + bucket, limit=_BATCH):
                key = root + bucket + name
                try:
                    await self._store.run(partial(self._end, key=key, name=name))
                except (Unavailable, StoreError):
                    raise
                except Exception:
                    _log.exception("%s did not end; it is tried again in %d seconds", name, _AGAIN_SECONDS)
                    await self._store.run(partial(self._postpone, key=key, name=name, until=now + _AGAIN_SECONDS))
                tried += 1
        return tried

    async def _end(self, txn: Transaction, key: str, name: str) -> None:
        kind, _, id_ = name.partition(".")
        await self._enders[kind](txn, id_)
        txn.delete(key)

    async def _postpone(self, txn: Transaction, key: str, name: str, until: float) -> None:
        kind, _, id_ = name.partition(".")
        txn.delete(key)
        self.add(txn, until, kind, id_)
