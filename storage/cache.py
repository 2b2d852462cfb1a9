"""The cache of decrypted entries: bounded in bytes, second-chance eviction."""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof
from typing import Any, Final

MISSING: Final[Any] = object()
"""What ``Cache.get`` answers when it does not know: None means that the key is known to be absent."""

Cell = list[Any]
"""Where the cache keeps a value: it is the first item for as long as the cache has it, and MISSING from then on.

Whoever holds the cell of a key knows at the cost of one look whether the value is still the one that it has read.
The others: whether it was read of late, and its bytes.
"""

_OVERHEAD = 250  # bytes an entry takes besides its key and value, measured on CPython 3.11
_CHANCES = 32  # entries spared in one eviction, so that a full lap never holds up the loop


class Cache:
    """Key -> value, or None for a key known to be absent.

    Second chance rather than LRU: a hit sets a flag (95 ns) where LRU relinks a list (140 ns), and
    keys that were read once in a sweep do not push out those that are read again and again.
    """

    __slots__ = ("_capacity", "_entries", "hits", "misses", "size", "writes")

    def __init__(self, capacity: int) -> None:
        """``capacity``: bytes, keys and bookkeeping included; 0 caches nothing."""
        self._capacity = capacity
        self._entries: OrderedDict[str, Cell] = OrderedDict()
        self.size = 0
        self.hits = self.misses = self.writes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Any:
        """The value, None when the key is known to be absent, or MISSING."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return MISSING
        self.hits += 1
        entry[1] = True
        return entry[0]

    def cell(self, key: str) -> Cell:
        """The cell of ``key``; one that holds nothing when there is none. To set its second item spares the value."""
        return self._entries.get(key) or [MISSING, False, 0]

    def put(self, key: str, value: bytes | None) -> None:
        """Keep ``value``, unless it alone would take an eighth of the cache."""
        used = self.discard(key)
        cost = _OVERHEAD + getsizeof(key) + (0 if value is None else len(value))
        if cost > self._capacity >> 3:
            return
        self.writes += 1
        self._entries[key] = [value, used, cost]
        self.size += cost
        if self.size > self._capacity:
            self._evict()

    def renew(self, key: str, value: bytes) -> None:
        """Replace the value of ``key`` if there is one."""
        entry = self._entries.get(key)
        if entry is None:
            return
        grown = len(value) - len(entry[0] or b"")
        entry[0] = value
        entry[2] += grown
        self.size += grown
        self.writes += 1
        if entry[2] > self._capacity >> 3:
            self.discard(key)
        elif self.size > self._capacity:
            self._evict()

    def _evict(self) -> None:
        chances = _CHANCES
        while self.size > self._capacity:
            oldest, entry = self._entries.popitem(last=False)
            if entry[1] and chances:
                chances -= 1
                entry[1] = False
                self._entries[oldest] = entry
            else:
                self.size -= entry[2]
                entry[0] = MISSING

    def discard(self, key: str) -> bool:
        """Forget ``key``; tells whether it had been read since it came or was last spared."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.size -= entry[2]
        entry[0] = MISSING
        return bool(entry[1])

    def clear(self) -> None:
        for entry in self._entries.values():
            entry[0] = MISSING
        self._entries.clear()
        self.size = 0
