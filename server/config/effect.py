"""Directives that are read and have nothing to act on yet, or act as another value: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from ...framework.jsonlimits import MAX_DEPTH
from .model import ListenerConfig, ServerConfig

Reasons = dict[str, tuple[str, str]]

SERVER: Final[Reasons] = {
    "ha_storage": ("warn", "this node serves alone; nothing is stored there"),
    "plugin_directory": ("debug", "plug-ins are Python packages, found by their entry points"),
    "unsafe_cross_namespace_identity": ("debug", "identities stay in their namespace"),
}
ALONE: Final[Reasons] = {
    "cluster_addr": ("debug", "this node serves alone"),
    "disable_clustering": ("debug", "this node serves alone"),
    "disable_standby_reads": ("debug", "this node serves alone"),
    "enable_response_header_raft_node_id": ("debug", "this node is not part of a Raft cluster"),
}
"""Where the store is not Raft's."""
LISTENER: Final[Reasons] = {
    "cluster_address": ("debug", "this node serves alone"),
}


def without_effect(config: ServerConfig) -> Iterator[tuple[str, str]]:
    """Level and text of a log line for each directive that is set and has no effect, or not the whole of it."""
    where = ", ".join(config.sources) or "configuration"
    alone = config.storage is None or config.storage.type != "raft"
    yield from _set(config, ServerConfig(), SERVER | ALONE if alone else SERVER, where)
    for listener in config.listeners:
        if alone:
            yield from _set(listener, ListenerConfig(), LISTENER, listener.origin)
        depth = listener.max_json_depth
        if depth < 0 or depth > MAX_DEPTH:
            yield (
                "warn",
                f"{listener.origin}: max_json_depth = {depth} acts as {MAX_DEPTH}, which is as much as there is",
            )


def _set(config: Any, defaults: Any, reasons: Reasons, where: str) -> Iterator[tuple[str, str]]:
    for each in fields(config):
        if each.name in reasons and getattr(config, each.name) != getattr(defaults, each.name):
            level, reason = reasons[each.name]
            yield level, f"{where}: {each.name} has no effect: {reason}"
