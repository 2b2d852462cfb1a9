"""Nodes of a cluster in one process, over real sockets: each a store, a seal and what makes it a member."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from caveau.framework.clock import FakeClock
from caveau.framework.errors import CaveauError
from caveau.framework.metrics import Metrics
from caveau.server.cluster import Cluster, ClusterStore
from caveau.server.cluster.admission import Answer
from caveau.server.cluster.settings import JoinTarget
from caveau.server.config import ListenerConfig, ServerConfig
from caveau.server.seal import Hooks, SealCore, initialize
from caveau.storage.barrier import Barrier
from caveau.storage.seals.shamir import ShamirSeal


class Member:
    """One node. ``api``: where others ask to join."""

    def __init__(self, name: str, folder: Path) -> None:
        self.store = ClusterStore.from_config({"path": str(folder / name), "node_id": name})
        self.clock = FakeClock(time.time() - 20 * 3600)  # OpenSSL has another, and certificates are good for a day
        listener = ListenerConfig(address="127.0.0.1:0", cluster_address="127.0.0.1:0")
        self.cluster = Cluster(self.store, ServerConfig(listeners=(listener,)), self.clock)
        hooks = Hooks(
            on_unseal=self._open,
            on_seal=self.cluster.sealing,
            create_root_token=_no_token,
            revoke_root_token=_ignored,
            cluster=dict,
            on_initialize=self.cluster.bootstrap,
        )
        self.seal = SealCore(
            self.store, ShamirSeal(), hooks, clock=self.clock, version="", build_date="", storage_type="raft"
        )
        self.metrics = Metrics()
        self.cluster.attach(self.seal, self.metrics)
        self._runner: web.AppRunner | None = None
        self.api = ""

    async def _open(self, barrier: Barrier) -> None:
        await self.cluster.unsealed(barrier)

    async def start(self) -> None:
        self.cluster.bind()
        await self.store.open()
        app = web.Application()
        app.router.add_post("/v1/sys/storage/raft/bootstrap/{what}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.api = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            if request.match_info["what"] == "challenge":
                data = await self.cluster.admission.challenge(body["server_id"])
            else:
                data = await self.cluster.admission.admit(Answer(**body))
        except CaveauError as error:
            return web.json_response({"errors": error.messages}, status=error.status)
        return web.json_response({"data": data})

    async def initialize(self) -> str:
        """As the first node; the one unseal key."""
        made = await initialize(self.seal, secret_shares=1, secret_threshold=1)
        key: str = made["keys_base64"][0]
        await self.seal.unseal(key)
        return key

    async def join(self, other: Member, key: str = "", *, non_voter: bool = False, token: str = "") -> None:
        await self.cluster.joining.join(JoinTarget(leader_api_addr=other.api, join_token=token), non_voter=non_voter)
        if key:
            await self.seal.unseal(key)
            await until(lambda: not self.seal.sealed)

    @property
    def leads(self) -> bool:
        return self.cluster.engine.leading

    async def stop(self) -> None:
        await self.seal.seal()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.store.close()
        await self.cluster.close()


async def _no_token() -> str:
    return "token"


async def _ignored(token: str) -> None:
    """There is none to revoke."""


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Real sockets and disks have real time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def members(folder: Path, *names: str) -> AsyncIterator[list[Member]]:
    """Nodes that are started, and members of nothing yet."""
    made = [Member(name, folder) for name in names]
    try:
        for member in made:
            await member.start()
        yield made
    finally:
        for member in reversed(made):
            await member.stop()


@asynccontextmanager
async def cluster(folder: Path, *names: str) -> AsyncIterator[tuple[list[Member], str]]:
    """Nodes that have joined the first, all voters, and their unseal key."""
    async with members(folder, *names) as made:
        first, *others = made
        key = await first.initialize()
        for other in others:
            await other.join(first, key)
            await until(lambda other=other: _caught_up(first, other))  # type: ignore[misc]
            await first.cluster.promote(other.cluster.node)
        yield made, key


def _caught_up(leader: Member, other: Member) -> bool:
    ahead = leader.cluster.engine.status
    return other.cluster.engine.status.applied >= ahead.commit
