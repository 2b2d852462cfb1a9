"""One request's reads and writes, until ``Store.commit`` makes them one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..framework.errors import InvalidRequest
from .cache import MISSING
from .flight import Flight
from .history import Window

if TYPE_CHECKING:
    from .store import Store

Names = list[str]  # the class below has a method named list


_SLACK = 4096


class Transaction:
    """One request's view: reads see one state of the store and its own writes (``View``).

    Reads raise Conflict when the state it has seen is gone; see ``Store.run``.
    """

    __slots__ = ("_callbacks", "_depends", "_reads", "_start", "_store", "_windows", "_writes")

    def __init__(self, store: Store, start: int) -> None:
        self._store = store
        self._start = start
        self._reads: dict[str, bytes | None] = {}
        self._windows: list[Window] = []
        self._writes: dict[str, bytes | None] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._depends: Flight | None = None  # the last flight whose data it has read

    async def get(self, key: str) -> bytes | None:
        if key in self._writes:
            return self._writes[key]
        if key in self._reads:
            return self._reads[key]
        store = self._store
        while True:
            entry = store._pending.get(key)
            if entry is None:
                value = store.cache.get(key)
                if value is MISSING:
                    value = await store.get(key)
            else:
                value = entry.new
                self._rests_on(entry.flight)
            if store._sequence == self._start or store._history.last(key) <= self._start:
                self._reads[key] = value
                seen: bytes | None = value
                return seen
            store._extend(self)

    async def list(self, prefix: str = "", after: str = "", limit: int = 0) -> Names:
        store = self._store
        while True:
            names = await store._list(prefix, after, limit, self)
            window = Window(prefix, after, names[-1] if limit and len(names) == limit else None)
            if not store._history.touched([window], self._start):
                self._windows.append(window)
                return names
            store._extend(self)

    def put(self, key: str, value: bytes, *, new: bool = False) -> None:
        """Set ``key``; raises InvalidRequest for a key that is not UTF-8 text."""
        if not key.isascii():
            check(key)
        if new and key not in self._writes:
            self._reads.setdefault(key, None)  # as if it had been looked for
        # What an encoder gives may lie in a buffer many times its length (orjson: 4 KiB); it may be kept for long.
        self._writes[key] = bytes(memoryview(value)) if len(value) < _SLACK else value

    def delete(self, key: str) -> None:
        if not key.isascii():
            check(key)
        self._writes[key] = None

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the loop step in which the commit becomes visible, in commit order:
        for what is kept in memory beside the store, such as the router's table."""
        self._callbacks.append(callback)

    def rollback(self) -> None:
        """Forget the writes and callbacks. What was read is kept: see ``Store.commit``."""
        self._writes.clear()
        self._callbacks.clear()

    @property
    def writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._writes or self._callbacks)

    def _rests_on(self, flight: Flight) -> None:
        if self._depends is None or self._depends.sequence < flight.sequence:
            self._depends = flight


def check(key: str) -> None:
    """Raise InvalidRequest unless ``key`` can be UTF-8: a lone surrogate would fail a whole group."""
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a path must be valid UTF-8 text") from None
