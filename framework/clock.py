"""Time as a dependency: servers use ``SystemClock``, tests advance a ``FakeClock``."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol

_EPOCH = datetime(1970, 1, 1)  # UTC


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
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    text = _to_the_second(whole)
    return f"{text}.{micros:06}".rstrip("0") + "Z" if micros else text + "Z"


@lru_cache(64)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; raises ValueError."""
    head, dot, tail = text.partition(".")
    if dot:  # Go prints nanoseconds, Python reads microseconds
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6]}{tail[digits:]}"
    return datetime.fromisoformat(text).timestamp()
