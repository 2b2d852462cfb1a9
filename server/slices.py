"""Long work on the event loop, a slice at a time: requests go between."""

from __future__ import annotations

import asyncio
from time import perf_counter

_SECONDS = 0.00025  # what a request may wait for one; to be answered takes it about as long on a small machine


class Slices:
    """The time that one piece of work has had since it last let others run."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = perf_counter()

    async def next(self) -> None:
        """Between two steps of the work: let others run if it has had its slice."""
        if perf_counter() - self._began > _SECONDS:
            await asyncio.sleep(0)
            self._began = perf_counter()
