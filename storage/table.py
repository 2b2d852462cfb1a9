"""The one table of a SQLite store: its schema, writing a group of batches in a statement, and reading."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ..framework.errors import StoreError
from .listing import bounds, child, past

CREATE = (
    "CREATE TABLE kv (k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
    # A row put into the view is stored, or with NULL removes its key: puts and deletes of a group
    # are one statement.
    "CREATE VIEW batch AS SELECT k, v FROM kv",
    "CREATE TRIGGER put INSTEAD OF INSERT ON batch WHEN new.v NOT NULL BEGIN"
    " INSERT INTO kv VALUES (new.k, new.v) ON CONFLICT (k) DO UPDATE SET v = excluded.v; END",
    "CREATE TRIGGER remove INSTEAD OF INSERT ON batch WHEN new.v IS NULL BEGIN DELETE FROM kv WHERE k = new.k; END",
)
ROWS = 1000
"""Of a statement; a longer group is several statements in a transaction."""
PAGES = "PRAGMA cache_size = -512"
"""KiB a connection: above it is a cache of decrypted entries, below the system's."""

sqlite3.register_adapter(bytes, bytes)  # or it would look for one at every value, in twice the time of storing it
_GET = "SELECT v FROM kv WHERE k = ?"
_RANGE = "SELECT k FROM kv WHERE k >= ? AND k < ? ORDER BY k"
_END = b""  # SQLite sorts every blob after every text
_TURN = 500  # names a listing reads before it lets others run

_CAUSES = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "the file or its directory is read-only",
    "SQLITE_IOERR": "the disk reports an I/O error",
    "SQLITE_CORRUPT": "the file is damaged: restore a snapshot",
    "SQLITE_NOTADB": "the file is damaged or is not a database: restore a snapshot",
    "SQLITE_CANTOPEN": "the file cannot be opened: check that it and its directory are writable",
    "SQLITE_BUSY": "another program holds a lock on the file",
    "SQLITE_LOCKED": "another program holds a lock on the file",
    "SQLITE_TOOBIG": "a value is too big",
    "SQLITE_NOMEM": "out of memory",
}


def connect(path: Path) -> sqlite3.Connection:
    """For reading only. May be used from other threads, one at a time."""
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("PRAGMA query_only = ON")
    reader.execute(PAGES)
    reader.execute(_GET, ("",)).fetchall()
    return reader


def insert(rows: Sequence[tuple[str | None, bytes | None]]) -> tuple[str, list[str | bytes | None]]:
    """One statement for all rows, and its values. The last row is repeated up to a multiple of eight, so that
    SQLite keeps a few statements ready and not one for every length: they are large."""
    filled = list(rows)
    filled += [filled[-1]] * (-len(filled) % 8 if len(filled) > 8 else 0)
    return "INSERT INTO batch VALUES (?,?)" + ",(?,?)" * (len(filled) - 1), list(chain.from_iterable(filled))


class Table:
    """The table as one connection reads it, directly on the event loop's thread."""

    def __init__(self, path: Path, reader: sqlite3.Connection) -> None:
        """``path``: for errors."""
        self._path = path
        self.reader = reader

    def get(self, key: str) -> bytes | None:
        """Raises StoreError."""
        try:
            row = self.reader.execute(_GET, (key,)).fetchone()
        except sqlite3.Error as error:
            raise explain(self._path, error) from error
        return None if row is None else row[0]

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        """As ``Physical.list``. A long listing lets others run between; what they commit may show."""
        low, high = bounds(prefix, after)
        names: list[str] = []
        turn = 0
        while True:
            try:
                rows = self.reader.execute(_RANGE, (low, _END if high is None else high))
                for (key,) in rows:
                    name = child(prefix, key)
                    if turn == _TURN or (names and name == names[-1]):
                        break  # a folder with more keys is jumped over
                    names.append(name)
                    if len(names) == limit:
                        break
                    low = past(prefix + name) if name.endswith("/") else key + "\0"
                    turn += 1
                else:
                    return names
                rows.close()  # an open cursor would hold on to its snapshot
            except sqlite3.Error as error:
                raise explain(self._path, error) from error
            if len(names) == limit:
                return names
            if turn == _TURN:
                turn = 0
                await asyncio.sleep(0)


def explain(path: Path, error: BaseException) -> StoreError:
    """A StoreError that names the file and what to do about it."""
    if isinstance(error, OSError):
        return StoreError(f"{path}: {error.strerror}")
    name = getattr(error, "sqlite_errorname", "")
    cause = _CAUSES.get("_".join(name.split("_")[:2]), str(error) or type(error).__name__)
    return StoreError(f"{path}: {cause} ({name})" if name else f"{path}: {cause}")
