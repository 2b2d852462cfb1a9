"""Connections to a PostgreSQL database, its two tables, and what its errors mean.

asyncpg reads the connection URL, as libpq would: several hosts, ``sslmode`` and the certificates' files,
``PGPASSWORD`` and ``~/.pgpass`` included. SQLAlchemy pools the connections.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from ...framework.errors import InvalidRequest, StoreError, StoreUnreachable

_log = logging.getLogger(__name__)

SCHEMA = 1
"""Of the tables; a greater one was made by a newer Caveau."""
FAILURES = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What working with a connection may raise."""
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 60.0  # a connection that is silent for so long is taken for broken
_IDENTIFIER_BYTES = 63  # PostgreSQL cuts longer ones off

_COLUMNS = {"key": "bytea", "value": "bytea"}
_LEADER_COLUMNS = {"id": "integer", "schema": "integer", "epoch": "bigint", "commits": "bigint"}
_COLUMNS_OF = (
    "SELECT attname::text, atttypid::regtype::text FROM pg_attribute"
    " WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped"
)

_CAUSES = {
    "08": "the connection broke",
    "28": "the user or the password is wrong, or pg_hba.conf does not admit this server",
    "3D000": "there is no such database: create it",
    "42501": "the user lacks a permission: let it create tables in its schema, or create them and grant it all on them",
    "42P01": "a table is missing: leave out skip_create_table, or create it",
    "3F000": "there is no schema to create tables in: create it, or set the user's search_path",
    "53100": "the disk of the database is full",
    "53200": "the database is out of memory",
    "53300": "the database has too many connections: lower max_parallel, or raise its max_connections",
    "25006": "the database is read-only: name the host of the primary in connection_url",
    "57P01": "the database is shutting down",
    "57P02": "the database has crashed and is recovering",
    "57P03": "the database is starting up",
}


