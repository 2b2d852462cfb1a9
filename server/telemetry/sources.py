"""Metrics of what is counted elsewhere, or has a size that can be asked for at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...framework.metrics import Value, value
from . import runtime

if TYPE_CHECKING:
    from ..core import Core
    from ..node import Node

_TABLES = {"auth": "auth", "mounts": "logical"}


def register(core: Core) -> None:
    """What a server tells, sealed or not."""

    def state() -> Iterator[Value]:
        cluster = core.cluster["cluster_name"]
        open_ = float(not core.sealed)
        yield value("core.active", open_, cluster=cluster)
        yield value("core.unsealed", open_, cluster=cluster)
        yield value("core.in_flight_requests", float(sum(1 for _ in core.under_way())), cluster=cluster)
        if core.node is not None:
            yield from _mount_tables(core.node, cluster)

    def counted() -> Iterator[Value]:
        if (node := core.node) is not None:
            cache = node.store.cache
            yield value("cache.hit", cache.hits)
            yield value("cache.miss", cache.misses)
            yield value("cache.write", cache.writes)
            yield value(
                "barrier.estimated_encryptions", node.barrier.encryptions, term=str(node.barrier.keyring.active)
            )

        for quota in core.quotas.rates:
            yield value("quota.rate_limit.violation", core.quotas.meter(quota).refused, name=quota.name)

    core.metrics.gauges("core", state)
    core.metrics.counts("core", counted)
    runtime.register(core.metrics)


def _mount_tables(node: Node, cluster: str) -> Iterator[Value]:
    entries: Counter[tuple[str, bool]] = Counter()
    sizes: Counter[tuple[str, bool]] = Counter()
    for mount in node.router:
        row = mount.entry.table, mount.entry.local
        entries[row] += 1
        sizes[row] += len(mount.entry.dump())
    for table, shown in _TABLES.items():
        for local in (False, True):
            labels = {"cluster": cluster, "local": str(local).lower(), "type": shown}
            yield value("core.mount_table.num_entries", entries[table, local], **labels)
            yield value("core.mount_table.size", sizes[table, local], **labels)
