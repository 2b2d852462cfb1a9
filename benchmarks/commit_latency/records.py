"""The files that a run leaves: a row a commit, a row a load, a row a failover. Durations are milliseconds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from .shape import Link, Load, Site

KEPT = 5000
"""Commits of one load that have a row, at most: every n-th of all."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Whose it is."""

    product: str
    nodes: int
    delay: float
    jitter: float
    loss: float
    disk_delay: float

    @property
    def site(self) -> Site:
        delay, jitter, disk = (round(ms / 1000, 9) for ms in (self.delay, self.jitter, self.disk_delay))
        return Site(self.nodes, Link(delay, jitter, self.loss), disk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Row):
    """Under which load, and the stages of a commit as the leader measured them: Caveau tells them, OpenBao does
    not."""

    size: int
    concurrency: int
    queue: float | None = None
    write: float | None = None
    fsync: float | None = None
    quorum: float | None = None
    apply: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Loaded):
    """``latency``: from asking to being told. The rest is of the log's entry that it became part of; the follower is
    the one that made it a majority."""

    began: float
    latency: float
    index: int | None = None
    entry: int | None = None  # bytes
    round_trip: float | None = None
    follower_fsync: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Loaded):
    """``network`` and ``disk``: the median's parts in the prediction. ``consensus``: what the measured median has
    beyond it. ``rate``: commits a second. The stages are medians."""

    commits: int
    rate: float
    p50: float
    p90: float
    p99: float
    longest: float
    predicted_p50: float
    predicted_p90: float
    predicted_p99: float
    network: float
    disk: float
    consensus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover(Row):
    """``outage``: from killing the leader to the first write that another acknowledges."""

    outage: float


R = TypeVar("R", bound=Row)


def whose(product: str, site: Site, load: Load | None = None) -> dict[str, Any]:
    """The columns that say what a row is of."""
    link = site.link
    row = {
        "product": product,
        "nodes": site.nodes,
        "delay": link.delay * 1000,
        "jitter": link.jitter * 1000,
        "loss": link.loss,
        "disk_delay": site.disk_delay * 1000,
    }
    return row if load is None else row | {"size": load.size, "concurrency": load.concurrency}


def write(path: Path, kind: type[R], rows: Iterable[R]) -> None:
    names = [field.name for field in fields(kind)]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        table.writerows([_text(getattr(row, name)) for name in names] for row in rows)


def _text(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def read(path: Path, kind: type[R]) -> list[R]:
    """What ``write`` wrote; raises ValueError naming the line if it is not that."""
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    with path.open(newline="") as file:
        table = csv.reader(file)
        if next(table, None) != names:
            raise ValueError(f"{path}: the columns are not those of a {kind.__name__}")
        rows = []
        for cells in table:
            try:
                values = [_value(types[name], cell) for name, cell in zip(names, cells, strict=True)]
            except ValueError as error:
                raise ValueError(f"{path}, line {table.line_num}: {error}") from None
            rows.append(kind(**dict(zip(names, values, strict=True))))
    return rows


def _value(kind: object, text: str) -> Any:
    if kind in (str, int, float):
        return kind(text)
    if not text:
        return None
    return int(text) if kind == int | None else float(text)


def thinned(rows: Sequence[T], most: int) -> Sequence[T]:
    """Every n-th, so that no more than ``most`` are left."""
    return rows[:: -(-len(rows) // most)] if rows else rows
