"""One node of a cluster under test: Caveau's raft engine in a process of its own, told what to do on standard input.

    python -m caveau.benchmarks.commit_latency.node '{"node": "n0", ...}'

A line of JSON is one order and gets one line of JSON back. ``Node``'s methods are the orders. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from ...framework.errors import StoreError
from ...storage.raft.disk import Directory, File
from ...storage.raft.driver import Driver
from ...storage.raft.engine import CommitTrace, MembershipRefused, Server
from ...storage.raft.tls import TlsTransport
from ...tests.storage.raft.certificates import contexts
from .records import KEPT, thinned

_AFRESH = 200
"""Entries after which their traces are fetched: the engine remembers no more than some hundred."""
_HEAD = 4
_ANSWER = b"." * 64


class SlowFile:
    """A ``File`` whose syncs take so many seconds longer."""

    def __init__(self, file: File, delay: float) -> None:
        self._file = file
        self._delay = delay
        self.write = file.write
        self.close = file.close

    @property
    def size(self) -> int:
        return self._file.size

    def sync(self) -> None:
        self._file.sync()
        if self._delay:
            time.sleep(self._delay)


class SlowDirectory(Directory):
    """A ``Disk`` of such files."""

    def __init__(self, path: Path, delay: float) -> None:
        super().__init__(path)
        self._delay = delay

    def open(self, name: str) -> File:  # type: ignore[override]
        return SlowFile(super().open(name), self._delay)

    def create(self, name: str, size: int) -> File:  # type: ignore[override]
        return SlowFile(super().create(name, size), self._delay)


class Node:
    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._path = Path(config["path"])
        self._delay: float = config["disk_delay"]
        transport = TlsTransport(*contexts(Path(config["certificates"]), config["node"]), tuple(config["listen"]))
        self._engine = Driver(
            config["node"], self._path / "raft", transport, disk=lambda path: SlowDirectory(path, self._delay)
        )

    async def bootstrap(self, address: str) -> None:
        await self._engine.bootstrap(address)

    async def open(self) -> None:
        self._echo = await asyncio.start_server(_echo, *self._config["echo"])
        await self._engine.open()

    async def add(self, node: str, address: str) -> None:
        """Make it a member, and a voter once it has caught up."""
        await self._engine.add(Server(node, address))
        while True:
            try:
                return await self._engine.promote(node)
            except MembershipRefused:
                await asyncio.sleep(0.05)

    async def state(self) -> dict[str, Any]:
        status = self._engine.status
        connected = [peer.id for peer in status.peers if peer.connected and peer.match == status.last]
        return {"leading": self._engine.leading, "abreast": connected, "failure": status.failure}

    async def write(self) -> bool:
        """Whether one write was acknowledged."""
        try:
            await self._engine.propose({"lab/failover": os.urandom(16)})
        except StoreError:
            return False
        return True

    async def ping(self, host: str, port: int, size: int, count: int, seconds: float) -> list[float]:
        """Round trips to another node's echo: ``size`` bytes there, and as many back as an acknowledgement has. At
        most ``count``, and none is begun after ``seconds``."""
        reader, writer = await asyncio.open_connection(host, port)
        message = size.to_bytes(_HEAD, "big") + os.urandom(size)
        trips: list[float] = []
        until = time.monotonic() + seconds
        while len(trips) < count and (began := time.monotonic()) < until:
            writer.write(message)
            await reader.readexactly(len(_ANSWER))
            trips.append(time.monotonic() - began)
        writer.close()
        return trips

    async def sync(self, size: int, count: int) -> list[float]:
        """What ``count`` writes of ``size`` bytes take until they are durable, where the log is and as it does it."""
        return await asyncio.to_thread(self._sync, size, count)

    def _sync(self, size: int, count: int) -> list[float]:
        room = max(1 << 20, size)
        directory = SlowDirectory(self._path / "probe", self._delay)
        file = directory.create("probe", room)
        data, offset, times = os.urandom(size), 0, []
        for _ in range(count):
            began = time.monotonic()
            file.write(data, offset)
            file.sync()
            times.append(time.monotonic() - began)
            offset = offset + size if offset + 2 * size <= room else 0
        file.close()
        directory.remove("probe")
        directory.close()
        return times

    async def load(self, size: int, concurrency: int, seconds: float) -> dict[str, Any]:
        """Write for so long; each writer waits for its answer. ``commits``: of all, evenly thinned, when each began
        and how long it took, and the trace of its entry where it was caught."""
        engine, clock = self._engine, time.monotonic
        value = os.urandom(size)
        traces: dict[int, CommitTrace] = {}
        done: list[tuple[float, float, int]] = []
        start = clock()
        seen = 0

        async def writer(number: int) -> None:
            nonlocal seen
            turn = 0
            while (began := clock()) < start + seconds:
                index = await engine.propose({f"lab/{number}/{turn % 100}": value})
                done.append((began - start, clock() - began, index))
                turn += 1
                if index >= seen + _AFRESH:
                    seen = index
                    traces.update((trace.index, trace) for trace in engine.commits)

        await asyncio.gather(*map(writer, range(concurrency)))
        took = clock() - start
        traces.update((trace.index, trace) for trace in engine.commits)
        majority = (len(engine.status.configuration.voters) // 2) - 1
        commits = [
            [began, latency, *_columns(traces.get(index), index, majority)]
            for began, latency, index in thinned(sorted(done), KEPT)
        ]
        return {"count": len(done), "seconds": took, "commits": commits}


def _columns(trace: CommitTrace | None, index: int, decisive: int) -> list[float | None]:
    """``decisive``: which of the followers, the fastest first, made it a majority."""
    if trace is None:
        return [index, *[None] * 8]
    answers = sorted((f.round_trip, f.fsync) for f in trace.followers.values())
    trip, fsync = answers[decisive] if 0 <= decisive < len(answers) else (None, None)
    own = [trace.queue, trace.write, trace.fsync, trace.quorum, trace.apply]
    return [index, trace.size, *own, trip, fsync]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readexactly(int.from_bytes(await reader.readexactly(_HEAD), "big"))
            writer.write(_ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(config: str) -> None:
    node = Node(json.loads(config))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        act: Callable[..., Awaitable[object]] = getattr(node, order.pop("do"))
        try:
            answer = {"answer": await act(**order)}
        except (StoreError, MembershipRefused, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
