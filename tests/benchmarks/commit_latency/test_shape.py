from __future__ import annotations

import pytest
from caveau.benchmarks.commit_latency.shape import FULL, QUICK, Link, Load, Site


@pytest.mark.parametrize("link", [(0.001, 0.002, 0.0), (0.0, 0.0, 1.0), (-0.001, 0.0, 0.0), (0.0, 0.0, -0.1)])
def test_links_that_cannot_be(link):
    with pytest.raises(ValueError, match="no such link"):
        Link(*link)


def test_what_is_said_of_them():
    assert str(Site(1)) == "1 node"
    assert str(Site(3, Link(0.01, 0.005, 0.001), 0.005)) == "3 nodes, link 10±5 ms 0.1% lost, disk +5 ms"
    assert str(Load(4096, 16)) == "4096 bytes, 16 writers"


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_a_plan_measures_no_site_twice(plan):
    sites = [site for site, _ in plan.sites]
    assert len(set(sites)) == len(sites)
    assert all(site.nodes > 2 for site, _ in plan.failovers)  # two of which one is killed decide nothing
