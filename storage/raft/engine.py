"""What the rest of Caveau sees of Raft. Nothing here knows how it is done.

A *node* has an id for life and an address that may change. *Voters* elect the leader and decide what is committed;
other nodes (*non-voters*) only follow. Every commit has an *index*, one more than that before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ...framework.errors import InvalidRequest, StoreError
from ...framework.storage import Batch


class Role(StrEnum):
    LEADER = "leader"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class Server:
    """A member of the cluster. ``address``: ``host:port`` where other nodes reach it."""

    id: str
    address: str
    voter: bool = True


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members from the entry ``index`` on. Without any (0): this node has not been told yet."""

    servers: tuple[Server, ...] = ()
    index: int = 0

    @property
    def voters(self) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.voter)

    def find(self, node: str) -> Server | None:
        return next((server for server in self.servers if server.id == node), None)


@dataclass(frozen=True, slots=True)
class Peer:
    """What the leader knows of another node. Durations in seconds; None: nothing measured yet."""

    id: str
    connected: bool
    match: int  # it has the log up to here
    silent: float  # since it last answered
    round_trip: float | None = None
    fsync: float | None = None
    installing: bool = False  # a snapshot is on its way to it


@dataclass(frozen=True, slots=True)
class Status:
    """A node's own view, at one moment."""

    node: str
    role: Role
    term: int
    leader: Server | None
    first: int  # the oldest entry still in the log
    last: int
    commit: int
    applied: int
    configuration: Configuration
    pending: int = 0  # proposals without an answer
    peers: tuple[Peer, ...] = ()  # on the leader
    failure: str = ""  # why this node has stopped


@dataclass(frozen=True, slots=True)
class CommitTrace:
    """Where the time of one commit went, on the leader. Durations in seconds."""

    index: int
    size: int  # bytes of the entry
    queue: float  # from the first batch of the group being proposed to the entry being in the log
    write: float  # handing it to the file system
    fsync: float
    quorum: float  # from the entry being sent to a majority having it on disk
    apply: float
    total: float
    followers: dict[str, FollowerTrace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FollowerTrace:
    """``round_trip``: from sending to the answer, in which ``fsync`` is included."""

    round_trip: float
    fsync: float


class NotLeader(StoreError):
    """Only the leader takes this, and this node is not it. Nothing was written. ``leader``: a hint, may be old."""

    status = 503

    def __init__(self, leader: Server | None) -> None:
        where = f"it is {leader.id} at {leader.address}" if leader else "none is known at the moment"
        super().__init__(f"this node is not the leader of the cluster: {where}")
        self.leader = leader


class MembershipRefused(InvalidRequest):
    """The change is wrong, or the one before it is not finished; nothing was changed."""


class Listener(Protocol):
    """Told what happens, on the event loop. Must not suspend, and not raise."""

    def leading(self, term: int) -> None:
        """This node leads, and has applied all that was committed before."""

    def following(self, term: int, leader: Server | None) -> None:
        """This node does not lead (any more), or its leader is another than before."""

    def applied(self, index: int, keys: Collection[str] | None) -> None:
        """``keys`` (None: everything) were changed by what other nodes proposed."""

    def configured(self, configuration: Configuration) -> None:
        """The members are these from now on."""

    def failed(self, reason: str) -> None:
        """This node has stopped for good: its disk does not do what it must."""


class RaftEngine(Protocol):
    """One node of a cluster. Used from one event loop."""

    @property
    def status(self) -> Status: ...

    @property
    def leader(self) -> Server | None:
        """The one known last. May be this node itself, and may be out of date."""

    @property
    def leading(self) -> bool:
        """Whether this node leads and has applied all that was committed before: it may write."""

    def subscribe(self, listener: Listener) -> None: ...

    async def open(self) -> None:
        """Read what is on disk and take part; raises StoreError naming what is wrong with it."""

    async def bootstrap(self, address: str) -> None:
        """Make this node, which must be new, a cluster of one. Before ``open``; raises StoreError if it is not new."""

    async def close(self) -> None:
        """Finish what was proposed if that goes without waiting for others, hand over leadership, and stop."""

    def propose(self, batch: Batch) -> asyncio.Future[int]:
        """Commit ``batch``, together with others that wait; done with its index when it is durable on a majority
        and applied here. Never suspends. Fails with NotLeader (nothing was written) or OutcomeUnknown. Batches take
        effect in the order of the calls, and after a failure those behind it fail too."""

    async def read_index(self) -> int:
        """An index, applied here, of a state that is current: it has all that any node had acknowledged before this
        call. On any node; raises NotLeader if the leader cannot be reached, or is none."""

    async def applied(self, index: int) -> None:
        """Return when ``index`` is applied here."""

    async def add(self, server: Server) -> None:
        """Make a node a member, as a non-voter whatever ``server.voter`` says, or change its address. Leader only;
        returns when that is committed. Raises MembershipRefused."""

    async def promote(self, node: str) -> None:
        """Make a non-voter that has caught up a voter. Leader only. Raises MembershipRefused."""

    async def demote(self, node: str) -> None:
        """Make a voter, other than the last one, a non-voter. Leader only. Raises MembershipRefused."""

    async def remove(self, node: str) -> None:
        """No longer a member. Leader only; of itself it hands over first. Raises MembershipRefused."""

    async def transfer(self, node: str | None = None) -> None:
        """Hand leadership to a voter (None: to that which has most), and return when another node leads. Leader
        only. Raises MembershipRefused if none is fit, or none took it in time."""

    async def snapshot(self, path: str) -> int:
        """Write the whole state into a new SQLite file at ``path``; its index. All values are ciphertext."""

    async def restore(self, path: str) -> int:
        """Make all nodes' state that of a file that ``snapshot`` wrote, as one commit; its index. Leader only."""

    @property
    def commits(self) -> Sequence[CommitTrace]:
        """The last commits that this node led, the oldest first."""
