"""Decoded forms of stored values, remembered for as long as the stored bytes are the same object.

The store's cache gives the same ``bytes`` object for a key until the key changes, so identity tells at once
whether a decoded form is still true (and equality if not): nothing has to be invalidated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """``decode(key, raw)`` with a memory of ``limit`` entries. The decoded value is shared: treat it as frozen."""

    __slots__ = ("_decode", "_known", "_limit")

    def __init__(self, decode: Callable[[str, bytes], T], limit: int = 10_000) -> None:
        self._decode = decode
        self._limit = limit
        self._known: dict[str, tuple[bytes, T]] = {}

    def __call__(self, key: str, raw: bytes) -> T:
        known = self._known.get(key)
        if known is not None:
            if known[0] is raw:
                return known[1]
            if known[0] == raw:
                self._known[key] = raw, known[1]
                return known[1]
        value = self._decode(key, raw)
        self.remember(key, raw, value)
        return value

    def remember(self, key: str, raw: bytes, value: T) -> None:
        """Note what ``raw`` decodes to, which whoever has just encoded it knows. It need not be stored yet:
        what is stored is compared before the value is used."""
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[key] = raw, value
