"""Where requests meet the quotas: before anything else is done for them, their token looked up too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..framework import Request
from ..framework.errors import CaveauError, MultipleErrors, RateLimited
from ..storage.prefix import PrefixView

if TYPE_CHECKING:
    from .mounts import Mount
    from .namespaces import Namespaces
    from .node import Node
    from .quotas import LeaseCount, Quotas, RateLimit
    from .request import CoreRequest, Incoming


async def admit(quotas: Quotas, node: Node, incoming: Incoming) -> None:
    """Count a request; raises RateLimited when it is one too many."""
    namespace = node.namespace.path
    if quotas.exempts(namespace + incoming.path):
        return
    mount, path = node.router.match(incoming.path) or (None, "")
    point = mount.point if mount is not None else ""
    role = ""
    if mount is not None and quotas.rates.for_roles(namespace, point):
        role = await login_role(node, mount, path, incoming)
    quota = quotas.rates.find(namespace, point, path, role)
    if quota is None:
        return
    client, secondary = await _client(quota, node, incoming)
    verdict = quotas.meter(quota).take(client, node.clock.time(), secondary=secondary)
    if quotas.config.response_headers:
        incoming.answer_headers = verdict.headers()
    if not verdict.admitted:
        if not quotas.config.audit_logging:
            incoming.audit = None
        raise RateLimited(f'request path "{incoming.path}": rate limit quota exceeded')


async def admit_lease(req: CoreRequest, *, login: bool = False) -> str:
    """Raise RateLimited when there are already as many leases and tokens as may be of what the request is for.

    Gives the role that a ``login`` is for, where a quota had to know.
    """
    node, quotas = req.node, req.node.core.quotas
    namespace, point, role = node.namespace.path, req.mount.point, ""
    if login and quotas.leases.for_roles(namespace, point):
        role = await login_role(node, req.mount, req.path, req.incoming)
    quota = quotas.leases.find(namespace, point, req.path, role)
    if quota is None:
        return role
    if quota.is_watched:
        count = await node.leases.index.watch(quota)
    else:
        count = leases_of(quota, node.namespaces)
    if count < quota.max_leases:
        return role
    quotas.refused_leases[quota.name] += 1
    raise RateLimited(MultipleErrors(f'request path "{req.incoming.path}": lease count quota exceeded').args[0])


def leases_of(quota: LeaseCount, namespaces: Namespaces) -> int:
    """How many leases and tokens a quota is about, in namespaces that are in use. From memory."""
    namespace = namespaces.at(quota.namespace)
    if namespace is None:
        return 0
    index = namespaces.leases.of(namespace.prefix)
    if quota.is_watched:
        return index.watched(quota)
    if quota.mount:
        return index.count(quota.mount)
    below = namespaces.below(namespace, deep=True) if quota.inheritable else []
    return index.total + sum(namespaces.leases.of(each.prefix).total for each in below)


async def login_role(node: Node, mount: Mount, path: str, incoming: Incoming) -> str:
    """The role that a login asks for; empty for every other request, and where there is no such role."""
    engine = mount.engine
    try:
        route, captures = engine.match(incoming.op, path)
        if route.auth:
            return ""
        params, _ = engine.load(route, captures, incoming.data)
        storage = PrefixView(node.store, mount.prefix)
        request = Request(incoming.op, path, storage, incoming.data, incoming.id, mount.point)
        return await engine.login_role(request, params)
    except CaveauError:  # it will fail by itself, and is counted like any other
        return ""


async def _client(quota: RateLimit, node: Node, incoming: Incoming) -> tuple[str, bool]:
    """What a request is counted under, and whether that is its address although entities are grouped by."""
    group, _, otherwise = quota.group_by.partition("_then_")
    if group == "entity":
        token = await node.tokens.lookup(node.store, incoming.token) if incoming.token else None
        if token is not None and token.entity_id:
            return f"entity {token.entity_id}", False
        return ("" if otherwise == "none" else incoming.remote_address), True
    return ("" if group == "none" else incoming.remote_address), False
