"""Roles of AppRole.

``role/<name>`` is the role, ``role-id/<hash of its role id>`` its name, and all about its secret ids is below
``secret/<uid>/``, ``accessor/<uid>/`` and ``end/``: the uid is the role's own, so that a role which is deleted
and made again has none of the old ones. ``gone/<uid>`` remembers what is to be cleared after a deletion.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import orjson

from ...framework import Context, Engine, Field, Params, Request, Response, View, delete, list_, read, update
from ...framework.cidr import check_cidrs
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound
from ...framework.memo import Memo
from ...framework.params import PageParams
from ...framework.storage import ReadView
from ...framework.token_params import TokenParams, TokenSettings
from ...framework.wire import LOWER_NAME, SECONDS

LONGEST_ID = 4096  # of role ids and secret ids that are chosen, in characters
_REMEMBERED = 1000  # roles
_NO_USE = {"default-service": "service", "default-batch": "batch"}


class RoleName(Params):
    role_name: Annotated[str, Field("Name of the role; case does not matter.", LOWER_NAME)]


class RolePage(RoleName, PageParams):
    pass


class RoleParams(RoleName, TokenParams, old=("period", "policies")):
    role_id: Annotated[str, Field("Id of the role, instead of a random one.")] = ""
    bind_secret_id: Annotated[bool, Field("Whether a login needs a secret id.")] = True
    secret_id_bound_cidrs: Annotated[list[str], Field("Where one may log in from.", aliases=("bound_cidr_list",))] = (
        field(default_factory=list)
    )
    secret_id_num_uses: Annotated[int, Field("How often a secret id can be used; 0 is without limit.")] = 0
    secret_id_ttl: Annotated[int, Field("How long a secret id is good for; 0 is for ever.", SECONDS)] = 0
    local_secret_ids: Annotated[bool, Field("Whether secret ids stay in this cluster; fixed at creation.")] = False


@dataclass(frozen=True, slots=True)
class Role:
    """A role as stored. ``uid`` names its part of the store; times are seconds."""

    name: str
    role_id: str
    uid: str
    settings: TokenSettings
    bind_secret_id: bool = True
    secret_id_bound_cidrs: tuple[str, ...] | None = None
    secret_id_num_uses: int = 0
    secret_id_ttl: int = 0
    local_secret_ids: bool = False

    def wire(self) -> dict[str, Any]:
        return self.settings.wire() | {name: getattr(self, name) for name in OWN}

    def check(self) -> None:
        """Raise InvalidRequest when the settings do not go together."""
        if not (self.bind_secret_id or self.secret_id_bound_cidrs or self.settings.token_bound_cidrs):
            raise MultipleErrors("at least one constraint should be enabled on the role")
        if self.secret_id_num_uses < 0:
            raise InvalidRequest("secret_id_num_uses cannot be negative")
        check_cidrs(self.secret_id_bound_cidrs or ())


OWN = ("bind_secret_id", "local_secret_ids", "secret_id_bound_cidrs", "secret_id_num_uses", "secret_id_ttl")
"""The settings of a role that are not those of its tokens."""


def _decode(key: str, raw: bytes) -> Role:
    stored = orjson.loads(raw)
    cidrs = stored.pop("secret_id_bound_cidrs")
    return Role(
        settings=TokenSettings.load(stored.pop("settings")),
        secret_id_bound_cidrs=None if cidrs is None else tuple(cidrs),
        **stored,
    )


class Roles(Engine):
    """The routes of roles, and how the other parts find them."""

    _decoded = Memo(_decode, _REMEMBERED)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._salt = b""
        self._names: dict[str, str] = {}  # of roles that were found, by their ids
        self._sweeping: asyncio.Task[None] | None = None

    async def setup(self, storage: View) -> None:
        salt = await storage.get("salt")
        if salt is None:
            salt = secrets.token_bytes(32)
            storage.put("salt", salt)
        self._salt = salt

    def hash(self, text: str) -> str:
        """Of a role id or secret id: keyed BLAKE2b (RFC 7693), 160 bits, hex."""
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=20).hexdigest()

    async def role(self, storage: ReadView, name: str) -> Role | None:
        raw = await storage.get(f"role/{name}")
        return None if raw is None else self._decoded(f"{self.context.uuid}/{name}", raw)

    async def role_of(self, storage: ReadView, role_id: str) -> Role | None:
        """The role with this id."""
        hint = self._names.get(role_id)
        if hint is not None:
            role = await self.role(storage, hint)
            if role is not None and role.role_id == role_id:
                return role
        name = await storage.get(f"role-id/{self.hash(role_id)}")
        role = None if name is None else await self.role(storage, name.decode())
        if role is not None:
            if len(self._names) >= _REMEMBERED:
                self._names.clear()
            self._names[role_id] = role.name
        return role

    async def put(self, storage: View, role: Role, old: Role | None = None) -> None:
        """Store a role that is new or replaces ``old``; raises InvalidRequest."""
        role.check()
        if old is None or role.role_id != old.role_id:
            index = f"role-id/{self.hash(role.role_id)}"
            if await storage.get(index) is not None:
                raise MultipleErrors("role_id already in use")
            storage.put(index, role.name.encode())
            if old is not None:
                storage.delete(f"role-id/{self.hash(old.role_id)}")
        storage.put(f"role/{role.name}", orjson.dumps(role))

    @list_("role")
    async def list_roles(self, req: Request, p: PageParams) -> dict[str, Any]:
        """List the roles."""
        names = await req.storage.list("role/", p.after, max(p.limit, 0))
        if not names:
            raise NotFound
        return {"keys": names}

    @read("role/{role_name}")
    async def read_role(self, req: Request, p: RoleName) -> dict[str, Any]:
        """Show a role."""
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise NotFound
        return role.wire()

    @update("role/{role_name}", exists="role_exists")
    async def write_role(self, req: Request, p: RoleParams) -> Response | None:
        """Create or change a role; only what is given is changed."""
        old, warnings = await self.role(req.storage, p.role_name), list[str]()
        if "role_id" in p.given:
            check_id(p.role_id, "role_id")
        if p.token_type in _NO_USE:
            warnings.append(f"{p.token_type} has no useful meaning; adjusting to {_NO_USE[p.token_type]}")
            p.token_type = _NO_USE[p.token_type]
        if old is not None and "local_secret_ids" in p.given and p.local_secret_ids != old.local_secret_ids:
            raise InvalidRequest("local_secret_ids can only be modified during role creation")
        role = old or Role(p.role_name, str(uuid.uuid4()), uuid.uuid4().hex, TokenSettings())
        role = changed(role, p, req.data)
        await self.put(req.storage, role, old)
        system = self.context.system
        if system is not None and role.settings.token_max_ttl > system.max_ttl():
            warnings.append(
                "token_max_ttl is greater than the backend mount's maximum TTL value; "
                "issued tokens' max TTL value will be truncated"
            )
        return Response(warnings=warnings) if warnings else None

    async def role_exists(self, req: Request, p: RoleParams) -> bool:
        return await self.role(req.storage, p.role_name) is not None

    @delete("role/{role_name}")
    async def delete_role(self, req: Request, p: RoleName) -> None:
        """Delete a role with all its secret ids; tokens of earlier logins live on, and cannot be renewed."""
        role = await self.role(req.storage, p.role_name)
        if role is None:
            return
        req.storage.delete(f"role/{role.name}")
        req.storage.delete(f"role-id/{self.hash(role.role_id)}")
        req.storage.put(f"gone/{role.uid}", b"", new=True)


def changed(role: Role, p: Params, data: Mapping[str, Any]) -> Role:
    """A role with what a request gives; raises InvalidRequest."""
    changes: dict[str, Any] = {name: getattr(p, name) for name in (*OWN, "role_id") if name in p.given}
    if "secret_id_bound_cidrs" in changes:
        changes["secret_id_bound_cidrs"] = tuple(changes["secret_id_bound_cidrs"])
    if isinstance(p, TokenParams):
        changes["settings"] = role.settings.changed(p, data)
    return replace(role, **changes)


def check_id(text: str, what: str) -> None:
    """Raise InvalidRequest unless ``text`` can be a role id or secret id."""
    if not text:
        raise InvalidRequest(f"{what} is empty")
    if len(text) > LONGEST_ID:
        raise InvalidRequest(f"{what} is longer than {LONGEST_ID} characters")
