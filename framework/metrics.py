"""Counters, timings and gauges: counted where things happen for next to nothing, put into shape when asked for.

Names are dotted and without the configured prefix (``core.handle_request``); labels are keyword arguments.
What is counted often is looked up once and kept::

    self._lookups = metrics.timing("token.lookup")
    ...
    self._lookups.observe(perf_counter() - began)

Nothing here is safe to use from other threads than the event loop's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]
"""Sorted by name."""

INTERVAL = 10.0
"""Seconds over which counters and timings are put together for those who ask for the present."""
_RECENT = 256  # values of an interval that its quantiles are taken of


class Key(NamedTuple):
    """What a series is known by."""

    name: str
    labels: Labels = ()


class Value(NamedTuple):
    """A number of this moment."""

    key: Key
    value: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What was observed in some time; ``recent``: the last values of it."""

    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    recent: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Sample standard deviation, of the recent values."""
        if len(self.recent) < 2:
            return 0.0
        mean = math.fsum(self.recent) / len(self.recent)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.recent) / (len(self.recent) - 1))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; NaN without any."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


NOTHING = Summary()


class Counter:
    """What only grows."""

    __slots__ = ("_before", "key", "last", "value")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.value = 0.0
        self.last = 0.0  # in the last whole interval
        self._before = 0.0

    def add(self, amount: float = 1) -> None:
        self.value += amount

    @property
    def current(self) -> float:
        """Since the last whole interval. One that is kept elsewhere begins anew when the server opens again."""
        return self.value - self._before if self.value >= self._before else self.value

    def turn(self) -> None:
        self.last, self._before = self.current, self.value


class Timing:
    """Durations, shown in milliseconds; or other amounts, shown as they are."""

    __slots__ = ("_buffer", "_high", "_low", "_recent", "_start", "count", "key", "last", "observe", "scale", "total")

    def __init__(self, key: Key, scale: float = 1000.0) -> None:
        """``scale``: of what is shown to what is observed."""
        self.key = key
        self.scale = scale
        self.count = 0
        self.total = 0.0
        self.last = NOTHING  # the last whole interval
        self._buffer: list[float] = []
        self.observe: Callable[[float], None] = self._buffer.append
        """Seconds, for a duration. Several of these are called for every request: they only put the value down."""
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._low, self._high = math.inf, -math.inf
        self._start = (0, 0.0)  # count and total when the interval began

    def observe_equal(self, value: float, count: int) -> None:
        """``count`` times the same."""
        self._buffer += [value] * count

    def fold(self) -> None:
        """Take up what was observed: ``count`` and ``total`` are true afterwards."""
        if not (buffer := self._buffer):
            return
        self.count += len(buffer)
        self.total += sum(buffer)
        self._low, self._high = min(self._low, *buffer), max(self._high, *buffer)
        self._recent.extend(buffer)
        buffer.clear()

    @property
    def current(self) -> Summary:
        """Since the last whole interval."""
        self.fold()
        count, total = self._start
        if self.count == count:
            return NOTHING
        return Summary(self.count - count, self.total - total, self._low, self._high, tuple(self._recent))

    @property
    def lately(self) -> tuple[float, ...]:
        """The values to take quantiles of: between one and two intervals old at most."""
        self.fold()
        return (*self.last.recent, *self._recent)

    def turn(self) -> None:
        self.last = self.current
        self._start = (self.count, self.total)
        self._low, self._high = math.inf, -math.inf
        self._recent.clear()


class Metrics:
    """All series of a server."""

    def __init__(self) -> None:
        self._counters: dict[Key, Counter] = {}
        self._timings: dict[Key, Timing] = {}
        self._gauges: dict[str, Callable[[], Iterable[Value]]] = {}
        self._counts: dict[str, Callable[[], Iterable[Value]]] = {}
        self.turned = 0.0  # when the last whole interval ended, seconds since the epoch; 0: there was none

    # For those who count

    def counter(self, name: str, /, **labels: str) -> Counter:
        """The counter of this name and labels, made if need be."""
        key = _key(name, labels)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = Counter(key)
        return found

    def timing(self, name: str, scale: float = 1000.0, /, **labels: str) -> Timing:
        """The timing of this name and labels, made if need be."""
        key = _key(name, labels)
        found = self._timings.get(key)
        if found is None:
            found = self._timings[key] = Timing(key, scale)
        return found

    def adopt(self, timing: Timing) -> None:
        """Show a timing that somebody else has made."""
        self._timings[timing.key] = timing

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter; for what does not happen thousands of times a second."""
        self.counter(name, **labels).add(amount)

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        """Note a duration; for what does not happen thousands of times a second."""
        self.timing(name, 1000.0, **labels).observe(seconds)

    def gauge(self, name: str, read: Callable[[], float], /, **labels: str) -> None:
        """``read`` is called whenever somebody asks; a gauge registered again replaces the one before."""
        key = _key(name, labels)
        self.gauges(f"{name} {key.labels}", lambda: (Value(key, read()),))

    def gauges(self, source: str, read: Callable[[], Iterable[Value]]) -> None:
        """Gauges whose labels are known only when somebody asks. ``source`` names them together."""
        self._gauges[source] = read

    def counts(self, source: str, read: Callable[[], Iterable[Value]]) -> None:
        """Counters that are kept elsewhere."""
        self._counts[source] = read

    def drop(self, source: str) -> None:
        """Forget what ``gauges`` or ``counts`` registered."""
        self._gauges.pop(source, None)
        self._counts.pop(source, None)

    def fold(self) -> None:
        """Put together what timings have been told. To be called now and then, or they grow without bounds."""
        for timing in self._timings.values():
            timing.fold()

    # For those who ask

    def turn(self, now: float) -> None:
        """End an interval: every ``INTERVAL`` seconds."""
        self.turned = now
        for source in self._counts.values():
            for key, value in source():
                self._counter(key).value = value
        for counter in self._counters.values():
            counter.turn()
        for timing in self._timings.values():
            timing.turn()

    def all_gauges(self) -> list[Value]:
        return [value for read in list(self._gauges.values()) for value in read()]

    def all_counters(self) -> list[Counter]:
        for source in list(self._counts.values()):
            for key, value in source():
                self._counter(key).value = value
        return list(self._counters.values())

    def all_timings(self) -> list[Timing]:
        self.fold()
        return list(self._timings.values())

    def _counter(self, key: Key) -> Counter:
        return self._counters.get(key) or self._counters.setdefault(key, Counter(key))


def _key(name: str, labels: dict[str, str]) -> Key:
    return Key(name, tuple(sorted(labels.items())) if labels else ())


def value(name: str, amount: float, /, **labels: str) -> Value:
    """One number of a source."""
    return Value(_key(name, labels), amount)
