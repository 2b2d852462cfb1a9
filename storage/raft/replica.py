"""All of a node but I/O: who calls it gives it messages and time, writes its log to disk when it says so, and applies
what it hands out. A round is::

    replica.receive(...), replica.propose(...)   # as they come
    replica.advance()                            # appends, and sends to followers what they need
    log.wal.flush(), replica.take_work()         # off the event loop, while followers do the same
    steps = replica.settle()                     # promises leave; what a majority has is committed
    machine.apply(steps)
    replica.finish(steps)                        # and answered

Followers get entries before the leader's own disk has them; nobody counts as having an entry who has not synced it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...framework.errors import OutcomeUnknown
from . import commands
from .core import Core
from .engine import (
    CommitTrace,
    Configuration,
    FollowerTrace,
    Listener,
    MembershipRefused,
    NotLeader,
    Server,
)
from .guard import HANDLED, Guard
from .handover import Handover
from .log import Log
from .membership import Change
from .messages import Message
from .reads import Answer, Reads
from .state import Machine, Step, steps
from .timeouts import Timeouts
from .transfers import Transfers

TRACES = 512
"""Commits of which a leader remembers where their time went."""
TAIL = 10_000
"""Entries that are kept for nodes that were away, when the log is compacted."""
TAIL_BYTES = 16 << 20
_ALONE = 16
"""A node without others keeps so many times less."""


@dataclass(slots=True)
class Proposal:
    """``done``: called once, with the index and None, or with 0 and what went wrong."""

    command: bytes
    done: Callable[[int, Exception | None], None]
    queued: float = 0.0
    change: Change | None = None
    term: int = 0
    appended: float = 0.0
    write: float = 0.0
    fsync: float = -1.0  # not yet on disk
    committed: float = 0.0

    def trace(self, index: int, applied: float, followers: dict[str, FollowerTrace]) -> CommitTrace:
        """``applied``: when it was."""
        fsync = max(self.fsync, 0.0)
        return CommitTrace(
            index=index,
            size=len(self.command),
            queue=self.appended - self.queued,
            write=self.write,
            fsync=fsync,
            quorum=max(self.committed - self.appended - self.write - fsync, 0.0),
            apply=applied - self.committed,
            total=applied - self.queued,
            followers=followers,
        )


class Replica:
    """One node. Not for use from two threads at once."""

    def __init__(
        self,
        node: str,
        log: Log,
        machine: Machine,
        listener: Listener,
        *,
        deliver: Callable[[str, Message], None],
        room: Callable[[str], bool],
        background: Callable[[Callable[[], object], Callable[[object], None]], None],
        clock: Callable[[], float],
        chance: Callable[[], float],
        timeouts: Timeouts,
        tail: int = TAIL,
    ) -> None:
        """``background``: runs the first off the event loop, beside everything else, and then the second on it with
        what came out. It must not come before this call has returned."""
        self.node = node
        self.log = log
        self.machine = machine
        self.timeouts = timeouts
        self.listener = listener
        self.work: list[Callable[[], object]] = []  # off the event loop, before ``settle``
        self.background = background
        self.now = clock
        self._tail = tail
        self.guard = Guard(deliver, clock, chance, timeouts)
        self.core = Core(node, log, self.guard.send, room, clock, chance)
        self.guard.core = self.core
        self.reads = Reads(self.core, self.guard, clock, lambda: machine.index)
        self.transfers = Transfers(self, deliver)
        self.handover = Handover(self)
        self.traces: deque[CommitTrace] = deque(maxlen=TRACES)
        self._deliver = deliver
        self._queue: deque[Proposal] = deque()
        self._pending: dict[int, Proposal] = {}
        self._written: list[Proposal] = []  # in the log since the last flush
        self._members: Configuration | None = None
        self._leader: tuple[str | None, int] = (None, 0)
        self._was_leader = self._was_ready = False
        self._told = 0  # the commit index of the last appends
        self._more = False  # to send
        self._wanting: list[Answer] = []  # on a follower: an index from the leader
        self._asked: dict[int, list[Answer]] = {}
        self._asks = int(chance() * 2**52)  # no number of an earlier life, whose answers may come yet
        self._waiting: list[tuple[int, Answer]] = []  # for the index to be applied
        self._compacting = False
        self._applied = machine.index
        if self.core.votes and not self.core.voters:
            self.core.deadline = 0.0  # nobody to wait for
        self._look()

    # What comes from outside

    def propose(self, proposal: Proposal) -> None:
        proposal.queued = proposal.queued or self.now()
        self._queue.append(proposal)

    def receive(self, node: str, message: Message) -> None:
        """Raises Diverged."""
        kind = message["type"]
        if kind in HANDLED:
            self.guard.receive(node, message)
            self._more = self._more or (kind == "next_node_idx" and self.core.following(node) <= self.log.last)
        elif kind == "read_index":
            number = message["id"]
            self.reads.ask(lambda i: self._deliver(node, {"type": "read_answer", "id": number, "index": i or 0}))
        elif kind == "read_answer":
            for answer in self._asked.pop(message["id"], ()):
                if message["index"]:
                    self.when_applied(message["index"], answer)
                else:
                    answer(None)
        else:
            self.transfers.receive(node, message)
        self._look()

    def connected(self, node: str, is_there: bool) -> None:
        self.core.connected(node, is_there)
        if is_there:
            self._more = True
            return
        self.timeouts.forget(node)
        self.transfers.gone(node)
        if node == self.core.leader_id:
            self.guard.leader_gone()
            self._forget_asked()

    def ask_index(self, answer: Answer) -> None:
        """A current index, on any node."""
        if self.core.is_leader:
            self.reads.ask(answer)
        else:
            self._wanting.append(answer)

    # A round

    def advance(self) -> None:
        core = self.core
        self.handover.advance()
        if core.is_leader:
            fresh = False
            while self._queue and not self.guard.handing_over:
                fresh = self._append(self._queue.popleft()) or fresh
            beat = self.reads.begin()
            if fresh or beat or self._more or self._told < core.commit:
                self._told, self._more = core.commit, False
                core.send_appends()
            self.transfers.begin()
            wanting, self._wanting = self._wanting, []
            for answer in wanting:
                self.reads.ask(answer)
        else:
            error = NotLeader(self.leader())
            while self._queue:
                self._queue.popleft().done(0, error)
            self._ask_leader()
        self._look()

    def take_work(self) -> list[Callable[[], object]]:
        """What is to be done off the event loop, before ``settle``."""
        work, self.work = self.work, []
        return work

    def settle(self) -> list[Step]:
        """What was appended is on disk, and ``work`` done."""
        last = self.log.wal.last
        self.guard.fsynced = last.sync
        self.timeouts.observe(self.node, last.sync)  # a slow disk is not taken for a dead leader
        for proposal in self._written:
            proposal.write, proposal.fsync = last.write, last.sync
        self._written.clear()
        self.guard.release()
        self.transfers.settle()
        self.guard.before_tick()
        self.core.tick()
        self._look()
        handed, self.core.handed = self.core.handed, []
        now = self.now()
        for entry in handed:
            proposal_or_none = self._pending.get(entry.idx)
            if proposal_or_none is not None:
                proposal_or_none.committed = now
        return steps(handed)

    def finish(self, done: Sequence[Step]) -> None:
        """``done`` is applied."""
        if done:
            self._answer(done)
        self._look()
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for index, answer in waiting:
                self.when_applied(index, answer)
        self.reads.finish()
        self._compact()

    @property
    def busy(self) -> bool:
        """Whether another round is due at once."""
        leads = self.core.is_leader
        return bool(
            self.log.wal.dirty
            or self.guard.holding
            or self.work
            or (self._queue and not self.guard.handing_over)
            or (leads and (self._more or self._told < self.core.commit) and self.core.members)
            or (self._wanting and not leads and self.core.leader_id)
        )

    def due(self) -> float:
        """When the next round is, if nothing happens."""
        if self.core.is_leader:
            return self.now() + (self.timeouts.heartbeat / 2 if self.core.members else 1.0)
        return max(self.core.deadline, self.now()) + 0.001

    def fail(self, error: Exception) -> None:
        """The node stops: nobody gets another answer."""
        for proposal in (*self._pending.values(), *self._queue):
            proposal.done(0, error)
        self._pending.clear()
        self._queue.clear()
        self.reads.fail()
        self._asked[0], self._wanting = self._wanting, []
        self._forget_asked()
        self.handover.fail(MembershipRefused(str(error)))

    @property
    def pending(self) -> int:
        return len(self._pending) + len(self._queue)

    # Inside

    def _append(self, proposal: Proposal) -> bool:
        core = self.core
        if proposal.change is not None:
            members = self.log.members
            try:
                if not core.ready or members.index > core.commit:
                    raise MembershipRefused("the last change of the members is not finished: try again")
                servers = proposal.change(members)
            except MembershipRefused as error:
                proposal.done(0, error)
                return False
            if servers == members.servers:
                proposal.done(members.index, None)
                return False
            proposal.command = commands.configuration(Configuration(servers))
            # A node that it removes must not have it alone: it would neither stand for election nor vote for less.
            self.log.promising = True
        proposal.term, proposal.appended = core.term, self.now()
        self._pending[core.append(proposal.command)] = proposal
        self._written.append(proposal)
        return True

    def _answer(self, done: Sequence[Step]) -> None:
        """Those who proposed it, and whoever is told of what others did."""
        index, now = done[-1].index, self.now()
        for step in done:
            if step.members is not None:
                self.log.committed(step.members)
        mine: list[tuple[int, Proposal]] = []
        while self._pending and (at := next(iter(self._pending))) <= index:
            mine.append((at, self._pending.pop(at)))
        if any(step.restore for step in done):
            self.listener.applied(index, None)
        elif len(mine) < index - self._applied:
            self.listener.applied(index, {key for step in done for key in step.rows})
        self._applied = index
        guard = self.guard
        trips = {node: FollowerTrace(trip, guard.fsyncs[node]) for node, trip in guard.trips.items()} if mine else {}
        for at, proposal in mine:
            if self.log.term(at) == proposal.term:
                self.traces.append(proposal.trace(at, now, trips))
                proposal.done(at, None)
            else:
                proposal.done(0, OutcomeUnknown("leadership was lost meanwhile"))

    def _look(self) -> None:
        """See what is not as it was."""
        core = self.core
        if self.log.members is not self._members:
            self._members = self.log.members
            core.configure()
            self._more = True
            self.listener.configured(self._members)
        leader = core.leader_id, core.term
        leads = core.is_leader
        if leads and not self._was_leader:
            self.guard.became_leader()
        elif not leads and self._was_leader:
            self._was_ready = False
            self._lost()
        self._was_leader = leads
        if not leads and leader != self._leader:
            self._forget_asked()
            self.listener.following(core.term, self.leader())
        self._leader = leader
        if leads and not self._was_ready and core.ready and self.machine.index >= core.first_of_term:
            self._was_ready = True
            self.listener.leading(core.term)

    def _lost(self) -> None:
        """Leadership: what was proposed may become part of the log yet, or not."""
        pending, self._pending = self._pending, {}
        self._written.clear()
        for proposal in pending.values():
            proposal.done(0, OutcomeUnknown("leadership was lost meanwhile"))
        self.reads.fail()
        self.transfers.stop()
        self.handover.lost()

    def _ask_leader(self) -> None:
        leader = self.core.leader_id
        if not self._wanting or leader is None:
            return
        self._asks += 1
        self._asked[self._asks], self._wanting = self._wanting, []
        self._deliver(leader, {"type": "read_index", "id": self._asks})

    def _forget_asked(self) -> None:
        """Nobody will answer."""
        asked, self._asked = self._asked, {}
        for answers in asked.values():
            for answer in answers:
                answer(None)

    def when_applied(self, index: int, answer: Answer) -> None:
        """Answer with ``index`` once it is applied here."""
        if index <= self.machine.index:
            answer(index)
        else:
            self._waiting.append((index, answer))

    def leader(self) -> Server | None:
        """The one known last."""
        node = self.core.leader_id
        return None if node is None else self.log.members.find(node) or Server(node, "")

    def installed(self, index: int, term: int) -> None:
        """The machine's state is that of ``index``, which came from another node."""
        log, machine = self.log, self.machine
        if log.term(index) != term:
            log.begin(index, term, machine.members)
        self.core.installed(index)
        self._applied = index
        self.listener.applied(index, None)

    def _compact(self) -> None:
        """Let go of entries that the state has, durably, and that no node is likely to need."""
        log, machine = self.log, self.machine
        tail, size = self._kept()
        big = len(log) > 2 * tail or log.size > 2 * size
        if self._compacting or not (big or machine.due):
            return
        if machine.long:
            self.work.append(machine.checkpoint)
        self._compacting = True
        self.background(machine.checkpoint, self._compacted)

    def _compacted(self, durable: object) -> None:
        assert isinstance(durable, int)
        self._compacting = False
        log = self.log
        tail, size = self._kept()
        kept = 0
        while kept < min(tail, len(log)) and size >= 0:
            kept += 1
            size -= len(log[-kept].command)
        keep = min(durable, log.last + 1 - kept, self.transfers.needed())
        if keep > log.first:
            log.compact(keep)
            self.work.append(lambda: log.wal.compact(keep))

    def _kept(self) -> tuple[int, int]:
        """How many entries, and bytes of them, a compaction leaves."""
        return (self._tail, TAIL_BYTES) if self.core.members else (self._tail // _ALONE + 1, TAIL_BYTES // _ALONE)
