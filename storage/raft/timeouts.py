"""How long nodes wait for each other: from the round trips that the leader measures.

A cluster in one rack notices within a second that its leader is gone; one across continents does not take a slow
link for a dead leader. The leader tells the others, with every append, what they are to wait.
"""

from __future__ import annotations

_ELECTION = 0.8  # seconds of silence after which an election is due, at least; up to twice that
_LONGEST = 10.0
_LEASE = 0.5
_HEARTBEAT = 0.1
_ROUND_TRIPS = 8  # that fit into the shortest time until an election


class Timeouts:
    """In seconds. ``performance_multiplier`` stretches all of them."""

    def __init__(self, multiplier: float = 1.0) -> None:
        """``multiplier``: 1 to 10; raises ValueError."""
        if not 1 <= multiplier <= 10:
            raise ValueError(f"performance_multiplier is between 1 and 10, not {multiplier:g}")
        self._least = _ELECTION * multiplier
        self._multiplier = multiplier
        self._trips: dict[str, tuple[float, float]] = {}  # smoothed, and its deviation: RFC 6298 section 2
        self.lease = _LEASE * multiplier
        """A node that has heard of a leader votes for no other so long: the same for the whole life of a cluster,
        for a node that starts does not know what it has promised before."""
        self.heartbeat = _HEARTBEAT * multiplier
        self.election = self._least

    @property
    def give_up(self) -> float:
        """Without answers of a majority for so long, a leader is none."""
        return self.election * 0.9

    def observe(self, node: str, trip: float) -> None:
        """A message to ``node`` was answered after ``trip``."""
        smooth, deviation = self._trips.get(node, (trip, trip / 2))
        deviation += (abs(trip - smooth) - deviation) / 4
        smooth += (trip - smooth) / 8
        self._trips[node] = smooth, deviation
        self.learn(_ROUND_TRIPS * max(smooth + 4 * deviation for smooth, deviation in self._trips.values()))

    def learn(self, election: float) -> None:
        """The leader waits so long."""
        self.election = min(max(self._least, election), _LONGEST * self._multiplier)

    def forget(self, node: str) -> None:
        """``node`` is not a member any more, or not there."""
        self._trips.pop(node, None)
