"""Levels of loggers, and the log as it is made."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server import log_levels
from caveau.server.logs import StandardFormat
from caveau.server.telemetry import monitor
from caveau.tests.server.overhttp import serving

LOG = logging.getLogger("caveau.server.core")


@pytest.fixture(autouse=True)
def _levels():
    before = log_levels.of_server()
    log_levels.set_server(logging.INFO)
    yield
    log_levels.set_all(None)
    log_levels.set_server(before)
    logging.getLogger("caveau").setLevel(logging.NOTSET)


async def levels(server, path="sys/loggers"):
    return (await server.call("read", path)).data


async def test_levels_of_loggers(server):
    found = await levels(server)
    assert (found["core"], found["node"]) == ("info", "info")
    await server.call("update", "sys/loggers", {"level": "debug"})
    assert set((await levels(server)).values()) == {"debug"}
    await server.call("update", "sys/loggers/core", {"level": "trace"})
    assert await levels(server, "sys/loggers/core") == {"core": "trace"}
    assert (await levels(server))["node"] == "debug"
    await server.call("delete", "sys/loggers/core")
    await server.call("delete", "sys/loggers")
    assert set((await levels(server)).values()) == {"info"}


@pytest.mark.parametrize(
    ("op", "path", "data", "message"),
    [
        ("update", "sys/loggers", {}, "level is required"),
        ("update", "sys/loggers", {"level": "bad"}, "invalid level provided: unknown log level: bad"),
        ("update", "sys/loggers/nope", {"level": "info"}, 'logger "nope" not found'),
        ("delete", "sys/loggers/nope", {}, 'logger "nope" not found'),
        ("read", "sys/monitor", {"log_level": "bad"}, "unknown log level"),
        ("read", "sys/monitor", {"log_format": "bad"}, "unknown log format"),
    ],
)
async def test_what_is_refused(server, op, path, data, message):
    with pytest.raises(InvalidRequest, match=message):
        await server.call(op, path, data)


async def test_a_logger_that_is_not_there_has_no_level(server):
    assert await levels(server, "sys/loggers/nope") == {}


async def watching(client, server, query):
    """The reader of a watcher's connection, its headers read."""
    host, port = client.listener.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /v1/sys/monitor{query} HTTP/1.1\r\nHost: t\r\nX-Vault-Token: {server.root}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return head, reader, writer


async def chunk(reader):
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


@pytest.mark.parametrize("ending", ["seal", "stop"])
async def test_lines_come_as_they_are_made_until_the_server_seals_or_stops(server, ending):
    async with serving(server) as client:
        head, reader, writer = await watching(client, server, "?log_level=debug&log_format=json")
        assert b"\r\nTransfer-Encoding: chunked\r\n" in head
        LOG.debug("seen %s", "hvs.CAESIJabcdefghijklmnop")
        assert json.loads(await chunk(reader))["@message"] == "seen hvs.(masked)"
        if ending == "seal":
            await server.seal()
        else:
            server.core.stopping = True
        rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n")
        writer.close()
    assert not any(isinstance(each, monitor.Monitor) for each in logging.getLogger().handlers)
    assert not LOG.isEnabledFor(logging.DEBUG)


async def test_a_watcher_that_goes_is_forgotten(server):
    async with serving(server) as client:
        _, reader, writer = await watching(client, server, "?log_level=trace")
        LOG.debug("one")
        assert (await chunk(reader)).endswith(b"[DEBUG] core: one\n")
        writer.close()
        await writer.wait_closed()
        while LOG.isEnabledFor(logging.DEBUG):
            LOG.info("what it is to be told")
            await asyncio.sleep(0.01)


async def test_a_watcher_that_is_too_slow_is_sent_away():
    watcher = monitor.Monitor(logging.INFO, StandardFormat())
    lines = watcher.lines(lambda: False)
    LOG.info("before anybody watches")
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    LOG.info("first")
    assert (await first).endswith(b"core: first\n")
    for number in range(2000):
        LOG.info("line %d", number)
    assert watcher.overrun
    with pytest.raises(StopAsyncIteration):
        await anext(lines)
    assert watcher not in logging.getLogger().handlers
