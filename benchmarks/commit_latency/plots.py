"""The same figures to look at: PNG files. Needs matplotlib, which the extra ``lab`` has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .records import Failover, Summary
from .report import grouped, products, sequential, steps, throughput
from .run import STAGES

_COLOURS = {"caveau engine": "#8fb3d9", "caveau": "#2d5f9a", "openbao": "#c9772b"}
mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid.axis": "x"})


def draw(folder: Path, summaries: Sequence[Summary], failovers: Sequence[Failover]) -> None:
    with _figure(folder / "prediction.png", len(sequential(summaries))) as axes:
        _prediction(axes, summaries)
    with _figure(folder / "stages.png", len(sequential(summaries)) / 2) as axes:
        _stages(axes, summaries)
    with _figure(folder / "throughput.png", 12) as axes:
        _throughput(axes, summaries)
    with _figure(folder / "failovers.png", 2 + len(grouped(failovers, lambda row: (row.product, row.site)))) as axes:
        _failovers(axes, failovers)
    with _figure(folder / "knobs.png", len(sequential(summaries))) as axes:
        _knobs(axes, summaries)


@contextmanager
def _figure(path: Path, rows: float) -> Iterator[Axes]:
    figure = Figure(figsize=(9, 1.2 + 0.3 * rows), layout="constrained")
    yield figure.subplots()
    figure.savefig(path, dpi=110)


def _prediction(axes: Axes, summaries: Sequence[Summary]) -> None:
    """From the median to the 99th percentile, measured above predicted."""
    rows = sequential(summaries)
    for y, row in enumerate(rows):
        colour = _COLOURS.get(row.product, "black")
        axes.plot([row.p50, row.p90, row.p99], [y - 0.15] * 3, "-o", color=colour, markersize=4)
        axes.plot([row.predicted_p50, row.predicted_p90, row.predicted_p99], [y + 0.15] * 3, "-o", color="0.6",
                  markersize=4)  # fmt: skip
    _names(axes, [f"{row.product}: {row.site}" for row in rows])
    axes.set_xscale("log")
    axes.set_xlabel("ms: p50, p90, p99; grey: predicted from network and disk alone")


def _stages(axes: Axes, summaries: Sequence[Summary]) -> None:
    rows = [row for row in sequential(summaries) if row.queue is not None]
    left = [0.0] * len(rows)
    for name in STAGES:
        widths = [getattr(row, name) for row in rows]
        axes.barh(range(len(rows)), widths, left=left, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.barh(
        range(len(rows)), [max(r.p50 - at, 0) for r, at in zip(rows, left, strict=True)], left=left, label="answer"
    )
    _names(axes, [str(row.site) for row in rows])
    axes.set_xlabel("ms, medians")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _throughput(axes: Axes, summaries: Sequence[Summary]) -> None:
    rows = throughput(summaries)
    for product in products(rows):
        mine = sorted((row.concurrency, row.rate) for row in rows if row.product == product)
        axes.plot(*zip(*mine, strict=True), "-o", label=product, color=_COLOURS.get(product))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("writers")
    axes.set_ylabel("commits/s")
    axes.legend(frameon=False)


def _failovers(axes: Axes, failovers: Sequence[Failover]) -> None:
    groups = grouped(failovers, lambda row: (row.product, row.site))
    for y, ((product, _), rows) in enumerate(groups.items()):
        axes.plot([row.outage / 1000 for row in rows], [y] * len(rows), "o", color=_COLOURS.get(product), alpha=0.6)
    _names(axes, [f"{product}: {site}" for product, site in groups])
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds without writes, every time")


def _knobs(axes: Axes, summaries: Sequence[Summary]) -> None:
    bars = [(product, *step) for product in products(summaries) for step in steps(summaries, product)]
    for y, (product, _, row) in enumerate(bars):
        axes.barh(y, row.p50, color=_COLOURS.get(product))
    _names(axes, [f"{product}: {what}" for product, what, _ in bars])
    axes.set_xscale("log")
    axes.set_xlabel("ms, median")


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
