"""Links without any rights: a TCP relay before every node, which holds back what passes.

    python -m caveau.benchmarks.commit_latency.relay '{"link": [0.0005, 0, 0], "routes": [["127.0.0.1", 23001, "127.0.0.1", 23002]]}'

It says ``ready`` once it listens, and ends with its standard input. What it cannot do: see packets. So what is
lost is a stall of the connection, as long as a sender that hears nothing waits before it sends again; jitter never
reorders; and a link has no end to its bandwidth. The relay itself takes some time, and a share of a processor; the
round trips that the laboratory measures contain it.
"""  # noqa: E501

from __future__ import annotations

import asyncio
import json
import random
import selectors
import sys
from collections.abc import Callable
from functools import partial

from .shape import Link

SEGMENT = 1448
"""Bytes of data in a packet of 1500."""
RESEND = 0.2
"""Seconds, beside a round trip, until Linux sends again what nobody has acknowledged (TCP_RTO_MIN)."""


class Line:
    """One direction of a connection: when what enters it comes out."""

    def __init__(self, link: Link, chance: random.Random) -> None:
        self._link = link
        self._chance = chance
        self._last = 0.0

    def leaves(self, now: float, size: int) -> float:
        """``size`` bytes enter at ``now``. Always after what entered earlier, so that timers keep the order."""
        link = self._link
        at = now + link.delay + self._chance.uniform(-link.jitter, link.jitter)
        if link.loss:
            for _ in range(-(-size // SEGMENT)):
                if self._chance.random() < link.loss:
                    at += RESEND + 2 * link.delay
        self._last = max(self._last + 1e-7, at)
        return self._last


class End(asyncio.Protocol):
    """One side of a connection that is relayed. ``open``: where it is while it is."""

    def __init__(self, line: Line, open: set[asyncio.Transport]) -> None:
        self._line = line
        self._open = open
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[Callable[[], object]] = []
        self._other: End | None = None

    def join(self, other: End) -> None:
        self._other = other
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(transport)

    def data_received(self, data: bytes) -> None:
        at = self._line.leaves(self._loop.time(), len(data))
        self._later(lambda: self._loop.call_at(at, self._over, data))

    def connection_lost(self, error: Exception | None) -> None:
        assert self._transport is not None
        self._open.discard(self._transport)
        at = self._line.leaves(self._loop.time(), 0)
        self._later(lambda: self._loop.call_at(at, self._over, b""))

    def _later(self, act: Callable[[], object]) -> None:
        if self._other is None:
            self._waiting.append(act)
        else:
            act()

    def _over(self, data: bytes) -> None:
        assert self._other is not None
        self._other.put(data)

    def put(self, data: bytes) -> None:
        """Nothing: the end."""
        if self._transport is None or self._transport.is_closing():
            return
        if data:
            self._transport.write(data)
        else:
            self._transport.close()


class Relays:
    """Each listens at the first address of its route, for the second."""

    def __init__(self, link: Link, routes: list[tuple[str, int, str, int]], chance: random.Random) -> None:
        self._link = link
        self._routes = routes
        self._chance = chance
        self._dialing: set[asyncio.Task[None]] = set()
        self._listening: list[asyncio.Server] = []
        self.open: set[asyncio.Transport] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for at, port, host, behind in self._routes:
            self._listening.append(await loop.create_server(partial(self._accept, host, behind), at, port))

    def close(self) -> None:
        for server in self._listening:
            server.close()
        for transport in self.open:
            transport.abort()

    def _end(self) -> End:
        return End(Line(self._link, self._chance), self.open)

    def _accept(self, host: str, port: int) -> End:
        near = self._end()
        task = asyncio.create_task(self._dial(near, host, port))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)
        return near

    async def _dial(self, near: End, host: str, port: int) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(self._end, host, port)
        except OSError:
            near.put(b"")
            return
        far.join(near)
        near.join(far)


async def main(config: str) -> None:
    given = json.loads(config)
    relays = Relays(Link(*given["link"]), [tuple(route) for route in given["routes"]], random.Random(1))
    await relays.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    relays.close()


if __name__ == "__main__":
    # select(2) wakes within microseconds of the time asked for; epoll, and uvloop, count in milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(main(sys.argv[1]))
