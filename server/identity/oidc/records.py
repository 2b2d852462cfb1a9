"""What is stored of OIDC, as frozen values, and the folders they are in: ``oidc/<kind>/<name>`` of the mount.

Times are seconds since the epoch, lifetimes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson

from ....framework.memo import Memo
from ....framework.storage import ReadView, View
from .signing import Pair

DAY = 86400
ANY = "*"


@dataclass(frozen=True, slots=True)
class Key:
    """A named key: the pair that signs, the one that will sign next (published ahead), and retired public keys."""

    algorithm: str = "RS256"
    rotation_period: int = DAY
    verification_ttl: int = DAY
    allowed_client_ids: tuple[str, ...] = ()
    next_rotation: float = 0.0
    signing: Pair | None = None  # None: the default key before anything uses it
    following: Pair | None = None
    retired: tuple[tuple[float, Mapping[str, str]], ...] = ()  # until when it is published, and the JWK

    @classmethod
    def load(cls, _: str, raw: bytes) -> Key:
        values: dict[str, Any] = orjson.loads(raw)
        for name in ("signing", "following"):
            values[name] = values[name] and Pair(**values[name])
        values["allowed_client_ids"] = tuple(values["allowed_client_ids"])
        values["retired"] = tuple((until, jwk) for until, jwk in values["retired"])
        return cls(**values)

    def jwks(self, now: float) -> list[Mapping[str, str]]:
        """The public keys that tokens of this key may be verified with."""
        current = [pair.jwk for pair in (self.signing, self.following) if pair]
        return current + [jwk for until, jwk in self.retired if until > now]

    def allows(self, client_id: str) -> bool:
        return ANY in self.allowed_client_ids or client_id in self.allowed_client_ids


@dataclass(frozen=True, slots=True)
class Role:
    """What identity tokens are made of."""

    key: str
    client_id: str
    template: str = ""
    ttl: int = DAY

    @classmethod
    def load(cls, _: str, raw: bytes) -> Role:
        return cls(**orjson.loads(raw))


@dataclass(frozen=True, slots=True)
class Settings:
    """``issuer``: scheme, host and port that tokens name; empty for the server's own address."""

    issuer: str = ""

    @classmethod
    def load(cls, _: str, raw: bytes) -> Settings:
        return cls(**orjson.loads(raw))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who may log in to a client."""

    entity_ids: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()

    @classmethod
    def load(cls, _: str, raw: bytes) -> Assignment:
        return cls(**{name: tuple(value) for name, value in orjson.loads(raw).items()})


@dataclass(frozen=True, slots=True)
class Scope:
    template: str = ""
    description: str = ""

    @classmethod
    def load(cls, _: str, raw: bytes) -> Scope:
        return cls(**orjson.loads(raw))


@dataclass(frozen=True, slots=True)
class Client:
    """An application that logs its users in here."""

    client_id: str
    client_secret: str = ""  # empty for a public client
    key: str = "default"
    redirect_uris: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    client_type: str = "confidential"
    id_token_ttl: int = DAY
    access_token_ttl: int = DAY
    authorization_code: bool = True
    client_credentials: bool = False

    @classmethod
    def load(cls, _: str, raw: bytes) -> Client:
        return cls(**_tuples(orjson.loads(raw)))


@dataclass(frozen=True, slots=True)
class Provider:
    issuer: str = ""
    allowed_client_ids: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] = ()

    @classmethod
    def load(cls, _: str, raw: bytes) -> Provider:
        return cls(**_tuples(orjson.loads(raw)))

    def allows(self, client_id: str) -> bool:
        return ANY in self.allowed_client_ids or client_id in self.allowed_client_ids


@dataclass(frozen=True, slots=True)
class Code:
    """An authorisation code that was given out, without its text. ``auth_time`` 0: not asked for."""

    provider: str
    client_id: str
    entity_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    expires: float
    nonce: str = ""
    code_challenge: str = ""
    code_challenge_method: str = ""
    auth_time: int = 0

    @classmethod
    def load(cls, _: str, raw: bytes) -> Code:
        return cls(**_tuples(orjson.loads(raw)))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


Record = TypeVar("Record", Key, Role, Settings, Assignment, Scope, Client, Provider, Code)


class Folder(Generic[Record]):
    """The records of one kind by name. ``builtin`` ones are there although nobody has written them."""

    def __init__(self, kind: str, record: type[Record], builtin: Mapping[str, Record] | None = None) -> None:
        self._prefix = f"oidc/{kind}/"
        self._decoded: Memo[Record] = Memo(record.load, 1000)
        self.builtin: Mapping[str, Record] = builtin or {}

    async def get(self, view: ReadView, name: str) -> Record | None:
        raw = await view.get(self._prefix + name)
        return self.builtin.get(name) if raw is None else self._decoded(name, raw)

    async def names(self, view: ReadView) -> list[str]:
        return sorted({*self.builtin, *await view.list(self._prefix)})

    async def all(self, view: ReadView) -> dict[str, Record]:
        found = {name: await self.get(view, name) for name in await self.names(view)}
        return {name: record for name, record in found.items() if record is not None}

    def put(self, view: View, name: str, record: Record) -> None:
        view.put(self._prefix + name, orjson.dumps(record))

    def delete(self, view: View, name: str) -> None:
        view.delete(self._prefix + name)


@dataclass(frozen=True, slots=True)
class Folders:
    """Every kind of one mount. Decoded records are remembered, so each mount has its own."""

    keys: Folder[Key] = field(default_factory=lambda: Folder("key", Key, {"default": Key(allowed_client_ids=(ANY,))}))
    roles: Folder[Role] = field(default_factory=lambda: Folder("role", Role))
    settings: Folder[Settings] = field(default_factory=lambda: Folder("config", Settings, {"issuer": Settings()}))
    assignments: Folder[Assignment] = field(
        default_factory=lambda: Folder("assignment", Assignment, {"allow_all": Assignment((ANY,), (ANY,))})
    )
    scopes: Folder[Scope] = field(default_factory=lambda: Folder("scope", Scope))
    clients: Folder[Client] = field(default_factory=lambda: Folder("client", Client))
    providers: Folder[Provider] = field(
        default_factory=lambda: Folder("provider", Provider, {"default": Provider(allowed_client_ids=(ANY,))})
    )
    codes: Folder[Code] = field(default_factory=lambda: Folder("code", Code))
