"""The CSV files: what was written is what is read."""

from __future__ import annotations

import pytest
from caveau.benchmarks.commit_latency.records import Commit, Failover, read, thinned, whose, write
from caveau.benchmarks.commit_latency.shape import Link, Load, Site

SITE = Site(5, Link(0.0005, 0.0001, 0.01), 0.005)
OF = whose("caveau engine", SITE, Load(4096, 16))


def test_rows_survive(tmp_path):
    rows = [
        Commit(
            **OF, began=0.5, latency=1.25, index=7, entry=300, queue=0.1, write=0.2, fsync=0.3, quorum=0.4, apply=0.5
        ),
        Commit(**OF, began=1.5, latency=2.25),
    ]
    write(tmp_path / "commits.csv", Commit, rows)
    assert read(tmp_path / "commits.csv", Commit) == rows


def test_a_row_knows_its_site(tmp_path):
    write(tmp_path / "f.csv", Failover, [Failover(**whose("openbao", SITE), outage=1.0)])
    assert read(tmp_path / "f.csv", Failover)[0].site == SITE


def test_durations_are_milliseconds(tmp_path):
    write(tmp_path / "commits.csv", Commit, [Commit(**OF, began=0.0, latency=1 / 3)])
    head, row = (tmp_path / "commits.csv").read_text().splitlines()
    assert head.startswith("product,nodes,delay,jitter,loss,disk_delay,size,concurrency,queue,")
    assert row.startswith("caveau engine,5,0.5,0.1,0.01,5,4096,16,,,,,,0,0.333333,")


def test_a_file_of_something_else(tmp_path):
    write(tmp_path / "f.csv", Failover, [])
    with pytest.raises(ValueError, match="not those of a Commit"):
        read(tmp_path / "f.csv", Commit)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match="not those of a Commit"):
        read(tmp_path / "empty.csv", Commit)


@pytest.mark.parametrize("row", ["openbao,3,0,0,0,0,soon", "openbao,3,0,0,0,0"])
def test_a_row_that_is_none_is_named(tmp_path, row):
    write(tmp_path / "f.csv", Failover, [])
    with (tmp_path / "f.csv").open("a") as file:
        file.write(f"openbao,3,0,0,0,0,1.5\n{row}\n")
    with pytest.raises(ValueError, match=r"f\.csv, line 3: "):
        read(tmp_path / "f.csv", Failover)


def test_thinning_is_even():
    assert list(thinned(range(10), 4)) == [0, 3, 6, 9]
    assert list(thinned(range(10), 10)) == list(range(10))
    assert list(thinned([], 4)) == []
