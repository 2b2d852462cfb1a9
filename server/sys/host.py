"""``sys/host-info``, ``sys/version-history`` and ``sys/config/state/sanitized``."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from ... import VAULT_VERSION
from ...framework import NoParams, list_, read
from ...framework.clock import rfc3339
from ..request import CoreRequest
from .base import SystemRoutes


class HostRoutes(SystemRoutes):
    """The machine, the software and its settings."""

    @read("host-info[/]")
    async def host_info(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Describe the machine that the server runs on."""
        from .. import host  # psutil is for this answer only

        return await asyncio.to_thread(host.describe) | {"timestamp": rfc3339(self.clock.time())}

    @list_("version-history")
    async def version_history(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the versions that have run on this store, and since when."""
        entries = orjson.loads(await req.root.get(VERSIONS_KEY) or b"[]")
        info = {}
        previous = None
        for entry in entries:
            version = entry["version"]
            info[version] = {
                "previous_version": previous,
                "timestamp_installed": rfc3339(int(entry["installed"])),
                "build_date": entry["build_date"],
            }
            previous = version
        return {"keys": list(info), "key_info": info}

    @read("config/state/sanitized")
    async def sanitized_config(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Show the server's configuration without anything secret in it."""
        config = self.core.config
        shown: dict[str, Any] = {
            name: getattr(config, name)
            for name in (
                "api_addr", "cache_size", "cluster_addr", "cluster_name", "disable_cache", "disable_clustering",
                "enable_response_header_hostname", "enable_response_header_raft_node_id", "introspection_endpoint",
                "log_format", "log_level", "log_requests_level", "pid_file", "plugin_directory", "raw_storage_endpoint",
            )
        }  # fmt: skip
        for name in ("default_lease_ttl", "max_lease_ttl", "default_max_request_duration"):
            shown[name] = int(getattr(config, name))
        shown["enable_ui"] = config.ui
        shown["listeners"] = [
            {"type": each.type, "config": {"address": each.address, "tls_disable": each.tls_disable}}
            for each in config.listeners
        ]
        shown["seals"] = [{"type": each.type, "disabled": each.disabled} for each in config.seals]
        if config.storage is not None:
            shown["storage"] = {
                "type": config.storage.type,
                "redirect_addr": config.api_addr,
                "cluster_addr": config.cluster_addr,
                "disable_clustering": config.disable_clustering,
            }
        shown["telemetry"] = {
            "disable_hostname": config.telemetry.disable_hostname,
            "metrics_prefix": config.telemetry.metrics_prefix,
            "prometheus_retention_time": int(config.telemetry.prometheus_retention_time),
        }
        return shown


VERSIONS_KEY = "core/versions"


def record_version(raw: bytes | None, build_date: str, now: float) -> bytes | None:
    """The history with the running version in it, if it is new; None when nothing changes."""
    entries: list[dict[str, Any]] = orjson.loads(raw or b"[]")
    if entries and entries[-1]["version"] == VAULT_VERSION:
        return None
    entries = [entry for entry in entries if entry["version"] != VAULT_VERSION]
    return orjson.dumps([*entries, {"version": VAULT_VERSION, "installed": now, "build_date": build_date}])
