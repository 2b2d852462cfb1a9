"""The write-ahead log on disk: segments of records, one ``fdatasync`` for all that was appended before it.

What a node has promised others - entries it has acknowledged, its term and its vote - is in here before the promise
is sent. What is found at the next start is named: the torn tail of a batch that was never promised is cut off, and
anything else is an error, because a node that goes on without what it has promised can lose what others rely on.

Space is bounded: whole segments go when ``compact`` no longer needs them, and one of them becomes the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

from ...framework.errors import StoreError
from .disk import Disk, File
from .segment import HEAD_SIZE, HEADER_SIZE, Kind, Reader, Record, encode, header

_log = logging.getLogger(__name__)

SEGMENT = 8 << 20
"""Bytes of a segment. An entry that is longer gets one of its own."""

_SPARE = "spare"
_MAKING = ("making", "preparing")  # by a commit that needs it, and ahead of one
_SUFFIX = ".wal"


class Entry(NamedTuple):
    """Of the log. In PySyncObj's order."""

    command: bytes
    idx: int
    term: int


@dataclass(slots=True)
class Recovered:
    """What was on disk."""

    entries: list[Entry]
    term: int = 0
    vote: str = ""
    torn: bool = False  # a batch that had not been promised to anyone was cut off


@dataclass(slots=True)
class Flush:
    """How long the last one took, in seconds."""

    write: float = 0.0
    sync: float = 0.0


