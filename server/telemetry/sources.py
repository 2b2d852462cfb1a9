"""Metrics of what is counted elsewhere, or has a size that can be asked for at any time."""

from __future__ import annotations

import collections
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ...framework.metrics import Counter, Value, value
from ..limiting import leases_of
from . import runtime

if TYPE_CHECKING:
    from ..core import Core
    from ..mounts import MountEntry
    from ..node import Node
    from ..request import CoreRequest
    from ..tokens import TokenEntry

_TABLES = {"auth": "auth", "mounts": "logical"}


def register(core: Core) -> None:
    """What a server tells, sealed or not."""

    def state() -> Iterator[Value]:
        cluster = core.cluster["cluster_name"]
        yield value("core.active", float(core.namespaces is not None and core.namespaces.active), cluster=cluster)
        yield value("core.unsealed", float(not core.sealed), cluster=cluster)
        yield value("core.in_flight_requests", float(sum(1 for _ in core.under_way())), cluster=cluster)
        for path, device in core.audit.devices.items():
            yield value("audit.device_failing", float(bool(device.channel.failure)), device=path)
        if core.node is not None:
            yield from _mount_tables(core.node.namespaces.nodes(), cluster)
            yield value("core.locked_users", core.lockout.count)
            yield value("expire.num_leases", float(core.node.namespaces.leases.total))
            yield value("expire.num_irrevocable_leases", float(core.node.namespaces.leases.irrevocable))
            for limit in core.quotas.leases:
                yield value("quota.lease_count.max", limit.max_leases, name=limit.name)
                yield value("quota.lease_count.counter", leases_of(limit, core.node.namespaces), name=limit.name)

    def counted() -> Iterator[Value]:
        for path, device in core.audit.devices.items():
            yield value("audit.device_missed_entries", device.channel.lost, device=path)
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
        for limit in core.quotas.leases:
            yield value("quota.lease_count.violation", core.quotas.refused_leases[limit.name], name=limit.name)

    for timing in getattr(core.physical, "timings", ()):  # those that a store keeps
        core.metrics.adopt(timing)
    core.metrics.gauges("core", state)
    core.metrics.counts("core", counted)
    runtime.register(core.metrics)


def token_created(req: CoreRequest, entry: TokenEntry) -> None:
    """Count a token, once the request that makes it is committed."""
    bucket, made = _bucket(entry.creation_ttl), req.mount.tokens
    counter = made.get((entry.type, bucket))
    if counter is None:
        counter = made[entry.type, bucket] = req.node.core.metrics.counter(
            "token.creation",
            auth_method=req.mount.entry.type,
            cluster=req.node.core.cluster["cluster_name"],
            creation_ttl=bucket,
            mount_point=req.mount.point,
            namespace=req.node.namespace.path or "root",
            token_type=entry.type,
        )
    if entry.key:
        req.on_commit(counter.add)
    else:  # nothing of it is stored: no commit for this alone
        req.after_commit.append(partial(_count, counter))


def entity_created(node: Node, mount: MountEntry) -> None:
    """Count an entity that a login has made."""
    node.core.metrics.count(
        "identity.entity.creation",
        1,
        auth_method=mount.type,
        cluster=node.core.cluster["cluster_name"],
        mount_point=mount.point,
        namespace=node.namespace.path or "root",
    )


async def _count(counter: Counter) -> None:
    counter.add()


_BUCKETS = {60: "1m", 600: "10m", 1200: "20m", 3600: "1h", 7200: "2h", 86400: "1d", 172800: "2d", 604800: "7d",
            2592000: "30d", math.inf: "+Inf"}  # fmt: skip
_LIMITS, _NAMES = tuple(_BUCKETS), tuple(_BUCKETS.values())


def _bucket(ttl: int) -> str:
    """The class of a lifetime, as Vault names them; 0 is none."""
    return _NAMES[bisect_left(_LIMITS, ttl or math.inf)]


def _mount_tables(nodes: Iterable[Node], cluster: str) -> Iterator[Value]:
    entries = collections.Counter[tuple[str, bool]]()
    sizes = collections.Counter[tuple[str, bool]]()
    for mount in chain.from_iterable(node.router for node in nodes):
        row = mount.entry.table, mount.entry.local
        entries[row] += 1
        sizes[row] += len(mount.entry.dump())
    for table, shown in _TABLES.items():
        for local in (False, True):
            labels = {"cluster": cluster, "local": str(local).lower(), "type": shown}
            yield value("core.mount_table.num_entries", entries[table, local], **labels)
            yield value("core.mount_table.size", sizes[table, local], **labels)
