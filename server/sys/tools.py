"""``sys/tools``: hashes and random bytes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import Annotated

from ...framework import Field, Params, Response, update
from ...framework.errors import InvalidRequest
from ..request import CoreRequest
from .base import SystemRoutes

HASHES = {f"sha{family}-{bits}": f"sha{bits}" if family == 2 else f"sha3_{bits}"
          for family in (2, 3) for bits in (224, 256, 384, 512)}  # fmt: skip
MAX_RANDOM = 131_072
_OFF_LOOP = 1 << 16  # bytes that take longer to hash than a hop to a thread


class HashParams(Params):
    input: Annotated[str, Field("What to hash, in base64.", sensitive=True)] = ""
    algorithm: Annotated[str, Field("The hash function.")] = "sha2-256"
    urlalgorithm: Annotated[str, Field("The hash function, as part of the path.")] = ""
    format: Annotated[str, Field("Encoding of the answer: hex or base64.")] = "hex"


class RandomParams(Params):
    bytes: Annotated[int, Field("How many.")] = 32
    urlbytes: Annotated[str, Field("How many, as part of the path.")] = ""
    format: Annotated[str, Field("Encoding of the answer: base64 or hex.")] = "base64"
    source: Annotated[
        str, Field("Source of entropy: platform, seal or all. A seal without one leaves it to the platform.")
    ] = "platform"


class ToolRoutes(SystemRoutes):
    """Hashes and random bytes."""

    @update("tools/hash[/{urlalgorithm}]", writes=False)
    async def hash(self, req: CoreRequest, p: HashParams) -> dict[str, str]:
        """Hash the input."""
        try:
            data = base64.b64decode(p.input, validate=True)
        except ValueError:
            raise InvalidRequest("unable to decode input as base64: illegal base64 data") from None
        algorithm = p.urlalgorithm or p.algorithm
        if algorithm not in HASHES:
            raise InvalidRequest(f"unsupported algorithm {algorithm[:64]}")
        encode = _encoder(p.format)
        if len(data) < _OFF_LOOP:
            return {"sum": encode(hashlib.new(HASHES[algorithm], data).digest())}
        digest = await asyncio.to_thread(lambda: hashlib.new(HASHES[algorithm], data).digest())
        return {"sum": encode(digest)}

    @update("tools/random[/{urlbytes}]", writes=False)
    async def random(self, req: CoreRequest, p: RandomParams) -> Response:
        """Give random bytes."""
        if p.urlbytes and not p.urlbytes.isdigit():  # "random/seal": the source stands alone
            return _random(p.urlbytes, p.bytes, p.format)
        return _random(p.source, int(p.urlbytes[:9]) if p.urlbytes else p.bytes, p.format)

    @update("tools/random/{source}/{urlbytes}", writes=False)
    async def random_from(self, req: CoreRequest, p: RandomParams) -> Response:
        """Give random bytes of a source of entropy."""
        if not p.urlbytes.isdigit():
            raise InvalidRequest(f"error parsing url-supplied byte count: {p.urlbytes[:64]!r} is not a number")
        return _random(p.source, int(p.urlbytes[:9]), p.format)


def _random(source: str, count: int, form: str) -> Response:
    if source not in ("platform", "seal", "all"):
        raise InvalidRequest(f'unsupported entropy source "{source[:64]}"; must be "platform" or "seal", or "all"')
    if count < 1:
        raise InvalidRequest("'bytes' cannot be less than 1")
    if count > MAX_RANDOM:
        raise InvalidRequest(f"'bytes' should be less than {MAX_RANDOM}")
    warnings = ["no seal/entropy augmentation available, using platform entropy source"] if source == "seal" else []
    return Response(data={"random_bytes": _encoder(form)(secrets.token_bytes(count))}, warnings=warnings)


def _encoder(form: str) -> Callable[[bytes], str]:
    if form == "hex":
        return bytes.hex
    if form == "base64":
        return lambda raw: base64.b64encode(raw).decode()
    raise InvalidRequest(f'unsupported encoding format "{form[:64]}"; must be "hex" or "base64"')
