"""New key shares: ``sys/rekey/*`` and ``sys/rekey-recovery-key/*``, which the shares authorise, and OpenBao's
``sys/rotate/root/*`` and ``sys/rotate/recovery/*``, the same operations behind a token.

Of each pair the first is of the shares that unseal, the second of those that only authorise, which a server with a
seal that opens by itself has.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, read, update
from ...framework.errors import InvalidRequest
from ..request import CoreRequest
from ..seal import Rekey, rotate_status
from .base import SystemRoutes
from .seal import PGP_KEYS, ShareParams, bare


class RekeyParams(Params):
    secret_shares: Annotated[int, Field("Into how many shares the new key is split.")] = 0
    secret_threshold: Annotated[int, Field("How many of them are needed.")] = 0
    stored_shares: Annotated[int, Field("Accepted for older clients; means nothing.", deprecated=True)] = 0
    pgp_keys: Annotated[list[str], Field(PGP_KEYS)] = field(default_factory=list)
    backup: Annotated[bool, Field("Keep the encrypted shares for retrieval.")] = False
    require_verification: Annotated[bool, Field("Put the new shares in force only once they were shown.")] = False


class RekeyRoutes(SystemRoutes):
    """The shares that people hold."""

    def _rekey(self, req: CoreRequest) -> Rekey:
        self.core.unsealed()
        return self.core.rekey_recovery if "recovery" in req.path else self.core.rekey

    @read("rekey/init", auth=False, sealed=True)
    @read("rekey-recovery-key/init", auth=False, sealed=True)
    async def rekey_status(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell how the making of new key shares stands."""
        return bare(await self._rekey(req).status())

    @update("rekey/init", auth=False, sealed=True, writes=False)
    @update("rekey-recovery-key/init", auth=False, sealed=True, writes=False)
    async def rekey_init(self, req: CoreRequest, p: RekeyParams) -> Response:
        """Begin to make new key shares."""
        return bare(await _begin(self._rekey(req), p))

    @delete("rekey/init", auth=False, sealed=True, writes=False)
    @delete("rekey-recovery-key/init", auth=False, sealed=True, writes=False)
    async def rekey_cancel(self, req: CoreRequest, p: NoParams) -> None:
        """Give up making new key shares."""
        rekey = self._rekey(req)
        rekey.check_supported()
        rekey.cancel()

    @update("rekey/update", auth=False, sealed=True, writes=False)
    @update("rekey-recovery-key/update", auth=False, sealed=True, writes=False)
    async def rekey_update(self, req: CoreRequest, p: ShareParams) -> Response:
        """Give one present share; the last one needed gives the new ones."""
        return bare(await self._rekey(req).update(p.key, p.nonce))

    @read("rekey/verify", auth=False, sealed=True)
    @read("rekey-recovery-key/verify", auth=False, sealed=True)
    async def rekey_verify_status(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell how the verification of new shares stands."""
        return bare(await self._rekey(req).verify_status())

    @update("rekey/verify", auth=False, sealed=True, writes=False)
    @update("rekey-recovery-key/verify", auth=False, sealed=True, writes=False)
    async def rekey_verify(self, req: CoreRequest, p: ShareParams) -> Response:
        """Show one new share; the last one needed puts them in force."""
        return bare(await self._rekey(req).verify(p.key, p.nonce))

    @delete("rekey/verify", auth=False, sealed=True, writes=False)
    @delete("rekey-recovery-key/verify", auth=False, sealed=True, writes=False)
    async def rekey_verify_cancel(self, req: CoreRequest, p: NoParams) -> Response:
        """Begin the verification of new shares anew."""
        return bare(await self._rekey(req).cancel_verify())

    @read("rekey/backup")
    @read("rekey/recovery-key-backup")
    @read("rotate/root/backup")
    @read("rotate/recovery/backup")
    async def read_backup(self, req: CoreRequest, p: NoParams) -> Response:
        """Retrieve the encrypted shares that were kept."""
        return Response(data=await self._rekey(req).backup(), flat=True)

    @delete("rekey/backup", writes=False)
    @delete("rekey/recovery-key-backup", writes=False)
    @delete("rotate/root/backup", writes=False)
    @delete("rotate/recovery/backup", writes=False)
    async def delete_backup(self, req: CoreRequest, p: NoParams) -> None:
        """Delete the encrypted shares that were kept."""
        await self._rekey(req).delete_backup()

    @read("rotate/root/init")
    @read("rotate/recovery/init")
    async def rotation_status(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Tell how the making of new key shares stands."""
        return rotate_status(await self._rekey(req).status())

    @update("rotate/root/init", writes=False)
    @update("rotate/recovery/init", writes=False)
    async def rotation_init(self, req: CoreRequest, p: RekeyParams) -> dict[str, Any]:
        """Begin to make new key shares."""
        return rotate_status(await _begin(self._rekey(req), p))

    @delete("rotate/root/init", writes=False)
    @delete("rotate/recovery/init", writes=False)
    async def rotation_cancel(self, req: CoreRequest, p: NoParams) -> None:
        """Give up making new key shares."""
        self._rekey(req).cancel()

    @update("rotate/root/update", writes=False)
    @update("rotate/recovery/update", writes=False)
    async def rotation_update(self, req: CoreRequest, p: ShareParams) -> dict[str, Any]:
        """Give one present share; the last one needed gives the new ones."""
        return rotate_status(await self._rekey(req).update(_given(p.key), p.nonce))

    @read("rotate/root/verify")
    @read("rotate/recovery/verify")
    async def rotation_verify_status(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Tell how the verification of new shares stands."""
        return await self._rekey(req).verify_status()

    @update("rotate/root/verify", writes=False)
    @update("rotate/recovery/verify", writes=False)
    async def rotation_verify(self, req: CoreRequest, p: ShareParams) -> dict[str, Any]:
        """Show one new share; the last one needed puts them in force."""
        return await self._rekey(req).verify(_given(p.key), p.nonce)

    @delete("rotate/root/verify", writes=False)
    @delete("rotate/recovery/verify", writes=False)
    async def rotation_verify_cancel(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Begin the verification of new shares anew."""
        return await self._rekey(req).cancel_verify()


def _given(key: str) -> str:
    if not key:
        raise InvalidRequest("missing required field 'key'")
    return key


async def _begin(rekey: Rekey, p: RekeyParams) -> dict[str, Any]:
    return await rekey.init(**{name: getattr(p, name) for name in p.given if name != "stored_shares"})
