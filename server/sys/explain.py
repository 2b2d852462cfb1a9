"""``sys/internal/acl/explain``: which rule of which policy lets a token do something, or does not."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, Params, update
from ...framework.errors import InvalidRequest, PermissionDenied, UnsupportedOperation, UnsupportedPath
from ...framework.routes import Route
from ...framework.wire import SECONDS
from ..policy import Decision, without_sudo
from ..policy.grant import OPERATIONS
from ..request import CoreRequest
from ..tokens import TokenEntry
from .base import SystemRoutes


class ExplainParams(Params):
    token: Annotated[str, Field("The token.", sensitive=True)] = ""
    accessor: Annotated[str, Field("Accessor of the token, in place of it.")] = ""
    path: Annotated[str, Field("The path, as a request names it.")] = ""
    operation: Annotated[str, Field("create, read, update, patch, delete, list or scan.")] = "read"
    parameters: Annotated[dict[str, Any], Field("Body or query of the request, where rules look at it.")] = field(
        default_factory=dict
    )
    wrap_ttl: Annotated[int | None, Field("Lifetime asked for in X-Vault-Wrap-TTL.", SECONDS)] = None


class ExplainRoutes(SystemRoutes):
    """Explanation of refusals, for operators: whoever is refused learns nothing of it."""

    @update("internal/acl/explain", writes=False, sudo=True)
    async def explain(self, req: CoreRequest, p: ExplainParams) -> dict[str, Any]:
        """Tell whether a token may do something, and which rule decides.

        The answer names the path of the rule and, for each policy behind it, what that grants on it.
        """
        if p.operation not in OPERATIONS:
            raise InvalidRequest(f"operation is none of {', '.join(sorted(OPERATIONS))}")
        path = p.path.lstrip("/")
        if not path:
            raise InvalidRequest("path must be supplied")
        if p.operation in ("list", "scan") and not path.endswith("/"):
            path += "/"
        token = await _token(req, p)
        route = _route(req, p.operation, path)
        shown: dict[str, Any] = {"operation": p.operation, "path": path, "sudo_required": bool(route and route.sudo)}
        if route is not None and not route.auth:
            return shown | {"allowed": True, "rule": "", "policies": {}, "reason": "the path needs no token"}
        try:
            acl = await req.node.acl(token)
        except PermissionDenied:
            why = "the entity of the token is disabled or gone, or its policies cannot be compiled"
            return shown | {"allowed": False, "rule": "", "policies": {}, "reason": why}
        if not req.node.reaches(token):
            why = "the token is of another namespace, which this one is not below"
            return shown | {"allowed": False, "rule": "", "policies": {}, "reason": why}
        where = req.node.below(token, path)
        decision = acl.allow(p.operation, where, data=p.parameters, wrap_ttl=p.wrap_ttl)
        if decision.allowed and route is not None and route.sudo and not decision.sudo:
            decision = without_sudo(decision)
        return shown | {
            "allowed": decision.allowed,
            "rule": decision.path,
            "policies": {"root": ["root"]} if decision.root else acl.sources(decision.path),
            "reason": decision.reason or _grounds(decision, p.operation, sudo=bool(route and route.sudo)),
        }


def _grounds(decision: Decision, operation: str, *, sudo: bool) -> str:
    """Why a request is allowed."""
    if decision.root:
        return "the token is root"
    factors = decision.control.of(sudo=sudo) if decision.control is not None else ()
    names = ", ".join(factor.name for factor in factors)
    return f"the rule grants {operation}" + (f", once it is approved of: {names}" if names else "")


async def _token(req: CoreRequest, p: ExplainParams) -> TokenEntry:
    if bool(p.token) == bool(p.accessor):
        raise InvalidRequest("give a token or an accessor")
    tokens = req.node.tokens
    token = await (tokens.lookup(req.root, p.token) if p.token else tokens.by_accessor(req.root, p.accessor))
    if token is None or not (req.node.holds(token) or (p.token and req.node.reaches(token))):
        raise InvalidRequest("invalid token" if p.token else "invalid accessor")
    return token


def _route(req: CoreRequest, op: str, path: str) -> Route | None:
    """The route that would answer, if there is one: it says whether sudo is needed, or no token at all."""
    found = req.node.router.match(path)
    if found is None:
        return None
    mount, rest = found
    try:
        return mount.engine.match("update" if op == "create" else op, rest)[0]
    except (UnsupportedPath, UnsupportedOperation):
        return None
