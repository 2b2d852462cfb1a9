"""The seal: ``sys/init``, ``unseal``, ``seal``, ``generate-root``, ``rotate`` and what they report.

What opens the server, or is authorised by key shares, needs no token, and answers without an envelope
as it always has; ``sys/generate-root-token/*`` is the same operation behind a token.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, read, update
from ...framework.wire import BOOL, INT, SECONDS
from ..request import CoreRequest
from ..seal import (
    configure_rotation,
    decode_token,
    init_status,
    initialize,
    key_status,
    rotate,
    rotation_config,
    token_shape,
)
from .base import SystemRoutes, measured

PGP_KEYS = "OpenPGP public keys, a share each, that the shares are encrypted with: base64 or armoured."


class InitParams(Params):
    secret_shares: Annotated[int, Field("Into how many shares the unseal key is split.")] = 0
    secret_threshold: Annotated[int, Field("How many of them unseal.")] = 0
    stored_shares: Annotated[int, Field("Accepted for older clients; means nothing.", deprecated=True)] = 0
    pgp_keys: Annotated[list[str], Field(PGP_KEYS)] = field(default_factory=list)
    root_token_pgp_key: Annotated[str, Field("OpenPGP public key that the root token is encrypted with.")] = ""
    recovery_shares: Annotated[int, Field("Into how many shares the recovery key is split.")] = 0
    recovery_threshold: Annotated[int, Field("How many of them authorise.")] = 0
    recovery_pgp_keys: Annotated[list[str], Field(PGP_KEYS)] = field(default_factory=list)


class UnsealParams(Params):
    key: Annotated[str, Field("A share of the unseal key, in hex or base64.", sensitive=True)] = ""
    reset: Annotated[bool, Field("Forget the shares given so far.")] = False
    migrate: Annotated[bool, Field("Move to another seal.")] = False


class ShareParams(Params):
    key: Annotated[str, Field("A key share, in hex or base64.", sensitive=True)] = ""
    nonce: Annotated[str, Field("Nonce of the operation, as its status tells it.")] = ""


class AttemptParams(Params):
    otp: Annotated[str, Field("One-time pad; made by the server when left out.", sensitive=True)] = ""
    pgp_key: Annotated[str, Field("OpenPGP public key that the token is encrypted with.")] = ""


class DecodeParams(Params):
    encoded_token: Annotated[str, Field("What the operation gave at its end.", sensitive=True)] = ""
    otp: Annotated[str, Field("The one-time pad that it began with.", sensitive=True)] = ""


class RotationParams(Params):
    enabled: Annotated[bool | None, Field("Whether the key is rotated by itself.", BOOL)] = None
    interval: Annotated[int | None, Field("Rotate after this time; 0 never.", SECONDS)] = None
    max_operations: Annotated[int | None, Field("Rotate after this many encryptions.", INT)] = None


def bare(data: Any) -> Response:
    return Response(data=data, bare=True)


class SealRoutes(SystemRoutes):
    """Opening and closing the server, and the keys that people hold."""

    @read("init", auth=False, sealed=True)
    async def read_init(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell whether the server is initialized."""
        return bare(await init_status(self.core.seal))

    @update("init", auth=False, sealed=True, writes=False)
    async def init(self, req: CoreRequest, p: InitParams) -> Response:
        """Initialize the server: make its keys and its first root token."""
        return bare(await initialize(self.core.seal, **{name: getattr(p, name) for name in p.given}))

    @read("seal-status", auth=False, sealed=True)
    async def seal_status(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell how the seal stands."""
        return bare(await self.core.seal.status())

    @update("unseal", auth=False, sealed=True, writes=False)
    @measured("core.unseal")
    async def unseal(self, req: CoreRequest, p: UnsealParams) -> Response:
        """Give one share of the unseal key."""
        return bare(await self.core.seal.unseal(p.key, p.reset, p.migrate))

    @update("seal", sudo=True, sealed=True, writes=False)
    @measured("core.seal")
    async def seal(self, req: CoreRequest, p: NoParams) -> None:
        """Seal the server: forget its keys until it is unsealed again."""
        await self.core.seal.seal()

    @update("step-down", sudo=True, writes=False)
    async def step_down(self, req: CoreRequest, p: NoParams) -> None:
        """Give up being the active node, where another can take over."""
        if self.core.raft is not None:
            await self.core.raft.step_down()

    # The keyring

    @read("key-status")
    async def key_status(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell the term of the encryption key, and how often it was used."""
        return Response(data=key_status(self.core.seal), flat=True)

    @update("rotate", sudo=True, writes=False)
    @update("rotate/keyring", sudo=True, writes=False)
    async def rotate(self, req: CoreRequest, p: NoParams) -> None:
        """Use a new encryption key from now on; what is stored stays readable."""
        async with self.core.seal.lock:
            await rotate(self.core.seal)

    @update("rotate/root", sudo=True, writes=False)
    async def rotate_root(self, req: CoreRequest, p: NoParams) -> None:
        """Replace the root key, which protects the keyring; key shares stay good."""
        async with self.core.seal.lock:
            await self.core.seal.replace_root_key()

    @read("rotate/config")
    @read("rotate/keyring/config")
    async def read_rotation(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Tell when the encryption key is rotated by itself."""
        return rotation_config(self.core.seal)

    @update("rotate/config", writes=False)
    @update("rotate/keyring/config", writes=False)
    async def write_rotation(self, req: CoreRequest, p: RotationParams) -> None:
        """Set when the encryption key is rotated by itself."""
        await configure_rotation(
            self.core.seal, enabled=p.enabled, interval=p.interval, max_operations=p.max_operations
        )

    # A new root token

    @read("generate-root/attempt", auth=False, sealed=True)
    @read("generate-root", auth=False, sealed=True)
    async def attempt_status(self, req: CoreRequest, p: NoParams) -> Response:
        """Tell how the making of a root token stands."""
        self.core.unsealed()
        return bare(await self.core.generate_root.status())

    @update("generate-root/attempt", auth=False, sealed=True, writes=False)
    @update("generate-root", auth=False, sealed=True, writes=False)
    async def attempt_init(self, req: CoreRequest, p: AttemptParams) -> Response:
        """Begin to make a root token."""
        self.core.unsealed()
        return bare(await self.core.generate_root.init(p.otp, p.pgp_key))

    @delete("generate-root/attempt", auth=False, sealed=True, writes=False)
    @delete("generate-root", auth=False, sealed=True, writes=False)
    async def attempt_cancel(self, req: CoreRequest, p: NoParams) -> None:
        """Give up making a root token."""
        self.core.unsealed()
        self.core.generate_root.cancel()

    @update("generate-root/update", auth=False, sealed=True, writes=False)
    async def attempt_update(self, req: CoreRequest, p: ShareParams) -> Response:
        """Give one key share; the last one needed gives the token, encoded."""
        self.core.unsealed()
        return bare(await self.core.generate_root.update(p.key, p.nonce))

    @read("generate-root-token/attempt")
    async def token_attempt_status(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Tell how the making of a root token stands."""
        return token_shape(await self.core.generate_root.status(), update=False)

    @update("generate-root-token/attempt", writes=False)
    async def token_attempt_init(self, req: CoreRequest, p: AttemptParams) -> dict[str, Any]:
        """Begin to make a root token."""
        return token_shape(await self.core.generate_root.init(p.otp, p.pgp_key), update=False)

    @delete("generate-root-token/attempt", writes=False)
    async def token_attempt_cancel(self, req: CoreRequest, p: NoParams) -> None:
        """Give up making a root token."""
        self.core.generate_root.cancel()

    @update("generate-root-token/update", writes=False)
    async def token_attempt_update(self, req: CoreRequest, p: ShareParams) -> dict[str, Any]:
        """Give one key share; the last one needed gives the token, encoded."""
        return token_shape(await self.core.generate_root.update(p.key, p.nonce), update=True)

    @update("decode-token", auth=False, writes=False)
    async def decode(self, req: CoreRequest, p: DecodeParams) -> dict[str, str]:
        """Decode a root token with the one-time pad it was made for."""
        return decode_token(p.encoded_token, p.otp)
