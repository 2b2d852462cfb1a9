"""Work that is not to stop half-way, whatever becomes of the request that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_under_way: set[asyncio.Task[Any]] = set()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``. When the caller is cancelled, ``work`` still runs to its end, and nobody hears of it."""
    task = asyncio.ensure_future(work)
    _under_way.add(task)  # the loop itself holds tasks weakly
    task.add_done_callback(_under_way.discard)
    return await asyncio.shield(task)
