"""The state in a snapshot: read, and trusted no further than it was checked."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ...framework.errors import InvalidRequest, StoreError
from ...framework.storage import Batch
from ..barrier import KEYRING
from ..table import CREATE, Table, explain


class State:
    """A ``Physical`` store that is never written."""

    def __init__(self, path: Path) -> None:
        """Check the file at ``path`` whole; raises InvalidRequest. Takes long: not on the event loop."""
        self._path = path
        try:
            self._reader = _opened(path)
            try:
                _check(self._reader)
            except BaseException:
                self._reader.close()
                raise
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the state in the snapshot cannot be read: {error}") from None
        self._table = Table(path, self._reader)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        self._reader.close()

    async def get(self, key: str) -> bytes | None:
        return self._table.get(key)

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        return await self._table.list(prefix, after, limit)

    def commit(self, batch: Batch) -> Awaitable[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_exception(StoreError("a snapshot is not written to"))
        return done

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Every key, in order, and how many bytes its entry has."""
        try:
            with closing(_opened(self._path)) as reader:
                yield from reader.execute("SELECT k, length(v) FROM kv ORDER BY k")
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Every key, in order, and its entry: that is another whenever it was written again."""
        try:
            with closing(_opened(self._path)) as reader:
                yield from reader.execute("SELECT k, v FROM kv ORDER BY k")
        except sqlite3.Error as error:
            raise explain(self._path, error) from error


def _opened(path: Path) -> sqlite3.Connection:
    # It does not change: without "immutable" one in WAL mode could not be read where nothing may be written.
    reader = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        reader.execute(f"PRAGMA {pragma}")
    return reader


def _check(reader: sqlite3.Connection) -> None:
    tables = reader.execute("SELECT type, sql FROM sqlite_schema WHERE name = 'kv'").fetchall()
    if tables != [("table", CREATE[0])]:
        raise InvalidRequest("the state in the snapshot is no store of Caveau")
    ((verdict,),) = reader.execute("PRAGMA integrity_check(1)")
    if verdict != "ok":
        raise InvalidRequest(f"the state in the snapshot is damaged: {verdict}")
    strange = reader.execute("SELECT 1 FROM kv WHERE typeof(k) != 'text' OR typeof(v) != 'blob' LIMIT 1").fetchone()
    if strange:
        raise InvalidRequest("the state in the snapshot has entries that Caveau cannot have written")
    if reader.execute("SELECT 1 FROM kv WHERE k = ?", (KEYRING,)).fetchone() is None:
        raise InvalidRequest("the state in the snapshot has no keyring: it is of a server that was not initialized")
