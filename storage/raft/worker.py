"""A thread that does one thing after the other for the event loop: what waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Task = Callable[[], object]


class Worker:
    """Of one event loop. An executor would do, at twice the price of a turn, which every commit takes."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[tuple[Task, asyncio.Future[object] | None] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, task: Task) -> asyncio.Future[object]:
        """Done with what ``task`` returns, or raises."""
        done: asyncio.Future[object] = self._loop.create_future()
        self._tasks.put((task, done))
        return done

    def begin(self, task: Task) -> None:
        """Nobody waits for it. From any thread."""
        self._tasks.put((task, None))

    def stop(self) -> None:
        """After what was given to it."""
        self._tasks.put(None)

    def _run(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, done = item
            try:
                result, error = task(), None
            except BaseException as problem:
                result, error = None, problem
            if done is None:
                continue
            try:
                self._loop.call_soon_threadsafe(_finish, done, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits


def _finish(done: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
