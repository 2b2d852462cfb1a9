"""A replica in the event loop: the ``RaftEngine``.

One task does the rounds. What waits for the disk happens in a worker, and what comes meanwhile waits for the next
round: all that was proposed in the time of one sync is one entry, and one sync.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from secrets import SystemRandom

from ...framework.errors import StoreError
from ...framework.storage import Batch
from ..table import Table
from . import commands, membership, restoring
from .disk import Directory, Disk
from .engine import CommitTrace, Configuration, Listener, MembershipRefused, NotLeader, Server, Status
from .guard import Diverged
from .log import Log
from .machine import SqliteMachine
from .membership import Change
from .messages import Message
from .recovery import BEGINNING, recover
from .replica import Proposal, Replica
from .state import Step
from .status import status
from .timeouts import Timeouts
from .transport import Alone, Transport
from .wal import Wal
from .worker import Worker

_log = logging.getLogger(__name__)

_GROUP = 4 << 20
"""Bytes of values after which a group of batches takes no more."""
_INLINE_ROWS, _INLINE_BYTES = 8, 64 << 10
"""Up to which the event loop applies steps itself: it takes less time than handing them over."""
_PATIENCE = 5.0
"""Seconds that a current read waits for a leader, and a leader that stops for one that takes over."""
_NEAR = 1000
"""Entries that a non-voter may lack when it is made a voter."""


class _Index(asyncio.Future[int]):
    """Many wait for it: that one of them is cancelled is no matter of the others."""

    def cancel(self, msg: object = None) -> bool:
        return False


class _Group:
    """Batches that become one entry, in order."""

    __slots__ = ("done", "queued", "rows", "size")

    def __init__(self, queued: float) -> None:
        self.rows: dict[str, bytes | None] = {}
        self.size = 0
        self.queued = queued
        self.done = _Index(loop=asyncio.get_running_loop())


class Driver:
    """One node, in a directory of its own: a ``RaftEngine``, and the ``Receiver`` of its transport."""

    def __init__(
        self,
        node: str,
        path: Path,
        transport: Transport | None = None,
        *,
        multiplier: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] | None = None,
        disk: Callable[[Path], Disk] = Directory,
    ) -> None:
        """``node``: its id. ``multiplier``: of all timeouts, 1 to 10 (``performance_multiplier``); raises ValueError.
        Without a transport it is alone. ``disk``: what opens the log's directory; raises StoreError and OSError."""
        self._node = node
        self._path = path
        self._transport = transport or Alone()
        self._timeouts = Timeouts(multiplier)
        self._clock = clock
        self._chance = chance or SystemRandom().random
        self._listener = _Fanout(self._transport, node)
        self._groups: deque[_Group] = deque()
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = asyncio.Event()
        self._machine = SqliteMachine(path)
        self._open_disk = disk
        self._disk: Disk | None = None
        self._open_replica: Replica | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._closing = False
        self._failure = ""

    # Opening and closing

    async def bootstrap(self, address: str) -> None:
        """As ``RaftEngine.bootstrap``."""

        def begin() -> None:
            self._claim()
            self._machine.open()
            self._machine.bootstrap(Configuration((Server(self._node, address),), BEGINNING))

        try:
            await asyncio.to_thread(begin)
        finally:
            self._release()

    async def open(self) -> None:
        """As ``RaftEngine.open``."""
        self._closing, self._failure, self._listener.leads = False, "", False
        self._listener.decided.clear()
        self._worker, self._beside = Worker(f"raft {self._node}"), Worker(f"raft {self._node} beside")
        try:
            log = await asyncio.to_thread(self._recover)
        except BaseException:
            self._stop()
            raise
        replica = self._open_replica = Replica(
            self._node,
            log,
            self._machine,
            self._listener,
            deliver=self._transport.send,
            room=self._transport.room,
            background=self._background,
            clock=self._clock,
            chance=self._chance,
            timeouts=self._timeouts,
        )
        await self._transport.start(self)
        self._rounds = asyncio.create_task(self._run(replica))
        if replica.core.votes and not replica.core.voters:
            await self._listener.decided.wait()

    async def close(self) -> None:
        """As ``RaftEngine.close``."""
        replica, rounds = self._open_replica, self._rounds
        if replica is None or rounds is None:
            return
        if self.leading and replica.core.voters:
            try:
                await asyncio.wait_for(self.transfer(), _PATIENCE)
            except (MembershipRefused, TimeoutError) as error:
                _log.info("leadership is not handed over: %s", error)
        self._closing = True
        self._wake.set()
        await rounds
        await self._transport.close()
        if not self._failure:
            replica.fail(StoreError("this node is shutting down"))
            await self._worker.do(replica.log.wal.close)
        self._open_replica = None
        self._stop()

    def _claim(self) -> None:
        try:
            self._disk = self._open_disk(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

    def _recover(self) -> Log:
        self._claim()
        assert self._disk is not None
        self._machine.open()
        log = recover(Wal(self._disk, later=self._beside.begin), self._machine)
        log.wal.flush()
        return log

    def _stop(self) -> None:
        self._worker.stop()
        self._beside.stop()
        self._release()

    def _release(self) -> None:
        self._machine.close()
        disk, self._disk = self._disk, None
        if disk is not None:
            disk.close()

    # Rounds

    async def _run(self, replica: Replica) -> None:
        try:
            while not (self._closing and self._at_rest(replica)):
                await self._round(replica)
        except (StoreError, Diverged) as error:
            self._fail(replica, str(error))
        except Exception as error:
            _log.exception("a round of the cluster's log failed")
            self._fail(replica, f"{type(error).__name__}: {error}")

    def _at_rest(self, replica: Replica) -> bool:
        """Whether nothing would be answered if it went on: without others, all is."""
        alone = not replica.core.voters
        return not self._groups and not replica.busy and not (alone and replica.pending)

    async def _round(self, replica: Replica) -> None:
        if not (self._inbox or self._groups or replica.busy):
            await self._sleep(replica.due())
        self._wake.clear()
        inbox = self._inbox
        while inbox:
            inbox.popleft()()
        while self._groups:
            self._propose(replica, self._groups.popleft())
        replica.advance()
        work = replica.take_work()
        if work:
            await self._worker.do(lambda: [task() for task in work])
        if replica.log.wal.dirty:
            await self._worker.do(replica.log.wal.flush)
        steps = replica.settle()
        if steps:
            await self._apply(steps)
        replica.finish(steps)

    async def _sleep(self, until: float) -> None:
        pause = until - self._clock()
        if pause <= 0:
            await asyncio.sleep(0)
            return
        timer = asyncio.get_running_loop().call_later(pause, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _propose(self, replica: Replica, group: _Group) -> None:
        try:
            command = commands.batch(group.rows)
        except (StoreError, ValueError) as error:
            # Those behind it may build on it: they fail too.
            for failed in (group, *self._groups):
                failed.done.set_exception(StoreError(str(error)))
            self._groups.clear()
            return
        replica.propose(Proposal(command, partial(_finish, group.done), group.queued))

    async def _apply(self, steps: list[Step]) -> None:
        rows = sum(len(step.rows) for step in steps)
        size = sum(step.size for step in steps)
        if rows <= _INLINE_ROWS and size <= _INLINE_BYTES and not any(step.restore for step in steps):
            self._machine.apply(steps)
        else:
            await self._worker.do(partial(self._machine.apply, steps))

    def _background(self, work: Callable[[], object], then: Callable[[object], None]) -> None:
        def done(future: asyncio.Future[object]) -> None:
            error = future.exception()
            if error is not None:
                self._soon(partial(_raise, error))
            else:
                self._soon(partial(then, future.result()))

        self._beside.do(work).add_done_callback(done)

    def _soon(self, act: Callable[[], None]) -> None:
        """At the beginning of the next round."""
        self._inbox.append(act)
        self._wake.set()

    def _fail(self, replica: Replica, reason: str) -> None:
        """This node has stopped for good."""
        self._failure = reason
        _log.critical("this node has stopped taking part in the cluster: %s", reason)
        error = StoreError(reason)
        for group in self._groups:
            group.done.set_exception(error)
        self._groups.clear()
        replica.fail(error)
        self._listener.failed(reason)

    # What comes from other nodes

    def received(self, node: str, message: Message) -> None:
        self._soon(partial(self._replica.receive, node, message))

    def connected(self, node: str, is_there: bool) -> None:
        self._soon(partial(self._replica.connected, node, is_there))

    # What the rest of Caveau asks

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def table(self) -> Table:
        """The state, to be read; raises StoreError."""
        if self._machine.table is None:
            raise StoreError(f"{self._path}: this node's state is not open")
        return self._machine.table

    @property
    def status(self) -> Status:
        return status(self._replica, self._failure)

    @property
    def leader(self) -> Server | None:
        return self._replica.leader()

    @property
    def leading(self) -> bool:
        return self._listener.leads

    @property
    def commits(self) -> Sequence[CommitTrace]:
        return tuple(self._replica.traces)

    def subscribe(self, listener: Listener) -> None:
        self._listener.others.append(listener)

    def propose(self, batch: Batch) -> asyncio.Future[int]:
        """As ``RaftEngine.propose``."""
        if self._open_replica is None or self._failure or self._closing:
            failed = _Index(loop=asyncio.get_running_loop())
            failed.set_exception(StoreError(self._failure or f"{self._path}: this node is not open"))
            return failed
        groups = self._groups
        if not groups or groups[-1].size >= _GROUP:
            groups.append(_Group(self._clock()))
            self._wake.set()
        group = groups[-1]
        group.rows.update(batch)
        group.size += sum(map(len, filter(None, batch.values())))
        return group.done

    async def read_index(self) -> int:
        """As ``RaftEngine.read_index``."""
        replica, loop = self._replica, asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while True:
            found: asyncio.Future[int | None] = loop.create_future()
            replica.ask_index(lambda index, found=found: found.done() or found.set_result(index))  # type: ignore[misc]
            self._wake.set()
            try:
                index = await asyncio.wait_for(found, until - loop.time())
            except TimeoutError:
                raise NotLeader(replica.leader()) from None
            if index is not None:
                return index
            if self._failure:
                raise StoreError(self._failure)
            await asyncio.sleep(replica.timeouts.heartbeat)

    async def applied(self, index: int) -> None:
        """As ``RaftEngine.applied``."""
        if index > self._machine.index:
            there = asyncio.Event()
            self._replica.when_applied(index, lambda _: there.set())
            await there.wait()

    async def add(self, server: Server) -> None:
        """As ``RaftEngine.add``."""
        await self._change(membership.adding(server))

    async def promote(self, node: str) -> None:
        """As ``RaftEngine.promote``."""
        core, log = self._replica.core, self._replica.log
        await self._change(membership.promoting(node, lambda n: core.match(n) + _NEAR > log.last))

    async def demote(self, node: str) -> None:
        """As ``RaftEngine.demote``."""
        await self._change(membership.demoting(node, self._node))

    async def remove(self, node: str) -> None:
        """As ``RaftEngine.remove``."""
        await self._change(membership.removing(node, self._node))

    async def transfer(self, node: str | None = None) -> None:
        """As ``RaftEngine.transfer``."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish(error: Exception | None) -> None:
            if not done.done():
                done.set_result(None) if error is None else done.set_exception(error)

        self._soon(lambda: self._replica.handover.begin(node, finish))
        await done

    async def snapshot(self, path: str) -> int:
        """As ``RaftEngine.snapshot``."""

        def write() -> int:
            target = Path(path)
            try:
                os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise StoreError(f"{path}: {error.strerror}") from error
            return self._machine.copy(target)

        return await asyncio.to_thread(write)

    async def restore(self, path: str) -> int:
        """As ``RaftEngine.restore``."""
        parts = restoring.parts(Path(path))
        index = 0
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            index = await self._commit(Proposal(part, _ignored))
        return index

    async def _change(self, change: Change) -> None:
        await self._commit(Proposal(b"", _ignored, change=change))

    async def _commit(self, proposal: Proposal) -> int:
        if not self.leading:
            raise NotLeader(self._replica.leader())
        done = _Index(loop=asyncio.get_running_loop())
        proposal.done = partial(_finish, done)
        self._soon(lambda: self._replica.propose(proposal))
        return await done

    @property
    def _replica(self) -> Replica:
        if self._open_replica is None:
            raise StoreError(f"{self._path}: this node is not open")
        return self._open_replica


class _Fanout:
    """The replica's ``Listener``: it tells the others."""

    def __init__(self, transport: Transport, node: str) -> None:
        self._transport, self._node = transport, node
        self.others: list[Listener] = []
        self.leads = False
        self.decided = asyncio.Event()  # whether this node, which is alone, leads or has failed

    def leading(self, term: int) -> None:
        self.leads = True
        self.decided.set()
        for other in self.others:
            other.leading(term)

    def following(self, term: int, leader: Server | None) -> None:
        self.leads = False
        for other in self.others:
            other.following(term, leader)

    def applied(self, index: int, keys: Collection[str] | None) -> None:
        for other in self.others:
            other.applied(index, keys)

    def configured(self, configuration: Configuration) -> None:
        self._transport.reach([server for server in configuration.servers if server.id != self._node])
        for other in self.others:
            other.configured(configuration)

    def failed(self, reason: str) -> None:
        self.leads = False
        self.decided.set()
        for other in self.others:
            other.failed(reason)


def _finish(done: asyncio.Future[int], index: int, error: Exception | None) -> None:
    if error is None:
        done.set_result(index)
    else:
        done.set_exception(error)


def _ignored(index: int, error: Exception | None) -> None:
    """Until it is known who waits."""


def _raise(error: BaseException) -> None:
    raise error