class Database:
    """A database and the names of the tables in it."""

    def __init__(self, url: str, table: str, leader_table: str, parallel: int, idle: int) -> None:
        """``parallel``: connections at most; ``idle``: how many are kept. Raises InvalidRequest."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("postgres", "postgresql"):
            raise InvalidRequest('storage "postgresql": connection_url must be a URL, postgres://USER:PASSWORD@HOST/DB')
        self._url = url
        self._host = parts.netloc.rpartition("@")[2] or "local socket"
        self.name, self.leader_name = quoted(table), quoted(leader_table)
        self._sizes = {"pool_size": idle, "max_overflow": parallel - idle}
        self._engine: AsyncEngine | None = None

    def open(self) -> None:
        """Nothing is connected yet."""
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            isolation_level="AUTOCOMMIT",  # every statement is a transaction, and needs one round trip
            poolclass=AsyncAdaptedQueuePool,
            pool_reset_on_return=None,
            pool_use_lifo=True,
            hide_parameters=True,
            **self._sizes,
        )

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    @property
    def opened(self) -> bool:
        return self._engine is not None

    async def connect(self) -> AsyncConnection:
        """A connection of the pool. Raises one of FAILURES, or StoreError if this is closed."""
        return await self._pool().connect()

    async def fetch(self, statement: str, *values: object) -> Sequence[Any]:
        """Rows of a statement. Raises one of FAILURES, or StoreError if this is closed."""
        async with self._pool().connect() as connection:
            return await rows(connection, statement, *values)

    async def forget(self) -> None:
        """Close the connections that are idle: one of them was broken."""
        await self._pool().dispose()

    def _pool(self) -> AsyncEngine:
        if self._engine is None:
            raise StoreError("postgresql: the store is not open")
        return self._engine

    async def _connect(self) -> asyncpg.Connection:
        try:
            return await asyncpg.connect(
                self._url,
                timeout=_CONNECT_SECONDS,
                command_timeout=_COMMAND_SECONDS,
                target_session_attrs="read-write",
                server_settings={"application_name": "caveau"},
            )
        except ValueError as error:  # asyncpg's ClientConfigurationError is one too
            raise InvalidRequest(f'storage "postgresql": connection_url: {error}') from None

    # The tables

    @property
    def statements(self) -> tuple[str, ...]:
        """What makes the tables. Values are ciphertext, which does not become smaller: EXTERNAL spares the attempt."""
        return (
            f"CREATE TABLE {self.name} (key bytea PRIMARY KEY, value bytea NOT NULL)",
            f"ALTER TABLE {self.name} ALTER value SET STORAGE EXTERNAL",
            f"CREATE TABLE {self.leader_name} (id integer PRIMARY KEY CHECK (id = 1), schema integer NOT NULL,"
            " epoch bigint NOT NULL, commits bigint NOT NULL)",
            f"INSERT INTO {self.leader_name} VALUES (1, {SCHEMA}, 0, 0)",  # noqa: S608 - quoted
        )

    async def prepare(self, create: bool) -> None:
        """Make the tables where they are missing, and see that they are ours. Raises StoreError or one of FAILURES."""
        if create and not await self._columns(self.leader_name) and not await self._columns(self.name):
            async with self._pool().connect() as connection:
                try:
                    # One string is one transaction; of several servers that begin together one makes the tables.
                    await driver(connection).execute("; ".join(self.statements))
                except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError):
                    _log.info("another server has made the tables meanwhile")
        for name, expected in ((self.name, _COLUMNS), (self.leader_name, _LEADER_COLUMNS)):
            found = await self._columns(name)
            if not found:
                raise StoreError(f"postgresql: the table {name} is missing: create it, or leave out skip_create_table")
            if found != expected:
                raise StoreError(f"postgresql: {name} is a table of another program: set another name")
        ((schema,),) = await self.fetch(f"SELECT schema FROM {self.leader_name}") or ((SCHEMA,),)  # noqa: S608
        if schema > SCHEMA:
            raise StoreError(f"postgresql: written by a newer Caveau (schema {schema}): upgrade this one")
        ((fsync,),) = await self.fetch("SHOW fsync")
        if fsync == "off":
            _log.warning("the database has fsync off: what was acknowledged is lost with its power")

    async def _columns(self, name: str) -> dict[str, str]:
        return {row.attname: row.atttypid for row in await self.fetch(_COLUMNS_OF, name)}

    def explain(self, error: BaseException) -> StoreError:
        """A StoreError that names the host and what to do. Of a password or a value nothing is in it."""
        if isinstance(error, StoreError):
            return error
        state = sqlstate(error)
        cause = _CAUSES.get(state) or _CAUSES.get(state[:2])
        if cause is None:
            origin = getattr(error, "orig", None) or error
            reached = state or not isinstance(origin, OSError | TimeoutError)
            text = str(origin).partition("\n")[0].rpartition(">: ")[2] or type(origin).__name__
            cause = text if reached else f"it cannot be reached: {text}"
        message = f"postgresql at {self._host}: {cause}" + (f" ({state})" if state else "")
        return StoreUnreachable(message) if broken(error) else StoreError(message)


def quoted(name: str) -> str:
    """An identifier in double quotes. Raises InvalidRequest."""
    if not name or "\0" in name or len(name.encode()) > _IDENTIFIER_BYTES:
        raise InvalidRequest(f'storage "postgresql": a table\'s name has 1 to {_IDENTIFIER_BYTES} bytes: {name!r}')
    return '"' + name.replace('"', '""') + '"'


async def rows(connection: AsyncConnection, statement: str, *values: object) -> Sequence[Any]:
    """Rows of a statement with ``$1`` and so on. Raises one of FAILURES."""
    return (await connection.exec_driver_sql(statement, values or None)).all()


def driver(connection: AsyncConnection) -> asyncpg.Connection:
    """The connection below."""
    assert connection.sync_connection is not None
    return connection.sync_connection.connection.driver_connection


def watch(connection: AsyncConnection, lost: Callable[[], None]) -> None:
    """Have ``lost`` called as soon as the connection is known to have ended."""
    driver(connection).add_termination_listener(lambda _: lost())


def sqlstate(error: BaseException) -> str:
    """The five characters that say what happened (PostgreSQL's appendix A), or "" where the server did not."""
    return str(getattr(getattr(error, "orig", None) or error, "sqlstate", None) or "")


def broken(error: BaseException) -> bool:
    """Whether nothing more can be had of the connection; what was under way may have been done."""
    state = sqlstate(error)
    return not state or state[:2] == "08" or state[:3] == "57P"
