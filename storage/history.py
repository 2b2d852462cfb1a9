"""What recent commits changed, for as long as a transaction may conflict with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .listing import child

LIMIT = 65_536
"""Commits remembered at most, however old the oldest transaction is."""


@dataclass(slots=True)
class Window:
    """The part of a listing that was seen: children of ``prefix`` after ``after``, up to ``last``
    (None: to the end)."""

    prefix: str
    after: str
    last: str | None

    def shows(self, key: str) -> bool:
        if not key.startswith(self.prefix):
            return False
        name = child(self.prefix, key)
        return name > self.after and (self.last is None or name <= self.last)


@dataclass(slots=True)
class _Change:
    sequence: int
    keys: Collection[str]
    members: Collection[str]


class History:
    """Changes by sequence number. What it does not remember it takes for changed."""

    __slots__ = ("_changes", "_floor", "_last")

    def __init__(self) -> None:
        self._changes: deque[_Change] = deque()
        self._last: dict[str, int] = {}  # key -> the last of _changes that has it
        self._floor = 0  # everything changed here, for all that is known

    def __len__(self) -> int:
        """How many keys it remembers."""
        return len(self._last)

    def __bool__(self) -> bool:
        return bool(self._changes)

    def __contains__(self, key: str) -> bool:
        return key in self._last

    def record(self, sequence: int, keys: Collection[str], members: Collection[str]) -> None:
        """``keys`` changed; ``members`` of them came to be or ceased to be, which listings show."""
        self._changes.append(_Change(sequence, keys, members))
        for key in keys:
            self._last[key] = sequence
        if len(self._changes) > LIMIT:
            self._floor = self._changes[0].sequence
            self._forget()

    def last(self, key: str) -> int:
        """The sequence number of the last change of ``key``, or one that is not after it."""
        return self._last.get(key, self._floor)

    def changed(self, keys: Iterable[str], since: int) -> bool:
        """Whether one of ``keys`` changed after ``since``."""
        last, floor = self._last, self._floor
        for key in keys:  # noqa: SIM110 (any() takes twice as long)
            if last.get(key, floor) > since:
                return True
        return False

    def touched(self, windows: Collection[Window], since: int) -> bool:
        """Whether one of ``windows`` shows something else than at ``since``."""
        if not windows:
            return False
        if since < self._floor:
            return True
        for change in reversed(self._changes):
            if change.sequence <= since:
                break
            if any(window.shows(key) for key in change.members for window in windows):
                return True
        return False

    def trim(self, oldest: int | None) -> None:
        """Forget the changes up to ``oldest``, from where nobody looks back; None: nobody does."""
        if oldest is None:
            self._changes.clear()
            self._last.clear()
            return
        while self._changes and self._changes[0].sequence <= oldest:
            self._forget()

    def forget_all(self, sequence: int) -> None:
        """Everything may have changed at ``sequence``."""
        self.trim(None)
        self._floor = sequence

    def _forget(self) -> None:
        change = self._changes.popleft()
        for key in change.keys:
            if self._last.get(key) == change.sequence:
                del self._last[key]
