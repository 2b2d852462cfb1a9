"""How one value travels: weakly typed JSON, query or CLI text in, a Python value out.

Clients of Vault send ``"1h"`` or ``3600``, ``"true"`` or ``true``, ``"a,b"`` or ``["a", "b"]`` for the
same thing, and every one of them is accepted here, once, for every engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .clock import parse_rfc3339
from .jsontext import dumps, loads


@dataclass(frozen=True, slots=True)
class Wire:
    """One kind of value: ``parse`` raises ValueError with a text that a user understands."""

    name: str  # shown by path-help
    schema: Mapping[str, Any]  # OpenAPI
    parse: Callable[[Any], Any]
    zero: Callable[[], Any]  # what JSON null means


_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_SECONDS = (2**63 - 1) // 10**9  # Go's time.Duration, about 292 years
_INT64 = 2**63


def parse_duration(raw: Any) -> float:
    """Seconds of a Vault duration: a number, ``"90"``, ``"1h30m"``, ``"1.5h"``, ``"7d"``; may be negative.

    Raises ValueError when it is none of these or over 292 years.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f'expected a duration such as 30 or "1h", got {type_name(raw)}')
    seconds = _duration_text(raw.strip()) if isinstance(raw, str) else raw
    if not abs(seconds) <= _MAX_SECONDS:
        raise ValueError("duration is out of range: at most 292 years")
    return float(seconds)


def format_duration(seconds: int) -> str:
    """Seconds as Go prints a duration: ``"1h0m0s"``, ``"1m30s"``, ``"0s"``, ``"-5s"``."""
    minutes, rest = divmod(abs(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
    return f"-{text}" if seconds < 0 else text


def _duration_text(text: str) -> float:
    if not text:
        return 0.0
    body, sign = (text[1:], -1.0) if text[0] == "-" else (text.removeprefix("+"), 1.0)
    if body.isascii() and body.isdigit():
        return sign * float(body)
    if body.endswith("d") and body[:-1].isascii() and body[:-1].isdigit():
        return sign * float(body[:-1]) * 86400
    total, end = 0.0, 0
    for part in _GO_PART.finditer(body):
        if part.start() != end:
            break
        total += float(part[1]) * _GO_UNITS[part[2]]
        end = part.end()
    if not end or end != len(body):
        raise ValueError(f'invalid duration {text[:64]!r}: use seconds or a form such as "1h30m"')
    return sign * total


def _seconds(raw: Any) -> int:
    seconds = parse_duration(raw)
    if seconds < 0:
        raise ValueError("cannot provide negative value")
    return int(seconds)


def _string(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "1" if raw else "0"
    if isinstance(raw, int | float):
        return dumps(raw).decode()
    raise ValueError(f"expected type 'string', got {type_name(raw)}")


def parse_moment(raw: Any) -> float | None:
    """Seconds since the epoch of a number of them or an RFC 3339 time with an offset; None of None.

    Raises ValueError.
    """
    if raw is None:
        return None
    seconds = _moment_text(raw.strip()) if isinstance(raw, str) else _number(raw)
    if not _YEAR_1 <= seconds < _YEAR_10000:
        raise ValueError("time is out of range: the years 1 to 9999")
    return seconds


_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _moment_text(text: str) -> float:
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return float(text)
    if not _MOMENT.fullmatch(text):
        raise ValueError("could not parse string as date and time")
    return parse_rfc3339(text)


_LONGEST_NAME = 255


def _lower_name(raw: Any) -> str:
    name = _string(raw).lower()
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"a name has at most {_LONGEST_NAME} characters")
    return name


def _number(raw: Any) -> float:
    if isinstance(raw, str):
        raw = float(raw.strip() or 0) if len(raw) <= 64 else math.nan
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"expected a number, got {type_name(raw)}")
    if not math.isfinite(value := float(raw)):
        raise ValueError("number is out of range")
    return value


def _int(raw: Any) -> int:
    if isinstance(raw, bool):
        return int(raw)
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    elif isinstance(raw, str):
        text = raw.strip()
        if not re.fullmatch(r"[+-]?(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})|", text):
            raise ValueError(f"cannot parse {text[:64]!r} as int")
        raw = int(text, 16 if "x" in text.lower() else 10) if text else 0
    if not isinstance(raw, int):
        raise ValueError(f"expected an integer, got {type_name(raw)}")
    if not -_INT64 <= raw < _INT64:
        raise ValueError("integer is out of range")
    return raw


_BOOLS = {t: v for v, ts in ((True, "1 t T TRUE true True"), (False, "0 f F FALSE false False")) for t in ts.split()}


def parse_bool(raw: Any) -> bool:
    """A Go-style boolean: true, "true", "T", 1, ...; raises ValueError."""
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int | float):
        return raw != 0
    if isinstance(raw, str) and (raw in _BOOLS or not raw):
        return _BOOLS.get(raw, False)
    shown = repr(raw[:64]) if isinstance(raw, str) else type_name(raw)
    raise ValueError(f"cannot parse {shown} as bool")


