"""The log of a node: in memory what others may still need, in the write-ahead log all of it.

PySyncObj takes it for its journal, so the names of some methods are that library's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from . import commands
from .commands import Kind
from .engine import Configuration
from .wal import Entry, Wal


class Log:
    """Never empty: the first entry stands for all before it."""

    def __init__(
        self, wal: Wal, entries: Sequence[Entry], term: int, vote: str | None, applied: int, committed: Configuration
    ) -> None:
        """``committed``: the members as of ``applied``."""
        self.wal = wal
        self._entries = list(entries)
        self._term, self._vote = term, vote
        self.promising = False  # nothing may be sent before all of this is on disk: whoever flushes sets it back
        self._applied = applied
        self.size = sum(len(entry.command) for entry in entries)  # bytes
        self._members = [committed]
        for entry in entries:
            self._note(entry)

    # What there is

    @property
    def first(self) -> int:
        return self._entries[0].idx

    @property
    def last(self) -> int:
        return self._entries[-1].idx

    @property
    def members(self) -> Configuration:
        """The newest, committed or not: it counts from the entry on (Raft, section 4.1 of the dissertation)."""
        return self._members[-1]

    def term(self, index: int) -> int | None:
        """Of the entry at ``index``; None if it is not in here."""
        at = index - self._entries[0].idx
        return self._entries[at].term if 0 <= at < len(self._entries) else None

    def part(self, start: int, size: int) -> list[Entry]:
        """Entries from ``start`` on: one, and as many more as fit into ``size`` bytes."""
        found: list[Entry] = []
        for at in range(start - self._entries[0].idx, len(self._entries)):
            entry = self._entries[at]
            size -= len(entry.command) + 32
            if size < 0 and found:
                break
            found.append(entry)
        return found

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> list[Entry]: ...

    def __getitem__(self, at: int | slice) -> Entry | list[Entry]:
        return self._entries[at]

    def __len__(self) -> int:
        return len(self._entries)

    # Changing it

    def add(self, command: bytes, index: int, term: int) -> None:
        entry = Entry(command, index, term)
        self.wal.append(entry)
        self._entries.append(entry)
        self.size += len(command)
        self._note(entry)

    def deleteEntriesFrom(self, at: int) -> None:
        """Forget those from position ``at`` on. On disk, what comes in their place says so: nothing else does this."""
        gone = self._entries[at:]
        del self._entries[at:]
        self.size -= sum(len(entry.command) for entry in gone)
        while gone and len(self._members) > 1 and self._members[-1].index >= gone[0].idx:
            self._members.pop()

    def compact(self, keep: int) -> None:
        """Forget those before ``keep``, in memory."""
        at = min(keep - self.first, len(self._entries) - 1)
        if at <= 0:
            return
        self.size -= sum(len(entry.command) for entry in self._entries[:at])
        del self._entries[:at]

    def begin(self, index: int, term: int, committed: Configuration) -> None:
        """The log stands for the state at ``index`` now."""
        entry = Entry(commands.NOTHING, index, term)
        self.wal.begin(entry)
        self._entries = [entry]
        self.size = len(entry.command)
        self._members = [committed]

    def committed(self, members: Configuration) -> None:
        """Can no longer be taken back."""
        self._members = [members, *(other for other in self._members if other.index > members.index)]

    def _note(self, entry: Entry) -> None:
        if entry.command[0] == Kind.CONFIGURATION and entry.idx > self._members[0].index:
            self._members.append(commands.members(entry.command, entry.idx))

    # What PySyncObj asks of a journal

    def setCurrentTerm(self, term: int, vote: str | None) -> None:
        if (term, vote) != (self._term, self._vote):
            self._term, self._vote = term, vote
            self.wal.vote(term, vote or "")
            self.promising = True

    def getCurrentTerm(self) -> int:
        return self._term

    def getVotedForNodeId(self) -> str | None:
        return self._vote

    def setRaftCommitIndex(self, index: int) -> None:
        """Not kept: after a start the applied index is what is known to be committed, and the leader tells the rest."""

    def getRaftCommitIndex(self) -> int:
        return self._applied

    def onOneSecondTimer(self) -> None:
        """Nothing to do."""

    def _destroy(self) -> None:
        """The write-ahead log belongs to whoever opened it."""
