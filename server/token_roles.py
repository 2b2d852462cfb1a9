"""Token roles: rules that tokens are made by, for who may not choose everything themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Annotated, Any

import orjson

from ..framework import Engine, Field, NoParams, Params, Response, delete, list_, read, update
from ..framework.cidr import network, shown_cidrs
from ..framework.errors import InvalidRequest, NotFound
from ..framework.storage import ReadView
from ..framework.wire import COMMA_STRINGS, SECONDS
from .policies import normalise
from .request import CoreRequest

_OLD_NAMES = ("bound_cidrs", "explicit_max_ttl", "period")
_TYPES = ("", "service", "batch", "default-service", "default-batch")
_SUFFIX = re.compile(r"\w[\w.-]+\w", re.ASCII)


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
    token_explicit_max_ttl: Annotated[
        int, Field("Longest life of its tokens.", SECONDS, aliases=("explicit_max_ttl",))
    ] = 0
    token_period: Annotated[int, Field("Make its tokens periodic.", SECONDS, aliases=("period",))] = 0
    token_bound_cidrs: Annotated[
        list[str], Field("Where its tokens may be used from.", COMMA_STRINGS, aliases=("bound_cidrs",))
    ] = field(default_factory=list)
    token_num_uses: Annotated[int, Field("How often its tokens can be used; 0 is without limit.")] = 0
    token_no_default_policy: Annotated[bool, Field("Leave the default policy out.")] = False
    token_type: Annotated[str, Field("Kind of its tokens.")] = "default-service"


@dataclass(frozen=True, slots=True)
class Role:
    """A token role as stored; lifetimes in seconds. ``old_names``: settings that were given by their old name."""

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
    old_names: tuple[str, ...] = ()

    @classmethod
    def load(cls, raw: bytes) -> Role:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in orjson.loads(raw).items()}
        return cls(**values)

    def wire(self) -> dict[str, Any]:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "old_names"}
        shown["token_bound_cidrs"] = shown_cidrs(self.token_bound_cidrs)
        shown |= {"period": 0, "explicit_max_ttl": 0}
        shown |= {name: shown[f"token_{name}"] for name in self.old_names}
        for name in ("bound_cidrs", "token_bound_cidrs", "token_num_uses"):
            if not shown.get(name):
                shown.pop(name, None)
        return shown

    @property
    def restricts(self) -> bool:
        return bool(
            self.allowed_policies
            or self.allowed_policies_glob
            or self.disallowed_policies
            or self.disallowed_policies_glob
        )


class TokenRoles(Engine):
    """The routes of token roles, and how the token method finds them."""

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
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise NotFound
        return role.wire()

    @update("roles/{role_name}", exists="role_exists")
    async def write_role(self, req: CoreRequest, p: RoleParams) -> Response | None:
        """Create or change a token role; only the fields given are changed."""
        role = await self.role(req.storage, p.role_name) or Role(p.role_name)
        changes: dict[str, Any] = {
            name: _canonical(name, value) if isinstance(value := getattr(p, name), list) else value
            for name in p.given - {"role_name"}
        }
        old = {name for name in _OLD_NAMES if f"token_{name}" not in p.given and name in role.old_names}
        old |= {name for name in _OLD_NAMES if name in req.data and f"token_{name}" not in req.data}
        role = replace(role, **changes, old_names=tuple(sorted(old)))
        _check_role(role)
        req.storage.put(f"roles/{p.role_name}", orjson.dumps(role))
        warnings = [
            f"Both 'token_{name}' and deprecated '{name}' value supplied, ignoring the deprecated value"
            for name in _OLD_NAMES
            if name in req.data and f"token_{name}" in req.data
        ]
        return Response(warnings=warnings) if warnings else None

    async def role_exists(self, req: CoreRequest, p: RoleParams) -> bool:
        return await self.role(req.storage, p.role_name) is not None

    @delete("roles/{role_name}")
    async def delete_role(self, req: CoreRequest, p: RoleName) -> None:
        """Delete a token role; tokens made with it live on, and cannot be renewed."""
        req.storage.delete(f"roles/{p.role_name}")

    async def role(self, storage: ReadView, name: str) -> Role | None:
        raw = await storage.get(f"roles/{name}")
        return None if raw is None else Role.load(raw)


def matches(name: str, names: Sequence[str], globs: Sequence[str]) -> bool:
    return name in names or any(fnmatchcase(name, re.sub(r"([\[?])", r"[\1]", glob)) for glob in globs)


def _canonical(name: str, values: list[str]) -> tuple[str, ...]:
    """A list as a role keeps it. Names of policies are compared with those of `normalise`, so they are like them."""
    if name == "token_bound_cidrs":
        return tuple(values)
    if name == "allowed_policies":
        return normalise(values, default=False)
    return tuple(sorted({value.lower() for value in values}))


def _check_role(role: Role) -> None:
    if role.token_type not in _TYPES:
        raise InvalidRequest(f"invalid 'token_type' value \"{role.token_type[:64]}\"")
    if role.path_suffix and not _SUFFIX.fullmatch(role.path_suffix):
        raise InvalidRequest("given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w")
    if role.token_num_uses < 0:
        raise InvalidRequest("error parsing role fields: 'token_num_uses' cannot be negative")
    for cidr in role.token_bound_cidrs:
        try:
            network(cidr)
        except ValueError:
            raise InvalidRequest(
                f'error parsing role fields: error parsing address "{cidr[:64]}": it is neither an IPv4 or IPv6 '
                "address nor a CIDR block"
            ) from None
    if role.token_type == "batch":
        for wrong, tokens in (
            (not role.orphan, "non-orphan tokens"),
            (role.token_period, "periodic tokens"),
            (role.renewable, "renewable tokens"),
            (role.token_explicit_max_ttl, "tokens with an explicit max TTL"),
            (role.token_num_uses, "tokens with limited uses"),
        ):
            if wrong:
                raise InvalidRequest(f"'token_type' cannot be 'batch' when role is set to generate {tokens}")


def lesser(*limits: int) -> int:
    """The least of limits where 0 is none."""
    return min(filter(None, limits), default=0)
