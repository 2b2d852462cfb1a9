"""Leadership handed to another node, instead of waiting until it is missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .engine import MembershipRefused

if TYPE_CHECKING:
    from .replica import Replica

Done = Callable[[Exception | None], None]


class Handover:
    """New proposals wait meanwhile: the other node must have everything before it is told to take over."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._to = ""
        self._until = 0.0
        self._told = False
        self._done: Done | None = None

    def begin(self, node: str | None, done: Done) -> None:
        """``node``: None chooses the voter that has most. ``done``: called with None once this node leads no more."""
        core, guard = self._replica.core, self._replica.guard
        there = [voter for voter in core.voters if core.is_connected(voter)]
        if not core.is_leader or self._done is not None:
            done(MembershipRefused("this node does not lead, or is handing over already"))
        elif node is not None and node not in there:
            done(MembershipRefused(f"node {node} is not a voter that is connected"))
        elif not there:
            done(MembershipRefused("no other voter is connected"))
        else:
            self._to = node or max(there, key=lambda voter: (core.match(voter), voter))
            self._until = self._replica.now() + 2 * self._replica.timeouts.election
            self._told, self._done = False, done
            guard.hand_over(True)

    def advance(self) -> None:
        if self._done is None:
            return
        core, log = self._replica.core, self._replica.log
        if self._replica.now() > self._until:
            self.fail(MembershipRefused(f"node {self._to} did not take over in time"))
        elif not self._told and core.match(self._to) == core.commit == log.last:
            self._told = True
            self._replica.guard.send(self._to, {"type": "timeout_now", "term": core.term})

    def lost(self) -> None:
        """This node leads no more, which is what was wanted."""
        self._finish(None)

    def fail(self, error: Exception) -> None:
        if self._done is not None:
            self._replica.guard.hand_over(False)
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)
