"""Snapshots that are taken by themselves: what is configured, and when each is due.

A snapshot counts only once it was tried: its file is unpacked as for a restore, its state opened with the root key, and
every entry in it decrypted. Then it goes to its target, and the oldest go from there.

- ``core/snapshots/config/<name>``: what is configured;
- ``core/snapshots/status/<name>``: how the last ones went.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from ...framework.errors import CaveauError, NotFound
from ...framework.metrics import Value, value
from ...framework.storage import ReadView, View
from ...storage.barrier import KEYRING, Barrier
from ...storage.snapshots import State, unpack
from ...storage.snapshots.scratch import create
from ..seal.unseal import RECOVERY_KEY, SEAL_CONFIG, STORED_ROOT
from .target import Target, file_name, target

if TYPE_CHECKING:
    from ..core import Core

_log = logging.getLogger(__name__)

CONFIGS, STATUSES = "core/snapshots/config/", "core/snapshots/status/"
_RETRY = 300.0  # seconds after a failure, where the interval is not shorter
_LOOK = 60.0  # seconds between two looks at the clock, which may be set
_NOT_BY_KEYRING = frozenset({KEYRING, SEAL_CONFIG, STORED_ROOT, RECOVERY_KEY})
"""Entries that the root key or the seal has encrypted, or that are no secret."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``interval`` in seconds. ``options``: of the target, by the names of the API; secrets too."""

    name: str
    interval: int
    retain: int
    file_prefix: str
    options: Mapping[str, Any] = field(repr=False)

    def target(self) -> Target:
        """Raises InvalidRequest."""
        return target(self.options)


@dataclass(frozen=True, slots=True)
class Status:
    """Times in seconds since the epoch; 0: there was none. ``good``: end of the last one that was tried and stored."""

    due: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    errors: int = 0
    url: str = ""
    good: float = 0.0


class Schedules:
    """All of them, on the node that writes, from its unsealing to its sealing."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.all: dict[str, Schedule] = {}
        self.statuses: dict[str, Status] = {}
        self.under_way: dict[str, tuple[float, str]] = {}  # since when, and to where
        self._changed = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def open(self, store: ReadView) -> None:
        """Before anything else is done with it, the server must be open."""
        for name in await store.list(CONFIGS):
            raw, status = await store.get(CONFIGS + name), await store.get(STATUSES + name)
            if raw is not None:
                self.all[name] = Schedule(**orjson.loads(raw))
                self.statuses[name] = Status(**orjson.loads(status)) if status else Status()
        self._core.metrics.gauges("snapshots", self._gauges)
        self._work = asyncio.create_task(self._run(), name="scheduled snapshots")

    async def close(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self._core.metrics.drop("snapshots")
        self.all, self.statuses, self.under_way = {}, {}, {}

    # What is configured

    async def set(self, view: View, schedule: Schedule) -> Status:
        """In a transaction, which ends with ``use``."""
        view.put(CONFIGS + schedule.name, orjson.dumps(asdict(schedule)))
        status = replace(self.statuses.get(schedule.name, Status()), due=self._core.clock.time())
        view.put(STATUSES + schedule.name, orjson.dumps(asdict(status)))
        return status

    def use(self, schedule: Schedule, status: Status) -> None:
        self.all[schedule.name], self.statuses[schedule.name] = schedule, status
        self._changed.set()

    def forget(self, name: str) -> None:
        self.all.pop(name, None)
        self.statuses.pop(name, None)

    def find(self, name: str) -> Schedule:
        """Raises NotFound."""
        try:
            return self.all[name]
        except KeyError:
            raise NotFound("") from None

    # Taking them

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await self.take_due()
            pause = None
            if self.all:
                due = min(status.due for status in self.statuses.values())
                pause = min(max(due - self._core.clock.time(), 0.0), _LOOK)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def take_due(self) -> None:
        """Take the snapshots that are due now, one after the other."""
        for name, schedule in list(self.all.items()):
            if self.statuses[name].due <= self._core.clock.time():
                status = await self._take(schedule)
                if self.all.get(name) is schedule:
                    self.statuses[name] = status
                    await self._core.unsealed().store.run(partial(_keep, name, status))

    async def _take(self, schedule: Schedule) -> Status:
        """Take one, whatever becomes of it."""
        clock, before = self._core.clock, self.statuses[schedule.name]
        started, began = clock.time(), perf_counter()
        name = file_name(schedule.file_prefix, started)
        try:
            place = schedule.target()
            self.under_way[schedule.name] = started, place.url(name)
            await self._put(schedule, place, name)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.error("the snapshot %r failed: %s", schedule.name, error, exc_info=not isinstance(error, CaveauError))
            due = started + min(schedule.interval, _RETRY)
            return replace(
                before, due=due, started=started, ended=clock.time(), error=str(error), errors=before.errors + 1
            )
        finally:
            self.under_way.pop(schedule.name, None)
        self._core.metrics.observe("snapshot.auto", perf_counter() - began, name=schedule.name)
        _log.info("the snapshot %r is at %s", schedule.name, place.url(name))
        ended = clock.time()
        return Status(started + schedule.interval, started, ended, url=place.url(name), good=ended)

    async def _put(self, schedule: Schedule, place: Target, name: str) -> None:
        clock = self._core.clock
        async with self._core.whole.scratch.folder() as folder:
            _, content = await self._core.whole.save()
            path = folder / "snapshot"
            with os.fdopen(await asyncio.to_thread(create, path), "wb") as file:
                async for piece in content:
                    await asyncio.to_thread(file.write, piece)
            await self._try(path, folder)
            await place.put(clock, name, path)
        await place.prune(clock, schedule.file_prefix, schedule.retain)

    async def _try(self, path: Path, folder: Path) -> None:
        """A restore into nowhere. Raises CaveauError."""
        state = await asyncio.to_thread(lambda: State(unpack(path, folder).state))
        try:
            barrier = Barrier(state)
            await barrier.unseal(self._core.seal.barrier.keyring.root_key)
            await asyncio.to_thread(_decrypt_all, state, barrier)
        finally:
            await state.close()

    def _gauges(self) -> Iterator[Value]:
        for name, status in self.statuses.items():
            yield value("snapshot.auto.last_good", status.good, name=name)
            yield value("snapshot.auto.consecutive_errors", float(status.errors), name=name)


async def _keep(name: str, status: Status, view: View) -> None:
    view.put(STATUSES + name, orjson.dumps(asdict(status)))


def _decrypt_all(state: State, barrier: Barrier) -> None:
    for key, entry in state.entries():
        if key not in _NOT_BY_KEYRING:
            barrier.decrypt(key, entry)
