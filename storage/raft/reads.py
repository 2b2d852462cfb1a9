"""Current reads: an index that no earlier answer of any node can be ahead of (ReadIndex, section 6.4 of the Raft
dissertation). One round of heartbeats serves all that wait, and while a majority is bound to the leader none is
needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .core import Core
from .guard import Guard

Answer = Callable[[int | None], None]
"""Takes the index, which is applied here; None: this node does not lead, ask another."""


@dataclass(slots=True)
class _Read:
    answer: Answer
    term: int = 0
    index: int = 0
    round: int | None = None  # the seq that a majority must answer; None: not asked yet


class Reads:
    """Those that wait, on a leader."""

    def __init__(self, core: Core, guard: Guard, clock: Callable[[], float], applied: Callable[[], int]) -> None:
        self._core = core
        self._guard = guard
        self._clock = clock
        self._applied = applied
        self._waiting: list[_Read] = []

    def ask(self, answer: Answer) -> None:
        """Answer at once if that is possible, else when it is."""
        if not self._core.is_leader:
            answer(None)
        elif self._core.ready and self._core.commit <= self._applied() and self._clock() < self._guard.lease():
            answer(self._core.commit)
        else:
            self._waiting.append(_Read(answer))

    def begin(self) -> bool:
        """Start a round of heartbeats for those that wait for one; whether it is to be sent."""
        core, fresh = self._core, [read for read in self._waiting if read.round is None]
        if not fresh or not core.ready:
            return False
        self._guard.seq += 1
        for read in fresh:
            read.term, read.index, read.round = core.term, core.commit, self._guard.seq
        return True

    def finish(self) -> None:
        """Answer those that can be."""
        if not self._waiting:
            return
        core = self._core
        if not core.is_leader:
            self.fail()
            return
        answered = sorted((self._guard.answered.get(node, 0) for node in core.voters), reverse=True)
        needed = (len(answered) + 1) // 2
        confirmed = answered[needed - 1] if needed else self._guard.seq
        applied = self._applied()
        waiting, self._waiting = self._waiting, []
        for read in waiting:
            if read.round is not None and read.term != core.term:
                read.answer(None)
            elif read.round is not None and read.round <= confirmed and read.index <= applied:
                read.answer(read.index)
            else:
                self._waiting.append(read)

    def fail(self) -> None:
        """This node does not lead."""
        waiting, self._waiting = self._waiting, []
        for read in waiting:
            read.answer(None)
