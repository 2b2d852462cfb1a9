"""Durations in Go's notation (``1h30m``, ``250ms``), held as whole nanoseconds."""

from __future__ import annotations

import re

NANOSECOND, MICROSECOND, MILLISECOND, SECOND = 1, 1_000, 1_000_000, 1_000_000_000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND

_UNITS = {"ns": NANOSECOND, "us": MICROSECOND, "µs": MICROSECOND, "μs": MICROSECOND,
          "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": 24 * HOUR}  # fmt: skip
_PART = re.compile(r"([0-9]+)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h|d)")


def parse(text: str) -> int:
    """Nanoseconds in ``text``; a bare number counts seconds. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest.isascii() and rest.isdigit():
        return sign * int(rest) * SECOND
    total = position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None:
            break
        whole, fraction, unit = part.group(1), part.group(2) or "", _UNITS[part.group(3)]
        total += int(whole) * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        position = part.end()
    if not rest or position < len(rest):
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def text(nanoseconds: int) -> str:
    """Go's own text of a duration: ``1h0m0s``, ``1.5s``, ``0s``."""
    if nanoseconds < 0:
        return "-" + text(-nanoseconds)
    if 0 < nanoseconds < SECOND:
        for unit, size in (("ms", MILLISECOND), ("µs", MICROSECOND), ("ns", NANOSECOND)):
            if nanoseconds >= size:
                return _decimal(nanoseconds, size) + unit
    hours, rest = divmod(nanoseconds, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds = _decimal(rest, SECOND) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def human(seconds: int) -> str:
    """A duration for tables, without its empty parts: ``768h``, ``59m57s``, ``0s``."""
    full = text(seconds * SECOND)
    if full.endswith("m0s"):
        full = full[:-2]
    return full.replace("h0m", "h", 1)


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    if not fraction:
        return str(whole)
    return f"{whole}." + str(fraction).zfill(len(str(unit)) - 1).rstrip("0")
