"""``debug``: what is in the package, and what it says of what is not."""

from __future__ import annotations

import json
import stat
import tarfile

import pytest
from caveau.cli.commands import debug

from ..stub import Answer, serving

SHORT = ("-duration=0s", "-interval=0s", "-metrics-interval=0s")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(debug, "_SHORTEST", 0)


def test_a_package(caveau, tmp_path):
    place = tmp_path / "found.tar.gz"
    with serving(Answer(200, {"Gauges": []})) as stub:
        ran = caveau(
            "debug", f"-address={stub.address}", f"-output={place}", "-target=metrics", "-target=pprof", *SHORT
        )
    assert (ran.code, ran.out.splitlines()[-1]) == (0, f"Success! Bundle written to: {place}")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    with tarfile.open(place) as archive:
        files = {each.name: archive.extractfile(each).read() for each in archive.getmembers()}
    index = json.loads(files["found/index.json"])
    assert index["output"].pop("files") == ["metrics.json"]
    ((directory, profiles),) = index["output"].items()
    assert profiles["files"] == ["goroutine.txt", "heap.txt"]
    assert profiles["timestamp"].translate({ord(":"): "-"}) == directory
    assert files.keys() == {
        f"found/{name}"
        for name in ("index.json", "metrics.json", f"{directory}/goroutine.txt", f"{directory}/heap.txt")
    }
    (entry,) = json.loads(files["found/metrics.json"])
    assert entry == {"Gauges": [], "timestamp": entry["timestamp"]}
    assert (index["targets"], index["errors"], index["vault_address"]) == (["metrics", "pprof"], [], stub.address)


def test_a_directory_and_the_log(caveau, tmp_path):
    place = tmp_path / "found"
    with serving(Answer(200, {"a": 1})) as stub:
        ran = caveau("debug", f"-address={stub.address}", f"-output={place}", "-compress=false", *SHORT)
    assert ran.code == 0
    assert {each.name for each in place.iterdir() if each.is_file()} == {
        "caveau.log", "config.json", "host_info.json", "index.json", "metrics.json", "requests.json",
        "server_status.json",
    }  # fmt: skip
    ((status,), (config,)) = (json.loads((place / name).read_text()) for name in ("server_status.json", "config.json"))
    assert (status.keys(), config["config"]) == ({"health", "seal", "timestamp"}, {"a": 1})
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert "/v1/sys/monitor?log_format=standard&log_level=trace" in [asked.path for asked in stub.asked]


def test_what_may_not_be_read_is_said(caveau, tmp_path):
    place = tmp_path / "found"
    with serving(Answer(200, {"initialized": True}), Answer(403, {"errors": ["permission denied"]})) as stub:
        ran = caveau("debug", f"-address={stub.address}", f"-output={place}", "-compress=false", "-target=host", *SHORT)
    assert (ran.code, "1 answers are missing" in ran.out) == (0, True)
    (error,) = json.loads((place / "index.json").read_text())["errors"]
    assert "permission denied" in error["error"]


@pytest.mark.parametrize(
    ("argument", "message"), [("-target=nope", "-target: nope is not one of"), ("-output=.", ". exists already")]
)
def test_wrong_use(caveau, argument, message):
    ran = caveau("debug", argument, "-compress=false", *SHORT)
    assert (ran.code, message in ran.err) == (1, True)


def test_intervals_have_a_minimum(caveau, monkeypatch):
    monkeypatch.undo()
    assert caveau("debug", "-interval=1s").code == 1


def test_no_server(caveau, tmp_path):
    ran = caveau("debug", "-address=http://127.0.0.1:1", f"-output={tmp_path}/x", *SHORT)
    assert (ran.code, "connection refused" in ran.err) == (2, True)
    assert not (tmp_path / "x.tar.gz").exists()
