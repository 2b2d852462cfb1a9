"""A cluster of whole servers, driven through the Vault HTTP API."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from ..servers import CAVEAU, OPENBAO, Product
from .engines import first
from .links import Network
from .prediction import Order
from .program import Program
from .records import KEPT, Commit, thinned, whose
from .shape import Load, Site

_SOME_TIME = 120.0
_SOON = aiohttp.ClientTimeout(total=2.0)
_LATER = aiohttp.ClientTimeout(total=60.0)


class ServerCluster:
    """A secret written to KV version 1 is one commit."""

    services = ("raft", "api", "echo")

    def __init__(self, site: Site, network: Network, folder: Path, product: Product, order: Order) -> None:
        self.product = product.name
        self.order = order
        self._command = product.command
        self._site = site
        self._network = network
        self._folder = folder
        folder.mkdir()
        self._servers = [Program(folder / f"n{n}.log") for n in range(site.nodes)]
        self._leader = 0
        self._key = self._token = ""
        self._client: aiohttp.ClientSession

    async def start(self) -> None:
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        for n in range(len(self._servers)):
            (self._folder / f"n{n}").mkdir()
            (self._folder / f"n{n}.hcl").write_text(self._config(n))
            await self._launch(n)
        made = await self._until(0, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key, self._token = made["keys"][0], made["root_token"]
        await asyncio.gather(*map(self._unseal, range(len(self._servers))))
        await self._until(0, "POST", "sys/mounts/lab", {"type": "kv", "options": {"version": "1"}})
        # Not to wait for what nobody measures: how long a node is watched before it may vote.
        autopilot = {"server_stabilization_time": "1s"}
        await self._until(0, "POST", "sys/storage/raft/autopilot/configuration", autopilot)
        await self._voters()

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self._servers))
        await self._client.close()

    async def load(self, load: Load, seconds: float) -> tuple[list[Commit], float]:
        """Some of the commits, and how many there were a second."""
        await self._lead()
        await self._load(load, seconds / 10)
        done, took = await self._load(load, seconds)
        of = whose(self.product, self._site, load)
        rows = [Commit(**of, began=began * 1000, latency=each * 1000) for began, each in thinned(sorted(done), KEPT)]
        return rows, len(done) / took

    async def failover(self) -> float:
        """As an ``EngineCluster``'s: any survivor may acknowledge, for itself or for the leader."""
        was = self._leader
        others = {n: partial(self._writes, n) for n in range(len(self._servers)) if n != was}
        began = time.monotonic()
        await self._servers[was].stop()
        await first(others)
        outage = time.monotonic() - began
        await self._lead()
        await self._launch(was)
        await self._unseal(was)
        await self._voters()
        return outage

    def _config(self, n: int) -> str:
        network = self._network
        join = "".join(f'  retry_join {{\n    leader_api_addr = "{self._url(0)}"\n  }}\n' for _ in range(n > 0))
        return (
            f'storage "raft" {{\n  path = "{self._folder / f"n{n}"}"\n  node_id = "n{n}"\n{join}}}\n'
            f'api_addr = "{self._url(n)}"\ncluster_addr = "https://{_joined(network.reach(n, "raft"))}"\n'
            f'listener "tcp" {{\n  address = "{_joined(network.direct(n, "api"))}"\n'
            f'  cluster_address = "{_joined(network.listen(n, "raft"))}"\n  tls_disable = true\n}}\n'
        )

    def _url(self, n: int) -> str:
        return f"http://{_joined(self._network.direct(n, 'api'))}"

    async def _launch(self, n: int) -> None:
        command = [*self._command, f"-config={self._folder / f'n{n}.hcl'}"]
        await self._servers[n].start([*self._network.inside(n), *command])

    async def _ask(
        self, n: int, method: str, path: str, body: Any = None, patience: aiohttp.ClientTimeout = _SOON
    ) -> tuple[int, Any]:
        headers = {"X-Vault-Token": self._token} if self._token else {}
        url = f"{self._url(n)}/v1/{path}"
        async with self._client.request(method, url, json=body, headers=headers, timeout=patience) as answer:
            return answer.status, (await answer.json()) if answer.content_type == "application/json" else None

    async def _until(self, n: int, method: str, path: str, body: Any = None) -> Any:
        """The answer, once there is one."""
        status, answer = 0, None
        try:
            async with asyncio.timeout(_SOME_TIME):
                while True:
                    try:
                        status, answer = await self._ask(n, method, path, body, _LATER)
                    except (OSError, aiohttp.ClientError, TimeoutError) as error:
                        answer = error
                    else:
                        if status < 400:
                            return answer
                    await asyncio.sleep(0.1)
        except TimeoutError:
            words = self._servers[n].last_words()
            raise RuntimeError(f"{self.product}: {path} of node {n}: {status} {answer}\n{words}") from None

    async def _unseal(self, n: int) -> None:
        """It is a member once it is unsealed; before it knows its cluster it refuses the key."""
        async with asyncio.timeout(_SOME_TIME):
            while (await self._until(n, "PUT", "sys/unseal", {"key": self._key}))["sealed"]:
                await asyncio.sleep(0.1)

    async def _voters(self) -> None:
        """Wait until all are."""
        async with asyncio.timeout(_SOME_TIME):
            while True:
                answer = await self._until(self._leader, "GET", "sys/storage/raft/configuration")
                if sum(server["voter"] for server in answer["data"]["config"]["servers"]) == len(self._servers):
                    return
                await asyncio.sleep(0.1)

    async def _lead(self) -> None:
        """Find the leader."""
        self._leader = await first({n: partial(self._leads, n) for n in range(len(self._servers))})

    async def _writes(self, n: int) -> bool:
        try:
            return (await self._ask(n, "PUT", "lab/failover", {"value": "x"}))[0] < 400
        except (OSError, aiohttp.ClientError, TimeoutError):
            return False

    async def _leads(self, n: int) -> bool:
        try:
            return bool((await self._ask(n, "GET", "sys/leader"))[1].get("is_self"))
        except (OSError, aiohttp.ClientError, TimeoutError):
            return False

    async def _load(self, load: Load, seconds: float) -> tuple[list[tuple[float, float]], float]:
        url = f"{self._url(self._leader)}/v1/lab"
        body = b'{"value":"' + b"x" * load.size + b'"}'
        headers = {"X-Vault-Token": self._token, "Content-Type": "application/json"}
        done: list[tuple[float, float]] = []
        clock = time.monotonic
        start = clock()

        async def writer(number: int) -> None:
            turn = 0
            while (began := clock()) < start + seconds:
                async with self._client.put(f"{url}/{number}/{turn % 100}", data=body, headers=headers) as answer:
                    if answer.status >= 400:
                        raise RuntimeError(f"{self.product}: {answer.status} {await answer.text()}")
                done.append((began - start, clock() - began))
                turn += 1

        await asyncio.gather(*map(writer, range(load.concurrency)))
        return done, clock() - start


def _joined(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def caveau(site: Site, network: Network, folder: Path) -> ServerCluster:
    return ServerCluster(site, network, folder, CAVEAU, Order.TOGETHER)


def openbao(site: Site, network: Network, folder: Path) -> ServerCluster:
    """It replicates what its own disk has, and not before."""
    return ServerCluster(site, network, folder, OPENBAO, Order.DISK_FIRST)
