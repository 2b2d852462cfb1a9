"""Log lines as they are made, for somebody who watches: ``sys/monitor``."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable

from .. import log_levels

_WAITING = 1024
"""Lines that a watcher may be behind. One that is further behind is sent away: the server does not keep its log."""
_BREATH = 1.0  # seconds between looks whether the watcher is still there


class Monitor(logging.Handler):
    """One watcher. Lines come from any thread; ``lines`` runs on the event loop."""

    def __init__(self, level: int, formatter: logging.Formatter) -> None:
        super().__init__(level)
        self.setFormatter(formatter)
        self.addFilter(lambda record: record.name.startswith("caveau.") or record.levelno >= logging.WARNING)
        self.overrun = False
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        self._come = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.overrun:
            return
        if len(self._waiting) >= _WAITING:
            self.overrun = True
            self._waiting.clear()
        else:
            self._waiting.append(self.format(record))
        try:
            self._loop.call_soon_threadsafe(self._come.set)
        except RuntimeError:  # the loop has ended
            self.overrun = True

    async def lines(self, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
        """What is logged from the first step on, until ``ended`` says so; an empty piece about every second.

        Ends too when the watcher is too far behind.
        """
        root = logging.getLogger()
        root.addHandler(self)
        log_levels.watch(self.level)
        try:
            while not ended() and not self.overrun:
                self._come.clear()
                if not self._waiting:
                    await self._pause()
                pieces = []
                while self._waiting:
                    pieces.append(self._waiting.popleft() + "\n")
                yield "".join(pieces).encode("utf-8", "backslashreplace")
        finally:
            root.removeHandler(self)
            log_levels.unwatch(self.level)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_BREATH):
                await self._come.wait()
        except TimeoutError:
            pass
