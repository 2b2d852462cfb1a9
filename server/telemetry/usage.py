"""How many there are of what: counted now and then, since counting walks through the store."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ...framework.errors import CaveauError
from ...framework.metrics import Value, value
from ...framework.wire import parse_duration
from ..config import ConfigError
from ..layout import ROOT
from ..sys.counters import count

if TYPE_CHECKING:
    from ..core import Core

_log = logging.getLogger(__name__)


def period(text: str) -> float:
    """Seconds of ``usage_gauge_period``; 0 for none. Raises ConfigError."""
    if text in ("", "none"):
        return 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"telemetry: usage_gauge_period: {error}") from None
    if seconds < 0:
        raise ConfigError("telemetry: usage_gauge_period is below zero")
    return seconds


async def measure(core: Core) -> list[Value]:
    """Tokens and entities, by namespace; nothing of a sealed server. At most ``maximum_gauge_cardinality`` of each."""
    node, namespaces = core.node, core.namespaces
    if node is None or namespaces is None:
        return []
    found, entities = [], 0
    shown = [ROOT, *namespaces.live.values()][: core.config.telemetry.maximum_gauge_cardinality]
    cluster = core.cluster["cluster_name"]
    for namespace in shown:
        labels = {"cluster": cluster, "namespace": namespace.path or "root"}
        found.append(value("token.count", await count(node.store, f"{namespace.prefix}sys/token/id/"), **labels))
        here = await count(node.store, f"{namespace.prefix}identity/entity/")
        found.append(value("identity.entity.count", here, **labels))
        entities += here
    return [*found, value("identity.num_entities", entities)]


async def watch(core: Core, seconds: float) -> None:
    """Measure every so many seconds, for ever."""
    known: list[Value] = []
    core.metrics.gauges("usage", lambda: known if not core.sealed else ())
    while True:
        await asyncio.sleep(seconds)
        try:
            known = await measure(core)
        except CaveauError as error:  # it is sealing, or the store is out of reach
            _log.debug("tokens and entities were not counted: %s", error)
