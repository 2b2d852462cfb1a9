"""Secret ids: one of them, with the id of its role, is what a machine logs in with.

Never stored as they are: ``secret/<role's uid>/<hash>`` is what is known of one, ``accessor/<uid>/<accessor>``
its hash, and ``end/<milliseconds, 12 hex digits>.<uid>.<hash>`` notes when it ends, to be swept then.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any

import orjson

from ...framework import Field, Request, Response, View, delete, list_, update
from ...framework.cidr import check_cidrs, network
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound
from ...framework.memo import Memo
from ...framework.storage import ReadView
from ...framework.wire import PAIRS, SECONDS, STRING, Wire
from .roles import Role, RoleName, RolePage, Roles, check_id

_METADATA = Wire("string", STRING.schema, PAIRS.parse, dict)  # a string to clients, and an object is taken too
_NEVER = "0001-01-01T00:00:00Z"


class NewSecretId(RoleName):
    metadata: Annotated[
        dict[str, str], Field("Text pairs that its tokens show, as JSON text of an object.", _METADATA)
    ] = field(default_factory=dict)
    cidr_list: Annotated[list[str], Field("Where it can be used from.")] = field(default_factory=list)
    token_bound_cidrs: Annotated[
        list[str], Field("Where its tokens can be used from, instead of what the role says.")
    ] = field(default_factory=list)
    num_uses: Annotated[int, Field("How often it can be used; 0 is without limit.")] = 0
    ttl: Annotated[int, Field("How long it is good for; 0 is for ever.", SECONDS)] = 0


class CustomSecretId(NewSecretId):
    secret_id: Annotated[str, Field("The secret id, chosen by the caller.", sensitive=True)] = ""


class SecretIdParams(RoleName):
    secret_id: Annotated[str, Field("The secret id.", sensitive=True)] = ""


class AccessorParams(RoleName):
    secret_id_accessor: Annotated[str, Field("Accessor of the secret id.")] = ""


@dataclass(frozen=True, slots=True)
class SecretId:
    """What is known of a secret id. Times are seconds since the epoch; ``ends`` 0: never."""

    accessor: str
    created: float
    updated: float
    ends: float = 0.0
    ttl: int = 0
    num_uses: int = 0  # left; 0: without limit
    metadata: dict[str, str] = field(default_factory=dict)
    cidr_list: tuple[str, ...] = ()
    token_bound_cidrs: tuple[str, ...] = ()

    def wire(self) -> dict[str, Any]:
        return {
            "cidr_list": self.cidr_list,
            "creation_time": rfc3339(self.created),
            "expiration_time": rfc3339(self.ends) if self.ends else _NEVER,
            "last_updated_time": rfc3339(self.updated),
            "metadata": self.metadata,
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl,
            "token_bound_cidrs": self.token_bound_cidrs,
        }


def _decode(key: str, raw: bytes) -> SecretId:
    stored = orjson.loads(raw)
    for name in ("cidr_list", "token_bound_cidrs"):
        stored[name] = tuple(stored[name])
    return SecretId(**stored)


class SecretIds(Roles):
    """The routes of secret ids, and how a login finds one."""

    _secret_ids = Memo(_decode)

    @list_("role/{role_name}/secret-id")
    async def list_secret_ids(self, req: Request, p: RolePage) -> dict[str, Any]:
        """List the accessors of a role's secret ids."""
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise InvalidRequest(f'role "{p.role_name}" does not exist')
        accessors = await req.storage.list(f"accessor/{role.uid}/", p.after, max(p.limit, 0))
        if not accessors:
            raise NotFound
        return {"keys": accessors}

    @update("role/{role_name}/secret-id")
    async def make_secret_id(self, req: Request, p: NewSecretId) -> Response:
        """Make a secret id for a role."""
        return await self._make(req, p, str(uuid.uuid4()))

    @update("role/{role_name}/custom-secret-id")
    async def write_secret_id(self, req: Request, p: CustomSecretId) -> Response:
        """Give a role a secret id of the caller's choice."""
        if not p.secret_id:
            raise InvalidRequest("missing secret_id")
        check_id(p.secret_id, "secret_id")
        return await self._make(req, p, p.secret_id)

    async def _make(self, req: Request, p: NewSecretId, text: str) -> Response:
        role, now = await self.role(req.storage, p.role_name), self.clock.time()
        if role is None:
            raise NotFound(f'role "{p.role_name}" does not exist')
        if not role.bind_secret_id:
            raise InvalidRequest("bind_secret_id is not set on the role")
        if p.num_uses < 0:
            raise InvalidRequest("num_uses cannot be negative")
        uses, ttl = role.secret_id_num_uses, role.secret_id_ttl
        if "num_uses" in p.given:
            if uses and not 0 < p.num_uses <= uses:
                raise InvalidRequest("num_uses cannot be higher than the role's secret_id_num_uses")
            uses = p.num_uses
        if "ttl" in p.given:
            if ttl and not 0 < p.ttl <= ttl:
                raise InvalidRequest("ttl cannot be longer than the role's secret_id_ttl")
            ttl = p.ttl
        if self.context.system is not None:
            ttl = min(ttl, self.context.system.max_ttl())
        _check_within(role, check_cidrs(p.cidr_list))
        made = SecretId(
            str(uuid.uuid4()), now, now, now + ttl if ttl else 0.0, ttl, uses, p.metadata,
            tuple(p.cidr_list), check_cidrs(p.token_bound_cidrs),
        )  # fmt: skip
        hashed = self.hash(text)
        key = f"secret/{role.uid}/{hashed}"
        if await req.storage.get(key) is not None:
            raise MultipleErrors("failed to store secret_id: SecretID is already registered")
        req.storage.put(key, orjson.dumps(made))
        req.storage.put(f"accessor/{role.uid}/{made.accessor}", hashed.encode(), new=True)
        if made.ends:
            req.storage.put(_end(role, hashed, made), b"", new=True)
        data = {"secret_id": text, "secret_id_accessor": made.accessor, "secret_id_num_uses": uses,
                "secret_id_ttl": ttl}  # fmt: skip
        return Response(data=data, accessor=made.accessor)

    @update("role/{role_name}/secret-id/lookup", writes=False)
    async def look_up_secret_id(self, req: Request, p: SecretIdParams) -> dict[str, Any] | None:
        """Show what is known of a secret id."""
        if not p.secret_id:
            raise InvalidRequest("missing secret_id")
        role = await self._owner(req, p)
        found = await self.secret_id(req.storage, role, self.hash(p.secret_id))
        return found.wire() if found else None

    @update("role/{role_name}/secret-id/destroy")
    @delete("role/{role_name}/secret-id/destroy")
    async def destroy_secret_id(self, req: Request, p: SecretIdParams) -> None:
        """Destroy a secret id."""
        if not p.secret_id:
            raise InvalidRequest("missing secret_id")
        await self.forget(req.storage, (await self._owner(req, p)).uid, self.hash(p.secret_id))

    @update("role/{role_name}/secret-id-accessor/lookup", writes=False)
    async def look_up_accessor(self, req: Request, p: AccessorParams) -> Any:
        """Show what is known of the secret id of an accessor."""
        role, hashed = await self._of_accessor(req, p)
        found = await self.secret_id(req.storage, role, hashed) if hashed else None
        if found is None:
            return Response(data={"error": _no_accessor(p)}, status=404)
        return found.wire()

    @update("role/{role_name}/secret-id-accessor/destroy")
    @delete("role/{role_name}/secret-id-accessor/destroy")
    async def destroy_accessor(self, req: Request, p: AccessorParams) -> None:
        """Destroy the secret id of an accessor."""
        role, hashed = await self._of_accessor(req, p)
        if not hashed:
            raise MultipleErrors(_no_accessor(p))
        await self.forget(req.storage, role.uid, hashed)

    async def _owner(self, req: Request, p: RoleName) -> Role:
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise MultipleErrors(f'role "{p.role_name}" does not exist')
        return role

    async def _of_accessor(self, req: Request, p: AccessorParams) -> tuple[Role, str]:
        """The role and the hash of the secret id, empty when there is none."""
        if not p.secret_id_accessor:
            raise InvalidRequest("missing secret_id_accessor")
        role = await self._owner(req, p)
        raw = await req.storage.get(f"accessor/{role.uid}/{p.secret_id_accessor}")
        return role, (raw or b"").decode()

    async def secret_id(self, storage: ReadView, role: Role, hashed: str) -> SecretId | None:
        """The secret id of this hash, unless its time is over."""
        raw = await storage.get(f"secret/{role.uid}/{hashed}")
        if raw is None:
            return None
        found = self._secret_ids(hashed, raw)
        return None if found.ends and found.ends <= self.clock.time() else found

    async def forget(self, storage: View, uid: str, hashed: str) -> None:
        """Delete all there is about a secret id of the role with this uid."""
        key = f"secret/{uid}/{hashed}"
        raw = await storage.get(key)
        if raw is None:
            return
        found = self._secret_ids(hashed, raw)
        storage.delete(key)
        storage.delete(f"accessor/{uid}/{found.accessor}")
        if found.ends:
            storage.delete(end_key(uid, hashed, found.ends))


def end_key(uid: str, hashed: str, ends: float) -> str:
    return f"end/{int(ends * 1000):012x}.{uid}.{hashed}"


def _end(role: Role, hashed: str, made: SecretId) -> str:
    return end_key(role.uid, hashed, made.ends)


def _no_accessor(p: AccessorParams) -> str:
    return f'failed to find accessor entry for secret_id_accessor: "{p.secret_id_accessor[:64]}"'


def _check_within(role: Role, cidrs: tuple[str, ...]) -> None:
    """A secret id may be bound more tightly than its role, and not elsewhere. Raises InvalidRequest."""
    allowed = [network(cidr) for cidr in role.secret_id_bound_cidrs or ()]
    if allowed and not all(any(_within(network(cidr), block) for block in allowed) for cidr in cidrs):
        raise MultipleErrors(
            "failed to verify subset relationship between CIDR blocks on the role "
            f"{list(role.secret_id_bound_cidrs or ())} and CIDR blocks on the secret ID {list(cidrs)}"
        )


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version
