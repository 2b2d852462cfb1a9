"""Group commit: all batches that wait while one group is written go into the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ..framework.errors import StoreError
from ..framework.storage import Batch

GROUP = 64 << 20
"""Bytes of values after which a group takes no more batches."""


class _Durable(asyncio.Future[None]):
    """Done when a group is. Many wait for it: that one of them is cancelled is no matter of the others."""

    def cancel(self, msg: object = None) -> bool:
        return False


class Group:
    """Batches that are written together, in order."""

    __slots__ = ("done", "rows", "size")

    def __init__(self) -> None:
        self.rows: dict[str, bytes | None] = {}
        self.size = 0  # bytes of values, those included that a later batch replaced
        self.done = _Durable(loop=asyncio.get_running_loop())


class Groups:
    """What waits to be written, and the task that writes it."""

    def __init__(self, write: Callable[[Group], Awaitable[None]], explain: Callable[[BaseException], StoreError]):
        """``write``: writes a group and sets it done. ``explain``: what those are told whom its failure concerns."""
        self._write = write
        self._explain = explain
        self._queue: deque[Group] = deque()
        self._writing: asyncio.Task[None] | None = None

    def commit(self, batch: Batch) -> Awaitable[None]:
        """As ``Physical.commit``, of an open store."""
        if not self._queue or self._queue[-1].size >= GROUP:
            self._queue.append(Group())
            if self._writing is None:
                self._writing = asyncio.create_task(self._write_all())
        group = self._queue[-1]
        group.rows.update(batch)
        group.size += sum(map(len, filter(None, batch.values())))
        return group.done

    async def drain(self) -> None:
        """Return when nothing is left to write."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def alone(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` while nothing is being written: what is committed meanwhile waits."""
        await self.drain()
        self._writing = asyncio.create_task(self._run_alone(work))
        await asyncio.shield(self._writing)

    async def _run_alone(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self._writing = asyncio.create_task(self._write_all()) if self._queue else None

    async def _write_all(self) -> None:
        group: Group | None = None
        try:
            while self._queue:
                group = self._queue.popleft()
                await self._write(group)
        except BaseException as error:
            # Those behind it may build on what was not written: they fail too.
            for failed in (group, *self._queue):
                if failed is not None and not failed.done.done():
                    failed.done.set_exception(self._explain(error))
            self._queue.clear()
            if not isinstance(error, Exception):
                raise
        finally:
            self._writing = None


def refused(error: StoreError) -> Awaitable[None]:
    """What ``commit`` gives where nothing can be written at all."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_exception(error)
    return done
