"""What a commit takes if agreement itself costs nothing: the formula, from what its parts were measured to take.

An entry is committed when a majority has it on disk. Of n nodes that is the leader, and n // 2 followers: the last of
these that is needed decides. A follower has it after the way there and back, and its own write in between.

The parts are distributions, and the fastest of several is faster than one: so it is not their medians that are added,
but random draws from each, and quantiles are taken of the sums.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

DRAWS = 5000


class Order(StrEnum):
    """What a leader does first."""

    TOGETHER = "together"
    """Followers get the entry while the leader's own disk writes it."""
    DISK_FIRST = "disk first"
    """Followers get what is on the leader's disk."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Measured apart from any consensus, in seconds. ``disks``: a write and its sync on each node, the leader's
    first; ``trips``: to each follower and back."""

    disks: Sequence[Sequence[float]]
    trips: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        if len(self.disks) != len(self.trips) + 1 or not all((*self.disks, *self.trips)):
            raise ValueError("the parts are those of a leader's disk, and of every follower's disk and link")

    def __add__(self, more: Parts) -> Parts:
        """Measured twice."""
        disks = [[*a, *b] for a, b in zip(self.disks, more.disks, strict=True)]
        return Parts(disks, [[*a, *b] for a, b in zip(self.trips, more.trips, strict=True)])


@dataclass(frozen=True, slots=True)
class Prediction:
    """In seconds, one for each draw, in the same order; ``total`` is the sum of the other two."""

    total: list[float]
    network: list[float]
    disk: list[float]


def predict(parts: Parts, order: Order, draws: int = DRAWS, seed: int = 1) -> Prediction:
    chance = random.Random(seed)
    needed = len(parts.disks) // 2
    leader, *others = parts.disks
    predicted = Prediction([], [], [])
    for _ in range(draws):
        own = chance.choice(leader)
        trip = write = 0.0
        if needed:
            reached = [(chance.choice(t), chance.choice(d)) for t, d in zip(parts.trips, others, strict=True)]
            trip, write = sorted(reached, key=sum)[needed - 1]
        if order is Order.DISK_FIRST:
            write += own
        elif own >= trip + write:  # the leader's own disk is what everybody waits for
            trip, write = 0.0, own
        predicted.network.append(trip)
        predicted.disk.append(write)
        predicted.total.append(trip + write)
    return predicted


def quantile(values: Sequence[float], q: float) -> float:
    """Between the two nearest, as most programs do it (R's type 7); ``q`` from 0 to 1. Raises ValueError without
    values."""
    if not values:
        raise ValueError("there is no quantile of nothing")
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)
