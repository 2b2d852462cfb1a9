"""PySyncObj 0.3.17 as the rules of Raft, and nothing else of it.

In use: elections, the bookkeeping of who has what, the rule when an entry is committed, and applying in order.
Replaced: its journal, its transport, whatever would unpickle or fork, and all around it that ``guard`` closes holes
of. That takes names that are private there, so the version is pinned, and that each name exists is checked at start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from .engine import Role
from .log import Log
from .messages import Message
from .wal import Entry

_VERSION = "0.3.17"
_BATCH = 1 << 20  # bytes of entries in a message, if there is more than one
_AHEAD = 8  # messages to one node, one after the other, before others have their turn

_REPLACED = (
    "generateRaftTimeout",
    "sendAppendEntries",
    "doApplyCommand",
    "applyLogEntries",
    "parseChangeClusterRequest",
    "tryLogCompaction",
)
_USED = (
    "onMessageReceived",
    "setCurrentTerm",
    "setState",
    "raftState",
    "raftLeader",
    "raftElectionDeadline",
    "transferInProgress",
    "raftCurrentTerm",
    "raftCommitIndex",
    "raftLastApplied",
    "raftNextIndex",
    "raftMatchIndex",
    "lastResponseTime",
    "otherNodes",
    "readonlyNodes",
    "connectedNodes",
    "noopIDx",
    "newAppendEntriesTime",
    "leaderCommitIndex",
    "serializer",
)
_ROLES = (Role.FOLLOWER, Role.CANDIDATE, Role.LEADER)


class _Nothing:
    """In place of what is not used: the poller."""

    def poll(self, timeout: float) -> None: ...


class _Node(Node):  # type: ignore[misc]
    """Whose order in a set does not depend on the process: the simulator's runs are to be repeatable."""

    def __hash__(self) -> int:
        return crc32(self.id.encode())


class _Outbox(Transport):  # type: ignore[misc]
    """What PySyncObj takes for its transport."""

    def __init__(self, send: Callable[[str, Message], None]) -> None:
        super().__init__(None, None, [])
        self._send = send

    def send(self, node: Node, message: Message) -> bool:
        self._send(node.id, message)
        return True


