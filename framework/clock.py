"""Time as a dependency: servers use ``SystemClock``, tests advance a ``FakeClock``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def time(self) -> float:
        """Seconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    time = staticmethod(time.time)


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def rfc3339(seconds: float) -> str:
    """UTC time as Vault prints it: RFC 3339 with up to nanoseconds, trailing zeros cut, ``Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; raises ValueError."""
    head, dot, tail = text.partition(".")
    if dot:  # Go prints nanoseconds, Python reads microseconds
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6]}{tail[digits:]}"
    return datetime.fromisoformat(text).timestamp()
