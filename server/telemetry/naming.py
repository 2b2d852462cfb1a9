"""How a series is called outside: prefix, host name, filter (the ``telemetry`` block of the configuration)."""

from __future__ import annotations

import re
from functools import lru_cache

from ...framework.metrics import Key
from ..config.model import TelemetryConfig

_UNUSABLE = re.compile(r"[^a-zA-Z0-9_:]")  # in a name: Prometheus, "Metric names and labels"


class Naming:
    """Names as one configuration has them."""

    def __init__(self, config: TelemetryConfig, hostname: str) -> None:
        self._prefix = f"{config.metrics_prefix}." if config.metrics_prefix else ""
        self._gauge_prefix = self._prefix if config.disable_hostname else f"{self._prefix}{hostname}."
        self._host = {"host": hostname} if config.enable_hostname_label else {}
        self._default = config.filter_default
        self._filters = sorted(config.prefix_filter, key=lambda rule: -len(rule))

    def shown(self, key: Key, *, gauge: bool = False) -> tuple[str, dict[str, str]] | None:
        """Name and labels; None for what the filter leaves out."""
        plain = self._prefix + key.name
        if not self._passes(plain):
            return None
        return (self._gauge_prefix + key.name if gauge else plain), dict(key.labels) | self._host

    def _passes(self, name: str) -> bool:
        """The longest prefix decides."""
        for rule in self._filters:
            if name.startswith(rule[1:]):
                return rule[0] == "+"
        return self._default


@lru_cache(4096)
def prometheus_name(dotted: str) -> str:
    """A name as Prometheus takes it."""
    name = _UNUSABLE.sub("_", dotted)
    return f"_{name}" if name[:1].isdigit() else name
