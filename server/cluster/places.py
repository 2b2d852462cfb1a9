"""Which node answers a request: any that has the data, the very one that was asked, or the active one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...framework.errors import NotFound, UnsupportedOperation, UnsupportedPath

if TYPE_CHECKING:
    from ..namespaces import Namespaces
    from ..request import Incoming

READS: Final = frozenset({"read", "list", "scan", "header", "help"})

_OWN: Final = (
    "config/state/sanitized", "health", "host-info", "in-flight-req", "init", "leader", "loggers", "metrics",
    "monitor", "pprof", "seal", "seal-status", "step-down", "storage/raft/commits", "storage/raft/join", "unseal",
)  # fmt: skip
"""Of ``sys/``: about the node that was asked."""
_STORED: Final = (
    "audit", "auth", "config/auditing", "config/cors", "config/ui", "internal/inspect", "internal/specs",
    "internal/ui", "key-status", "leases/lookup", "mounts", "namespaces", "plugins/catalog", "policies", "policy",
    "quotas/config", "quotas/rate-limit", "raw", "rotate/config", "rotate/keyring/config", "tools", "version-history",
    "wrapping/lookup",
)  # fmt: skip
"""Of ``sys/``: reads of what is stored. What else is read there, only the active node knows."""
_ASKED: Final = (
    "audit-hash", "capabilities", "capabilities-accessor", "capabilities-self", "decode-token",
    "internal/acl/explain", "internal/specs/openapi", "leases/lookup", "tools", "wrapping/lookup",
)  # fmt: skip
"""Of ``sys/``: what is asked by a POST, and changes nothing."""


def of_this_node(path: str) -> bool:
    """Whether a request is for the node that was asked, whatever its part in the cluster."""
    return path.startswith("sys/") and _is_below(path[4:], _OWN)


async def anywhere(namespaces: Namespaces, incoming: Incoming) -> bool:
    """Whether a node that follows can answer; else the active node has to.

    Known are the mounts of this node, which may be behind: nothing that is asked wrongly here does harm, since a node
    that follows cannot write, and says so.
    """
    if incoming.wrap_ttl:
        return False
    if incoming.op == "help":
        return True
    try:
        namespace, path = namespaces.find(incoming.namespace, incoming.path)
        node = await namespaces.node(namespace)
    except NotFound:
        return incoming.op in READS
    found = node.router.match(path)
    if found is None:
        return False
    mount, below = found
    if mount.point == "sys/":
        return _is_below(below, _STORED if incoming.op in READS else _ASKED if incoming.op == "update" else ())
    try:
        route, _ = mount.engine.match(incoming.op, below)
    except (UnsupportedPath, UnsupportedOperation):
        return incoming.op in READS
    return not (route.writes or route.external or route.login)


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    path = path.rstrip("/")
    return any(path == place or path.startswith(f"{place}/") for place in places)
