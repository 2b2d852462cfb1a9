"""What ends when: an index on disk, in the order of time, and the workers that work it off.

An entry is the key ``sys/expire/<milliseconds, 12 hex digits>.<kind>.<id>`` with an empty value. It is written in
the transaction that gives the thing its end, so the two cannot come apart, and nothing of it is in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..framework.errors import StoreError, Unavailable
from ..framework.storage import View
from ..storage.store import Store, Transaction

End = Callable[[Transaction, str], Awaitable[None]]
"""Ends the thing of that id, in the given transaction; does nothing when it is gone or lives on."""

_log = logging.getLogger(__name__)
_BATCH = 256
_AGAIN_SECONDS = 300
WORKERS, LANE = 16, 12
"""How many things end at the same time, in all and in one lane."""
_PACE = 2000  # at most so many begin in a second: requests are to find the processor free
_SLOW_SECONDS = 1.0  # after which a full lane is passed over
_PASSED = 4096  # entries, at one look
_NONE: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Due:
    """One entry of the index. ``when``: seconds since the epoch, to the millisecond."""

    key: str
    kind: str
    id: str
    when: float


Job = Callable[[Due], Awaitable[None]]
"""Ends a thing in transactions of its own, and deletes the entry's ``key`` in that which ends it."""


def entry_key(prefix: str, when: float, kind: str, id_: str) -> str:
    """Where the entry of a thing is. ``id_`` has no slash in it."""
    return f"{prefix}sys/expire/{int(when * 1000):012x}.{kind}.{id_}"


def add(view: View, prefix: str, when: float, kind: str, id_: str) -> None:
    """Note that a thing of the namespace with this ``prefix`` ends at ``when`` (seconds since the epoch)."""
    view.put(entry_key(prefix, when, kind, id_), b"", new=True)


def remove(view: View, prefix: str, when: float, kind: str, id_: str) -> None:
    view.delete(entry_key(prefix, when, kind, id_))


class Expiry:
    """The index of one namespace (``prefix`` of its keys), and what to do, by kind: ``enders`` in one transaction
    each, ``jobs`` as they see fit. ``soon`` is set when something is due from now on."""

    def __init__(self, store: Store, prefix: str, enders: Mapping[str, End], soon: asyncio.Event | None = None) -> None:
        self._store = store
        self._prefix = prefix
        self._root = f"{prefix}sys/expire/"
        self._enders = enders
        self.jobs: Mapping[str, Job] = {}
        self.lane: Callable[[Due], str] = lambda due: due.kind
        self._soon = soon or asyncio.Event()
        self._ending: dict[str, asyncio.Task[None]] = {}  # by key of the entry
        self._lanes: dict[str, dict[str, float]] = {}  # by lane: since when (of the loop) an entry is being ended
        self._failure: Exception | None = None
        self._room = asyncio.Event()

    def add(self, view: View, when: float, kind: str, id_: str) -> None:
        """Note that the thing ends at ``when`` (seconds since the epoch)."""
        add(view, self._prefix, when, kind, id_)

    def remove(self, view: View, when: float, kind: str, id_: str) -> None:
        remove(view, self._prefix, when, kind, id_)

    def key(self, when: float, kind: str, id_: str) -> str:
        return entry_key(self._prefix, when, kind, id_)

    def wake(self) -> None:
        """Something is due from now on: do not wait for the next look."""
        self._soon.set()

    async def reap(self, now: float) -> int:
        """End what is due, and wait for it; how many things were tried.

        What cannot be ended is tried again later, and does not keep the rest from ending. Raises Unavailable
        and StoreError when the store is out of reach or the server seals.
        """
        tried = await self.start(now)
        await self.idle()
        return tried

    async def idle(self) -> None:
        """Wait until nothing is being ended. Raises as ``reap``."""
        while self._ending:
            await asyncio.wait(list(self._ending.values()))
        self._raise()

    async def start(self, now: float, most: int = 0) -> int:
        """End what is due, at most ``most`` things (0: all), as workers come free; returns when the last has begun,
        and how many began.

        Those that take long are left to themselves; what is due in the same ``lane`` (whatever waits for the same
        other system) waits for them, and nothing else does. Raises as ``reap``.
        """
        limit, after = f"{int(now * 1000) + 1:012x}", ""
        begun = passed = 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        while passed < _PASSED:
            names = await self._store.list(self._root, after, limit=_BATCH)
            for name in names:
                if name >= limit:
                    return begun
                key = self._root + name
                if key in self._ending:
                    continue
                moment, kind, id_ = name.split(".", 2)
                due = Due(key, kind, id_, int(moment, 16) / 1000)
                lane = self.lane(due)
                if not await self._has_room(lane):
                    passed += 1
                    continue
                self._raise()
                self._lanes.setdefault(lane, {})[key] = loop.time()
                self._ending[key] = asyncio.create_task(self._end(due, lane, now), name=f"end {kind}")
                begun += 1
                await asyncio.sleep(0)  # those of one group commit end together: requests go between their successors
                if begun == most:
                    return begun
                if begun % WORKERS == 0 and (early := started + begun / _PACE - loop.time()) > 0:
                    await asyncio.sleep(early)
            if len(names) < _BATCH:
                break
            after = names[-1]
        return begun

    async def _has_room(self, lane: str) -> bool:
        """Wait for a free worker; False where those that the lane may have are all held up."""
        while True:
            busy = self._lanes.get(lane, _NONE)
            if len(busy) < LANE and len(self._ending) < WORKERS:
                return True
            if len(busy) >= LANE and next(iter(busy.values())) + _SLOW_SECONDS < asyncio.get_running_loop().time():
                return False
            self._room.clear()
            with contextlib.suppress(TimeoutError):  # not wait_for: it may swallow a cancellation (gh-86296)
                async with asyncio.timeout(_SLOW_SECONDS):
                    await self._room.wait()

    async def close(self) -> None:
        """Stop at once. What was not ended is due again after the next unseal."""
        tasks = list(self._ending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _end(self, due: Due, lane: str, now: float) -> None:
        try:
            job = self.jobs.get(due.kind)
            if job is not None:
                await job(due)
            else:
                await self._store.run(partial(self._end_here, due=due))
        except (Unavailable, StoreError) as error:
            self._failure = error
        except Exception:
            _log.exception("%s %s did not end; it is tried again in %d seconds", due.kind, due.id, _AGAIN_SECONDS)
            try:
                await self._store.run(partial(self._postpone, due=due, until=now + _AGAIN_SECONDS))
            except Exception as error:
                self._failure = error
        finally:
            del self._ending[due.key]
            busy = self._lanes[lane]
            del busy[due.key]
            if not busy:
                del self._lanes[lane]
            self._room.set()

    async def _end_here(self, txn: Transaction, due: Due) -> None:
        await self._enders[due.kind](txn, due.id)
        txn.delete(due.key)

    async def _postpone(self, txn: Transaction, due: Due, until: float) -> None:
        txn.delete(due.key)
        self.add(txn, until, due.kind, due.id)
