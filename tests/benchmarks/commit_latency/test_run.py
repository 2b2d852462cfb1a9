"""A small laboratory: real nodes, real links, and what comes out of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from caveau.benchmarks.commit_latency.engines import EngineCluster
from caveau.benchmarks.commit_latency.run import Laboratory
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
    assert row.network >= 10
    assert row.disk >= 10
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
    ours, theirs = results.summaries
    assert (ours.product, theirs.product) == ("caveau engine", "openbao")
    assert theirs.p50 >= 10
    assert theirs.predicted_p50 >= 10


async def test_what_cannot_be_measured_is_told_and_the_rest_goes_on(tmp_path, monkeypatch):
    plan = Plan(sites=((Site(3), ()), (Site(1), (Load(),))), failovers=(), seconds=0.1, probes=10)
    start = EngineCluster.start

    async def refuse(self: EngineCluster) -> None:
        if len(self._nodes) == 3:
            raise RuntimeError("no room")
        await start(self)

    monkeypatch.setattr(EngineCluster, "start", refuse)
    results = await Laboratory(plan, tmp_path, shim=True, rivals=False).run()
    assert results.failures == ["EngineCluster, 3 nodes, link 0 ms: RuntimeError: no room"]
    assert [row.nodes for row in results.summaries] == [1]
    assert list(tmp_path.iterdir()) == []
