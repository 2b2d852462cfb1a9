"""``sys/health``, ``sys/leader``, ``sys/ha-status``: whether the server is up, for load balancers and monitors."""

from __future__ import annotations

import socket
from typing import Annotated, Any

from ... import VAULT_VERSION
from ...framework import Field, NoParams, Params, Response, read
from ...framework.errors import InvalidRequest
from ...framework.wire import parse_bool
from ..request import CoreRequest
from .base import SystemRoutes


class HealthParams(Params):
    standbyok: Annotated[str, Field("Answer 200 on a standby too.")] = ""
    perfstandbyok: Annotated[str, Field("Answer 200 on a performance standby too.")] = ""
    activecode: Annotated[str, Field("Status when active.")] = ""
    standbycode: Annotated[str, Field("Status when standby.")] = ""
    sealedcode: Annotated[str, Field("Status when sealed.")] = ""
    uninitcode: Annotated[str, Field("Status when not initialized.")] = ""
    drsecondarycode: Annotated[str, Field("Status of a disaster-recovery secondary; there is none here.")] = ""
    performancestandbycode: Annotated[str, Field("Status of a performance standby; there is none here.")] = ""


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
        initialized = await core.seal.barrier.initialized()
        if not initialized:
            status = codes["uninitcode"]
        elif core.sealed:
            status = codes["sealedcode"]
        else:
            status = codes["activecode"]
        mode = "unknown" if core.sealed else "disabled"
        body: dict[str, Any] = {
            "initialized": initialized,
            "sealed": core.sealed,
            "standby": core.sealed,
            "performance_standby": False,
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
        return Response(data={"ha_enabled": False}, bare=True)

    @read("ha-status")
    async def ha_status(self, req: CoreRequest, p: NoParams) -> Response:
        """List the nodes that serve this store."""
        config = self.core.config
        node = {
            "active_node": True,
            "api_address": config.api_addr,
            "cluster_address": config.cluster_addr,
            "hostname": socket.gethostname(),
            "last_echo": None,
            "version": VAULT_VERSION,
        }
        return Response(data={"nodes": [node]}, flat=True)


def _code(raw: str, default: int) -> int:
    if not raw:
        return default
    if not (raw.isascii() and raw.isdigit() and 200 <= int(raw) <= 599):
        raise InvalidRequest("")
    return int(raw)
