"""A device at work: entries that come while it writes form the group that it writes next."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Final

from ...framework.metrics import Metrics
from .device import Device

_log = logging.getLogger(__name__)

LIMIT_SECONDS: Final = 4.0
"""How long a device may take to write a group before what waits for it fails. A request waits twice at most."""
_BACKLOG: Final = 32 << 20  # bytes that wait for a device which others do not wait for
_CLOSE_SECONDS: Final = 3.0


class Group:
    """Entries that the device at ``path`` writes together. ``error`` is why that failed, empty if it did not."""

    __slots__ = ("asked", "done", "entries", "error", "path", "size", "waiters")

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: list[bytes] = []
        self.asked = 0  # how many of them are of requests; the others are of responses
        self.size = 0
        self.waiters: list[asyncio.Future[None]] = []
        self.done = False
        self.error = ""

    def settle(self, error: str) -> None:
        self.done, self.error = True, error
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()


class Channel:
    """A device, its thread, and what waits for it. Everything but the thread's part runs on the event loop."""

    def __init__(self, path: str, device: Device, metrics: Metrics) -> None:
        self.path = path
        self.device = device
        name = f"audit.{path.replace('/', '-')}.log_"
        self._requests, self._responses = metrics.timing(f"{name}request"), metrics.timing(f"{name}response")
        self.failure = ""  # why the last group was not written; empty while all is well
        self.lost = 0  # entries that this device did not record
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[Group | Callable[[], None] | None] = queue.SimpleQueue()
        self._filling: Group | None = None
        self._writing: Group | None = None
        self._hung = False
        self._began = 0.0  # when the device was given the group it writes
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name=f"audit {path}", daemon=True)
        self._thread.start()

    def post(self, entry: bytes, *, asked: bool) -> Group:
        """Have an entry, ``asked``: of a request, written with the next ``start``; its group tells what came of it."""
        group = self._filling
        if group is None:
            if self._hung:
                return self._refused(self.failure)
            group = self._filling = Group(self.path)
        elif group.size > _BACKLOG:
            return self._refused("too many entries wait for it")
        group.entries.append(entry)
        group.asked += asked
        group.size += len(entry)
        return group

    def _refused(self, why: str) -> Group:
        self.lost += 1
        group = Group(self.path)
        group.settle(why)
        return group

    def start(self) -> None:
        """Have the device write what was posted, now or when it has written the group before."""
        group = self._filling
        if group is None or self._writing is not None:
            return
        self._filling, self._writing = None, group
        self._began = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(LIMIT_SECONDS, self._check)
        self._work.put(group)

    def _check(self) -> None:
        """One timer watches over many groups."""
        self._timer = None
        if self._writing is None or self._hung:
            return
        left = self._began + LIMIT_SECONDS - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        else:
            self._overdue()

    def _overdue(self) -> None:
        """The device hangs: nobody waits for it any longer, until it is heard of again."""
        self._hung = True
        self.fail(f"it did not finish within {LIMIT_SECONDS:g} seconds")
        for group in (self._writing, self._filling):
            if group is not None and not group.done:
                self.lost += len(group.entries)
                group.settle(self.failure)
        self._filling = None

    def _finished(self, group: Group, error: str, spent: float) -> None:
        self._writing, self._hung = None, False
        self._requests.observe_equal(spent, group.asked)
        self._responses.observe_equal(spent, len(group.entries) - group.asked)
        if error:
            self.fail(error)
        elif self.failure:
            _log.warning("audit device %s records again; it has missed %d entries", self.path, self.lost)
            self.failure = ""
        if not group.done:
            if error:
                self.lost += len(group.entries)
            group.settle(error)
        if self._filling is not None:
            self.start()

    def fail(self, why: str) -> None:
        """Note that the device does not record, until it does again."""
        if not self.failure:
            _log.error("audit device %s does not record: %s", self.path, why)
        self.failure = why

    # The thread's part

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            if isinstance(work, Group):
                self._write(work)
            else:
                work()

    def _write(self, group: Group) -> None:
        began = perf_counter()
        error = _attempt(lambda: self.device.write(group.entries))
        self._tell(self._finished, group, error, perf_counter() - began)

    def _end(self) -> None:
        _attempt(self.device.close)

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop has ended; nobody waits
            return

    async def perform(self, work: Callable[[], None]) -> str:
        """Run ``work`` on the device's thread between two groups; why it failed, empty if it did not."""
        done: asyncio.Future[str] = self._loop.create_future()

        def settle(error: str) -> None:
            if not done.done():
                done.set_result(error)

        self._work.put(lambda: self._tell(settle, _attempt(work)))
        try:
            return await asyncio.wait_for(done, LIMIT_SECONDS)
        except TimeoutError:
            return f"it did not finish within {LIMIT_SECONDS:g} seconds"

    async def close(self) -> None:
        """Write what waits, and end the thread; a device that hangs is left alone with it."""
        self.start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while (group := self._filling or self._writing) is not None and not group.done:
                    waiter = self._loop.create_future()
                    group.waiters.append(waiter)
                    await waiter
        except TimeoutError:
            self._overdue()
        if self._timer is not None:
            self._timer.cancel()
        self._work.put(self._end)
        self._work.put(None)
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)


def _attempt(work: Callable[[], None]) -> str:
    try:
        work()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    except Exception as error:  # a device of somebody else's may raise anything
        _log.exception("an audit device failed in a way it should not")
        return type(error).__name__
    return ""
