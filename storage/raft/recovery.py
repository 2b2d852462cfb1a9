"""A node's log at its start, held against its state: both were written in order, so what does not fit is a fault."""

from __future__ import annotations

from ...framework.errors import StoreError
from .log import Log
from .state import Machine
from .wal import Wal

BEGINNING = 1
"""The index of the entry that every log begins with, and that says nothing; of term 0."""


def recover(wal: Wal, machine: Machine) -> Log:
    """Opens ``wal``; raises StoreError naming what is wrong."""
    found = wal.open()
    log = Log(wal, found.entries, found.term, found.vote or None, machine.index, machine.members)
    if found.entries and log.first <= machine.index <= log.last and log.term(machine.index) == machine.term:
        return log
    if found.entries and log.first > machine.index:
        raise StoreError(
            f"the state of this node ends at entry {machine.index}, and its log begins only at {log.first}: one of"
            " them is an old copy. Remove this node from the cluster, empty its directory and let it join anew"
        )
    # A state that was just installed replaces the log, but the power may have failed between the two.
    if machine.index == machine.installed or (machine.index == BEGINNING and not found.entries):
        log.begin(machine.index, machine.term, machine.members)
        return log
    ends = f"ends at entry {log.last}" if found.entries else "is empty"
    raise StoreError(
        f"the log of this node {ends}, but entry {machine.index} was applied: its end is lost, and with it what this"
        " node has promised to others. Remove it from the cluster, empty its directory and let it join anew"
    )
