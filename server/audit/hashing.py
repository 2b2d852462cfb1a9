"""HMAC-SHA256 (RFC 2104) of what an audit entry must not show, with the salt of its device."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from ...framework import jsontext

_BLOCK = 64  # bytes, of SHA-256
_PREFIX = "hmac-sha256:"
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_SHORTEST_TIME = len("2006-01-02T15:04:05Z")
_PLAIN = frozenset({bool, int, float, type(None)})

Hash = Callable[[str], str]


class Hasher:
    """Hashes texts as ``sys/audit-hash`` does; equal texts have equal hashes on one device."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, salt: bytes) -> None:
        """``salt``: at most 64 bytes."""
        key = salt.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def __call__(self, text: str) -> str:
        """``hmac-sha256:`` and 64 hexadecimal digits."""
        inner = self._inner.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return _PREFIX + outer.hexdigest()


def is_time(text: str) -> bool:
    """Whether a text is a time with its zone (RFC 3339 section 5.6), to nanoseconds at most. Vault shows them."""
    if len(text) < _SHORTEST_TIME or text[10] != "T" or _TIME.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def clear(text: str) -> str:
    """The stand-in for a hasher where ``log_raw`` is set."""
    return text


def hidden(value: Any, hashed: Hash, shown_keys: frozenset[str] = frozenset()) -> Any:
    """A copy of ``value`` as JSON types in which every string is hashed, and no number, boolean, time or key.

    Strings, and those in lists, directly under one of ``shown_keys`` stay, at any depth. What nests deeper than
    Python can follow is hashed as one text.
    """
    try:
        return _hidden(value, hashed, shown_keys)
    except RecursionError:
        return hashed(jsontext.dumps(value).decode())


def _hidden(value: Any, hashed: Hash, shown: frozenset[str]) -> Any:
    kind = type(value)
    if kind is str:
        return value if is_time(value) else hashed(value)
    if kind is dict:
        return {key: (_seen if key in shown else _hidden)(each, hashed, shown) for key, each in value.items()}
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [_hidden(each, hashed, shown) for each in value]
    if isinstance(value, Mapping):
        return _hidden(dict(value), hashed, shown)
    if isinstance(value, bytes):
        return hashed(value.decode("utf-8", "backslashreplace"))
    return _hidden(jsontext.loads(jsontext.dumps(value)), hashed, shown)  # JSON in one piece, or a dataclass


def _seen(value: Any, hashed: Hash, shown: frozenset[str]) -> Any:
    """What is under a key that may be seen: texts as they are, what they nest in as ever."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [_seen(each, hashed, shown) for each in value]
    return _hidden(value, hashed, shown)
