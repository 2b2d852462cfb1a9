"""Clusters under faults, many lives in a few seconds; ``simulate.py`` beside this runs thousands.

Each seed is a run of its own; those of today are new ones, so that every day looks somewhere else.
"""

from __future__ import annotations

import os
import time

import pytest

from .simulator import simulate

ROUNDS = int(os.environ.get("CAVEAU_SIMULATIONS", "6"))
TODAY = int(time.time() / 86400) * 1000


@pytest.mark.parametrize("seed", [*range(4), *range(TODAY, TODAY + ROUNDS)])
def test_three_nodes(seed: int) -> None:
    world = simulate(seed, 3)
    assert world.acked
    assert world.seen["reads"]


@pytest.mark.parametrize("seed", [*range(2), *range(TODAY, TODAY + ROUNDS // 2)])
def test_five_nodes(seed: int) -> None:
    simulate(seed, 5)


def test_one_node_that_others_join() -> None:
    """A slow disk or link may keep those of one run from catching up."""
    worlds = [simulate(seed, 1, about={"change": 0.1}) for seed in range(4)]
    assert any(world.seen["promote: done"] for world in worlds)


def test_a_seed_is_a_run() -> None:
    first, second = simulate(7, 3, 800), simulate(7, 3, 800)
    assert (first.acked, first.seen, first.now) == (second.acked, second.seen, second.now)
