"""JSON text in and out, exact where orjson alone is not.

orjson does the work. It reads integers beyond 64 bits as floats and cannot write them, and it
cannot write more than 254 levels; such texts, which it takes one pass over the bytes to notice, go through
the standard library.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

MAX_DEPTH = 510
"""Levels of arrays and objects that a text may nest: Vault's default of ``max_json_depth`` for a request, 500,
and the envelope around an answer that holds all of it."""

_DIGITS_ONLY = bytes(ord("0") if code in b"0123456789" else ord(" ") for code in range(256))
_LONG_NUMBER = b"0" * 19  # the shortest run of digits that may not fit in 64 bits
_TOO_DEEP = "exceeded max depth"


def loads(raw: bytes) -> Any:
    """The value of a JSON text. Integers are exact whatever their size.

    Raises ValueError (of which orjson.JSONDecodeError is one) on bad syntax, bad UTF-8, numbers beyond
    a double or of over 4300 digits, and more than MAX_DEPTH levels.
    """
    value = _loads_exact(raw) if _LONG_NUMBER in raw.translate(_DIGITS_ONLY) else orjson.loads(raw)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    return value


def dumps(value: Any, *, sort_keys: bool = True) -> bytes:
    """Compact UTF-8 JSON of a value, which may contain ``orjson.Fragment``.

    Raises TypeError or ValueError for what JSON cannot say.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else 0)
    except TypeError:
        pass
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys, default=_unwrap
        ).encode()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _unwrap(value: Any) -> Any:
    if isinstance(value, orjson.Fragment):
        return loads(orjson.dumps(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _loads_exact(raw: bytes) -> Any:
    text = raw.decode()
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if "\\ud" in text or "\\uD" in text:  # half of a surrogate pair has no UTF-8
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("number is out of range")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)
