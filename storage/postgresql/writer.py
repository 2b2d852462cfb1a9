"""The connection that leads: the only one that writes.

It holds an advisory lock, which ends with it, so one server at a time leads. Taking the lead also raises the
*epoch* in the table of the leader, and every group of batches is written only if the epoch is still that of its
server: one that was cut off and does not know it writes nothing any more. In the same statement the group's number
is recorded. Should the connection break meanwhile, that tells whether the group was written, once the lock is taken
again: then the old connection has ended, and whatever it was doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from ...framework.errors import OutcomeUnknown, StoreError, StoreInUse, StoreUnreachable
from .database import FAILURES, Database, broken, driver, rows, watch

_log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds for which requests wait for a connection that broke."""
HEARTBEAT = 2.0
"""Seconds between looks at a connection that is idle, and how long one may take."""
_RETRY = 0.25

_LOCK = "SELECT pg_try_advisory_lock(to_regclass($1::text)::oid::bigint)"
_SESSION = (
    "SET default_transaction_isolation = 'read committed'",
    # A server that lost its power, or its network, is known to be gone in about ten seconds.
    "SET tcp_keepalives_idle = 4; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3",
    # Nobody may have turned it off for this user; another setting than that is as good, or stricter.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)


class Writer:
    """Leads from ``open`` to ``close``, unless it is deposed. Connects again by itself."""

    def __init__(self, database: Database, *, lease: bool, patience: float, heartbeat: float) -> None:
        """``lease``: others wait to lead, so who has not reached the database for ``patience`` must not think that
        it still does."""
        self._database = database
        self._lease = lease
        self._patience = patience
        self._heartbeat = heartbeat
        self._connection: AsyncConnection | None = None
        self._process = 0  # of the database, behind the connection
        self._epoch = 0
        self._number = 0  # of the last group that is known to be written
        self._recorded = 0  # of the last one that the database has, when the connection was made
        self._sending = False
        self._turn = asyncio.Lock()  # one statement at a time
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._since = 0.0  # when it went down
        self._reason: StoreError = StoreUnreachable("postgresql: not connected")
        self._lost: StoreError | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()  # connections on their way back to the pool
        name = database.leader_name
        self._take = f"UPDATE {name} SET epoch = epoch + 1 RETURNING epoch, commits"  # noqa: S608
        self._state = f"SELECT epoch, commits FROM {name}"  # noqa: S608
        self._write = (
            f"WITH fence AS (UPDATE {name} SET commits = $2 WHERE epoch = $1 RETURNING 1),"  # noqa: S608
            f" removed AS (DELETE FROM {database.name} USING fence WHERE key = ANY($5)),"
            f" stored AS (INSERT INTO {database.name} SELECT row.* FROM fence, unnest($3::bytea[], $4::bytea[]) AS row"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value)"
            " SELECT 1 FROM fence"
        )

    @property
    def leads(self) -> bool:
        """Whether there is a connection with the lock at this moment, as far as is known."""
        return self._connection is not None

    async def open(self) -> None:
        """Take the lead. Raises StoreInUse if another server has it, StoreError, or one of FAILURES."""
        connection = await self._connect()
        if connection is None:
            raise StoreInUse("postgresql: another server has the store in use: stop that one, or set ha_enabled")
        try:
            ((self._epoch, self._number),) = await rows(connection, self._take)
        except BaseException:
            await _end(connection)
            raise
        self._adopt(connection, self._number)
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Let another lead."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            await _end(connection)
        await asyncio.gather(*self._ending)
        self._lost = self._lost or StoreError("postgresql: the store is not open")
        self._up.set()

    async def deposed(self) -> StoreError:
        """Return when this server does not lead any more and never will, with the reason."""
        while self._lost is None:
            self._down.clear()
            await self._down.wait()
        return self._lost

    async def connected(self) -> AsyncConnection:
        """The connection, waiting for it for a while if it broke. Raises StoreError."""
        while (connection := self._connection) is None:
            if self._lost is not None:
                raise self._lost
            left = self._since + self._patience - asyncio.get_running_loop().time()
            if left <= 0:
                raise StoreUnreachable(str(self._reason))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._up.wait()
        return connection

    async def write(self, keys: Sequence[bytes], values: Sequence[bytes], removed: Sequence[bytes]) -> None:
        """Write a group; it is durable then. Raises OutcomeUnknown, StoreError, or one of FAILURES: not written."""
        number = self._number + 1
        try:
            while True:
                try:
                    connection = await self.connected()
                except StoreError as error:
                    if self._sending:
                        raise OutcomeUnknown(str(error)) from error
                    raise
                if self._sending and self._recorded == number:
                    break  # it was written, and only the answer was lost
                self._sending = True
                try:
                    async with self._turn:
                        written = await rows(connection, self._write, self._epoch, number, keys, values, removed)
                except FAILURES as error:
                    if not broken(error):
                        raise
                    self._drop(connection, error)
                    continue
                except BaseException as error:
                    self._drop(connection, error)
                    raise
                if not written:
                    raise self._depose("another server has taken the lead")
                break
        finally:
            self._sending = False
        self._number = number

    # The connection

    async def _connect(self) -> AsyncConnection | None:
        """A connection with the lock, or None if that is held. Raises StoreError or one of FAILURES."""
        connection = await self._database.connect()
        try:
            for statement in _SESSION:
                await driver(connection).execute(statement)
            ((locked,),) = await rows(connection, _LOCK, self._database.leader_name)
            if locked:
                ((self._process,),) = await rows(connection, "SELECT pg_backend_pid()")
                return connection
            ((epoch, _),) = await rows(connection, self._state)
            if self._epoch and epoch == self._epoch:
                # Nobody took the lead since: it is our own connection, whose end the database has not seen yet.
                await rows(
                    connection,
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1",
                    self._process,
                )
            elif self._epoch:
                self._depose("another server has taken the lead")
        except BaseException:
            await _end(connection)
            raise
        await _end(connection)
        return None

    def _adopt(self, connection: AsyncConnection, recorded: int) -> None:
        self._recorded = recorded
        self._connection = connection
        self._up.set()
        watch(
            connection,
            partial(self._drop, connection, StoreUnreachable("postgresql: the database closed the connection")),
        )

    def _drop(self, connection: AsyncConnection, error: BaseException) -> None:
        """The connection is of no use any more."""
        if self._connection is not connection:
            return
        self._connection = None
        self._up.clear()
        self._since = asyncio.get_running_loop().time()
        self._reason = self._database.explain(error)
        self._down.set()
        ending = asyncio.create_task(_end(connection))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        _log.warning("the connection that writes broke, and is made again: %s", self._reason)

    def _depose(self, reason: str) -> StoreError:
        self._lost = self._lost or StoreError(f"postgresql: this server does not lead any more: {reason}")
        if self._connection is not None:
            self._drop(self._connection, self._lost)
        self._up.set()
        self._down.set()
        return self._lost

    async def _keep(self) -> None:
        """Look after the connection."""
        loop = asyncio.get_running_loop()
        while self._lost is None:
            if self._connection is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat):
                        await self._wait_down()
                await self._look()
                continue
            try:
                await self._again()
            except (*FAILURES, StoreError) as error:
                self._reason = self._database.explain(error)
            if self._connection is None:
                if self._lease and loop.time() - self._since > self._patience:
                    self._depose(f"it could not reach the database for {self._patience:g} seconds; {self._reason}")
                    return
                await asyncio.sleep(_RETRY)

    async def _wait_down(self) -> None:
        while self._connection is not None:
            self._down.clear()
            await self._down.wait()

    async def _look(self) -> None:
        connection = self._connection
        if connection is None or self._turn.locked():
            return
        async with self._turn:
            try:
                async with asyncio.timeout(self._heartbeat):
                    await rows(connection, "SELECT 1")
            except FAILURES as error:
                self._drop(connection, error)

    async def _again(self) -> None:
        """Take the lock again, if nobody has led meanwhile."""
        await self._database.forget()  # what waits in the pool has most likely broken too
        connection = await self._connect()
        if connection is None:
            return
        try:
            ((epoch, recorded),) = await rows(connection, self._state)
        except BaseException:
            await _end(connection)
            raise
        if epoch != self._epoch:
            self._depose("another server has led meanwhile")
        elif not self._number <= recorded <= self._number + self._sending:
            self._depose("the database lacks what it had acknowledged: was it restored, or a replica promoted?")
        else:
            self._adopt(connection, recorded)
            _log.info("connected again")
            return
        await _end(connection)


async def _end(connection: AsyncConnection) -> None:
    """Close it for good, its lock with it."""
    driver(connection).terminate()
    with contextlib.suppress(*FAILURES):
        await connection.invalidate()
        await connection.close()
