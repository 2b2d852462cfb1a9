"""Logins: an auth method's `Auth` becomes a token in the transaction of the request, and is asked at its renewals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..framework import Auth, Params, Request, Response
from ..framework.errors import InvalidCredentials, InvalidRequest, MultipleErrors
from ..storage.prefix import PrefixView
from .limiting import admit_lease
from .policies import RESERVED, normalise
from .request import CoreRequest
from .telemetry.sources import token_created
from .tokens import TokenEntry
from .ttl import Lifetime, grant

if TYPE_CHECKING:
    from .identity import Profile
    from .node import Node


async def log_in(req: CoreRequest, response: Response) -> None:
    """Make the token that a login is worth, or ask for what it lacks to get one. Raises InvalidRequest."""
    auth: Auth = response.auth
    role = await admit_lease(req, login=True) if req.node.core.quotas.limits_leases else ""
    profile = None
    if auth.alias_name:
        profile = await req.node.identity.login(
            req.root, req.mount.entry, auth.alias_name, auth.alias_meta, auth.group_aliases
        )
    if req.node.enforced and (needed := req.node.namespaces.mfa.needed(req.node.namespace, req.mount, profile)):
        await req.node.namespaces.mfa.logins.begin(req, response, auth, profile, role, needed)
    else:
        await issue(req, response, auth, profile, role, req.incoming.path)


async def issue(
    req: CoreRequest, response: Response, auth: Auth, profile: Profile | None, role: str, path: str
) -> None:
    """Make the token of a login by ``path``, and put its wire form into the response. Raises InvalidRequest.

    ``role``: the one that the login was for, where a quota has to know.
    """
    node, mount, now = req.node, req.mount, req.node.clock.time()
    policies = normalise(auth.policies, default=not auth.no_default_policy)
    if "root" in policies:
        raise InvalidRequest("auth methods cannot create root tokens")
    for name in RESERVED:
        if name in policies:
            raise InvalidRequest(f'cannot assign policy "{name}"')
    kind = token_type(mount.entry.config.token_type, auth.token_type)
    service = kind == "service"
    if not service and auth.num_uses:
        raise InvalidRequest('batch tokens cannot have "num_uses" set')  # nobody would count them
    default, maximum = node.ttls(mount.point)
    life = grant(wanted=auth.ttl, default=default, system_max=maximum, max_ttl=auth.max_ttl,
                 explicit_max=auth.explicit_max_ttl, period=auth.period, start=now, now=now)  # fmt: skip
    entry = TokenEntry(
        accessor="",
        policies=policies,
        path=path,
        creation_time=now,
        display_name=f"{mount.entry.path.replace('/', '-')}{auth.display_name}".removesuffix("-"),
        meta=auth.meta,
        num_uses=auth.num_uses,
        creation_ttl=life.ttl,
        explicit_max_ttl=auth.explicit_max_ttl if service else 0,
        period=auth.period if service else 0,
        renewable=auth.renewable and service,
        type=kind,
        bound_cidrs=tuple(auth.bound_cidrs),
        entity_id="" if profile is None else profile.id,
        expire_time=now + life.ttl,
        internal=auth.internal if service else {},
        namespace=node.namespace.token_id,
        login_role=role,
    )
    entry, text = await node.tokens.create(req.root, entry, point=mount.point)
    token_created(req, entry)
    response.auth = auth_wire(req, entry, text, () if profile is None else profile.policies)
    if life.warnings:
        response.warnings = [*response.warnings, *life.warnings]


async def attempt(req: CoreRequest, name: str, handler: Callable[[CoreRequest, Params], Awaitable[Any]], params: Params
                  ) -> Any:  # fmt: skip
    """Run the handler of a login by ``name``, which many failures lock out. Raises PermissionDenied."""
    lockout, mount = req.node.core.lockout, req.mount
    lockout.check(mount, name)
    try:
        answer = await handler(req, params)
    except InvalidCredentials as error:
        lockout.check(mount, name)
        await lockout.failed(req.node, mount, name, known=error.known)
        raise
    lockout.check(mount, name)  # many guesses at once are no more guesses: a right one among them tells nothing
    if lockout:
        await lockout.succeeded(req.node, mount, name)
    return answer


def token_type(mount: str | None, method: str) -> str:
    """service or batch: what the mount fixes, else what the method chose, else the mount's default."""
    if mount in ("service", "batch"):
        return mount
    if method in ("service", "batch"):
        return method
    return "batch" if mount == "default-batch" else "service"


async def renewal(
    req: CoreRequest, home: Node, entry: TokenEntry, increment: int, now: float
) -> tuple[TokenEntry, Lifetime]:
    """Ask the auth method that gave a token how it may live on; raises InvalidRequest when it may not.

    ``home``: the node of the token's namespace. ``now``: seconds since the epoch.
    """
    found = home.router.match(entry.path)
    if found is None:
        raise InvalidRequest("the auth method that gave this token is gone; it cannot be renewed")
    mount, path = found
    auth = Auth(
        list(entry.policies),
        display_name=entry.display_name,
        meta=entry.meta,
        explicit_max_ttl=entry.explicit_max_ttl,
        period=entry.period,
        num_uses=entry.num_uses,
        bound_cidrs=list(entry.bound_cidrs),
        token_type=entry.type,
        internal=entry.internal,
    )
    call = Request("update", path, PrefixView(req.root, mount.prefix), id=req.id, mount_point=mount.point,
                   remote_address=req.remote_address, peer_certificate=req.peer_certificate)  # fmt: skip
    try:
        auth = await mount.engine.renew_login(call, auth)
    except InvalidRequest as error:
        raise MultipleErrors(f"failed to renew entry: {error}") from None
    if entry.entity_id and auth.group_aliases is not None:
        await home.identity.refresh_groups(req.root, mount.entry, entry.entity_id, auth.group_aliases)
    default, maximum = home.ttls(mount.point)
    life = grant(wanted=increment, default=auth.ttl or default, system_max=maximum, max_ttl=auth.max_ttl,
                 explicit_max=auth.explicit_max_ttl, period=auth.period,
                 start=entry.creation_time, now=now)  # fmt: skip
    return entry._replace(period=auth.period), life


def auth_wire(
    req: CoreRequest, entry: TokenEntry, text: str, more: tuple[str, ...], ttl: int | None = None
) -> dict[str, Any]:
    """The ``auth`` object of an answer that gives or renews a token. ``more``: policies of its entity and groups."""
    if req.incoming.audit is not None:
        req.incoming.audit.given = entry
    wire: dict[str, Any] = {
        "client_token": text,
        "accessor": entry.accessor,
        "policies": entry.policies,
        "token_policies": entry.policies,
        "metadata": entry.meta or None,
        "lease_duration": entry.creation_ttl if ttl is None else ttl,
        "renewable": entry.renewable,
        "entity_id": entry.entity_id,
        "token_type": entry.type,
        "orphan": not entry.parent,
        "mfa_requirement": None,
        "num_uses": max(entry.num_uses, 0),
    }
    if more:
        wire |= {"policies": sorted({*entry.policies, *more}), "identity_policies": more}
    return wire


async def identity_policies(req: CoreRequest, entry: TokenEntry) -> tuple[str, ...]:
    """What a token's entity and its groups, which are of the token's namespace, add to its policies."""
    if not entry.entity_id:
        return ()
    node = req.node if entry.namespace == req.node.namespace.token_id else await req.node.home(entry)
    return await node.identity.policies_in(req.root, entry.entity_id)
