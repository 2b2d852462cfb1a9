"""The embedded default: one SQLite file in WAL mode, durable on commit.

Reads are direct calls on the event loop's thread (about 5 microseconds). Commits go through aiosqlite on its
own thread, in groups. A group is one statement in autocommit mode, because each C call the thread makes ends
in a wait for the GIL. One 2.5 s run each, a prototype with 32 writers of 2 keys and 20 us of work per batch:
executemany between BEGIN and COMMIT 5,900 batches/s, one multi-row statement 7,400. Synchronous = NORMAL with an
fdatasync of the WAL per group was no faster (7,200), and a sync that fails could not be undone any more, which is
what rules it out.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Self, cast

import aiosqlite
import orjson

from ..framework.errors import InvalidRequest, StoreError, StoreInUse
from ..framework.metrics import Key, Timing
from ..framework.storage import Batch
from .checkpoint import Checkpoints
from .groups import GROUP, Group, Groups, refused
from .table import CREATE, PAGES, ROWS, Table, connect, explain, insert

_APPLICATION = 0x43415645  # "CAVE", SQLite's application_id
_SCHEMA = 1  # user_version; a store with a greater one was written by a newer Caveau
_CREATE = (
    *CREATE,
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_SCHEMA}",
)
_GET_SOME = "SELECT k, v FROM kv WHERE k IN (SELECT value FROM json_each(?))"


class SqliteStore:
    """Physical store in one SQLite file, for one process at a time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """``path``: the file if it ends in ``.db``, ``.sqlite`` or ``.sqlite3``, and else a directory
        in which the file is ``caveau.sqlite3``. What is missing is created, for the owner only."""
        given = Path(path)
        self._path = given if given.suffix in {".db", ".sqlite", ".sqlite3"} else given / "caveau.sqlite3"
        self._lock: int | None = None
        self._table: Table | None = None
        self._writer: aiosqlite.Connection | None = None
        self._checkpoints: Checkpoints | None = None
        self._ahead: aiosqlite.Connection | None = None  # opened when first something is read ahead
        self._opening_ahead = asyncio.Lock()
        self._groups = Groups(self._write_group, lambda error: explain(self._path, error))
        self._commits, self._rows = Timing(Key("sqlite.commit")), Timing(Key("sqlite.commit_entries"), scale=1.0)
        self._moves = Timing(Key("sqlite.checkpoint"))
        self.timings = (self._commits, self._rows, self._moves)

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Takes ``path``; raises InvalidRequest when it is missing or there is anything else."""
        unknown = ", ".join(sorted(config.keys() - {"path"}))
        if unknown:
            raise InvalidRequest(f'storage "sqlite" has no setting {unknown}')
        path = config.get("path")
        if not isinstance(path, str) or not path:
            raise InvalidRequest('storage "sqlite" needs path, a directory or a file')
        return cls(path)

    async def open(self) -> None:
        """Lock and open the file, creating it if need be; raises StoreError."""
        try:
            await asyncio.to_thread(self._claim)
            writer = aiosqlite.connect(self._path, isolation_level=None, cached_statements=24)
            writer._thread.daemon = True  # or a process that dies without close() would hang at its exit
            self._writer = await writer
            await self._prepare(writer)
            self._checkpoints = await Checkpoints.open(self._path, writer, self._moves)
            self._table = await asyncio.to_thread(self._connect_reader)
        except BaseException as error:
            await self._release()
            raise explain(self._path, error) if isinstance(error, OSError | sqlite3.Error) else error from None

    async def close(self) -> None:
        await self._groups.drain()
        await self._release()

    async def get(self, key: str) -> bytes | None:
        return self._opened().get(key)

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        """As ``Physical.list``. A long listing lets others run between; what they commit may show."""
        return await self._opened().list(prefix, after, limit)

    async def read_ahead(self, keys: Sequence[str]) -> dict[str, bytes]:
        """As ``ReadsAhead.read_ahead``, on a thread: a page that is not in memory, or that the disk is just writing,
        takes milliseconds."""
        try:
            if (ahead := self._ahead) is None:
                ahead = await self._open_ahead()
            rows = await ahead.execute_fetchall(_GET_SOME, (orjson.dumps(keys).decode(),))
        except (sqlite3.Error, ValueError) as error:  # ValueError: it was closed meanwhile
            raise explain(self._path, error) from error
        return dict(cast("Iterable[tuple[str, bytes]]", rows))

    async def _open_ahead(self) -> aiosqlite.Connection:
        async with self._opening_ahead:
            if self._ahead is None:
                self._opened()
                ahead = aiosqlite.connect(self._path, isolation_level=None)
                ahead._thread.daemon = True
                await ahead
                await ahead.execute("PRAGMA query_only = ON")
                await ahead.execute(PAGES)
                self._ahead = ahead
            return self._ahead

    def commit(self, batch: Batch) -> Awaitable[None]:
        if self._table is None:
            return refused(StoreError(f"{self._path}: the store is not open"))
        return self._groups.commit(batch)

    @property
    def scratch(self) -> Path:
        return self._path.with_name(f"{self._path.name}.scratch")

    async def snapshot(self, path: str) -> int:
        """As ``Snapshots.snapshot``, by SQLite's backup API: commits go on meanwhile."""
        self._opened()

        def write() -> int:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with closing(connect(self._path)) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)
            return 0

        try:
            return await asyncio.to_thread(write)
        except (OSError, sqlite3.Error) as error:
            raise explain(Path(path), error) from error

    async def restore(self, path: str) -> int:
        """As ``Snapshots.restore``."""
        self._opened()
        await self._groups.alone(lambda: self._replace(path))
        return 0

    async def _replace(self, path: str) -> None:
        writer, checkpoints = self._writer, self._checkpoints
        assert writer is not None
        assert checkpoints is not None
        try:
            await writer.execute("ATTACH ? AS other", (path,))
            try:
                await writer.execute("BEGIN IMMEDIATE")
                for statement in ("DELETE FROM kv", "INSERT INTO kv SELECT k, v FROM other.kv", "COMMIT"):
                    await writer.execute(statement)
            except BaseException:
                await writer.rollback()
                raise
            finally:
                await writer.execute("DETACH other")
            await checkpoints.after_commit(0, await asyncio.to_thread(os.path.getsize, path))
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    async def _write_group(self, group: Group) -> None:
        began = perf_counter()
        await self._write(list(group.rows.items()))
        group.done.set_result(None)
        self._commits.observe(perf_counter() - began)
        self._rows.observe(len(group.rows))
        assert self._checkpoints is not None
        await self._checkpoints.after_commit(len(group.rows), group.size)

    async def _write(self, rows: Sequence[tuple[str, bytes | None]]) -> None:
        writer = self._writer
        assert writer is not None
        if len(rows) <= ROWS:
            if rows:
                await writer.execute(*insert(rows))
            return
        await writer.execute("BEGIN IMMEDIATE")
        try:
            for start in range(0, len(rows), ROWS):
                await writer.execute(*insert(rows[start : start + ROWS]))
            await writer.execute("COMMIT")
        except BaseException:
            await writer.rollback()  # does nothing where SQLite has done so itself
            raise

    def _claim(self) -> None:
        """Create what is missing, and take the lock that holds off other processes."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not a lock on the file itself: closing it would drop the POSIX locks SQLite has there.
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise StoreInUse(f"{self._path} is in use by another process: stop that one first") from None
            raise
        self._lock = lock
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path.chmod(0o600)  # its -wal and -shm files take over the mode

    async def _prepare(self, writer: aiosqlite.Connection) -> None:
        async def number(pragma: str) -> int:
            ((value,),) = await writer.execute_fetchall(f"PRAGMA {pragma}")
            return int(value)

        application, schema = await number("application_id"), await number("user_version")
        if application != _APPLICATION and (application or schema or await number("schema_version")):
            raise StoreError(f"{self._path} is a database of another program")
        if schema > _SCHEMA:
            raise StoreError(f"{self._path} was written by a newer Caveau (schema {schema}): upgrade this one")
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",  # syncs the WAL in each commit
            "PRAGMA fullfsync = ON",
            "PRAGMA checkpoint_fullfsync = ON",
            f"PRAGMA journal_size_limit = {GROUP}",
            PAGES,
            "BEGIN IMMEDIATE",
            *(() if application else _CREATE),
            "COMMIT",
        ):
            await writer.execute(statement)

    def _connect_reader(self) -> Table:
        reader = connect(self._path)
        # The files exist now; that their directory lists them must survive a power cut too.
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return Table(self._path, reader)

    async def _release(self) -> None:
        table, self._table = self._table, None
        writer, self._writer = self._writer, None
        checkpoints, self._checkpoints = self._checkpoints, None
        ahead, self._ahead = self._ahead, None
        lock, self._lock = self._lock, None
        try:
            if table is not None:
                table.reader.close()
            if ahead is not None:
                await ahead.close()
            if checkpoints is not None:
                await checkpoints.close()
            if writer is not None:
                await writer.close()  # the last connection: it moves the WAL into the file
        except sqlite3.Error as error:
            raise explain(self._path, error) from error
        finally:
            if lock is not None:
                os.close(lock)

    def _opened(self) -> Table:
        if self._table is None:
            raise StoreError(f"{self._path}: the store is not open")
        return self._table
