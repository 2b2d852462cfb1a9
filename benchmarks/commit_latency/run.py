"""Runs a plan: every cluster in turn, every load on it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import aiohttp

from .engines import EngineCluster
from .links import Network, network
from .prediction import Order, Parts, predict, quantile
from .records import Commit, Failover, Summary, whose
from .servers import caveau, openbao
from .shape import Load, Plan, Site

STAGES = ("queue", "write", "fsync", "quorum", "apply")
_FAILURES = (RuntimeError, OSError, TimeoutError, aiohttp.ClientError)


class Cluster(Protocol):
    product: str
    order: Order  # of what a commit does

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def load(self, load: Load, seconds: float) -> tuple[list[Commit], float]: ...

    async def failover(self) -> float: ...


Make = Callable[[Site, Network, Path], Cluster]


@dataclass(slots=True)
class Results:
    commits: list[Commit] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    failovers: list[Failover] = field(default_factory=list)
    links: list[str] = field(default_factory=list)  # how they were made
    failures: list[str] = field(default_factory=list)


class Laboratory:
    """``folder``: where the clusters have their disks. ``rivals``: whether OpenBao is measured too."""

    def __init__(self, plan: Plan, folder: Path, *, shim: bool = False, rivals: bool = True) -> None:
        self.plan = plan
        self.results = Results()
        self._folder = folder
        self._shim = shim
        self._rivals = rivals
        self._step = 0
        self._steps = sum(len(self._makers(site)) for site, _ in (*plan.sites, *plan.failovers))

    async def run(self) -> Results:
        """What fails is told of in the results, and the rest goes on."""
        for site, loads in self.plan.sites:
            parts: dict[int, Parts] = {}
            for make in self._makers(site):
                await self._attempt(site, make, partial(self._loads, site, loads, parts))
        for site, times in self.plan.failovers:
            for make in self._makers(site):
                await self._attempt(site, make, partial(self._failovers, site, times))
        return self.results

    def _makers(self, site: Site) -> list[Make]:
        """The engine first: it measures the parts. Nothing makes the disk of servers slower."""
        servers = [caveau, openbao] if self._rivals else [caveau]
        return [EngineCluster, *([] if site.disk_delay else servers)]

    async def _attempt(self, site: Site, make: Make, work: Callable[[Cluster], Awaitable[None]]) -> None:
        self._step += 1
        try:
            async with self._cluster(site, make) as cluster:
                say(f"[{self._step}/{self._steps}] {cluster.product}: {site}")
                await cluster.start()
                await work(cluster)
        except _FAILURES as error:
            self.results.failures.append(f"{make.__name__}, {site}: {type(error).__name__}: {error}")
            say(f"    failed: {error}")

    @asynccontextmanager
    async def _cluster(self, site: Site, make: Make) -> AsyncIterator[Cluster]:
        with TemporaryDirectory(prefix="caveau-lab-", dir=self._folder) as folder:
            links = network(site.nodes, site.link, ("raft", "api", "echo"), shim=self._shim)
            if links.how not in self.results.links:
                self.results.links.append(links.how)
            cluster = make(site, links, Path(folder) / "cluster")
            try:
                await links.start()
                yield cluster
            finally:
                await cluster.stop()
                await links.stop()

    async def _loads(self, site: Site, loads: Iterable[Load], parts: dict[int, Parts], cluster: Cluster) -> None:
        for load in loads:
            size, half = load.size, self.plan.probes // 2
            if isinstance(cluster, EngineCluster) and size not in parts:
                # Before and after: what else the machine does is in both.
                parts[size] = await cluster.parts(size, half)
                commits, rate = await self._load(cluster, load)
                parts[size] += await cluster.parts(size, half)
            elif size in parts:
                commits, rate = await self._load(cluster, load)
            else:
                raise RuntimeError("nobody has measured the parts of its commits")
            row = summarise(cluster.product, site, load, commits, rate, parts[load.size], cluster.order)
            self.results.commits += commits
            self.results.summaries.append(row)
            say(
                f"    {load}: {rate:,.0f} commits/s, p50 {row.p50:.2f} ms (predicted {row.predicted_p50:.2f}),"
                f" p99 {row.p99:.2f} ms (predicted {row.predicted_p99:.2f})"
            )

    async def _load(self, cluster: Cluster, load: Load) -> tuple[list[Commit], float]:
        try:
            return await cluster.load(load, self.plan.seconds)
        except RuntimeError as error:  # a machine that stands still for a second loses its leader
            say(f"    once more: {error}")
            return await cluster.load(load, self.plan.seconds)

    async def _failovers(self, site: Site, times: int, cluster: Cluster) -> None:
        for _ in range(times):
            outage = await cluster.failover()
            self.results.failovers.append(Failover(**whose(cluster.product, site), outage=outage * 1000))
            say(f"    leader killed: {outage:.2f} s without writes")


def summarise(
    product: str, site: Site, load: Load, commits: list[Commit], rate: float, parts: Parts, order: Order
) -> Summary:
    """``rate``: commits a second."""
    latencies = [commit.latency for commit in commits]
    predicted = predict(parts, order)
    total = {q: quantile(predicted.total, q) * 1000 for q in (0.5, 0.9, 0.99)}
    # Of those draws that are about as long as the median: what they consist of.
    ordered = sorted(zip(predicted.total, predicted.network, strict=True))
    middle = ordered[len(ordered) * 45 // 100 : len(ordered) * 55 // 100]
    network = total[0.5] * sum(n for _, n in middle) / sum(t for t, _ in middle)
    stages: dict[str, list[float]] = {
        name: [v for commit in commits if (v := getattr(commit, name)) is not None] for name in STAGES
    }
    medians: dict[str, Any] = {name: quantile(values, 0.5) if values else None for name, values in stages.items()}
    return Summary(
        **whose(product, site, load),
        commits=len(commits),
        rate=rate,
        p50=quantile(latencies, 0.5),
        p90=quantile(latencies, 0.9),
        p99=quantile(latencies, 0.99),
        longest=max(latencies),
        predicted_p50=total[0.5],
        predicted_p90=total[0.9],
        predicted_p99=total[0.99],
        network=network,
        disk=total[0.5] - network,
        consensus=quantile(latencies, 0.5) - total[0.5],
        **medians,
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
