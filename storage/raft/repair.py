"""What can be done with a node's directory while no process has it: look at how far it is, and, when most voters are
gone for good, let it go on with other members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...framework.errors import StoreError
from .disk import Directory
from .engine import Configuration, Server
from .log import Log
from .machine import SqliteMachine
from .recovery import recover
from .state import steps
from .wal import Wal


@dataclass(frozen=True, slots=True)
class Position:
    """How far a node is. Of two, the greater ``(term, last)`` has all that was ever acknowledged to both."""

    term: int  # of the last entry
    last: int
    applied: int
    members: Configuration


def inspect(path: Path) -> Position:
    """Raises StoreError if it is damaged, or a process has it. Cuts off a torn tail, as a start would."""
    with _Node(path) as (log, machine):
        return Position(log[-1].term, log.last, machine.index, log.members)


def force(path: Path, servers: Sequence[Server]) -> Position:
    """Make ``servers`` the members, whoever they were. All in the log becomes the state, acknowledged or not.

    Safe only on the node that is ahead of all that survive, and if those that are gone never come back as they were.
    """
    if not any(server.voter for server in servers):
        raise StoreError("a cluster needs a voter")
    with _Node(path) as (log, machine):
        rest = [entry for entry in log[:] if entry.idx > machine.index]
        machine.apply(steps(rest))
        members = Configuration(tuple(servers), machine.index)
        machine.force(members)
        log.begin(machine.index, machine.term, members)
        log.wal.flush()
        return Position(machine.term, machine.index, machine.index, members)


class _Node:
    """The log and the state in a directory, for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> tuple[Log, SqliteMachine]:
        if not self._path.is_dir():
            raise StoreError(f"{self._path}: there is no node's directory")
        self._disk = Directory(self._path)
        self._machine = SqliteMachine(self._path)
        try:
            self._machine.open()
            self._log = recover(Wal(self._disk), self._machine)
        except BaseException:
            self._machine.close()
            self._disk.close()
            raise
        return self._log, self._machine

    def __exit__(self, *error: object) -> None:
        try:
            self._log.wal.close()
        finally:
            self._machine.close()
            self._disk.close()
