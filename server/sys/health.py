"""``sys/health``, ``sys/leader``, ``sys/ha-status``: whether the server is up, for load balancers and monitors."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated, Any

from ... import VAULT_VERSION
from ...framework import Field, NoParams, Params, Response, read
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, Sealed
from ...framework.wire import parse_bool
from ..request import CoreRequest
from .base import SystemRoutes

if TYPE_CHECKING:
    from ..cluster import Cluster


class HealthParams(Params):
    standbyok: Annotated[str, Field("Answer 200 on a standby too.")] = ""
    perfstandbyok: Annotated[str, Field("Answer as the active node on a standby that answers reads.")] = ""
    activecode: Annotated[str, Field("Status when active.")] = ""
    standbycode: Annotated[str, Field("Status when standby.")] = ""
    sealedcode: Annotated[str, Field("Status when sealed.")] = ""
    uninitcode: Annotated[str, Field("Status when not initialized.")] = ""
    drsecondarycode: Annotated[str, Field("Status of a disaster-recovery secondary; there is none here.")] = ""
    performancestandbycode: Annotated[str, Field("Status of a standby that answers reads.")] = ""


_CODES = {"activecode": 200, "standbycode": 429, "sealedcode": 503, "uninitcode": 501, "drsecondarycode": 472,
          "performancestandbycode": 473}  # fmt: skip


class HealthRoutes(SystemRoutes):
    """Liveness."""

    @read("health", auth=False, sealed=True)
    async def health(self, req: CoreRequest, p: HealthParams) -> Response:
        """Tell whether the server is initialized, unsealed and active; the status code says it too."""
        for flag in (p.standbyok, p.perfstandbyok):
            try:
                parse_bool(flag)
            except ValueError:
                raise InvalidRequest("") from None
        codes = {name: _code(getattr(p, name), default) for name, default in _CODES.items()}
        core = self.core
        leadership = core.leadership
        follows = leadership is not None and leadership.follows
        reads = leadership is not None and leadership.follows and leadership.reads_here
        initialized = await core.seal.initialized()
        if not initialized:
            status = codes["uninitcode"]
        elif core.sealed:
            status = codes["sealedcode"]
        elif not follows:
            status = codes["activecode"]
        elif reads:
            status = codes["activecode" if parse_bool(p.perfstandbyok) else "performancestandbycode"]
        else:
            status = codes["activecode" if parse_bool(p.standbyok) else "standbycode"]
        mode = "unknown" if core.sealed else "disabled"
        body: dict[str, Any] = {
            "initialized": initialized,
            "sealed": core.sealed,
            "standby": core.sealed or follows,
            "performance_standby": reads,
            "replication_performance_mode": mode,
            "replication_dr_mode": mode,
            "server_time_utc": int(self.clock.time()),
            "version": VAULT_VERSION,
        }
        if not core.sealed:
            body |= core.cluster
        if failing := core.audit.failures():
            body["audit_failing"] = failing
        return Response(data=body, status=status, bare=True)

    @read("leader", auth=False, sealed=True)
    async def leader(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell which node is active."""
        raft = self.core.raft
        if raft is None:
            return Response(data={"ha_enabled": False}, bare=True)
        if self.core.sealed:
            raise Sealed
        status, itself, leadership = raft.engine.status, raft.engine.leading, self.core.leadership
        leader = None if status.leader is None else await raft.ask(status.leader, again=False)
        answer: dict[str, Any] = {"ha_enabled": True, "is_self": itself}
        if itself:
            answer["active_time"] = rfc3339(raft.active_since)
        return Response(
            data={
                **answer,
                "leader_address": leader.api_addr if leader else "",
                "leader_cluster_address": leader.cluster_addr if leader else "",
                "performance_standby": leadership is not None and leadership.follows and leadership.reads_here,
                "performance_standby_last_remote_wal": 0,
                "raft_committed_index": status.commit,
                "raft_applied_index": status.applied,
            },
            bare=True,
        )

    @read("ha-status")
    async def ha_status(self, req: CoreRequest, p: NoParams) -> Response:
        """List the nodes that serve this store."""
        config, raft = self.core.config, self.core.raft
        if raft is not None:
            return Response(data={"nodes": await self._members(raft)}, flat=True)
        node = {
            "active_node": True,
            "api_address": config.api_addr,
            "cluster_address": config.cluster_addr,
            "hostname": socket.gethostname(),
            "last_echo": None,
            "version": VAULT_VERSION,
        }
        return Response(data={"nodes": [node]}, flat=True)

    async def _members(self, raft: Cluster) -> list[dict[str, Any]]:
        """Those that answer, each with what it says of itself."""
        members, leader = raft.engine.status.configuration.servers, raft.engine.leader
        told = await asyncio.gather(*map(raft.ask, members))
        now = rfc3339(self.clock.time())
        return [
            {
                "hostname": about.hostname,
                "api_address": about.api_addr,
                "cluster_address": about.cluster_addr,
                "active_node": leader is not None and about.id == leader.id,
                "last_echo": None if about.id == raft.node else now,
                "version": about.version,
                "upgrade_version": about.version,
            }
            for about in told
            if about is not None
        ]

    @read("replication/status", auth=False)
    async def replication(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell that nothing is replicated to other clusters."""
        return Response(data={"dr": {"mode": "disabled"}, "performance": {"mode": "disabled"}})


def _code(raw: str, default: int) -> int:
    if not raw:
        return default
    if not (raw.isascii() and raw.isdigit() and 200 <= int(raw) <= 599):
        raise InvalidRequest("")
    return int(raw)
