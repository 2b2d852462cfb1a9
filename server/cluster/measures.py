"""The cluster among the metrics: where the log is, and where the time of commits goes.

Of every second the last commits that the engine remembers are counted, some hundreds; under more load it is a sample.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...framework.metrics import Metrics, Value, value
from ...storage.raft.engine import RaftEngine

_PHASES = ("queue", "write", "fsync", "quorum", "apply", "total")


class Measures:
    def __init__(self, metrics: Metrics, engine: RaftEngine) -> None:
        self._metrics, self._engine = metrics, engine
        self._phases = {phase: metrics.timing(f"raft.commit.{phase}") for phase in _PHASES}
        self._seen = 0
        metrics.gauges("raft", self._state)

    def collect(self) -> None:
        """Take up the commits since the last time."""
        for commit in self._engine.commits:
            if commit.index <= self._seen:
                continue
            self._seen = commit.index
            for phase, timing in self._phases.items():
                timing.observe(getattr(commit, phase))
            for node, follower in commit.followers.items():
                self._metrics.observe("raft.replication.round_trip", follower.round_trip, peer_id=node)
                self._metrics.observe("raft.replication.fsync", follower.fsync, peer_id=node)

    def _state(self) -> Iterator[Value]:
        status = self._engine.status
        yield value("raft_storage.stats.applied_index", float(status.applied))
        yield value("raft_storage.stats.commit_index", float(status.commit))
        yield value("raft_storage.stats.fsm_pending", float(status.commit - status.applied))
        yield value("raft_storage.stats.term", float(status.term))
        yield value("raft.peers", float(len(status.configuration.servers)))
        yield value("raft.leader", float(self._engine.leading))
        for peer in status.peers:
            yield value("raft.peer.connected", float(peer.connected), peer_id=peer.id)
            yield value("raft.peer.lag", float(status.last - peer.match), peer_id=peer.id)
            yield value("raft.peer.silent", peer.silent, peer_id=peer.id)
