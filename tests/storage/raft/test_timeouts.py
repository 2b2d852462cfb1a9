from __future__ import annotations

import pytest
from caveau.storage.raft.timeouts import Timeouts


def test_near_nodes_are_missed_within_two_seconds() -> None:
    timeouts = Timeouts()
    for _ in range(100):
        timeouts.observe("b", 0.0005)
    assert timeouts.election == 0.8
    assert timeouts.lease < timeouts.give_up < timeouts.election
    assert timeouts.heartbeat * 4 < timeouts.lease


def test_far_nodes_get_more_time_and_a_node_that_is_gone_does_not_count() -> None:
    timeouts = Timeouts()
    for _ in range(100):
        timeouts.observe("b", 0.2)
    assert timeouts.election == pytest.approx(1.6, rel=0.1)
    timeouts.observe("b", 30.0)
    assert timeouts.election == 10.0
    timeouts.forget("b")
    timeouts.observe("c", 0.001)
    assert timeouts.election == 0.8


def test_the_multiplier_stretches_everything() -> None:
    slow, fast = Timeouts(5), Timeouts()
    assert slow.election == 5 * fast.election
    assert slow.lease == 5 * fast.lease
    with pytest.raises(ValueError, match="between 1 and 10, not 0"):
        Timeouts(0)
