"""A cluster of Caveau's raft engines, without servers around them: what a commit takes, and where."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...tests.storage.raft.certificates import Authority
from .links import Network
from .prediction import Order, Parts
from .program import Talker, python
from .records import Commit, whose
from .shape import Load, Site

_SOME_TIME = 120.0


class EngineCluster:
    """The first node leads, unless it was killed."""

    product = "caveau engine"
    order = Order.TOGETHER
    services = ("raft", "echo")

    def __init__(self, site: Site, network: Network, folder: Path) -> None:
        self._site = site
        self._network = network
        self._folder = folder
        folder.mkdir()
        self._authority = Authority(folder)
        self._nodes = [Talker(folder / f"n{n}.log") for n in range(site.nodes)]
        self._leader = 0

    async def start(self) -> None:
        for n in range(len(self._nodes)):
            await asyncio.to_thread(self._authority.contexts, f"n{n}")
            await self._launch(n)
        await self._nodes[0].ask("bootstrap", address=self._address(0))
        await asyncio.gather(*(node.ask("open") for node in self._nodes))
        for n in range(1, len(self._nodes)):
            await self._nodes[0].ask("add", node=f"n{n}", address=self._address(n))
        await self._abreast()

    async def stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self._nodes))

    async def parts(self, size: int, count: int) -> Parts:
        """What the formula adds up, measured while nothing else goes on; ``count`` times at most. All write at
        once, as in a commit: they may share a disk."""
        await self._lead()
        disks = await asyncio.gather(*(node.ask("sync", size=size, count=count) for node in self._nodes))
        disks.insert(0, disks.pop(self._leader))
        trips = []
        for n in range(len(self._nodes)):
            if n != self._leader:
                host, port = self._network.reach(n, "echo")
                ping = self._nodes[self._leader].ask
                trips.append(await ping("ping", host=host, port=port, size=size, count=count, seconds=count / 30))
        return Parts(disks, trips)

    async def load(self, load: Load, seconds: float) -> tuple[list[Commit], float]:
        """Some of the commits, and how many there were a second."""
        await self._lead()
        leader = self._nodes[self._leader]
        await leader.ask("load", size=load.size, concurrency=load.concurrency, seconds=seconds / 10)
        done = await leader.ask("load", size=load.size, concurrency=load.concurrency, seconds=seconds)
        return [_commit(row, load, self._site) for row in done["commits"]], done["count"] / done["seconds"]

    async def failover(self) -> float:
        """Kill the leader: seconds until another acknowledges a write. Then bring the old one back."""
        was = self._leader
        began = time.monotonic()
        await self._nodes[was].stop()
        self._leader = await first({n: partial(self._writes, n) for n in range(len(self._nodes)) if n != was})
        outage = time.monotonic() - began
        await self._launch(was)
        await self._nodes[was].ask("open")
        await self._abreast()
        return outage

    async def _writes(self, n: int) -> bool:
        return bool(await self._nodes[n].ask("write"))

    async def _leads(self, n: int) -> bool:
        return bool((await self._nodes[n].ask("state"))["leading"])

    async def _lead(self) -> None:
        """Find the leader."""
        self._leader = await first({n: partial(self._leads, n) for n in range(len(self._nodes))})

    def _address(self, n: int) -> str:
        return "{}:{}".format(*self._network.reach(n, "raft"))

    async def _launch(self, n: int) -> None:
        config = {
            "node": f"n{n}",
            "path": str(self._folder / f"n{n}"),
            "certificates": str(self._folder),
            "listen": self._network.listen(n, "raft"),
            "echo": self._network.listen(n, "echo"),
            "disk_delay": self._site.disk_delay,
        }
        await self._nodes[n].start([*self._network.inside(n), *python("node", json.dumps(config))])

    async def _abreast(self) -> None:
        """Wait until every node has what the leader has."""
        async with asyncio.timeout(_SOME_TIME):
            while True:
                state = await self._nodes[self._leader].ask("state")
                if len(state["abreast"]) == len(self._nodes) - 1:
                    return
                await asyncio.sleep(0.05)


async def first(writes: Mapping[int, Callable[[], Awaitable[bool]]]) -> int:
    """Try all again and again, each on its own, until one is true; which. Raises RuntimeError."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def keep_on(which: int, write: Callable[[], Awaitable[bool]]) -> None:
        while not await write():
            await asyncio.sleep(0.005)
        if not found.done():
            found.set_result(which)

    tasks = [asyncio.create_task(keep_on(which, write)) for which, write in writes.items()]
    try:
        return await asyncio.wait_for(found, _SOME_TIME)
    except TimeoutError:
        raise RuntimeError(f"no node leads for {_SOME_TIME:g} s") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _commit(row: list[Any], load: Load, site: Site) -> Commit:
    began, latency, index, entry, *stages = row
    names = ("queue", "write", "fsync", "quorum", "apply", "round_trip", "follower_fsync")
    times: dict[str, Any] = {name: None if s is None else s * 1000 for name, s in zip(names, stages, strict=True)}
    of = whose(EngineCluster.product, site, load)
    return Commit(**of, began=began * 1000, latency=latency * 1000, index=index, entry=entry, **times)
