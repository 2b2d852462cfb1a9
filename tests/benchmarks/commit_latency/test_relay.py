"""What enters a link comes out late, whole and in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from caveau.benchmarks.commit_latency.links import free_port
from caveau.benchmarks.commit_latency.relay import RESEND, SEGMENT, Line, Relays
from caveau.benchmarks.commit_latency.shape import Link


class Chance(random.Random):
    """Draws what it is told to, and for ever after that nothing is lost."""

    def __init__(self, *draws: float) -> None:
        super().__init__()
        self._draws = list(draws)

    def random(self) -> float:
        return self._draws.pop(0) if self._draws else 1.0

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * (self._draws.pop(0) if self._draws else 0.5)


def test_a_delay():
    line = Line(Link(0.010), Chance())
    assert [line.leaves(now, 100) for now in (1.0, 1.5)] == [pytest.approx(1.010), pytest.approx(1.510)]


def test_jitter_goes_both_ways_and_never_overtakes():
    line = Line(Link(0.010, 0.005), Chance(0.0, 1.0, 0.0))
    leaves = [line.leaves(now, 100) for now in (1.0, 2.0, 2.001)]
    assert leaves == [pytest.approx(1.005), pytest.approx(2.015), pytest.approx(2.015)]
    assert leaves[2] > leaves[1]  # timers of one moment have no order


def test_what_is_lost_stalls_all_behind_it_until_it_is_sent_again():
    line = Line(Link(0.010, 0, 0.1), Chance(0.5, 0.11, 0.5, 0.09))
    assert line.leaves(1.0, SEGMENT) == pytest.approx(1.010)
    assert line.leaves(1.1, SEGMENT) == pytest.approx(1.110 + RESEND + 0.020)
    assert line.leaves(1.2, SEGMENT) == pytest.approx(1.110 + RESEND + 0.020)


def test_every_packet_of_a_message_may_be_lost():
    line = Line(Link(0, 0, 0.1), Chance(1.0, 1.0, 0.0))
    assert line.leaves(1.0, 2 * SEGMENT + 1) == pytest.approx(1.0 + RESEND)


def test_the_end_waits_for_what_was_said_before_it():
    line = Line(Link(0.010, 0.005), Chance(1.0, 0.0))
    assert line.leaves(1.0, 100) < line.leaves(1.0, 0)


@asynccontextmanager
async def relayed(link: Link, handler: Callable[..., object] | None) -> AsyncIterator[int]:
    """The port of a relay before a server; without ``handler``, before nothing."""
    behind, before = free_port(), free_port()
    server = await asyncio.start_server(handler, "127.0.0.1", behind) if handler else None  # type: ignore[arg-type]
    relays = Relays(link, [("127.0.0.1", before, "127.0.0.1", behind)], random.Random(1))
    await relays.start()
    try:
        yield before
    finally:
        if server is not None:
            server.close()
        relays.close()
        await asyncio.sleep(0)  # in which they are told that they are closed


async def test_a_connection_takes_the_delay_there_and_back():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        writer.close()

    async with relayed(Link(0.05), echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        loop = asyncio.get_running_loop()
        began = loop.time()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert loop.time() - began >= 0.1
        writer.close()


async def test_all_bytes_arrive_in_order_and_then_the_end():
    data = random.Random(5).randbytes(1 << 20)

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(data), 7001):
            writer.write(data[at : at + 7001])
            await asyncio.sleep(0)
        writer.close()

    async with relayed(Link(0.005, 0.005), tell) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(-1) == data
        writer.close()


async def test_nobody_behind_it():
    async with relayed(Link(0.001), None) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
