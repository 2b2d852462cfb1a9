"""A small laboratory: real nodes, real links, and what comes out of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from caveau.benchmarks.commit_latency.engines import EngineCluster
from caveau.benchmarks.commit_latency.prediction import Parts
from caveau.benchmarks.commit_latency.records import Commit, whose
from caveau.benchmarks.commit_latency.run import Laboratory
from caveau.benchmarks.commit_latency.servers import ServerCluster
from caveau.benchmarks.commit_latency.shape import Link, Load, Plan, Site

SITE = Site(3, Link(0.005), 0.01)
TINY = Plan(sites=((SITE, (Load(),)),), failovers=((SITE, 1),), seconds=0.5, probes=10)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_three_nodes_behind_links(tmp_path):
    results = await Laboratory(TINY, tmp_path, shim=True, rivals=False).run()
    assert results.failures == []
    (row,) = results.summaries
    # A round trip of two delays, and within it the sync of a follower.
    assert row.predicted_p50 >= 20
    assert row.p50 >= 20
    assert row.fsync is not None
    assert row.fsync >= 10
    assert row.network > 0
    assert row.disk >= 10
    assert row.network + row.disk + row.consensus == pytest.approx(row.p50)
    assert all(commit.latency >= 20 for commit in results.commits)
    traced = [commit for commit in results.commits if commit.quorum is not None]
    assert traced
    assert all(commit.follower_fsync >= 10 for commit in traced)
    assert max(commit.round_trip for commit in traced) >= 20
    assert len(results.failovers) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_real_servers_behind_links(tmp_path):
    plan = replace(TINY, sites=((replace(SITE, disk_delay=0.0), (Load(concurrency=4),)),), failovers=())
    results = await Laboratory(plan, tmp_path, shim=True).run()
    assert results.failures == []
    assert [row.product for row in results.summaries] == ["caveau engine", "caveau", "openbao"]
    assert all(row.p50 >= 10 and row.predicted_p50 >= 10 for row in results.summaries)


async def test_what_cannot_be_measured_is_told_and_the_rest_goes_on(tmp_path, monkeypatch):
    plan = Plan(
        sites=((Site(3, disk_delay=0.001), ()), (Site(1, disk_delay=0.001), (Load(),))),
        failovers=(),
        seconds=0.1,
        probes=10,
    )
    start = EngineCluster.start

    async def refuse(self: EngineCluster) -> None:
        if len(self._nodes) == 3:
            raise RuntimeError("no room")
        await start(self)

    monkeypatch.setattr(EngineCluster, "start", refuse)
    results = await Laboratory(plan, tmp_path, shim=True, rivals=False).run()
    assert results.failures == ["EngineCluster, 3 nodes, link 0 ms, disk +1 ms: RuntimeError: no room"]
    assert [row.nodes for row in results.summaries] == [1]


async def test_servers_whose_parts_were_not_measured(tmp_path, monkeypatch):
    async def refuse(self: EngineCluster | ServerCluster) -> None:
        if isinstance(self, EngineCluster):
            raise RuntimeError("no room")

    async def close(self: ServerCluster) -> None: ...

    monkeypatch.setattr(EngineCluster, "start", refuse)
    monkeypatch.setattr(ServerCluster, "start", refuse)
    monkeypatch.setattr(ServerCluster, "stop", close)
    plan = Plan(sites=((Site(1), (Load(),)),), failovers=(), seconds=0.1, probes=10)
    results = await Laboratory(plan, tmp_path, shim=True, rivals=False).run()
    assert results.failures == [
        "EngineCluster, 1 node: RuntimeError: no room",
        "caveau, 1 node: RuntimeError: nobody has measured the parts of its commits",
    ]
    assert list(tmp_path.iterdir()) == []


async def test_parts_are_those_before_and_after_the_load(tmp_path, monkeypatch):
    site, calls = Site(1, disk_delay=0.001), []

    async def nothing(self: EngineCluster) -> None: ...

    async def parts(self: EngineCluster, size: int, count: int) -> Parts:
        calls.append(count)
        return Parts([[0.001 if len(calls) == 1 else 0.003]], [])

    async def load(self: EngineCluster, load: Load, seconds: float) -> tuple[list[Commit], float]:
        calls.append("load")
        return [Commit(**whose(self.product, site, load), began=0.0, latency=4.0)], 1.0

    for name, act in (("start", nothing), ("stop", nothing), ("parts", parts), ("load", load)):
        monkeypatch.setattr(EngineCluster, name, act)
    plan = Plan(sites=((site, (Load(), Load(concurrency=4))),), failovers=(), seconds=0.1, probes=10)
    (row, more) = (await Laboratory(plan, tmp_path, shim=True).run()).summaries
    assert calls == [5, "load", 5, "load"]
    assert (row.predicted_p99, more.predicted_p99) == (pytest.approx(3), pytest.approx(3))
    assert row.consensus == pytest.approx(4 - row.predicted_p50)
