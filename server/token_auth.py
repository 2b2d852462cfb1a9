"""The ``token`` auth method: create, look up, renew and revoke tokens, and token roles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Annotated, Any

import orjson

from ..framework import Engine, Field, NoParams, Params, Response, delete, list_, read, update
from ..framework.clock import rfc3339
from ..framework.errors import InvalidRequest, MultipleErrors, NotFound, PermissionDenied
from ..framework.storage import ReadView
from ..framework.wire import COMMA_STRINGS, PAIRS, STRINGS, parse_duration
from .policies import RESERVED, normalise
from .request import CoreRequest
from .tokens import BATCH_PREFIX, SERVICE_PREFIX, TokenEntry, network
from .ttl import grant

_TYPES = ("", "service", "batch", "default-service", "default-batch")
_SUFFIX = re.compile(r"\w[\w.-]+\w", re.ASCII)
_META_LIMIT = 64


class TokenParams(Params):
    token: Annotated[str, Field("The token.", sensitive=True)] = ""


class AccessorParams(Params):
    accessor: Annotated[str, Field("Accessor of the token.")] = ""


class RenewParams(TokenParams):
    increment: Annotated[str, Field("How long it is to live from now; empty takes its own default.")] = ""


class RenewAccessorParams(AccessorParams):
    increment: Annotated[str, Field("How long it is to live from now; empty takes its own default.")] = ""


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


class RoleName(Params):
    role_name: Annotated[str, Field("Name of the token role.")]


class RoleParams(RoleName):
    allowed_policies: Annotated[list[str], Field("Policies its tokens may have.")] = field(default_factory=list)
    allowed_policies_glob: Annotated[list[str], Field("Patterns of policies its tokens may have.")] = field(
        default_factory=list
    )
    disallowed_policies: Annotated[list[str], Field("Policies its tokens may not have.")] = field(default_factory=list)
    disallowed_policies_glob: Annotated[list[str], Field("Patterns of policies its tokens may not have.")] = field(
        default_factory=list
    )
    orphan: Annotated[bool, Field("Whether its tokens are orphans.")] = False
    renewable: Annotated[bool, Field("Whether its tokens can be renewed.")] = True
    path_suffix: Annotated[str, Field("Put behind the path of its tokens, for revoking by prefix.")] = ""
    allowed_entity_aliases: Annotated[list[str], Field("Entity aliases its tokens may be bound to.")] = field(
        default_factory=list
    )
    token_explicit_max_ttl: Annotated[str, Field("Longest life of its tokens.", aliases=("explicit_max_ttl",))] = ""
    token_period: Annotated[str, Field("Make its tokens periodic.", aliases=("period",))] = ""
    token_bound_cidrs: Annotated[
        list[str], Field("Where its tokens may be used from.", COMMA_STRINGS, aliases=("bound_cidrs",))
    ] = field(default_factory=list)
    token_num_uses: Annotated[int, Field("How often its tokens can be used; 0 is without limit.")] = 0
    token_no_default_policy: Annotated[bool, Field("Leave the default policy out.")] = False
    token_type: Annotated[str, Field("Kind of its tokens.")] = "default-service"


@dataclass(frozen=True, slots=True)
class Role:
    """A token role as stored; lifetimes in seconds."""

    name: str
    allowed_policies: tuple[str, ...] = ()
    allowed_policies_glob: tuple[str, ...] = ()
    disallowed_policies: tuple[str, ...] = ()
    disallowed_policies_glob: tuple[str, ...] = ()
    orphan: bool = False
    renewable: bool = True
    path_suffix: str = ""
    allowed_entity_aliases: tuple[str, ...] | None = None
    token_explicit_max_ttl: int = 0
    token_period: int = 0
    token_bound_cidrs: tuple[str, ...] = ()
    token_num_uses: int = 0
    token_no_default_policy: bool = False
    token_type: str = "default-service"

    @classmethod
    def load(cls, raw: bytes) -> Role:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in orjson.loads(raw).items()}
        return cls(**values)

    def wire(self) -> dict[str, Any]:
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        shown |= {"period": self.token_period, "explicit_max_ttl": self.token_explicit_max_ttl}
        for name in ("token_bound_cidrs", "token_num_uses"):
            if not shown[name]:
                del shown[name]
        return shown

    @property
    def restricts(self) -> bool:
        return bool(
            self.allowed_policies
            or self.allowed_policies_glob
            or self.disallowed_policies
            or self.disallowed_policies_glob
        )


class TokenAuth(Engine):
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
        role = await self._role(req.storage, p.role_name)
        if role is None:
            raise InvalidRequest(f"unknown role {p.role_name}")
        return await self._create(req, p, role, orphan=role.orphan)

    async def _create(self, req: CoreRequest, p: CreateParams, role: Role | None, *, orphan: bool) -> Response:
        parent, now = req.caller, self.clock.time()
        if parent.type == "batch":
            raise InvalidRequest("batch tokens cannot create more tokens")
        if parent.num_uses:
            raise InvalidRequest("restricted use token cannot generate child tokens")
        sudo = req.permissions.allow("update", req.incoming.path, data=req.data).sudo
        if p.num_uses < 0:
            raise InvalidRequest("number of uses cannot be negative")
        if p.id:
            _check_id(p.id, sudo)
        if p.no_parent:
            if not sudo:
                raise InvalidRequest("root or sudo privileges required to create orphan token")
            orphan = True
        if p.entity_alias:
            if role is None:
                raise InvalidRequest("'entity_alias' is only allowed in combination with token role")
            raise InvalidRequest(f"invalid 'entity_alias' value: role {role.name} allows no entity aliases")
        kind = _kind(p, role)
        period, explicit_max, ttl = (_seconds(p, name) for name in ("period", "explicit_max_ttl", "ttl"))
        ttl = ttl or _seconds(p, "lease")
        if period and not sudo:
            raise InvalidRequest("root or sudo privileges required to create periodic token")
        if role is not None:
            period = role.token_period or period
            explicit_max = min(filter(None, (role.token_explicit_max_ttl, explicit_max)), default=0)
        policies = _policies(p, role, parent, sudo)
        if kind == "batch":
            _check_batch(p, policies, period, explicit_max)
        default, maximum = req.node.ttls("auth/token/")
        warnings: list[str] = []
        if "root" in policies and not (ttl or period or explicit_max):
            if parent.expire_time:
                raise InvalidRequest("expiring root tokens cannot create non-expiring root tokens")
        else:
            life = grant(wanted=ttl, default=default, system_max=maximum, explicit_max=explicit_max, period=period,
                         start=now, now=now)  # fmt: skip
            ttl, warnings = life.ttl, life.warnings
        entry = TokenEntry(
            accessor="",
            policies=policies,
            path=_path(role),
            creation_time=now,
            parent="" if orphan else parent.key,
            display_name=_display_name(p.display_name),
            meta=p.meta,
            num_uses=role.token_num_uses if role and role.token_num_uses and not p.num_uses else p.num_uses,
            creation_ttl=ttl,
            explicit_max_ttl=explicit_max,
            period=period,
            renewable=bool(ttl) and p.renewable and (role is None or role.renewable) and kind == "service",
            type=kind,
            bound_cidrs=role.token_bound_cidrs if role and "root" not in policies else (),
            role=role.name if role else "",
            expire_time=now + ttl if ttl else 0.0,
        )
        entry, text = await req.node.tokens.create(req.root, entry, p.id)
        for name in policies:
            if await req.node.policies.get(req.root, name) is None:
                warnings.append(f'Policy "{name}" does not exist')
        return Response(auth=auth_wire(entry, text), warnings=warnings)

    # Look-up

    @read("lookup")
    @update("lookup", writes=False)
    async def lookup(self, req: CoreRequest, p: TokenParams) -> dict[str, Any]:
        """Look up a token and its properties."""
        text = p.token or req.incoming.token
        entry = req.token if text == req.incoming.token else await req.node.tokens.lookup(req.root, text)
        if entry is None:
            raise PermissionDenied("bad token")
        return self._describe(entry, text)

    @read("lookup-self")
    @update("lookup-self", writes=False)
    async def lookup_self(self, req: CoreRequest, p: TokenParams) -> dict[str, Any]:
        """Look up the token that asks."""
        return self._describe(req.caller, req.incoming.token)

    @update("lookup-accessor", writes=False)
    async def lookup_accessor(self, req: CoreRequest, p: AccessorParams) -> dict[str, Any]:
        """Look up a token by its accessor; the token's text is not told."""
        return self._describe(await self._by_accessor(req, p), "")

    @list_("accessors", sudo=True)
    async def list_accessors(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the accessors of all tokens, by which they can be looked up and revoked."""
        return {"keys": await req.node.tokens.accessors(req.root)}

    def _describe(self, entry: TokenEntry, text: str) -> dict[str, Any]:
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
        if entry.last_renewal:
            shown |= {"last_renewal": rfc3339(entry.last_renewal), "last_renewal_time": int(entry.last_renewal)}
        if entry.period:
            shown["period"] = entry.period
        if entry.role:
            shown["role"] = entry.role
        if entry.bound_cidrs:
            shown["bound_cidrs"] = entry.bound_cidrs
        return shown

    # Renewal

    @update("renew")
    async def renew_token(self, req: CoreRequest, p: RenewParams) -> Response:
        """Renew a token: give it a new end."""
        if not p.token:
            raise InvalidRequest("missing token ID")
        return await self._renew(req, await req.node.tokens.lookup(req.root, p.token), p.token, p.increment)

    @update("renew-self")
    async def renew_self(self, req: CoreRequest, p: RenewParams) -> Response:
        """Renew the token that asks."""
        return await self._renew(req, req.caller, req.incoming.token, p.increment)

    @update("renew-accessor")
    async def renew_accessor(self, req: CoreRequest, p: RenewAccessorParams) -> Response:
        """Renew a token by its accessor."""
        return await self._renew(req, await self._by_accessor(req, p), "", p.increment)

    async def _renew(self, req: CoreRequest, entry: TokenEntry | None, text: str, increment: str) -> Response:
        if entry is None:
            raise InvalidRequest("token not found")
        if entry.type == "batch":
            raise InvalidRequest("batch tokens cannot be renewed")
        if not entry.renewable:
            raise InvalidRequest("lease is not renewable")
        period, explicit_max = entry.period, entry.explicit_max_ttl
        if entry.role:
            role = await self._role(req.storage, entry.role)
            if role is None:
                raise InvalidRequest(f'original token role "{entry.role}" could not be found, not renewing')
            period = role.token_period or period
            explicit_max = min(filter(None, (role.token_explicit_max_ttl, explicit_max)), default=0)
        now = self.clock.time()
        _, maximum = req.node.ttls("auth/token/")
        life = grant(wanted=_duration("increment", increment), default=entry.creation_ttl, system_max=maximum,
                     explicit_max=explicit_max, period=period, start=entry.creation_time, now=now)  # fmt: skip
        entry = req.node.tokens.extend(req.root, entry, life.ttl, now)
        return Response(auth=auth_wire(entry, text, life.ttl), warnings=life.warnings)

    # Revocation

    @update("revoke")
    async def revoke_token(self, req: CoreRequest, p: TokenParams) -> None:
        """Revoke a token and all its children."""
        if not p.token:
            raise InvalidRequest("missing token ID")
        _refuse_batch(p.token)
        await req.node.tokens.revoke(req.root, req.node.tokens.hash(p.token))

    @update("revoke-self")
    async def revoke_self(self, req: CoreRequest, p: NoParams) -> None:
        """Revoke the token that asks, and all its children."""
        _refuse_batch(req.incoming.token)
        await req.node.tokens.revoke(req.root, req.caller.key)

    @update("revoke-accessor")
    async def revoke_accessor(self, req: CoreRequest, p: AccessorParams) -> Response | None:
        """Revoke a token, and all its children, by its accessor."""
        if not p.accessor:
            raise InvalidRequest(MultipleErrors("missing accessor").args[0])
        entry = await req.node.tokens.by_accessor(req.root, p.accessor)
        if entry is None:
            return Response(warnings=["No token found with this accessor"])
        await req.node.tokens.revoke(req.root, entry.key)
        return None

    @update("revoke-orphan", sudo=True)
    async def revoke_orphan(self, req: CoreRequest, p: TokenParams) -> None:
        """Revoke a token and make orphans of its children."""
        if not p.token:
            raise InvalidRequest("missing token ID")
        _refuse_batch(p.token)
        tokens = req.node.tokens
        if not await tokens.revoke(req.root, tokens.hash(p.token), spare_children=True):
            raise InvalidRequest("token to revoke not found")

    @update("tidy")
    async def tidy(self, req: CoreRequest, p: NoParams) -> Response:
        """Remove what is left over of tokens that are gone."""
        await req.node.tokens.tidy(req.root)
        return Response(
            status=202,
            warnings=[
                "Tidy operation successfully started. Any information from the operation will be printed to "
                "the server's logs."
            ],
        )

    async def _by_accessor(self, req: CoreRequest, p: AccessorParams) -> TokenEntry:
        if not p.accessor:
            raise MultipleErrors("missing accessor")
        entry = await req.node.tokens.by_accessor(req.root, p.accessor)
        if entry is None:
            raise MultipleErrors("invalid accessor")
        return entry

    # Roles

    @list_("roles")
    async def list_roles(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the token roles."""
        names = await req.storage.list("roles/")
        if not names:
            raise NotFound
        return {"keys": names}

    @read("roles/{role_name}")
    async def read_role(self, req: CoreRequest, p: RoleName) -> dict[str, Any]:
        """Show a token role."""
        role = await self._role(req.storage, p.role_name)
        if role is None:
            raise NotFound
        return role.wire()

    @update("roles/{role_name}", exists="role_exists")
    async def write_role(self, req: CoreRequest, p: RoleParams) -> Response | None:
        """Create or change a token role; only the fields given are changed."""
        role = await self._role(req.storage, p.role_name) or Role(p.role_name)
        changes: dict[str, Any] = {}
        for name in p.given - {"role_name"}:
            value = getattr(p, name)
            if name in ("token_explicit_max_ttl", "token_period"):
                value = _duration(name, value)
            changes[name] = tuple(value) if isinstance(value, list) else value
        role = replace(role, **changes)
        _check_role(role)
        req.storage.put(f"roles/{p.role_name}", orjson.dumps(role))
        warnings = [
            f"Both 'token_{name}' and deprecated '{name}' value supplied, ignoring the deprecated value"
            for name in ("bound_cidrs", "explicit_max_ttl", "period")
            if name in req.data and f"token_{name}" in req.data
        ]
        return Response(warnings=warnings) if warnings else None

    async def role_exists(self, req: CoreRequest, p: RoleParams) -> bool:
        return await self._role(req.storage, p.role_name) is not None

    @delete("roles/{role_name}")
    async def delete_role(self, req: CoreRequest, p: RoleName) -> None:
        """Delete a token role; tokens made with it live on, and cannot be renewed."""
        req.storage.delete(f"roles/{p.role_name}")

    async def _role(self, storage: ReadView, name: str) -> Role | None:
        raw = await storage.get(f"roles/{name}")
        return None if raw is None else Role.load(raw)


def auth_wire(entry: TokenEntry, text: str, ttl: int | None = None) -> dict[str, Any]:
    """The ``auth`` object of an answer that gives or renews a token."""
    return {
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


def _duration(name: str, text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidRequest(f"error parsing {name}: {error}") from None
    if seconds < 0:
        raise InvalidRequest(f"{name} must be positive")
    return int(seconds)


def _seconds(p: CreateParams, name: str) -> int:
    return _duration(name, getattr(p, name))


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


def _check_batch(p: CreateParams, policies: Sequence[str], period: int, explicit_max: int) -> None:
    if "root" in policies:
        raise InvalidRequest("batch tokens cannot be root tokens")
    for name, value in (("num_uses", p.num_uses), ("period", period), ("explicit_max_ttl", explicit_max)):
        if value:
            raise InvalidRequest(f'batch tokens cannot have "{name}" set')


def _policies(p: CreateParams, role: Role | None, parent: TokenEntry, sudo: bool) -> tuple[str, ...]:
    """The policies of a new token; raises InvalidRequest where its creator may not give them."""
    default = not p.no_default_policy and not (role and role.token_no_default_policy)
    if role is not None and role.restricts:
        chosen = _role_policies(p, role, parent, default)
    elif not p.policies:
        chosen = normalise(parent.policies, default=default and "default" in parent.policies)
    else:
        chosen = normalise(p.policies, default=default and (sudo or "default" in parent.policies))
        if not sudo and not set(chosen) <= set(parent.policies):
            raise InvalidRequest("child policies must be subset of parent")
    if "root" in chosen and not parent.is_root:
        raise InvalidRequest("root tokens may not be created without parent token being root")
    for name in RESERVED:
        if name in chosen:
            raise InvalidRequest(f'cannot assign policy "{name}"')
    return chosen


def _role_policies(p: CreateParams, role: Role, parent: TokenEntry, default: bool) -> tuple[str, ...]:
    default = default and not _matches("default", role.disallowed_policies, role.disallowed_policies_glob)
    if role.allowed_policies or role.allowed_policies_glob:
        allowed = normalise(role.allowed_policies, default=default)
        chosen = (
            normalise(p.policies, default=default) if p.policies else normalise(role.allowed_policies, default=default)
        )
        if p.policies and not all(_matches(name, allowed, role.allowed_policies_glob) for name in chosen):
            raise InvalidRequest(
                f"token policies ({_quoted(chosen)}) must be subset of the role's allowed policies "
                f"({_quoted(allowed)}) or glob policies ({_quoted(role.allowed_policies_glob)})"
            )
        if not p.policies and not role.allowed_policies:
            chosen = ("default",) if default else ()
    else:
        chosen = normalise(p.policies or parent.policies, default=default)
    for name in chosen:
        if _matches(name, role.disallowed_policies, role.disallowed_policies_glob):
            raise InvalidRequest(f'token policy "{name}" is disallowed by this role')
    return chosen


def _matches(name: str, names: Sequence[str], globs: Sequence[str]) -> bool:
    return name in names or any(fnmatchcase(name, re.sub(r"([\[?])", r"[\1]", glob)) for glob in globs)


def _quoted(names: Sequence[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _path(role: Role | None) -> str:
    if role is None:
        return "auth/token/create"
    return f"auth/token/create/{role.name}" + (f"/{role.path_suffix}" if role.path_suffix else "")


def _display_name(raw: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9-]", "-", raw).strip("-")[:255]
    return f"token-{name}" if name else "token"


def _refuse_batch(text: str) -> None:
    if text.startswith(BATCH_PREFIX):
        raise InvalidRequest("batch tokens cannot be revoked")


def _check_role(role: Role) -> None:
    if role.token_type not in _TYPES:
        raise InvalidRequest(f"invalid 'token_type' value \"{role.token_type[:64]}\"")
    if role.path_suffix and not _SUFFIX.fullmatch(role.path_suffix):
        raise InvalidRequest("given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w")
    if role.token_num_uses < 0:
        raise InvalidRequest("'token_num_uses' cannot be negative")
    for cidr in role.token_bound_cidrs:
        try:
            network(cidr)
        except ValueError:
            raise InvalidRequest(f"error parsing bound_cidrs: {cidr[:64]!r} is not an address or CIDR block") from None
    if role.token_type == "batch":
        if not role.orphan:
            raise InvalidRequest("'token_type' cannot be 'batch' when role is set to generate non-orphan tokens")
        for name in ("token_period", "token_explicit_max_ttl", "token_num_uses"):
            if getattr(role, name):
                raise InvalidRequest(f"'token_type' cannot be 'batch' when {name!r} is set")