def _items(raw: Any) -> list[str]:
    if isinstance(raw, str):
        return raw.split(",") if raw.strip() else []
    if isinstance(raw, list):
        return [_string(item) for item in raw]
    return [_string(raw)]


def _comma_strings(raw: Any) -> list[str]:
    return [text for item in _items(raw) if (text := item.strip())]


def _strings(raw: Any) -> list[str]:
    """A list of strings in which a lone string is one item, commas and all."""
    if isinstance(raw, list):
        return [_string(item) for item in raw]
    return [_string(raw)] if raw != "" else []


def _comma_ints(raw: Any) -> list[int]:
    if isinstance(raw, list):
        return [_int(item) for item in raw]
    if isinstance(raw, str):
        return [_int(item) for item in raw.split(",") if item.strip()]
    return [_int(raw)]


def _map(raw: Any) -> dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    raise ValueError(f"expected a map, got {type_name(raw)}")


def _pairs(raw: Any) -> dict[str, str]:
    """String to string, from an object or from ``["k=v", ...]`` or ``"k=v"`` or JSON text of an object."""
    if isinstance(raw, str):
        if raw.lstrip().startswith("{"):
            try:
                raw = loads(raw.encode())
            except ValueError as error:
                raise ValueError("expected key=value pairs or a JSON object") from error
        else:
            raw = [raw] if raw else []
    if isinstance(raw, list):
        pairs = [_string(item).partition("=") for item in raw]
        if not all(sep and key.strip() for key, sep, _ in pairs):
            raise ValueError("expected key=value pairs")
        return {key.strip(): value.strip() for key, _, value in pairs}
    return {key: _string(value) for key, value in _map(raw).items()}


def _list(raw: Any) -> list[Any]:
    if isinstance(raw, list):
        return raw
    if isinstance(raw, dict):
        raise ValueError(f"expected a list, got {type_name(raw)}")
    return [raw]


def type_name(raw: Any) -> str:
    """The JSON name of a value's type, for messages."""
    return {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(raw), "number")


def _nothing() -> Any:
    return None


STRING = Wire("string", {"type": "string"}, _string, str)
LOWER_NAME = Wire("string", {"type": "string"}, _lower_name, str)
"""A name in which case does not matter."""
INT = Wire("int", {"type": "integer"}, _int, int)
NUMBER = Wire("float", {"type": "number", "format": "float"}, _number, float)
BOOL = Wire("bool", {"type": "boolean"}, parse_bool, bool)
SECONDS = Wire("duration (sec)", {"type": "string", "format": "duration"}, _seconds, int)
SIGNED_SECONDS = Wire(
    "signed duration (sec)",
    {"type": "string", "format": "duration"},
    lambda raw: int(parse_duration(raw)),
    int,
)
MOMENT = Wire("time", {"type": "string", "format": "date-time"}, parse_moment, _nothing)
COMMA_STRINGS = Wire("slice", {"type": "array", "items": {"type": "string"}}, _comma_strings, list)
STRINGS = Wire("slice", {"type": "array", "items": {"type": "string"}}, _strings, list)
COMMA_INTS = Wire("slice", {"type": "array", "items": {"type": "integer"}}, _comma_ints, list)
MAP = Wire("map", {"type": "object"}, _map, dict)
PAIRS = Wire("keypair", {"type": "object"}, _pairs, dict)
LIST = Wire("slice", {"type": "array", "items": {}}, _list, list)
ANY = Wire("any", {}, lambda raw: raw, _nothing)
