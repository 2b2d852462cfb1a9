"""The page says what the rows say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from caveau.benchmarks.commit_latency.records import Failover, Summary, whose
from caveau.benchmarks.commit_latency.report import page, steps
from caveau.benchmarks.commit_latency.shape import BASE, Link, Load, Site

ABOUT: dict[str, Any] = {
    "machine": {
        "cpu": "Z80",
        "cores": 4,
        "kernel": "6",
        "python": "3.11",
        "openbao": "v2",
        "filesystem": "ext4",
        "load_average_before": 0.1,
    },
    "quick": False,
    "seconds": 5.0,
    "links": ["wires"],
    "failures": [],
}


def row(product: str, site: Site, load: Load = Load(), p50: float = 2.0) -> Summary:  # noqa: B008
    stages = {"queue": 0.125, "write": 0.25, "fsync": 0.375, "quorum": 0.5, "apply": 0.0625}
    return Summary(
        **whose(product, site, load), commits=100, rate=1234.5, p50=p50, p90=3.0, p99=4.0, longest=5.0,
        predicted_p50=1.5, predicted_p90=1.75, predicted_p99=1.875, network=1.0, disk=0.5, consensus=p50 - 1.5,
        **(stages if product == "caveau engine" else {}),
    )  # fmt: skip


ROWS = [
    row("caveau engine", replace(BASE, nodes=5), p50=2.5),
    row("caveau engine", BASE),
    row("caveau engine", BASE, Load(concurrency=64), p50=9.0),
    row("caveau engine", BASE, Load(size=65536), p50=6.0),
    row("caveau engine", replace(BASE, link=Link(0.01, 0.005)), p50=22.0),
    row("caveau engine", replace(BASE, disk_delay=0.005), p50=7.0),
    row("openbao", BASE, p50=8.0),
]


def lines(text: str, heading: str) -> list[str]:
    """The rows of the table below it."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("| ")][2:]


def test_measured_stands_beside_predicted():
    found = lines(page(ROWS, [], ABOUT), "The formula and the measurement")
    assert "| openbao | 3 nodes, link 0.5 ms | 8.00 | 1.50 | 3.00 | 1.75 | 4.00 | 1.88 | 1.00 | 0.50 | 6.50 |" in found
    assert not [line for line in found if "9.00" in line]  # many writers wait for each other


def test_stages_and_the_rest():
    assert "| 3 nodes, link 0.5 ms | 0.12 | 0.25 | 0.38 | 0.50 | 0.06 | 0.69 |" in lines(
        page(ROWS, [], ABOUT), "Where the time goes"
    )


def test_a_knob_costs_what_is_more_than_without_it():
    assert lines(page(ROWS, [], ABOUT), "What each knob costs") == [
        "| caveau engine | as it is | 2.00 |  | 4.00 |",
        "| caveau engine | 5 nodes | 2.50 | +0.50 | 4.00 |",
        "| caveau engine | 65,536 bytes | 6.00 | +4.00 | 4.00 |",
        "| caveau engine | link 10±5 ms | 22.00 | +20.00 | 4.00 |",
        "| caveau engine | disk +5 ms | 7.00 | +5.00 | 4.00 |",
        "| openbao | as it is | 8.00 |  | 4.00 |",
    ]


def test_throughput_is_of_one_site():
    assert lines(page(ROWS, [], ABOUT), "Throughput against concurrency") == [
        "| caveau engine | 1 | 1,234 | 2.00 | 4.00 |",
        "| caveau engine | 64 | 1,234 | 9.00 | 4.00 |",
        "| openbao | 1 | 1,234 | 8.00 | 4.00 |",
    ]


def test_failovers_are_seconds():
    outages = [Failover(**whose("openbao", BASE), outage=ms) for ms in (9000.0, 14000.0, 10500.0)]
    assert lines(page(ROWS, outages, ABOUT), "When the leader dies") == [
        "| openbao | 3 nodes, link 0.5 ms | 3 | 10.50 s | 9.00 s | 14.00 s |"
    ]


def test_a_page_of_a_run_that_means_little_says_so():
    assert "**" not in page(ROWS, [], ABOUT)
    assert "quick run" in page(ROWS, [], ABOUT | {"quick": True})
    busy = {"machine": ABOUT["machine"] | {"load_average_before": 3.0}}
    assert "other things to do" in page(ROWS, [], ABOUT | busy)
    assert "Not measured: openbao, 3 nodes: gone" in page(ROWS, [], ABOUT | {"failures": ["openbao, 3 nodes: gone"]})


def test_nothing_was_measured():
    assert steps([], "openbao") == []
    page([], [], ABOUT)


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    from caveau.benchmarks.commit_latency.plots import draw

    draw(tmp_path, ROWS, [Failover(**whose("openbao", BASE), outage=9000.0)])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["failovers.png", "knobs.png", "prediction.png", "stages.png", "throughput.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    shown = page(ROWS, [], ABOUT)
    assert all(f"(commit-latency/{name})" in shown for name in names)
