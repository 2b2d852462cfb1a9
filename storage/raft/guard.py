"""Stands between PySyncObj's rules and the messages, and closes the holes that were found in them.

- A follower keeps what matches and cuts off only what conflicts; a conflict with what is committed stops the node.
- Success never moves a leader back, answers carry their term, and those of another term do not count.
- What is committed is taken to be so no further than the log is known to match the leader's.
- Nothing that promises something leaves before what it promises is on disk.
- Votes count once a voter. Nobody votes, or starts an election, while a leader is there (sections 4.2.3 and 9.6 of
  the Raft dissertation), except when the leader itself asks for it.
"""

from __future__ import annotations

from collections.abc import Callable

from .core import Core
from .engine import Role
from .messages import Message
from .timeouts import Timeouts

_DRIFT = 0.8
"""Of the time that another node has promised: its clock may be faster, and ours slower."""


class Diverged(Exception):
    """The leader's log contradicts what is committed here. Nobody may trust this node any more."""


class Guard:
    """Of one core, whose messages all pass through here both ways."""

    core: Core  # set once it is there: it sends through here

    def __init__(
        self,
        deliver: Callable[[str, Message], None],
        clock: Callable[[], float],
        chance: Callable[[], float],
        timeouts: Timeouts,
    ) -> None:
        """``deliver``: gives a message to the transport."""
        self._deliver = deliver
        self._clock = clock
        self._chance = chance
        self._timeouts = timeouts
        self._held: list[tuple[str, Message]] = []  # until the log is on disk
        self._accepted: int | None = None  # what the answer to the present append says, instead of the log's end
        self._bound = clock() + timeouts.lease  # votes for nobody until then: maybe promised before it was started
        self._seen = (0, 0.0)  # seq and sent of the last append: come back in its answer
        self._votes: set[str] = set()
        self._asking = 0  # the term for which it asks who would vote
        self._would: set[str] = set()
        self._approved = False  # a majority would: the next tick begins an election
        self._told = False  # this election is at the leader's wish
        self.seq = 0  # of the last round of appends
        self.answered: dict[str, int] = {}  # seq of the last answer, by node
        self._leases: dict[str, float] = {}  # until when a node votes for nobody else
        self.fsyncs: dict[str, float] = {}
        self.trips: dict[str, float] = {}
        self.handing_over = False
        self.fsynced = 0.0  # seconds that this node's last sync took

    # Out

    def send(self, node: str, message: Message) -> None:
        """From the core, or from the replica. What promises something waits for ``release``."""
        kind = message["type"]
        if kind == "append_entries":
            timeouts = self._timeouts
            message |= {
                "seq": self.seq,
                "sent": self._clock(),
                "lease": timeouts.lease,
                "timeout": timeouts.election,
            }
            if not self.core.log.promising:  # else its own vote for this term is not on disk
                self._deliver(node, message)
                return
        elif kind == "next_node_idx":
            seq, sent = self._seen
            message |= {"term": self.core.term, "seq": seq, "sent": sent, "fsync": self.fsynced}
            if self._accepted is not None and message["success"]:
                message["next_node_idx"] = self._accepted
        elif kind == "request_vote":
            message["transfer"] = self._told
            self._votes.clear()
        self._held.append((node, message))

    def release(self) -> None:
        """The log is on disk."""
        self.core.log.promising = False
        held, self._held = self._held, []
        for node, message in held:
            self._deliver(node, message)

    @property
    def holding(self) -> bool:
        return bool(self._held)

    # Elections

    def before_tick(self) -> None:
        """Start no election that cannot be won: ask first who would vote."""
        core, now = self.core, self._clock()
        core.election = (self._timeouts.election, 2 * self._timeouts.election)
        core.heartbeat = self._timeouts.heartbeat
        core.give_up_after(self._timeouts.give_up)
        self._told = core.told_to_take_over
        approved, self._approved = self._approved, False
        if core.is_leader or self._told or approved or now <= core.deadline:
            return
        if not core.votes:
            core.postpone()
        elif core.voters:
            core.postpone()
            core.lose_leader()
            self._asking = core.term + 1
            self._would.clear()
            for node in core.voters:
                self.send(node, {"type": "ask_vote", "term": self._asking, **self._end()})

    def leader_gone(self) -> None:
        """The connection to the leader broke: wait no longer than others are bound to it."""
        self.core.deadline = min(self.core.deadline, self._bound + self._chance() * self._timeouts.election / 2)

    def became_leader(self) -> None:
        self.handing_over = False
        self._leases.clear()
        self.answered.clear()

    def hand_over(self, begins: bool) -> None:
        """While another node is asked to take over, promises to this one do not hold."""
        self.handing_over = begins
        self._leases.clear()

    def lease(self) -> float:
        """Until when no other node can lead."""
        others = sorted((self._leases.get(node, 0.0) for node in self.core.voters), reverse=True)
        needed = (len(others) + 1) // 2  # beside this node
        return others[needed - 1] if needed else float("inf")

    def _end(self) -> dict[str, int]:
        log = self.core.log
        return {"last_log_index": log.last, "last_log_term": log[-1].term}

    # In

    def receive(self, node: str, message: Message) -> None:
        """One of ``HANDLED``. Raises Diverged."""
        _HANDLERS[message["type"]](self, node, message)

    def _append(self, node: str, message: Message) -> None:
        core, log = self.core, self.core.log
        if not self.follows(node, message["term"]):
            return
        self._bound = max(self._bound, self._clock() + message["lease"])
        self._timeouts.learn(message["timeout"])
        self._seen = message["seq"], message["sent"]
        prev, entries = message["prevLogIdx"], message["entries"]
        if log.term(prev) != message["prevLogTerm"]:
            core.follow(node, message["term"])
            following = log.last + 1 if prev > log.last else core.commit + 1  # where it surely matches, if not its end
            self.send(node, {"type": "next_node_idx", "next_node_idx": following, "reset": True, "success": False})
            return
        known = 0
        while known < len(entries) and log.term(entries[known].idx) == entries[known].term:
            known += 1
        fresh, prev = entries[known:], prev + known
        if fresh and fresh[0].idx <= core.commit:
            raise Diverged(f"the leader {node} has another entry {fresh[0].idx} than is committed here")
        append = message | {"entries": fresh, "prevLogIdx": prev, "prevLogTerm": log.term(prev)}
        if not fresh:  # it has all of this, and maybe more, which must not be cut off
            append |= {"prevLogIdx": log.last, "prevLogTerm": log[-1].term}
            append["commit_index"] = max(core.commit, min(message["commit_index"], prev))
            self._accepted = prev + 1
        core.receive(node, append)
        self._accepted = None

    def follows(self, node: str, term: int) -> bool:
        """Whether ``node`` may be the leader, of ``term``; it is told if not."""
        if term < self.core.term:
            self.send(node, {"type": "newer_term", "term": self.core.term})
            return False
        if self.core.is_leader and term == self.core.term:
            raise Diverged(f"{node} leads in term {term}, as this node does")
        self._asking, self._approved = 0, False
        return True

    def _answer(self, node: str, message: Message) -> None:
        core = self.core
        if message["term"] != core.term or not core.is_leader or node not in core.members:
            return
        following = message["next_node_idx"]
        if following - 1 > core.log.last:
            return
        now = self._clock()
        trip = now - message["sent"]
        self.trips[node], self.fsyncs[node] = trip, message["fsync"]
        self._timeouts.observe(node, trip)
        self.answered[node] = max(self.answered.get(node, 0), message["seq"])
        if not self.handing_over:
            until = message["sent"] + self._timeouts.lease * _DRIFT
            self._leases[node] = max(self._leases.get(node, 0.0), until)
        core.receive(node, message | {"reset": False, "success": False})  # it has answered: no more
        if message["success"]:
            core.has(node, following - 1)
        else:
            core.send_from(node, max(core.match(node) + 1, following))

    def _vote_wanted(self, node: str, message: Message) -> None:
        core = self.core
        if message["term"] < core.term:
            self.send(node, {"type": "newer_term", "term": core.term})
        elif message["transfer"] or not (core.is_leader or self._clock() < self._bound):
            core.receive(node, message)

    def _vote(self, node: str, message: Message) -> None:
        core = self.core
        if message["term"] == core.term and core.role is Role.CANDIDATE and node in core.voters:
            if node in self._votes:
                return
            self._votes.add(node)
            core.receive(node, message)

    def _asked(self, node: str, message: Message) -> None:
        core = self.core
        if message["term"] <= core.term:
            self.send(node, {"type": "newer_term", "term": core.term})
            return
        own = self._end()
        behind = (message["last_log_term"], message["last_log_index"]) < (own["last_log_term"], own["last_log_index"])
        granted = not (behind or core.is_leader or self._clock() < self._bound)
        self.send(node, {"type": "would_vote", "term": message["term"], "granted": granted})

    def _would_vote(self, node: str, message: Message) -> None:
        core = self.core
        if message["term"] != self._asking or not message["granted"] or node not in core.voters or core.is_leader:
            return
        self._would.add(node)
        if 2 * (len(self._would) + 1) > len(core.voters) + 1:
            self._asking = 0
            self._approved = True
            core.deadline = 0.0

    def _newer(self, node: str, message: Message) -> None:
        self.core.observe_term(message["term"])

    def _take_over(self, node: str, message: Message) -> None:
        if self.core.votes:
            self.core.receive(node, message)


_HANDLERS: dict[str, Callable[[Guard, str, Message], None]] = {
    "append_entries": Guard._append,
    "next_node_idx": Guard._answer,
    "request_vote": Guard._vote_wanted,
    "response_vote": Guard._vote,
    "ask_vote": Guard._asked,
    "would_vote": Guard._would_vote,
    "newer_term": Guard._newer,
    "timeout_now": Guard._take_over,
}
HANDLED = _HANDLERS.keys()
