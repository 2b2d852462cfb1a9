"""``identity/oidc/key``: named keys, and how they rotate.

A key holds the pair that signs and the one that will sign after the next rotation, whose public half is published
already. Signing keys that rotation retires stay published until every token of theirs has had its time.
"""

from __future__ import annotations

import asyncio
from dataclasses import field, replace
from typing import Annotated, Any

from ....framework import Field, NoParams, View, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ....framework.wire import SECONDS
from ...request import CoreRequest
from . import signing
from .base import Name, OidcEngine, changes
from .records import DAY, Folder, Key

ROTATION = "oidc-key"
"""Kind of the entries of the expiry index at which keys rotate."""
_SHORTEST_PERIOD = 60
_LONGEST_VERIFICATION = 10  # rotation periods


class KeyParams(Name):
    rotation_period: Annotated[int, Field("Make a new signing key this often.", SECONDS)] = DAY
    verification_ttl: Annotated[int, Field("Publish a retired signing key for so long.", SECONDS)] = DAY
    algorithm: Annotated[str, Field("Signing algorithm: RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA.")] = "RS256"
    allowed_client_ids: Annotated[list[str], Field(
        "Client ids of the roles and clients that may sign with the key; * for all.",
    )] = field(default_factory=list)  # fmt: skip


class RotateParams(Name):
    verification_ttl: Annotated[int, Field(
        "Publish the key that signed until now for so long, instead of what the named key says.", SECONDS,
    )] = 0  # fmt: skip


