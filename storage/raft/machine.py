"""The state of a node: a SQLite file that says itself which entry it is the state of.

Applying is one statement for all rows and the position together, so the two never differ. It is not synced: the log
has it all, and after a power cut the state is one of a moment before, from which the log leads on. ``checkpoint``
syncs, and only then may the log forget.

A state that comes whole from another node is a new file with a higher number; the highest is the one that counts.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ...framework.errors import StoreError
from ..table import CREATE, PAGES, ROWS, Table, connect, explain, insert
from . import commands
from .engine import Configuration
from .recovery import BEGINNING
from .state import Step

_APPLICATION = 0x43415652  # "CAVR", SQLite's application_id
_SCHEMA = 1
_CREATE = (
    *CREATE,
    "CREATE TABLE staged (k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE about (position BLOB NOT NULL, installed INTEGER NOT NULL, members BLOB NOT NULL,"
    " members_index INTEGER NOT NULL)",
    # A row without a key is the position.
    "DROP TRIGGER put",
    "CREATE TRIGGER put INSTEAD OF INSERT ON batch WHEN new.k NOT NULL AND new.v NOT NULL BEGIN"
    " INSERT INTO kv VALUES (new.k, new.v) ON CONFLICT (k) DO UPDATE SET v = excluded.v; END",
    "CREATE TRIGGER position INSTEAD OF INSERT ON batch WHEN new.k IS NULL BEGIN"
    " UPDATE about SET position = new.v; END",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_SCHEMA}",
)
_POSITION = struct.Struct(">QQ")  # index, term

_PAGE_BITS = 12
_DUE = 1000
"""Pages written, after which SQLite's log is moved into the file. A restart goes back at most so far."""
_LONG = 4000
"""Pages in it, above which commits wait for it to be moved: it grows as long as they do not."""


