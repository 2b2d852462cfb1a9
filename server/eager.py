"""A coroutine that runs at once, and again when its wait is over, as a task that sleeps meanwhile.

Most requests never wait: what they read is in memory. Their task would be made, queued and switched to for
nothing, which takes as long as a look-up. (Python 3.12's eager tasks do this, for tasks of their own.) For those
that wait, such as for the audit log, waking the task is saved.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Begun(Generic[T]):
    """A coroutine that waits for ``pending``, which it gave to the event loop."""

    work: Coroutine[Any, Any, T]
    pending: Any

    def goes_on(self, callback: Callable[[asyncio.Future[Any]], object]) -> bool:
        """Have ``callback`` called when the wait is over, for it to ``begin`` the work again; whether that can be."""
        pending = self.pending
        if not isinstance(pending, asyncio.Future):
            return False
        pending._asyncio_future_blocking = False
        pending.add_done_callback(callback)
        return True

    def cancelled(self, callback: Callable[[asyncio.Future[Any]], object]) -> BaseException | None:
        """Undo ``goes_on`` because its task was cancelled: cancel what it waits for, as a task does.

        What is to be thrown into the work instead, if that cannot be cancelled.
        """
        self.pending.remove_done_callback(callback)
        self.pending._asyncio_future_blocking = True
        return None if self.pending.cancel() else asyncio.CancelledError()

    @types.coroutine
    def finish(self, error: BaseException | None = None) -> Generator[Any, Any, T]:
        """Run it to its end, in the task that awaits this; ``error``: what its wait ends with."""
        pending = self.pending
        try:
            if error is not None:
                pending = self.work.throw(error)
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
    """Run ``work`` up to its next wait, as ``task``, which is itself waiting: its result if it came to its end."""
    asyncio._enter_task(loop, task)  # documented for those who run coroutines: "Extending", in asyncio's manual
    try:
        return Begun(work, work.send(None))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        asyncio._leave_task(loop, task)