class KeyRoutes(OidcEngine):
    @read("oidc/key/{name}")
    async def read_oidc_key(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Read a named key."""
        key = await self.oidc.keys.get(req.storage, p.name)
        if key is None:
            raise NotFound
        return {
            "algorithm": key.algorithm,
            "allowed_client_ids": key.allowed_client_ids,
            "rotation_period": key.rotation_period,
            "verification_ttl": key.verification_ttl,
        }

    @update("oidc/key/{name}", exists="oidc_key_exists")
    async def write_oidc_key(self, req: CoreRequest, p: KeyParams) -> None:
        """Create or change a named key; another algorithm makes new signing keys."""
        stored = await self.oidc.keys.get(req.storage, p.name)
        old = stored or Key()
        allowed = tuple(p.allowed_client_ids) if "allowed_client_ids" in p.given else old.allowed_client_ids
        key = replace(old, **changes(p) | {"allowed_client_ids": allowed})
        if key.rotation_period < _SHORTEST_PERIOD:
            raise InvalidRequest("rotation_period must be at least one minute")
        if key.verification_ttl > _LONGEST_VERIFICATION * key.rotation_period:
            raise InvalidRequest("verification_ttl cannot be longer than 10x rotation_period")
        if key.algorithm not in signing.ALGORITHMS:
            raise InvalidRequest(f'unknown signing algorithm "{key.algorithm[:32]}"')
        if key.verification_ttl < old.verification_ttl:
            await self._check_lifetimes(req.storage, p.name, key.verification_ttl)
        now = self.clock.time()
        if key.signing is None:
            key = await _fill(key)
        elif key.algorithm != old.algorithm:
            key = await _fill(_retire(key, now + key.verification_ttl, now))
        self._save(req, p.name, old, replace(key, next_rotation=_sooner(key, now + key.rotation_period)))

    @delete("oidc/key/{name}")
    async def delete_oidc_key(self, req: CoreRequest, p: Name) -> None:
        """Delete a named key that no role and no client uses."""
        if p.name in self.oidc.keys.builtin:
            raise InvalidRequest(f'deletion of key "{p.name}" not allowed')
        for kind in ("roles", "clients"):
            if users := await self.users(req.storage, p.name, kind):
                raise InvalidRequest(
                    f'unable to delete key "{p.name}" because it is currently referenced by these {kind}: '
                    + ", ".join(users)
                )
        if (key := await self.oidc.keys.get(req.storage, p.name)) is not None:
            req.node.expiry.remove(req.root, key.next_rotation, ROTATION, p.name)
            self.oidc.keys.delete(req.storage, p.name)

    @list_("oidc/key")
    async def list_oidc_keys(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List named keys."""
        return {"keys": await self.oidc.keys.names(req.storage)}

    @update("oidc/key/{name}/rotate")
    async def rotate_oidc_key(self, req: CoreRequest, p: RotateParams) -> None:
        """Make the next key the one that signs, now."""
        key = await self.oidc.keys.get(req.storage, p.name)
        if key is None:
            raise InvalidRequest(f'no named key found at "{p.name}"')
        ttl = p.verification_ttl if "verification_ttl" in p.given else key.verification_ttl
        self._save(req, p.name, key, await self._rotated(key, ttl))

    async def oidc_key_exists(self, req: CoreRequest, p: KeyParams) -> bool:
        return await self.oidc.keys.get(req.storage, p.name) is not None

    async def signer(self, req: CoreRequest, name: str) -> Key | None:
        """The named key that a role or client is about to use: the default one is made when first needed."""
        key = await self.oidc.keys.get(req.storage, name)
        if key is not None and key.signing is None:
            old, key = key, await _fill(replace(key, next_rotation=self.clock.time() + key.rotation_period))
            self._save(req, name, old, key)
        return key

    async def rotate_due(self, view: View, name: str) -> float:
        """Rotate a key whose time has come; when it is to be done again, 0 if it was not its time."""
        key = await self.oidc.keys.get(view, name)
        if key is None or key.next_rotation > self.clock.time():
            return 0
        key = await self._rotated(key, key.verification_ttl)
        self.oidc.keys.put(view, name, key)
        return key.next_rotation

    async def _rotated(self, key: Key, verification_ttl: int) -> Key:
        now = self.clock.time()
        return replace(await _fill(_retire(key, now + verification_ttl, now, key.following)),
                       next_rotation=now + key.rotation_period)  # fmt: skip

    def _save(self, req: CoreRequest, name: str, old: Key, key: Key) -> None:
        if key.next_rotation != old.next_rotation:
            if old.next_rotation:
                req.node.expiry.remove(req.root, old.next_rotation, ROTATION, name)
            req.node.expiry.add(req.root, key.next_rotation, ROTATION, name)
        self.oidc.keys.put(req.storage, name, key)

    async def _check_lifetimes(self, view: View, name: str, verification_ttl: int) -> None:
        """No token may outlive the key it can be verified with."""
        users: tuple[tuple[str, str, str, Folder[Any]], ...] = (
            ("roles", "ttl", "a token ttl", self.oidc.roles),
            ("clients", "id_token_ttl", "an id_token_ttl", self.oidc.clients),
        )
        for kind, ttl, what, folder in users:
            for user in await self.users(view, name, kind):
                if getattr(await folder.get(view, user), ttl, 0) > verification_ttl:
                    raise InvalidRequest(
                        f'unable to update key "{name}" because it is currently referenced by one or more {kind} '
                        f"with {what} greater than {verification_ttl} seconds"
                    )


def _sooner(key: Key, when: float) -> float:
    return min(key.next_rotation or when, when)


def _retire(key: Key, until: float, now: float, successor: signing.Pair | None = None) -> Key:
    """The key with its signing pair retired. Without a successor the following pair, unused as it is, goes too."""
    assert key.signing is not None
    retired = (*((end, jwk) for end, jwk in key.retired if end > now), (until, key.signing.jwk))
    return replace(key, signing=successor, following=None, retired=retired)


async def _fill(key: Key) -> Key:
    """The key with the pairs that it lacks."""

    async def pair() -> signing.Pair:
        return await asyncio.to_thread(signing.generate, key.algorithm)

    return replace(key, signing=key.signing or await pair(), following=key.following or await pair())