class SqliteMachine:
    """A ``Machine`` in a directory. Reads are ``table``'s, at any time; ``apply`` is not for two threads at once."""

    def __init__(self, path: Path) -> None:
        """``path``: an existing directory."""
        self._path = path
        self._number = 0
        self._writer: sqlite3.Connection | None = None
        self._mover: sqlite3.Connection | None = None
        self._sources = 0
        self._written = 0  # pages, about
        self._long = False
        self.table: Table | None = None
        self.index, self.term, self.installed = BEGINNING, 0, 0
        self.members = Configuration()

    # Opening

    def open(self) -> None:
        """Open the newest state, or begin with an empty one; raises StoreError."""
        try:
            found = sorted(self._path.glob("state-*.sqlite3"))
            for name in self._path.glob("*.part*"):
                name.unlink()
            if not found:
                self._create()
                found = [self._file(1)]
            self._switch(int(found[-1].stem.removeprefix("state-"), 16))
            self._remove_others()
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise explain(self._path, error) from error

    def bootstrap(self, members: Configuration) -> None:
        """The members as of the beginning of a new cluster; raises StoreError if this is no new node."""
        if self.index != BEGINNING or self.members.servers:
            raise StoreError(f"{self._path}: this node is a member of a cluster already")
        self._transaction([("UPDATE about SET members = ?, members_index = ?", _packed(members))])
        self.members = members
        self.checkpoint()

    def force(self, members: Configuration) -> None:
        """The members, whoever they were, and with nothing before: durably."""
        values = (self.index, *_packed(members))
        self._transaction([("UPDATE about SET installed = ?, members = ?, members_index = ?", values)])
        self.members, self.installed = members, self.index
        self.checkpoint()

    def close(self) -> None:
        connections = (self._writer, self._mover, None if self.table is None else self.table.reader)
        self._writer = self._mover = self.table = None
        for connection in connections:
            if connection is not None:
                connection.close()

    def _file(self, number: int) -> Path:
        return self._path / f"state-{number:016x}.sqlite3"

    def _create(self) -> None:
        part = self._new("state.part")
        with closing(sqlite3.connect(part, isolation_level=None)) as new:
            new.execute("PRAGMA journal_mode = WAL")
            new.execute("PRAGMA synchronous = FULL")
            new.execute("BEGIN IMMEDIATE")
            for statement in _CREATE:
                new.execute(statement)
            row = (_POSITION.pack(BEGINNING, 0), 0, *_packed(Configuration()))
            new.execute("INSERT INTO about VALUES (?, ?, ?, ?)", row)
            new.execute("COMMIT")
        self._name(part, self._file(1))

    def _new(self, name: str) -> Path:
        """An empty file for the owner only: SQLite would make it for whom the umask lets."""
        path = self._path / name
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return path

    def _name(self, part: Path, name: Path) -> None:
        """Durably. Its last connection was closed, so there is nothing of it in another file."""
        _sync(part)
        part.rename(name)
        _sync(self._path)

    def _switch(self, number: int) -> None:
        """The state is that of file ``number``. Readers that are at work keep the one before for as long."""
        path = self._file(number)
        writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=24)
        ((application,),) = writer.execute("PRAGMA application_id")
        ((schema,),) = writer.execute("PRAGMA user_version")
        if application != _APPLICATION or schema > _SCHEMA:
            writer.close()
            what = "of another program" if application != _APPLICATION else "written by a newer Caveau"
            raise StoreError(f"{path} is {what}")
        mover = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for connection in (writer, mover):
            for pragma in ("synchronous = NORMAL", "checkpoint_fullfsync = ON", "wal_autocheckpoint = 0"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(PAGES)
        writer.execute(f"PRAGMA journal_size_limit = {_LONG << _PAGE_BITS}")
        ((position, self.installed, members, index),) = writer.execute("SELECT * FROM about")
        self.index, self.term = _POSITION.unpack(position)
        self.members = commands.members(members, index)
        self._number, self._writer, self._mover = number, writer, mover
        self.table = Table(path, connect(path))
        _sync(self._path)  # SQLite's log is there now, and is to be after a power cut

    def _remove_others(self) -> None:
        current = self._file(self._number).name
        for path in self._path.glob("state-*.sqlite3*"):
            if not path.name.startswith(current):
                path.unlink()

    # Applying

    def apply(self, steps: Sequence[Step]) -> None:
        """Raises StoreError; the state is as before then."""
        try:
            for step in steps:
                self._apply(step)
                self.index, self.term = step.index, step.term
                self.members = step.members or self.members
                self._written += len(step.rows) + 1 + (step.size >> _PAGE_BITS)
        except sqlite3.Error as error:
            raise explain(self._file(self._number), error) from error

    def _apply(self, step: Step) -> None:
        position = (None, _POSITION.pack(step.index, step.term))
        plain = step.members is None and step.staged is None and not step.restore
        if plain and len(step.rows) < ROWS:
            self._opened().execute(*insert([*step.rows.items(), position]))
            return
        todo: list[tuple[str, Sequence[object]]] = []
        if step.staged is not None:
            if not step.staged:
                todo.append(("DELETE FROM staged", ()))
            todo += [("INSERT OR REPLACE INTO staged VALUES (?, ?)", row) for row in step.staged.items()]
        if step.restore:
            todo += [("DELETE FROM kv", ()), ("INSERT INTO kv SELECT k, v FROM staged", ()), ("DELETE FROM staged", ())]
        rows = iter(step.rows.items())
        while part := list(islice(rows, ROWS)):
            todo.append(insert(part))
        if step.members is not None:
            todo.append(("UPDATE about SET members = ?, members_index = ?", _packed(step.members)))
        todo.append(insert([position]))
        self._transaction(todo)

    def _transaction(self, todo: Sequence[tuple[str, Sequence[object]]]) -> None:
        writer = self._opened()
        writer.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in todo:
                writer.execute(statement, values)
            writer.execute("COMMIT")
        except BaseException:
            writer.rollback()
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StoreError(f"{self._path}: the state is not open")
        return self._writer

    # Checkpoints

    @property
    def due(self) -> bool:
        return self._written >= _DUE

    @property
    def long(self) -> bool:
        """Whether commits are to wait for the next checkpoint."""
        return self._long

    def checkpoint(self) -> int:
        """Beside commits, or between them."""
        mover = self._mover
        if mover is None:
            raise StoreError(f"{self._path}: the state is not open")
        index, self._written = self.index, 0
        path = self._file(self._number)
        try:
            # What is applied is in SQLite's log or, durably, in the file.
            _sync(Path(f"{path}-wal"))
            ((_, pages, _),) = mover.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (OSError, sqlite3.Error) as error:
            raise explain(path, error) from error
        self._long = pages > _LONG
        return index

    # Whole states

    def source(self) -> FileSource:
        """A copy of the state, in a file that goes when it is closed."""
        self._sources += 1
        path = self._new(f"sending-{self._sources}.part")
        self.copy(path)
        return FileSource(path)

    def copy(self, path: Path) -> int:
        """The state into the empty file ``path``; its index. Raises StoreError."""
        try:
            with closing(connect(self._file(self._number))) as source, closing(sqlite3.connect(path)) as target:
                target.execute("PRAGMA synchronous = OFF")
                source.backup(target)
                target.execute("DELETE FROM staged")
                target.commit()
                ((position,),) = target.execute("SELECT position FROM about")
        except sqlite3.Error as error:
            raise explain(path, error) from error
        return int(_POSITION.unpack(position)[0])

    def sink(self) -> FileSink:
        return FileSink(self)

    def receiving(self) -> Path:
        """Where a state arrives; empty."""
        return self._new("receiving.part")

    def install(self, part: Path, index: int, term: int, members: Configuration) -> None:
        """The state is that in ``part``, durably. Raises OSError if it is no state, or another."""
        try:
            with closing(sqlite3.connect(part, isolation_level=None)) as state:
                state.execute("PRAGMA synchronous = FULL")
                ((application,),) = state.execute("PRAGMA application_id")
                ((position,),) = state.execute("SELECT position FROM about")
                if application != _APPLICATION or _POSITION.unpack(position) != (index, term):
                    raise OSError("it is not the state that it was said to be")
                values = (index, *_packed(members))
                state.execute("UPDATE about SET installed = ?, members = ?, members_index = ?", values)
            self._name(part, self._file(self._number + 1))
            before = self._writer, self._mover
            self._switch(self._number + 1)
            for connection in before:
                if connection is not None:
                    connection.close()
            self._remove_others()
        except (sqlite3.Error, struct.error) as error:
            raise OSError(str(error)) from error


class FileSource:
    """A ``Source``."""

    def __init__(self, path: Path) -> None:
        with closing(connect(path)) as state:
            ((position, members, index),) = state.execute("SELECT position, members, members_index FROM about")
        self.index, self.term = _POSITION.unpack(position)
        self.members = commands.members(members, index)
        self._path = path
        self._file = path.open("rb")
        self.size = path.stat().st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        self._file.close()
        for path in self._path.parent.glob(self._path.name + "*"):
            path.unlink()


class FileSink:
    """A ``Sink``. Touches the disk only in its methods, off the event loop."""

    def __init__(self, machine: SqliteMachine) -> None:
        self._machine = machine
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        if self._file is None:
            self._file = self._machine.receiving().open("wb")
        self._file.write(data)
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def install(self, index: int, term: int, members: Configuration) -> None:
        assert self._file is not None
        part = Path(self._file.name)
        self.close()
        self._machine.install(part, index, term, members)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _packed(members: Configuration) -> tuple[bytes, int]:
    return commands.configuration(members), members.index
