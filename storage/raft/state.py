"""What a state machine is to a replica: what the log adds up to, and the changes that are made to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from . import commands
from .commands import Kind
from .engine import Configuration
from .snapshot import Sink, Source
from .wal import Entry


@dataclass(slots=True)
class Step:
    """Entries up to ``index`` together: all of one transaction."""

    index: int = 0
    term: int = 0
    rows: dict[str, bytes | None] = field(default_factory=dict)
    members: Configuration | None = None
    staged: dict[str, bytes | None] | None = None  # a part of a state to be restored; the first is empty
    restore: bool = False  # what was staged is the state now
    size: int = 0


class Machine(Protocol):
    """A state. Only ``apply`` and the end of a ``sink`` change it."""

    index: int
    """Applied."""
    term: int
    """Of the entry at ``index``."""
    installed: int
    """The index of the last state that was installed whole; 0: none was."""
    members: Configuration
    """As of ``index``."""

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        ...

    @property
    def long(self) -> bool:
        """Whether commits should wait for the next one."""
        ...

    def apply(self, steps: Sequence[Step]) -> None:
        """All or nothing, and what the state is after it says so itself."""
        ...

    def checkpoint(self) -> int:
        """Make durable what was applied; up to which index that is."""
        ...

    def source(self) -> Source:
        """The state as it is, to be sent."""
        ...

    def sink(self) -> Sink: ...


def steps(entries: Iterable[Entry]) -> list[Step]:
    """``entries`` in as few steps as they can be made in: later rows replace earlier ones."""
    done: list[Step] = []
    step: Step | None = None
    for entry in entries:
        kind = commands.kind(entry.command)
        if step is None or step.restore or step.staged is not None or kind in (Kind.STAGE, Kind.RESTORE):
            step = Step()
            done.append(step)
        step.index, step.term = entry.idx, entry.term
        step.size += len(entry.command)
        if kind is Kind.BATCH:
            step.rows.update(commands.rows(entry.command))
        elif kind is Kind.CONFIGURATION:
            step.members = commands.members(entry.command, entry.idx)
        elif kind is Kind.STAGE:
            step.staged = commands.rows(entry.command)
        elif kind is Kind.RESTORE:
            step.restore = True
    return done
