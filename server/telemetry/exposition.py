"""``sys/metrics`` in its two forms: JSON over the last interval, and Prometheus text since the start.

``collect`` reads the series, on the event loop; what puts them into shape may run in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...framework.metrics import INTERVAL, Metrics, Summary, Value, quantile
from .naming import Naming, prometheus_name

PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
QUANTILES = (0.5, 0.9, 0.99)
_TOTAL = re.compile(rb"^(# (?:HELP|TYPE) \S+)_total ", re.MULTILINE)
_Sample = tuple[str, dict[str, str], float]
"""What its name ends in, its further labels, its value."""


class _Gauge(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class _Counter(NamedTuple):
    name: str
    labels: dict[str, str]
    total: float
    lately: float


class _Timing(NamedTuple):
    name: str
    labels: dict[str, str]
    scale: float
    observed: int
    total: float
    summary: Summary  # of the last interval
    recent: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """Every series as it was at one moment, under its name outside. ``began``: the interval, since the epoch."""

    began: float
    gauges: list[_Gauge]
    counters: list[_Counter]
    timings: list[_Timing]


def collect(metrics: Metrics, naming: Naming, now: float, further: Iterable[Value] = ()) -> Collected:
    """Of the last whole interval; before there is one, what there is so far. ``further``: gauges."""
    whole = bool(metrics.turned)
    return Collected(
        began=((metrics.turned or now) - (INTERVAL if whole else 0)) // INTERVAL * INTERVAL,
        gauges=[
            _Gauge(*shown, value)
            for key, value in (*metrics.all_gauges(), *further)
            if (shown := naming.shown(key, gauge=True))
        ],
        counters=[
            _Counter(*shown, each.value, each.last if whole else each.current)
            for each in metrics.all_counters()
            if (shown := naming.shown(each.key))
        ],
        timings=[
            _Timing(*shown, each.scale, each.count, each.total, each.last if whole else each.current, each.lately)
            for each in metrics.all_timings()
            if each.count and (shown := naming.shown(each.key))
        ],
    )


def as_json(collected: Collected) -> dict[str, Any]:
    """As go-metrics shows what it has in memory: only what moved in the interval, except gauges."""
    return {
        "Timestamp": datetime.fromtimestamp(collected.began, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "Gauges": _sorted({"Name": each.name, "Value": each.value, "Labels": each.labels} for each in collected.gauges),
        "Points": [],
        "Counters": _sorted(
            _aggregate(each.name, each.labels, _increments(each.lately), 1.0)
            for each in collected.counters
            if each.lately
        ),
        "Samples": _sorted(
            _aggregate(each.name, each.labels, each.summary, each.scale)
            for each in collected.timings
            if each.summary.count
        ),
    }


def _sorted(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["Name"], sorted(row["Labels"].items())))


def _increments(grown: float) -> Summary:
    """Of a counter's growth: mostly it grows by ones."""
    count = max(1, round(grown))
    return Summary(count, grown, grown / count, grown / count)


def _aggregate(name: str, labels: dict[str, str], summary: Summary, scale: float) -> dict[str, Any]:
    return {
        "Name": name,
        "Count": summary.count,
        "Rate": summary.total * scale / INTERVAL,
        "Sum": summary.total * scale,
        "Min": summary.low * scale,
        "Max": summary.high * scale,
        "Mean": summary.mean * scale,
        "Stddev": summary.deviation * scale,
        "Labels": labels,
    }


def as_prometheus(collected: Collected) -> bytes:
    """The text format, version 0.0.4; first what the library knows of the process. Reads files."""
    from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, generate_latest
    from prometheus_client.registry import CollectorRegistry

    ours, process = CollectorRegistry(), CollectorRegistry()
    ours.register(_Families(collected))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=process)
    # Vault's counters have no "_total" at their end, which the library puts into their descriptions.
    return generate_latest(process) + _TOTAL.sub(rb"\1 ", generate_latest(ours))


class _Families:
    """A collector, as the Prometheus library wants one."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def describe(self) -> list[Any]:
        """Nothing beforehand: what there is shows when it is collected."""
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import Metric

        families: dict[str, Metric] = {}
        for kind, dotted, labels, samples in self._series():
            name = prometheus_name(dotted)
            family = families.get(name)
            if family is None:
                family = families[name] = Metric(name, dotted, kind)
            elif family.type != kind:
                continue  # two names that Prometheus cannot tell apart: the first has it
            for suffix, extra, value in samples:
                family.add_sample(name + suffix, {prometheus_name(k): v for k, v in labels.items()} | extra, value)
        return iter([families[name] for name in sorted(families)])

    def _series(self) -> Iterator[tuple[str, str, dict[str, str], list[_Sample]]]:
        for gauge in self._collected.gauges:
            yield "gauge", gauge.name, gauge.labels, [("", {}, gauge.value)]
        for counter in self._collected.counters:
            yield "counter", counter.name, counter.labels, [("", {}, counter.total)]
        for timing in self._collected.timings:
            recent = sorted(timing.recent)
            samples: list[_Sample] = [
                ("", {"quantile": f"{share:g}"}, quantile(recent, share) * timing.scale) for share in QUANTILES
            ]
            samples += ("_sum", {}, timing.total * timing.scale), ("_count", {}, float(timing.observed))
            yield "summary", timing.name, timing.labels, samples