class Core(SyncObj):  # type: ignore[misc]
    """One node's rules. Time passes for it only in ``tick`` and ``receive``; all in the log must be durable then."""

    def __init__(
        self,
        node: str,
        log: Log,
        send: Callable[[str, Message], None],
        room: Callable[[str], bool],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        """``room``: whether more may be sent to a node at once. ``clock``: seconds; PySyncObj has its own, which
        must be the same (``time.monotonic``). ``chance``: numbers from 0 to 1."""
        if VERSION != _VERSION:
            raise RuntimeError(f"PySyncObj {VERSION} is not {_VERSION}, the only one whose inside is known")
        self.log = log
        self.me = node
        self.handed: list[Entry] = []  # committed, and not applied yet
        self.lagging: set[str] = set()  # need what is no longer in the log
        self.election = (1.0, 2.0)  # seconds of silence after which an election is due: from, to
        self.heartbeat = 0.1
        self._clock = clock
        self._chance = chance
        self._room = room
        self._queue_send = send
        self._outbox = _Outbox(send)
        settings = SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=True,
            commandsWaitLeader=False,
            dynamicMembershipChange=False,  # of its own: ours is ``configure``
            pollerType="select",
        )
        super().__init__(_Node(node), [], settings, nodeClass=_Node, transport=self._outbox)
        missing = [name for name in (*_USED, *_REPLACED) if not hasattr(self, f"_SyncObj__{name}")]
        if missing:
            raise RuntimeError(f"PySyncObj {VERSION} lacks {', '.join(missing)}")
        self._poller = _Nothing()
        self._SyncObj__serializer = None  # it would unpickle
        self._SyncObj__raftLastApplied = log.getRaftCommitIndex()
        self.configure()

    # The state

    @property
    def role(self) -> Role:
        return _ROLES[self._SyncObj__raftState]

    @property
    def is_leader(self) -> bool:
        return bool(self._SyncObj__raftState == 2)

    @property
    def ready(self) -> bool:
        """Leads, and has handed out all that was committed before."""
        return self.is_leader and bool(self._SyncObj__raftLastApplied >= self._SyncObj__noopIDx)

    @property
    def first_of_term(self) -> int:
        """The entry with which this leader has begun."""
        return int(self._SyncObj__noopIDx or 0)

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def leader_id(self) -> str | None:
        leader = self._SyncObj__raftLeader
        return None if leader is None else str(leader.id)

    @property
    def commit(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def voters(self) -> list[str]:
        """Other than this node."""
        return [node.id for node in self._SyncObj__otherNodes]

    @property
    def members(self) -> list[str]:
        """Other than this node, those included that do not vote."""
        return [node.id for node in self._SyncObj__otherNodes | self._SyncObj__readonlyNodes]

    @property
    def votes(self) -> bool:
        """Whether this node is a voter."""
        own = self.log.members.find(self.me)
        return own is not None and own.voter

    def match(self, node: str) -> int:
        """Up to where ``node`` has the log, as far as this leader knows."""
        return int(self._SyncObj__raftMatchIndex.get(_Node(node), 0))

    def following(self, node: str) -> int:
        """The next entry to send to ``node``."""
        return int(self._SyncObj__raftNextIndex.get(_Node(node), self.log.last + 1))

    def heard(self, node: str) -> float:
        """When ``node`` answered last."""
        return float(self._SyncObj__lastResponseTime.get(_Node(node), 0.0))

    def is_connected(self, node: str) -> bool:
        return bool(_Node(node) in self._SyncObj__connectedNodes)

    @property
    def deadline(self) -> float:
        """When an election is due."""
        return float(self._SyncObj__raftElectionDeadline)

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._SyncObj__raftElectionDeadline = when

    @property
    def told_to_take_over(self) -> bool:
        return bool(self._SyncObj__transferInProgress)

    def give_up_after(self, seconds: float) -> None:
        """A leader steps down when it has not heard of a majority for so long."""
        self.conf.leaderFallbackTimeout = seconds

    # What happens to it

    def tick(self) -> None:
        """Let time pass: elections, commits, heartbeats. What was committed is in ``handed`` afterwards."""
        self.doTick(0)

    def receive(self, node: str, message: Message) -> None:
        self._outbox._onMessageReceived(_Node(node), message)

    def append(self, command: bytes) -> int:
        """Put ``command`` into the log of this leader; its index."""
        index = self.log.last + 1
        self.log.add(command, index, self.term)
        return index

    def send_appends(self) -> None:
        """To every member what it has not been sent, or else a heartbeat."""
        self._SyncObj__sendAppendEntries()

    def observe_term(self, term: int) -> None:
        """Somebody is in ``term``: this node must not be in an earlier one."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self.step_down()

    def step_down(self) -> None:
        self._SyncObj__setState(0)
        self.lose_leader()

    def lose_leader(self) -> None:
        self._SyncObj__raftLeader: _Node | None = None

    def follow(self, node: str, term: int) -> None:
        """``node`` leads in ``term``, whatever else there is to be said of its log."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self._SyncObj__transferInProgress = False
        self._SyncObj__setState(0)
        self._SyncObj__raftLeader = _Node(node)
        if not self.told_to_take_over:
            self.postpone()

    def postpone(self) -> None:
        """No election for now."""
        self.deadline = self._clock() + self._SyncObj__generateRaftTimeout()

    def connected(self, node: str, is_there: bool) -> None:
        (self._outbox._onNodeConnected if is_there else self._outbox._onNodeDisconnected)(_Node(node))

    def send_from(self, node: str, following: int) -> None:
        """``node`` is to be sent what comes from ``following`` on."""
        self._SyncObj__raftNextIndex[_Node(node)] = following

    def has(self, node: str, index: int) -> None:
        """``node`` has the log up to ``index``, on disk. It is sent nothing of that again."""
        matches, following = self._SyncObj__raftMatchIndex, self._SyncObj__raftNextIndex
        matches[_Node(node)] = max(matches[_Node(node)], index)
        following[_Node(node)] = max(following[_Node(node)], index + 1)

    def installed(self, index: int) -> None:
        """The state is that of ``index`` now, with which the log begins."""
        self._SyncObj__raftCommitIndex = self._SyncObj__raftLastApplied = index
        self.handed.clear()

    def learned_commit(self, index: int) -> None:
        """``index``, which this node has, is committed."""
        self._SyncObj__raftCommitIndex = max(self.commit, index)

    def configure(self) -> None:
        """Take over the members that the log says."""
        others = {server.id: server.voter for server in self.log.members.servers if server.id != self.me}
        self._SyncObj__otherNodes = {_Node(node) for node, voter in others.items() if voter}
        self._SyncObj__readonlyNodes = {_Node(node) for node, voter in others.items() if not voter}
        now = self._clock()
        for table, start in (
            (self._SyncObj__raftNextIndex, self.log.last + 1),
            (self._SyncObj__raftMatchIndex, 0),
            (self._SyncObj__lastResponseTime, now),
        ):
            for node in [node for node in table if node.id not in others]:
                del table[node]
            for node_id in others:
                table.setdefault(_Node(node_id), start)
        self.lagging &= others.keys()

    # What PySyncObj calls

    @property
    def _SyncObj__raftLog(self) -> Log:
        return self.log

    @_SyncObj__raftLog.setter
    def _SyncObj__raftLog(self, journal: Any) -> None:
        """The one it would make is not wanted."""

    def _SyncObj__generateRaftTimeout(self) -> float:
        low, high = self.election
        return low + (high - low) * self._chance()

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> None:
        """Its own membership changes are not used: it would unpickle them."""

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:
        index = self._SyncObj__raftLastApplied + 1
        self.handed.append(self.log[index - self.log.first])

    def _SyncObj__applyLogEntries(self) -> None:
        """A node alone becomes leader and commits its first entry in one tick, before that is on disk."""
        if not self.log.wal.dirty:
            super()._SyncObj__applyLogEntries()

    def _SyncObj__tryLogCompaction(self) -> None:
        """Ours is the replica's."""

    def _checkCommandsToApply(self) -> None:
        """Its queue is not used."""

    def _SyncObj__sendAppendEntries(self) -> None:
        self._SyncObj__newAppendEntriesTime = self._clock() + self.heartbeat
        for node in sorted(self._SyncObj__otherNodes | self._SyncObj__readonlyNodes, key=lambda node: str(node.id)):
            if node in self._SyncObj__connectedNodes and self._room(node.id):
                self._send_to(node)

    def _send_to(self, node: Node) -> None:
        log = self.log
        following = self._SyncObj__raftNextIndex[node]
        if following <= log.first:
            self.lagging.add(node.id)
            following = log.last + 1  # a heartbeat, which it will not accept, but it has heard from us
        else:
            self.lagging.discard(node.id)
        for _ in range(_AHEAD):
            entries = log.part(following, _BATCH)
            message = {
                "type": "append_entries",
                "term": self.term,
                "commit_index": self.commit,
                "entries": entries,
                "prevLogIdx": following - 1,
                "prevLogTerm": log.term(following - 1),
            }
            self._queue_send(node.id, message)
            if not entries:
                return
            following = self._SyncObj__raftNextIndex[node] = entries[-1].idx + 1
            if following > log.last:
                return
