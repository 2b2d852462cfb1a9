"""The page: what was measured, against what the formula says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .prediction import quantile
from .records import Failover, Summary
from .run import STAGES
from .shape import BASE, Load, Site

_TEXT = """\
# Commit latency

`T_commit = L_network + T_disk_write + T_consensus`: what a commit takes, and how much of it is the network's, the
disk's, and the agreement's own. This page is written by one command, from measurements on one machine:

```sh
pip install -e '.[lab]'
python -m caveau.benchmarks.commit_latency{options}
```

{machine}

*caveau engine* is the replicated store without a server around it, in processes of their own: the latency is from
proposing a batch to its being durable on a majority and applied. *caveau* and *openbao* are whole servers, written to
through HTTP, so that their figures contain what a request costs besides. How all this is measured, and what it cannot
show, says [the laboratory](../benchmarks/commit_latency/README.md). All figures are milliseconds, unless they say
otherwise.

## The formula and the measurement

The network's part and the disk's are measured first, apart from any consensus: round trips over the same links with as
many bytes, and writes with their sync by all nodes at once. What a majority waits for is then drawn from these
distributions. Caveau's leader writes its own log while the followers write theirs, so that the slower of the two
counts; OpenBao's leader sends what its own disk already has, so that both count. The last column is what the median has
beyond the prediction: the consensus, and for servers the request around it. One writer at a time, {size} bytes:

{formula}

![Measured and predicted latencies](commit-latency/prediction.png)

## Where the time goes

Of the same commits, what Caveau's leader itself measured (medians). *queue*: until the entry is in the log. *quorum*:
after its own sync, until a majority has told of theirs. *answer*: the rest of what the writer waits for.

{stages}

![Stages of a commit](commit-latency/stages.png)

## Throughput against concurrency

{base}, {size} bytes. All that is written while the disk is busy becomes one entry and one sync.

{throughput}

![Throughput against concurrency](commit-latency/throughput.png)

## When the leader dies

SIGKILL, until another node acknowledges a write. Both with their default settings.

{failovers}

![Time without writes](commit-latency/failovers.png)

## What each knob costs

One thing changed at a time, from {base}, {size} bytes, one writer.

{knobs}

![Cost of each knob](commit-latency/knobs.png)
"""


def page(summaries: Sequence[Summary], failovers: Sequence[Failover], about: dict[str, Any]) -> str:
    """``about``: the machine and the run."""
    texts = {
        "options": " --quick" if about["quick"] else "",
        "machine": _machine(about),
        "size": Load().size,
        "base": str(BASE),
        "formula": _formula(summaries),
        "stages": _stages(summaries),
        "throughput": _throughput(summaries),
        "failovers": _failovers(failovers),
        "knobs": _knobs(summaries),
    }
    return _TEXT.format(**texts)


def sequential(summaries: Iterable[Summary]) -> list[Summary]:
    return [row for row in summaries if row.concurrency == 1 and row.size == Load().size]


def steps(summaries: Sequence[Summary], product: str) -> list[tuple[str, Summary]]:
    """``BASE`` first, and what differs from it in one thing: what that is, and its row."""
    found: list[tuple[str, Summary]] = []
    for row in summaries:
        if row.product == product and row.concurrency == 1:
            same_size = row.size == Load().size
            if same_size and row.site == BASE:
                found.insert(0, ("as it is", row))
            elif same_size or row.site == BASE:
                found.append((_difference(row), row))
    return found


def _difference(row: Summary) -> str:
    site = row.site
    if site == BASE:
        return f"{row.size:,} bytes"
    if site.nodes != BASE.nodes:
        return str(replace(site, link=BASE.link)).partition(",")[0]
    if site.link != BASE.link:
        return str(Site(2, site.link)).partition(", ")[2]
    return f"disk +{row.disk_delay:g} ms"


def products(rows: Iterable[Summary | Failover]) -> list[str]:
    return list(dict.fromkeys(row.product for row in rows))


def _formula(summaries: Sequence[Summary]) -> str:
    head = ("", "", "p50", "predicted", "p90", "predicted", "p99", "predicted", "network", "disk", "consensus")
    rows = []
    for row in sequential(summaries):
        figures = (
            *(row.p50, row.predicted_p50, row.p90, row.predicted_p90, row.p99, row.predicted_p99),
            *(row.network, row.disk, row.consensus),
        )
        rows.append((row.product, str(row.site), *map(_ms, figures)))
    return _table(head, rows)


def _stages(summaries: Sequence[Summary]) -> str:
    rows = []
    for row in sequential(summaries):
        stages = [getattr(row, name) for name in STAGES]
        if None not in stages:
            rows.append((str(row.site), *map(_ms, (*stages, row.p50 - sum(stages)))))
    return _table(("", *STAGES, "answer"), rows)


def _throughput(summaries: Sequence[Summary]) -> str:
    rows = [
        (row.product, str(row.concurrency), f"{row.rate:,.0f}", _ms(row.p50), _ms(row.p99))
        for row in throughput(summaries)
    ]
    return _table(("", "writers", "commits/s", "p50", "p99"), rows)


def throughput(summaries: Iterable[Summary]) -> list[Summary]:
    return [row for row in summaries if row.site == BASE and row.size == Load().size]


def _failovers(failovers: Sequence[Failover]) -> str:
    rows = []
    for (product, site), outages in grouped(failovers, lambda row: (row.product, str(row.site))).items():
        seconds = [row.outage / 1000 for row in outages]
        times = (quantile(seconds, 0.5), min(seconds), max(seconds))
        rows.append((product, site, str(len(seconds)), *(f"{t:.2f} s" for t in times)))
    return _table(("", "", "times", "median", "shortest", "longest"), rows)


def grouped(rows: Iterable[Failover], key: Callable[[Failover], Any]) -> dict[Any, list[Failover]]:
    groups: dict[Any, list[Failover]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _knobs(summaries: Sequence[Summary]) -> str:
    rows = []
    for product in products(summaries):
        base = None
        for what, row in steps(summaries, product):
            more = f"{row.p50 - base.p50:+.2f}" if base else ""
            base = base or row
            rows.append((product, what, _ms(row.p50), more, _ms(row.p99)))
    return _table(("", "", "p50", "more", "p99"), rows)


def _machine(about: dict[str, Any]) -> str:
    facts = about["machine"]
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']},"
        f" OpenBao {facts['openbao']}, disks on {facts['filesystem']}; links: {'; '.join(about['links'])};"
        f" {about['seconds']:g} s a load. The load average before was {facts['load_average_before']:g}."
    ]
    if about["quick"]:
        lines.append("**This was a quick run: it shows that everything works, and its figures mean little.**")
    if facts["load_average_before"] > facts["cores"] / 4:
        lines.append("**The machine had other things to do: do not compare these figures with others.**")
    lines += [f"Not measured: {failure}" for failure in about["failures"]]
    return "\n\n".join(lines)


def _ms(value: float) -> str:
    return f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---:" if name else "---" for name in head)]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
