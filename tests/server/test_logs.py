"""Log lines and log files."""

from __future__ import annotations

import json
import logging
import re
import stat
import time

import pytest
from caveau.server import log_levels, logs

LOG = logging.getLogger("caveau.server.core")


@pytest.fixture(autouse=True)
def _restore():
    root = logging.getLogger()
    before, raises, level = list(root.handlers), logging.raiseExceptions, log_levels.of_server()
    yield
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
        handler.close()
    log_levels.set_server(level)
    logging.getLogger("caveau").setLevel(logging.NOTSET)
    logging.raiseExceptions = raises


def test_standard_lines(capsys):
    logs.configure()
    LOG.info("unsealed", extra=logs.values(shares=1, path="secret/", note="two words"))
    LOG.warning("no values")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[INFO\]  core: unsealed: shares=1 path=secret/ note=\"two words\"",
        first,
    )
    assert second.endswith("Z [WARN]  core: no values")


def test_json_lines(capsys):
    logs.configure(format="json")
    LOG.error("bad", extra=logs.values(count=2, path="secret/"))
    entry = json.loads(capsys.readouterr().err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("@timestamp"))
    assert entry == {"@level": "error", "@message": "bad", "@module": "core", "count": 2, "path": "secret/"}


@pytest.mark.parametrize("format", ["standard", "json"])
def test_tokens_are_masked_and_lines_cannot_be_forged(format, capsys):
    logs.configure(format=format)
    try:
        raise ValueError("hvs.CAESIJabcdefghijklmnop in an exception")
    except ValueError:
        LOG.exception(
            "login with %s\n2026 [INFO] forged", "hvb.AAAAAQabcdefghijk", extra=logs.values(t="hvr.abcdefghij")
        )
    text = capsys.readouterr().err
    assert not re.search(r"hv[sbr]\.[A-Za-z0-9]", text)
    assert "ValueError" in text
    assert "\n2026 [INFO] forged" not in text


def test_levels_change_at_run_time(capsys):
    logs.configure(level="warn")
    LOG.info("one")
    logs.set_level("trace")
    LOG.log(log_levels.TRACE, "two")
    assert logs.level() == "trace"
    logs.set_level("error")
    LOG.warning("three")
    err = capsys.readouterr().err
    assert "one" not in err
    assert "[TRACE] core: two" in err
    assert "three" not in err


def test_libraries_add_only_their_warnings(capsys):
    logs.configure(level="trace")
    logging.getLogger("aiohttp").debug("chatter")
    logging.getLogger("aiohttp").warning("trouble")
    err = capsys.readouterr().err
    assert "chatter" not in err
    assert "aiohttp: trouble" in err


def test_configuring_twice_does_not_log_twice(capsys):
    logs.configure()
    logs.configure()
    LOG.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_the_file_gets_the_lines_too_and_is_private(tmp_path, capsys):
    logs.configure(file=f"{tmp_path}/logs/")
    LOG.info("both")
    file = tmp_path / "logs" / "caveau.log"
    assert "both" in file.read_text()
    assert "both" in capsys.readouterr().err
    assert stat.S_IMODE(file.stat().st_mode) & 0o027 == 0


@pytest.mark.parametrize(("keep", "left"), [(0, 4), (2, 2), (-1, 0)])
def test_rotation_by_size(tmp_path, keep, left):
    logs.configure(file=str(tmp_path / "a.log"), rotate_bytes=100, rotate_max_files=keep)
    (tmp_path / "a-notes.log").write_text("not an archive")
    for number in range(5):
        LOG.info("line %d, which is long enough to fill the file by itself", number)
    archives = sorted(each for each in tmp_path.iterdir() if re.fullmatch(r"a-\d+\.log", each.name))
    assert len(archives) == left
    assert "line 4" in (tmp_path / "a.log").read_text()
    assert all(f"line {4 - left + at}" in archive.read_text() for at, archive in enumerate(archives))
    assert (tmp_path / "a-notes.log").exists()


def test_rotation_by_age(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(logs.time, "time", lambda: now)
    logs.configure(file=str(tmp_path / "a.log"), rotate_seconds=60)
    LOG.info("old")
    now += 61
    LOG.info("new")
    assert "old" not in (tmp_path / "a.log").read_text()
    assert len(list(tmp_path.glob("a-*.log"))) == 1


def test_reopen_follows_a_moved_file(tmp_path):
    file = tmp_path / "a.log"
    logs.configure(file=str(file))
    LOG.info("before")
    file.rename(tmp_path / "moved.log")
    LOG.info("still")
    logs.reopen()
    LOG.info("after")
    assert "still" in (tmp_path / "moved.log").read_text()
    assert "after" in file.read_text()
    assert "before" not in file.read_text()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(OSError, match="f"):
        logs.configure(file=str(tmp_path / "f" / "a.log"))
