"""A snapshot's file as commands: each node puts the parts aside, and the last one makes them the state, at one index
on all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ...framework.errors import StoreError
from ..table import connect, explain
from . import commands
from .commands import Kind

_PART = 4 << 20  # bytes of values


def parts(path: Path) -> Iterator[bytes]:
    """Raises StoreError if the file is none of ours, or damaged."""
    try:
        with closing(connect(path)) as state:
            ((verdict,),) = state.execute("PRAGMA quick_check(1)")
            if verdict != "ok":
                raise StoreError(f"{path}: the snapshot is damaged: {verdict}")
            yield commands.batch({}, Kind.STAGE)
            rows: dict[str, bytes | None] = {}
            size = 0
            for key, value in state.execute("SELECT k, v FROM kv"):
                rows[key] = value
                size += len(value)
                if size >= _PART:
                    yield commands.batch(rows, Kind.STAGE)
                    rows, size = {}, 0
            if rows:
                yield commands.batch(rows, Kind.STAGE)
            yield commands.RESTORE
    except sqlite3.Error as error:
        raise explain(path, error) from error
