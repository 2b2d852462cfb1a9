"""The end of what is due: the workers that work off the index of what ends when (``agenda``).

Requests are to be answered as fast while things end as else. So what ends in the store alone ends some at a time in
one transaction, which lets requests go first after each slice of its work, and no more of these begin than keeps the
server from falling behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..framework.errors import Sealed, StoreError, Unavailable
from ..framework.storage import View
from ..storage.store import Store, Transaction
from .agenda import Agenda, entry_key, folder
from .slices import Slices

End = Callable[[Transaction, str], Awaitable[None]]
"""Ends the thing of that id, in the given transaction; does nothing when it is gone or lives on (``is_over``)."""

_log = logging.getLogger(__name__)
_BATCH = 128  # entries read at once
_TOGETHER = 16  # that end in one transaction
_AGAIN_SECONDS = 300
WORKERS, LANE, SHARED_LANE = 16, 12, 2
"""How many transactions end something at the same time: in all, in one lane, and in one whose things end together."""
_PACE = 1500  # at most so many begin in a second, unless they are late
_LATE_SECONDS = 60.0
_STEP_SECONDS = 0.004  # no pause is shorter
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


class Lane(NamedTuple):
    """What waits for the same thing, such as another system. ``shared``: for the store alone, so that its ``End``
    may be one of several in a transaction."""

    name: str
    shared: bool


class Expiry:
    """The index of one namespace (``prefix`` of its keys), and what to do, by kind: ``enders`` in a transaction,
    ``jobs`` as they see fit. A kind may have both: the job is for those whose lane is not shared, and for those whose
    common transaction failed."""

    def __init__(self, store: Store, prefix: str, enders: Mapping[str, End], agenda: Agenda) -> None:
        self._store = store
        self._prefix = prefix
        self._root = folder(prefix)
        self.enders = dict(enders)
        self.jobs: Mapping[str, Job] = {}
        self.records: dict[str, Callable[[str], str]] = {}  # by kind: key of what is stored of a thing, by its id
        self.lane: Callable[[Due], Lane] = lambda due: Lane(due.kind, due.kind not in self.jobs)
        self._agenda = agenda
        self._ending: dict[str, asyncio.Task[None]] = {}  # by key of the entry
        self._lanes: dict[str, dict[str, float]] = {}  # by name: since when (of the loop) something is being ended
        self._failure: Exception | None = None
        self._room = asyncio.Event()

    def add(self, view: View, when: float, kind: str, id_: str) -> None:
        """Note that the thing ends at ``when`` (seconds since the epoch)."""
        self._agenda.add(view, self._prefix, when, kind, id_)

    def remove(self, view: View, when: float, kind: str, id_: str) -> None:
        self._agenda.remove(view, self._prefix, when, kind, id_)

    def key(self, when: float, kind: str, id_: str) -> str:
        return entry_key(self._prefix, when, kind, id_)

    def wake(self) -> None:
        """Something is due from now on: do not wait for the next look."""
        self._agenda.soon.set()

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
            await asyncio.wait(set(self._ending.values()))
        self._raise()

    async def start(self, now: float, most: int = 0) -> int:
        """End what is due, about ``most`` things at most (0: all), as workers come free; returns when the last has
        begun, and how many began.

        Those that take long are left to themselves; what is due in the same ``lane`` waits for them, and nothing
        else does. Raises as ``reap``.
        """
        limit, after = f"{int(now * 1000) + 1:012x}", ""
        begun = passed = 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        while passed < _PASSED:
            names = await self._store.list(self._root, after, limit=_BATCH)
            due = [name for name in names if name < limit]
            for lane, things in self._grouped(due):
                if not await self._has_room(lane):
                    passed += len(things)
                    continue
                self._raise()
                self._begin(lane, things, now)
                begun += len(things)
                await asyncio.sleep(0)  # those of one group commit end together: requests go between their successors
                early = started + begun / _PACE - loop.time()
                if early > _STEP_SECONDS and now - things[0].when < _LATE_SECONDS:
                    await asyncio.sleep(early)
                if 0 < most <= begun:
                    return begun
            if len(due) < _BATCH:
                break
            after = names[-1]
        return begun

    def _grouped(self, names: Sequence[str]) -> Iterator[tuple[Lane, list[Due]]]:
        """Of entries in the order of time: what to end at once."""
        gathered: dict[Lane, list[Due]] = {}
        for name in names:
            key = self._root + name
            if key in self._ending:
                continue
            moment, kind, id_ = name.split(".", 2)
            due = Due(key, kind, id_, int(moment, 16) / 1000)
            lane = self.lane(due)
            things = gathered.setdefault(lane, [])
            things.append(due)
            if len(things) == _TOGETHER or not lane.shared:
                yield lane, gathered.pop(lane)
        yield from gathered.items()

    def _begin(self, lane: Lane, things: Sequence[Due], now: float) -> None:
        task = asyncio.create_task(self._end(lane, things, now), name=f"end {lane.name}")
        self._lanes.setdefault(lane.name, {})[things[0].key] = asyncio.get_running_loop().time()
        for due in things:
            self._ending[due.key] = task

    async def _has_room(self, lane: Lane) -> bool:
        """Wait for a free worker; False where those that the lane may have are all held up."""
        width = SHARED_LANE if lane.shared else LANE
        while True:
            busy = self._lanes.get(lane.name, _NONE)
            if len(busy) < width and sum(map(len, self._lanes.values())) < WORKERS:
                return True
            if len(busy) >= width and next(iter(busy.values())) + _SLOW_SECONDS < asyncio.get_running_loop().time():
                return False
            self._room.clear()
            with contextlib.suppress(TimeoutError):  # not wait_for: it may swallow a cancellation (gh-86296)
                async with asyncio.timeout(_SLOW_SECONDS):
                    await self._room.wait()

    async def close(self) -> None:
        """Stop at once. What was not ended is due again after the next unseal."""
        tasks = set(self._ending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _end(self, lane: Lane, things: Sequence[Due], now: float) -> None:
        try:
            if not lane.shared or not await self._end_together(things):
                for due in things:
                    await self._end_alone(due, now)
        except (Unavailable, StoreError) as error:
            self._failure = error
        finally:
            for due in things:
                del self._ending[due.key]
            busy = self._lanes[lane.name]
            del busy[things[0].key]
            if not busy:
                del self._lanes[lane.name]
            self._room.set()

    async def _end_together(self, things: Sequence[Due]) -> bool:
        """Whether all of them could end, else none did."""
        try:
            await self._store.read_ahead(self.records[due.kind](due.id) for due in things if due.kind in self.records)
            await self._store.run(partial(self._end_here, things=things))
        except (Sealed, StoreError):
            raise
        except Exception:  # of one of them; it will show of which
            return False
        return True

    async def _end_alone(self, due: Due, now: float) -> None:
        job = self.jobs.get(due.kind)
        try:
            if job is not None:
                await job(due)
            else:
                await self._store.run(partial(self._end_here, things=(due,)))
        except (Unavailable, StoreError):
            raise
        except Exception:
            _log.exception("%s %s did not end; it is tried again in %d seconds", due.kind, due.id, _AGAIN_SECONDS)
            await self._store.run(partial(self._postpone, due=due, until=now + _AGAIN_SECONDS))

    async def _end_here(self, txn: Transaction, things: Sequence[Due]) -> None:
        slices = Slices()
        for due in things:
            await self.enders[due.kind](txn, due.id)
            txn.delete(due.key)
            await slices.next()

    async def _postpone(self, txn: Transaction, due: Due, until: float) -> None:
        txn.delete(due.key)
        self.add(txn, until, due.kind, due.id)
