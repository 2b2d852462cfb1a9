"""A coroutine that runs at once, and in a task only from where it first waits.

Most requests never wait: what they read is in memory. Their task would be made, queued and switched to for
nothing, which takes as long as a look-up. (Python 3.12's eager tasks do this, for tasks of their own.)
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Begun(Generic[T]):
    """A coroutine that waits for ``pending``, which it gave to the event loop."""

    work: Coroutine[Any, Any, T]
    pending: Any

    @types.coroutine
    def finish(self) -> Generator[Any, Any, T]:
        """Run it to its end, in the task that awaits this."""
        pending = self.pending
        try:
            while True:
                try:
                    value = yield pending
                except BaseException as error:
                    pending = self.work.throw(error)
                else:
                    pending = self.work.send(value)
        except StopIteration as end:
            result: T = end.value
            return result


def begin(work: Coroutine[Any, Any, T], task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> Begun[T] | T:
    """Run ``work`` up to its first wait, as ``task``, which is itself waiting: its result if it came to its end."""
    asyncio._enter_task(loop, task)  # documented for those who run coroutines: "Extending", in asyncio's manual
    try:
        return Begun(work, work.send(None))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        asyncio._leave_task(loop, task)
