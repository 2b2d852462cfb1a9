"""The ``token`` auth method: create, look up, renew and revoke tokens, and token roles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from functools import partial
from time import perf_counter
from typing import Annotated, Any

from ..framework import Field, NoParams, Params, Response, list_, read, update
from ..framework.cidr import shown_cidrs
from ..framework.clock import rfc3339
from ..framework.errors import InvalidRequest, MultipleErrors, PermissionDenied
from ..framework.messages import tidying
from ..framework.wire import PAIRS, SECONDS, STRINGS, Wire, parse_duration
from .limiting import admit_lease
from .logins import auth_wire, identity_policies, renewal
from .policies import RESERVED, normalise
from .request import CoreRequest
from .telemetry.sources import token_created
from .token_roles import Role, TokenRoles, lesser, matches
from .tokens import BATCH_PREFIX, ROOT_PATH, SERVICE_PREFIX, TokenEntry
from .ttl import grant

_INCREMENT = Field("How long it is to live from now; 0 gives what it was last given.", SECONDS)


def _token_text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise PermissionDenied("invalid token")
    return raw


def _no_text() -> str:
    raise PermissionDenied("invalid token")


class TokenParams(Params):
    token: Annotated[
        str, Field("The token.", Wire("string", {"type": "string"}, _token_text, _no_text), sensitive=True)
    ] = ""


class AccessorParams(Params):
    accessor: Annotated[str, Field("Accessor of the token.")] = ""


class RenewParams(TokenParams):
    increment: Annotated[int, _INCREMENT] = 0


class RenewAccessorParams(AccessorParams):
    increment: Annotated[int, _INCREMENT] = 0


class CreateParams(Params):
    id: Annotated[str, Field("Text of the token, instead of a random one. Needs sudo.", sensitive=True)] = ""
    policies: Annotated[list[str], Field("Its policies; the creator's own when none are given.", STRINGS)] = field(
        default_factory=list
    )
    meta: Annotated[dict[str, str], Field("Text pairs that are shown with the token and in audit logs.", PAIRS)] = (
        field(default_factory=dict)
    )
    display_name: Annotated[str, Field("Name of the token in audit logs.")] = ""
    ttl: Annotated[str, Field("How long it lives.")] = ""
    lease: Annotated[str, Field("Older name of ttl.", deprecated=True)] = ""
    explicit_max_ttl: Annotated[str, Field("Longest life, whatever is renewed.")] = ""
    period: Annotated[str, Field("Make it periodic: each renewal gives this much. Needs sudo.")] = ""
    renewable: Annotated[bool, Field("Whether it can be renewed.")] = True
    num_uses: Annotated[int, Field("How often it can be used; 0 is without limit.")] = 0
    no_parent: Annotated[bool, Field("Make an orphan, which outlives its creator. Needs sudo.")] = False
    no_default_policy: Annotated[bool, Field("Leave the default policy out.")] = False
    type: Annotated[str, Field("Kind of token: service or batch.")] = ""
    entity_alias: Annotated[str, Field("Name of the entity alias to bind to; with a role that allows it.")] = ""


class RoleCreateParams(CreateParams):
    role_name: Annotated[str, Field("Name of the token role.")]


class TokenAuth(TokenRoles):
    """Token-based credentials: every other login ends in a token of this method."""

    # Creation

    @update("create")
    async def create(self, req: CoreRequest, p: CreateParams) -> Response:
        """Create a token, a child of the one that asks."""
        return await self._create(req, p, None, orphan=False)

    @update("create-orphan")
    async def create_orphan(self, req: CoreRequest, p: CreateParams) -> Response:
        """Create a token without a parent."""
        return await self._create(req, p, None, orphan=True)

    @update("create/{role_name}")
    async def create_with_role(self, req: CoreRequest, p: RoleCreateParams) -> Response:
        """Create a token by the rules of a token role."""
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise InvalidRequest(f"unknown role {p.role_name}")
        return await self._create(req, p, role, orphan=role.orphan)

    async def _create(self, req: CoreRequest, p: CreateParams, role: Role | None, *, orphan: bool) -> Response:
        parent, now = req.caller, self.clock.time()
        namespace = req.node.namespace
        if parent.type == "batch":
            raise InvalidRequest("batch tokens cannot create more tokens")
        if parent.num_uses:
            raise InvalidRequest("restricted use token cannot generate child tokens")
        sudo = req.permissions.allow("update", req.acl_path, data=req.data).sudo
        if p.num_uses < 0:
            raise InvalidRequest("number of uses cannot be negative")
        if p.id:
            _check_id(p.id, sudo)
            if namespace.token_id:
                raise InvalidRequest("token IDs can only be manually specified in the root namespace")
        giver = parent
        if parent.namespace != namespace.token_id:
            if not sudo:
                raise InvalidRequest(
                    "root or sudo privileges required to directly generate a token in a child namespace"
                )
            if "root" in normalise(p.policies, default=False):
                raise InvalidRequest("root tokens may not be created from a parent namespace")
            giver = parent._replace(policies=("default",), entity_id="")  # the others mean something else here
        if p.no_parent and role is None:  # a role says itself whether its tokens are orphans
            if not sudo:
                raise InvalidRequest("root or sudo privileges required to create orphan token")
            orphan = True
        entity_id = "" if orphan else giver.entity_id
        if p.entity_alias:
            entity_id = await _entity_of(req, p.entity_alias, role)
        kind = _kind(p, role)
        period, explicit_max, ttl = (_seconds(p, name) for name in ("period", "explicit_max_ttl", "ttl"))
        ttl = ttl or _seconds(p, "lease")
        if period and not sudo:
            raise InvalidRequest("root or sudo privileges required to create periodic token")
        num_uses, warnings = p.num_uses, list[str]()
        if kind == "batch":
            _check_batch(num_uses=num_uses, period=period, explicit_max_ttl=explicit_max)
        if role is not None:
            for name, ours, theirs in (
                ("Explicit max TTL", explicit_max, role.token_explicit_max_ttl),
                ("Period", period, role.token_period),
            ):
                if ours and theirs:
                    warnings.append(
                        f"{name} specified both during creation call and in role; using the lesser value of "
                        f"{min(ours, theirs)} seconds"
                    )
            explicit_max = lesser(explicit_max, role.token_explicit_max_ttl)
            period = lesser(period, role.token_period)
            num_uses = lesser(num_uses, role.token_num_uses)
        policies = _policies(p, role, giver, sudo)
        if kind == "batch":
            if "root" in policies:
                raise InvalidRequest("batch tokens cannot be root tokens")
            _check_batch(num_uses=num_uses)  # nobody would count them
        default, maximum = req.node.ttls("auth/token/")
        if "root" in policies and not (ttl or period or explicit_max):
            if parent.expire_time:
                raise InvalidRequest("expiring root tokens cannot create non-expiring root tokens")
        else:
            life = grant(wanted=ttl, default=default, system_max=maximum, explicit_max=explicit_max, period=period,
                         start=now, now=now)  # fmt: skip
            ttl = life.ttl
            warnings += life.warnings
        entry = TokenEntry(
            accessor="",
            policies=policies,
            path=_path(req, role),
            creation_time=now,
            parent="" if orphan else parent.key,
            display_name=_display_name(p.display_name),
            meta=p.meta,
            num_uses=num_uses,
            creation_ttl=ttl,
            explicit_max_ttl=explicit_max if kind == "service" else 0,
            period=period if kind == "service" else 0,
            renewable=bool(ttl) and p.renewable and (role is None or role.renewable) and kind == "service",
            type=kind,
            bound_cidrs=role.token_bound_cidrs if role and "root" not in policies else (),
            role=role.name if role else "",
            entity_id=entity_id,
            namespace=namespace.token_id,
            expire_time=now + ttl if ttl else 0.0,
        )
        if req.node.core.quotas.limits_leases and "root" not in policies:
            await admit_lease(req)
        entry, text = await req.node.tokens.create(req.root, entry, p.id)
        token_created(req, entry)
        for name in policies:
            if await req.node.policies.get(req.root, name) is None:
                warnings.append(f'Policy "{name}" does not exist')
        return Response(auth=auth_wire(req, entry, text, await identity_policies(req, entry)), warnings=warnings)

    # Look-up

    @read("lookup")
    @update("lookup", writes=False)
    async def lookup(self, req: CoreRequest, p: TokenParams) -> dict[str, Any]:
        """Look up a token and its properties."""
        text = p.token or req.incoming.token
        entry = req.token if text == req.incoming.token else await _held(req, text)
        if entry is None:
            raise PermissionDenied("bad token")
        return await self._describe(req, entry, text)

    @read("lookup-self")
    @update("lookup-self", writes=False)
    async def lookup_self(self, req: CoreRequest, p: TokenParams) -> dict[str, Any]:
        """Look up the token that asks."""
        return await self._describe(req, req.caller, req.incoming.token)

    @update("lookup-accessor", writes=False)
    async def lookup_accessor(self, req: CoreRequest, p: AccessorParams) -> dict[str, Any]:
        """Look up a token by its accessor; the token's text is not told."""
        return await self._describe(req, await self._by_accessor(req, p), "")

    @list_("accessors", sudo=True)
    async def list_accessors(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the accessors of all tokens, by which they can be looked up and revoked."""
        return {"keys": await req.node.tokens.accessors(req.root, req.node.namespace)}

    async def _describe(self, req: CoreRequest, entry: TokenEntry, text: str) -> dict[str, Any]:
        now = self.clock.time()
        shown = {
            "accessor": entry.accessor,
            "creation_time": int(entry.creation_time),
            "creation_ttl": entry.creation_ttl,
            "display_name": entry.display_name,
            "entity_id": entry.entity_id,
            "expire_time": rfc3339(entry.expire_time) if entry.expire_time else None,
            "explicit_max_ttl": entry.explicit_max_ttl,
            "id": text,
            "issue_time": rfc3339(entry.creation_time),
            "meta": entry.meta or None,
            "num_uses": entry.num_uses,
            "orphan": not entry.parent,
            "path": entry.path,
            "policies": entry.policies,
            "renewable": entry.renewable,
            "ttl": entry.ttl(now),
            "type": entry.type,
        }
        if entry.path == ROOT_PATH:
            del shown["issue_time"], shown["renewable"]  # facts of a lease, which these have none of
        if entry.last_renewal:
            shown |= {"last_renewal": rfc3339(entry.last_renewal), "last_renewal_time": int(entry.last_renewal)}
        if entry.period:
            shown["period"] = entry.period
        if entry.role:
            shown["role"] = entry.role
        if entry.namespace:
            shown["namespace_path"] = req.node.namespaces.of_token(entry).path
        if entry.bound_cidrs:
            shown["bound_cidrs"] = shown_cidrs(entry.bound_cidrs)
        if more := await identity_policies(req, entry):
            shown |= {"identity_policies": more, "external_namespace_policies": {}}
        return shown

    # Renewal

    @update("renew")
    async def renew_token(self, req: CoreRequest, p: RenewParams) -> Response:
        """Renew a token: give it a new end."""
        if not p.token:
            raise InvalidRequest("missing token ID")
        return await self._renew(req, await _held(req, p.token), p.token, p.increment)

    @update("renew-self")
    async def renew_self(self, req: CoreRequest, p: RenewParams) -> Response:
        """Renew the token that asks."""
        # A limited token was looked up before this transaction: what others did to it since must not be undone.
        entry = req.caller if req.caller.type == "batch" else await req.node.tokens.by_key(req.root, req.caller.key)
        if entry is None:
            raise PermissionDenied
        return await self._renew(req, entry, req.incoming.token, p.increment)

    @update("renew-accessor")
    async def renew_accessor(self, req: CoreRequest, p: RenewAccessorParams) -> Response:
        """Renew a token by its accessor."""
        return await self._renew(req, await self._by_accessor(req, p), "", p.increment)

    async def _renew(self, req: CoreRequest, entry: TokenEntry | None, text: str, increment: int) -> Response:
        if entry is None:
            raise InvalidRequest("token not found")
        if entry.type == "batch":
            raise InvalidRequest("batch tokens cannot be renewed")
        if not entry.renewable:
            raise InvalidRequest("lease is not renewable")
        period, explicit_max = entry.period, entry.explicit_max_ttl
        home = await req.node.home(entry)
        if entry.role:
            role = await self.role(home.storage(req.root, "auth/token/"), entry.role)
            if role is None:
                raise InvalidRequest(f'original token role "{entry.role}" could not be found, not renewing')
            period = lesser(period, role.token_period)
            explicit_max = lesser(explicit_max, role.token_explicit_max_ttl)
        now, began = self.clock.time(), perf_counter()
        if not entry.path.startswith("auth/token/"):
            entry, life = await renewal(req, home, entry, increment, now)
        else:
            _, maximum = home.ttls("auth/token/")
            life = grant(wanted=increment, default=entry.granted, system_max=maximum,
                         explicit_max=explicit_max, period=period, start=entry.creation_time, now=now)  # fmt: skip
        if life.ttl <= 0:
            raise InvalidRequest("past the max TTL, cannot renew")
        entry = req.node.tokens.extend(req.root, entry, life.ttl, now)
        req.node.core.metrics.observe("expire.renew-token", perf_counter() - began)
        auth = auth_wire(req, entry, text, await identity_policies(req, entry), life.ttl)
        return Response(auth=auth, warnings=life.warnings)

    # Revocation

    @update("revoke")
    async def revoke_token(self, req: CoreRequest, p: TokenParams) -> None:
        """Revoke a token and all its children."""
        if not p.token:
            raise InvalidRequest("missing token ID")
        _refuse_batch(p.token)
        if (entry := await _held(req, p.token, live=False)) is not None:
            await _revoke(req, entry)

    @update("revoke-self")
    async def revoke_self(self, req: CoreRequest, p: NoParams) -> None:
        """Revoke the token that asks, and all its children."""
        _refuse_batch(req.incoming.token)
        await _revoke(req, req.caller)

    @update("revoke-accessor")
    async def revoke_accessor(self, req: CoreRequest, p: AccessorParams) -> Response | None:
        """Revoke a token, and all its children, by its accessor."""
        if not p.accessor:
            raise InvalidRequest(MultipleErrors("missing accessor").args[0])
        entry = await req.node.tokens.by_accessor(req.root, p.accessor)
        if entry is None or not req.node.holds(entry):
            return Response(warnings=["No token found with this accessor"])
        await _revoke(req, entry)
        return None

    @update("revoke-orphan")
    async def revoke_orphan(self, req: CoreRequest, p: TokenParams) -> None:
        """Revoke a token and make orphans of its children. Needs sudo."""
        if not p.token:
            raise InvalidRequest("missing token ID")
        if not req.permissions.allow("update", req.acl_path, data=req.data).sudo:
            raise InvalidRequest("root or sudo privileges required to revoke and orphan")
        _refuse_batch(p.token)
        entry = await _held(req, p.token, live=False)
        if entry is None or not await _revoke(req, entry, spare_children=True):
            raise InvalidRequest("token to revoke not found")

    @update("tidy", writes=False)
    async def tidy(self, req: CoreRequest, p: NoParams) -> Response:
        """Remove what is left over of tokens that are gone, in the background."""
        return tidying(req.node.tidy_tokens())

    async def _by_accessor(self, req: CoreRequest, p: AccessorParams) -> TokenEntry:
        if not p.accessor:
            raise MultipleErrors("missing accessor")
        entry = await req.node.tokens.by_accessor(req.root, p.accessor)
        if entry is None or not req.node.holds(entry):
            raise MultipleErrors("invalid accessor")
        return entry


async def _held(req: CoreRequest, text: str, *, live: bool = True) -> TokenEntry | None:
    """The token of this text, if it is of the request's namespace or of one below; only a ``live`` one."""
    tokens = req.node.tokens
    entry = await (tokens.lookup(req.root, text) if live else tokens.by_key(req.root, tokens.hash(text)))
    return entry if entry is not None and req.node.holds(entry) else None


async def _revoke(req: CoreRequest, entry: TokenEntry, *, spare_children: bool = False) -> bool:
    """Revoke a token; the answer waits for those of its many children that do not end in the request's transaction."""
    tokens = req.node.tokens
    req.after_commit.append(partial(tokens.trees.ended, entry.key))
    return await tokens.revoke(req.root, entry.key, spare_children=spare_children)


def _seconds(p: CreateParams, name: str) -> int:
    text = getattr(p, name)
    if not text:
        return 0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidRequest(f"error parsing {name}: {error}") from None
    if seconds < 0:
        raise InvalidRequest(f"{name} must be positive")
    return int(seconds)


def _check_id(text: str, sudo: bool) -> None:
    if not sudo:
        raise InvalidRequest("root or sudo privileges required to specify token id")
    for prefix in (SERVICE_PREFIX, BATCH_PREFIX, "s.", "b.", "r."):
        if text.startswith(prefix):
            raise InvalidRequest(f"custom token ID cannot have the '{prefix}' prefix")
    if "." in text:
        raise InvalidRequest("custom token ID cannot have a '.' in the value")
    if len(text) > 1024 or not text.isprintable():
        raise InvalidRequest("custom token ID must be at most 1024 printable characters")


def _kind(p: CreateParams, role: Role | None) -> str:
    """service or batch: what the role fixes, else what is asked for, else the role's default."""
    if p.type not in ("", "service", "batch"):
        raise InvalidRequest("invalid 'token_type' value")
    if role is not None and role.token_type in ("service", "batch"):
        return role.token_type
    default = "batch" if role is not None and role.token_type == "default-batch" else "service"
    return p.type or default


async def _entity_of(req: CoreRequest, alias: str, role: Role | None) -> str:
    """Id of the entity of an alias on this mount, which is made where there is none."""
    if role is None:
        raise InvalidRequest("'entity_alias' is only allowed in combination with token role")
    if not matches(alias.lower(), (), role.allowed_entity_aliases or ()):
        raise InvalidRequest("invalid 'entity_alias' value")
    try:
        return (await req.node.identity.login(req.root, req.mount.entry, alias)).id
    except PermissionDenied:
        raise PermissionDenied("entity from given entity alias is disabled") from None


def _check_batch(**limits: int) -> None:
    for name, value in limits.items():
        if value:
            raise InvalidRequest(f'batch tokens cannot have "{name}" set')


def _policies(p: CreateParams, role: Role | None, parent: TokenEntry, sudo: bool) -> tuple[str, ...]:
    """The policies of a new token; raises InvalidRequest where its creator may not give them."""
    default = not p.no_default_policy and not (role and role.token_no_default_policy)
    if role is not None and role.restricts:
        chosen = _role_policies(p, role, parent, default)
    else:
        wanted = p.policies or parent.policies
        if not default:
            wanted = [name for name in wanted if name.strip().lower() != "default"]
        added = default and ("default" in parent.policies or (sudo and bool(p.policies)))
        chosen = normalise(wanted, default=added)
        if not sudo and not set(chosen) <= set(parent.policies):
            raise InvalidRequest("child policies must be subset of parent")
    if "root" in chosen and not parent.is_root:
        raise InvalidRequest("root tokens may not be created without parent token being root")
    for name in RESERVED:
        if name in chosen:
            raise InvalidRequest(f'cannot assign policy "{name}"')
    return chosen


def _role_policies(p: CreateParams, role: Role, parent: TokenEntry, default: bool) -> tuple[str, ...]:
    default = default and not matches("default", role.disallowed_policies, role.disallowed_policies_glob)
    if role.allowed_policies or role.allowed_policies_glob:
        allowed = normalise(role.allowed_policies, default=default)
        chosen = (
            normalise(p.policies, default=default) if p.policies else normalise(role.allowed_policies, default=default)
        )
        if p.policies and not all(matches(name, allowed, role.allowed_policies_glob) for name in chosen):
            raise InvalidRequest(
                f"token policies ({_quoted(chosen)}) must be subset of the role's allowed policies "
                f"({_quoted(allowed)}) or glob policies ({_quoted(role.allowed_policies_glob)})"
            )
        if not p.policies and not role.allowed_policies:
            chosen = ("default",) if default else ()
    else:
        chosen = normalise(p.policies or parent.policies, default=default)
    for name in chosen:
        if matches(name, role.disallowed_policies, role.disallowed_policies_glob):
            raise InvalidRequest(f'token policy "{name}" is disallowed by this role')
    return chosen


def _quoted(names: Sequence[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _path(req: CoreRequest, role: Role | None) -> str:
    return req.incoming.path + (f"/{role.path_suffix}" if role and role.path_suffix else "")


def _display_name(raw: str) -> str:
    return re.sub(r"[^a-zA-Z0-9-]", "-", f"token-{raw[:255]}").removesuffix("-")


def _refuse_batch(text: str) -> None:
    if text.startswith(BATCH_PREFIX):
        raise InvalidRequest("batch tokens cannot be revoked")
