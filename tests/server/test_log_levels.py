"""Which lines are made, and which of them go to the server's own log."""

from __future__ import annotations

import logging

import pytest
from caveau.server import log_levels
from caveau.server.log_levels import TRACE

CORE, NODE = logging.getLogger("caveau.server.core"), logging.getLogger("caveau.server.node")


@pytest.fixture(autouse=True)
def _levels():
    before = log_levels.of_server()
    log_levels.set_all(None)
    log_levels.set_server(logging.INFO)
    yield
    log_levels.set_all(None)
    log_levels.set_server(before)
    logging.getLogger("caveau").setLevel(logging.NOTSET)


def logged(logger, level):
    """Whether a line would go to the server's log."""
    record = logging.LogRecord(logger.name, level, "", 0, "text", (), None)
    return logger.isEnabledFor(level) and log_levels.OfServer().filter(record)


def test_the_servers_level():
    assert logged(CORE, logging.INFO)
    assert not logged(CORE, logging.DEBUG)
    log_levels.set_server(TRACE)
    assert logged(CORE, TRACE)


def test_one_logger_has_its_own_level():
    log_levels.set_one("core", logging.DEBUG)
    log_levels.set_one("node", logging.ERROR)
    assert logged(CORE, logging.DEBUG)
    assert not logged(NODE, logging.WARNING)
    assert (log_levels.one("core"), log_levels.one("node")) == (logging.DEBUG, logging.ERROR)
    assert log_levels.each()["core"] == logging.DEBUG
    log_levels.set_server(logging.WARNING)
    log_levels.set_one("core", None)
    log_levels.set_one("node", None)
    assert not logged(CORE, logging.INFO)
    assert logged(NODE, logging.WARNING)


def test_every_logger_at_once():
    log_levels.set_one("core", logging.ERROR)
    log_levels.set_all(logging.DEBUG)
    assert set(log_levels.each().values()) == {logging.DEBUG}
    assert logged(CORE, logging.DEBUG)
    log_levels.set_all(None)
    assert not logged(CORE, logging.DEBUG)


def test_what_a_watcher_wants_stays_out_of_the_log():
    log_levels.watch(TRACE)
    try:
        assert CORE.isEnabledFor(TRACE)
        assert not logged(CORE, logging.DEBUG)
        assert logged(CORE, logging.INFO)
        log_levels.set_one("core", logging.ERROR)
        assert CORE.isEnabledFor(TRACE)
        assert not logged(CORE, logging.INFO)
    finally:
        log_levels.unwatch(TRACE)
    assert not CORE.isEnabledFor(TRACE)


def test_a_logger_that_is_not_there():
    with pytest.raises(KeyError):
        log_levels.set_one("nope", logging.INFO)
    assert log_levels.one("nope") is None


@pytest.mark.parametrize(
    ("text", "level"),
    [("trace", TRACE), (" WARN ", logging.WARNING), ("warning", logging.WARNING), ("err", logging.ERROR),
     ("notice", logging.INFO)],
)  # fmt: skip
def test_levels_as_people_write_them(text, level):
    assert log_levels.parse(text) == level


def test_a_level_that_is_none():
    with pytest.raises(ValueError, match=r"^unknown log level: loud$"):
        log_levels.parse("loud")