class Wal:
    """Append, then ``flush``, then promise. Not for use from two threads at once."""

    def __init__(
        self,
        disk: Disk,
        segment: int = SEGMENT,
        later: Callable[[Callable[[], None]], None] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """``later``: does something beside the commits, which is to make the next segment ready."""
        self._disk = disk
        self._segment = segment
        self._clock = clock
        self._later = later or (lambda prepare: prepare())
        self._file: File | None = None
        self._number = 0
        self._offset = 0  # where the next record goes
        self._durable = 0
        self._chain = 0
        self._vote = Record(Kind.VOTE, 0, 0, b"")  # the last one, with which every segment begins
        self._waiting: list[Record] = []
        self._runs: list[tuple[int, int]] = []  # from this index on, entries are in this segment
        self._numbers: list[int] = []
        self._preparing = False
        self._prepared = 0  # for the segment after this one it has been tried
        self._broken = ""
        self.last = Flush()

    @property
    def dirty(self) -> bool:
        """Whether anything appended is not on disk."""
        return bool(self._waiting)

    @property
    def segments(self) -> int:
        return len(self._numbers)

    # Writing

    def append(self, entry: Entry) -> None:
        """Its index is at most one more than the last; those from it on are replaced."""
        self._add(Record(Kind.ENTRY, entry.idx, entry.term, entry.command))

    def begin(self, entry: Entry) -> None:
        """The log is this one entry now."""
        self._add(Record(Kind.BASE, entry.idx, entry.term, entry.command))

    def vote(self, term: int, vote: str) -> None:
        self._add(Record(Kind.VOTE, 0, term, vote.encode()))

    def flush(self) -> None:
        """Put on disk what was appended; raises StoreError, and from then on always."""
        if self._broken:
            raise StoreError(self._broken)
        began = synced = self._clock()
        try:
            self._write()
            synced = self._clock()
            self._sync()
        except OSError as error:
            # A sync that failed has lost what it should have written, and the next would not say so.
            self._broken = f"the log of the cluster cannot be written: {error.strerror or error}"
            raise StoreError(self._broken) from error
        self.last = Flush(synced - began, self._clock() - synced)

    def compact(self, keep: int) -> None:
        """Entries before ``keep`` will not be asked for again. Raises OSError."""
        start = max((i for i, run in enumerate(self._runs) if run[0] <= keep), default=0)
        del self._runs[:start]
        if not self._runs:
            return
        removed = False
        spare = _SPARE in self._disk.names()
        while self._numbers[0] < self._runs[0][1]:
            name = _name(self._numbers.pop(0))
            if spare or self._preparing:
                self._disk.remove(name)
            else:
                self._disk.rename(name, _SPARE)
                spare = True
            removed = True
        if removed:
            self._disk.sync()

    def close(self) -> None:
        """In good order; what was appended is on disk."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if not self._broken:
                self._file = file
                self._add(Record(Kind.END, 0, 0, b""))
                self.flush()
        finally:
            self._file = None
            file.close()

    def _add(self, record: Record) -> None:
        self._waiting.append(record)

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        pieces: list[bytes] = []
        at = self._offset
        for record in waiting:
            need = HEAD_SIZE + len(record.payload)
            if at + need + HEAD_SIZE > self._opened().size:  # room for what says that another follows
                self._put(pieces, at)
                self._turn(need)
                piece, self._chain = encode(self._vote, self._number, self._chain, self._durable)
                pieces, at = [piece], self._offset + len(piece)
            piece, self._chain = encode(record, self._number, self._chain, self._durable)
            pieces.append(piece)
            at += len(piece)
            self._place(record)
        self._put(pieces, at)

    def _put(self, pieces: list[bytes], end: int) -> None:
        if pieces:
            self._opened().write(b"".join(pieces), self._offset)
            self._offset = end

    def _sync(self) -> None:
        self._opened().sync()
        self._durable = self._offset
        if self._prepared == self._number or self._offset <= self._opened().size >> 1:
            return
        self._prepared = self._number
        if not self._preparing and _SPARE not in self._disk.names():
            self._preparing = True
            self._later(self._prepare)

    def _prepare(self) -> None:
        """Make the next segment ready. That it fails is seen, and said, when it is needed."""
        try:
            self._disk.create(_MAKING[1], self._segment).close()
            self._disk.rename(_MAKING[1], _SPARE)
        except OSError as error:
            _log.warning("the next segment of the log cannot be made ready: %s", error)
        finally:
            self._preparing = False

    def _turn(self, need: int) -> None:
        """Go on in a new segment with room for ``need`` bytes."""
        end, chain = encode(Record(Kind.NEXT, 0, 0, b""), self._number, self._chain, self._durable)
        following = self._make(self._number + 1, chain, need)
        file = self._opened()
        file.write(end, self._offset)
        file.sync()
        file.close()
        self._start(following, self._number + 1, chain)

    def _make(self, number: int, chain: int, need: int) -> File:
        size = max(self._segment, HEADER_SIZE + HEAD_SIZE + len(self._vote.payload) + need + HEAD_SIZE)
        name = _SPARE if size == self._segment and _SPARE in self._disk.names() else _MAKING[0]
        file = self._disk.open(name) if name == _SPARE else self._disk.create(name, size)
        file.write(header(number, chain), 0)
        file.sync()
        self._disk.rename(name, _name(number))
        self._disk.sync()
        return file

    def _start(self, file: File, number: int, chain: int, offset: int = HEADER_SIZE) -> None:
        self._file, self._number, self._chain = file, number, chain
        self._offset = self._durable = offset
        if not self._numbers or self._numbers[-1] != number:
            self._numbers.append(number)

    def _place(self, record: Record) -> None:
        """Note where an entry is, or what the vote is."""
        if record.kind is Kind.VOTE:
            self._vote = record
        elif record.kind is Kind.BASE:
            self._runs = [(record.idx, self._number)]
        elif record.kind is Kind.ENTRY:
            runs = self._runs
            while runs and runs[-1][0] >= record.idx:
                runs.pop()
            if not runs or runs[-1][1] != self._number:
                runs.append((record.idx, self._number))

    def _opened(self) -> File:
        if self._file is None:
            raise StoreError("the log of the cluster is closed")
        return self._file

    # Starting

    def open(self) -> Recovered:
        """Read what is there, or begin; raises StoreError naming what is wrong with it."""
        try:
            return self._recover()
        except OSError as error:
            raise StoreError(f"the log of the cluster cannot be opened: {error.strerror or error}") from error

    def _recover(self) -> Recovered:
        names = self._disk.names()
        for unfinished in _MAKING:
            if unfinished in names:
                self._disk.remove(unfinished)
        self._numbers = sorted(int(name.removesuffix(_SUFFIX), 16) for name in names if name.endswith(_SUFFIX))
        found = Recovered([])
        if not self._numbers:
            self._start(self._make(1, 0, 0), 1, 0)
            return found
        for before, number in zip(self._numbers, self._numbers[1:], strict=False):
            if number != before + 1:
                raise _damage(_name(before + 1), "it is missing, between others that are there")
        chain: int | None = None
        last = None
        for number in self._numbers:
            name = _name(number)
            try:
                reader = Reader(self._disk.read(name), number)
            except ValueError as error:
                raise _damage(name, str(error)) from None
            if chain is not None and reader.chain != chain:
                raise _damage(name, "it does not follow the one before it")
            kind = None
            self._number = number
            for kind, index, term, payload in reader:
                self._replay(found, name, Record(kind, index, term, payload))
            if reader.damaged:
                raise _damage(name, f"the record at byte {reader.offset}, which had been on disk, is not what it was")
            chain, last = reader.chain, reader
            if kind is not Kind.NEXT:
                break
        else:
            raise _damage(_name(self._numbers[-1] + 1), "it is missing, and the one before says that it was there")
        assert last is not None
        self._drop_unused(number, last.chain)
        file = self._disk.open(_name(number))
        self._start(file, number, last.chain, last.offset)
        if last.torn:
            found.torn = True
            file.write(bytes(file.size - last.offset), last.offset)
            file.sync()
            _log.warning("%s: the end, which a crash had torn before it was acknowledged, was cut off", _name(number))
        return found

    def _drop_unused(self, number: int, chain: int) -> None:
        """A segment may have been made and its predecessor not told so. More than one, or one with records,
        means that the predecessor has lost its end."""
        unused = self._numbers[self._numbers.index(number) + 1 :]
        if not unused:
            return
        try:
            records = list(Reader(self._disk.read(_name(unused[0])), unused[0]))
        except ValueError as error:
            raise _damage(_name(unused[0]), str(error)) from None
        if len(unused) > 1 or records:
            raise _damage(_name(number), "its end is missing, for others follow")
        self._disk.remove(_name(unused[0]))
        self._disk.sync()
        self._numbers.pop()

    def _replay(self, found: Recovered, name: str, record: Record) -> None:
        kind, index, term, payload = record
        entries = found.entries
        if kind is Kind.VOTE:
            found.term, found.vote = term, payload.decode()
            self._place(record)
            return
        if kind is Kind.BASE or (kind is Kind.ENTRY and entries and index <= entries[0].idx):
            entries.clear()
        elif kind is Kind.ENTRY:
            if entries and index > entries[-1].idx + 1:
                raise _damage(name, f"entry {index} follows entry {entries[-1].idx}")
            if entries:
                del entries[index - entries[0].idx :]
        else:
            return
        entries.append(Entry(payload, index, term))
        self._place(record)


def _name(number: int) -> str:
    return f"{number:016x}{_SUFFIX}"


def _damage(name: str, what: str) -> StoreError:
    return StoreError(
        f"{name} of the log of the cluster is damaged: {what}. This node must not go on with less than it has promised"
        " to others: remove it from the cluster, empty its directory and let it join anew, or restore a snapshot"
    )
