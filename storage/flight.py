"""What is on its way: commits to the physical store, values and listings from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any


@dataclass(slots=True, eq=False)
class Flight:
    """A batch given to the physical store, until it is settled: durable, or failed with ``error``."""

    sequence: int
    writes: dict[str, bytes | None]
    callbacks: list[Callable[[], None]]
    done: asyncio.Future[None]
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    settled: bool = False
    error: BaseException | None = None
    began: float = field(default_factory=perf_counter)

    def landing(self) -> asyncio.Future[None]:
        """Done once it is settled; for it alone who asks."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return waiter

    def settle(self, error: BaseException | None) -> None:
        """Tell those who wait for it."""
        self.settled, self.error = True, error
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


@dataclass(slots=True, eq=False)
class Pending:
    """A key that flights change: the durable value, and what the last of them makes of it."""

    old: Any  # ``MISSING`` where nobody has looked: only once it has landed is the key's value known
    new: bytes | None
    flight: Flight


@dataclass(slots=True, eq=False)
class Load:
    """A value on its way from the physical store; stale once a commit touched its key."""

    readers: int = 0
    stale: bool = False


@dataclass(slots=True, eq=False)
class Scan:
    """A listing on its way: the keys under its prefix that commits touch until it arrives, and
    whether the durable state has them."""

    prefix: str
    present: dict[str, bool]
    stale: bool = False
