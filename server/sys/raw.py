"""``sys/raw``: the entries behind the barrier, by the keys they have in the store.

For repairs. It passes over everything that holds the server together: what is written here is not seen by what
is already in memory, and nothing checks that it makes sense.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from typing import Annotated, Any, Final

from ...framework import Field, Params, Response, delete, list_, read, update
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound, UnsupportedPath
from ...framework.params import PageParams
from ...storage.barrier import KEYRING, ROOT
from ..request import CoreRequest
from ..seal.rekey import BACKUPS
from ..seal.unseal import RECOVERY_KEY, SEAL_CONFIG, SHAMIR_KEY, STORED_ROOT
from .base import SystemRoutes

_KEPT: Final = frozenset((KEYRING, ROOT, SEAL_CONFIG, STORED_ROOT, SHAMIR_KEY, RECOVERY_KEY, *BACKUPS.values()))
"""Keys of the seal: never shown, and never changed but by the seal."""
_GZIP: Final = b"G\x1f\x8b"  # Vault's mark before compressed values, and gzip's own (RFC 1952)
_MAX_PLAIN = 32 << 20  # bytes of a decompressed value
_MAX_KEY = 1024


class RawPath(Params):
    path: Annotated[str, Field("Key of the entry.")] = ""


class RawListParams(RawPath, PageParams):
    pass


class RawReadParams(RawPath):
    compressed: Annotated[bool, Field("Whether to decompress the value, if it is compressed.")] = True
    encoding: Annotated[str, Field("How the value is written: base64, or as it is.")] = ""


class RawWriteParams(RawReadParams):
    value: Annotated[str, Field("The value.")] = ""
    compression_type: Annotated[str, Field("How to compress the value: gzip, none, or as it was.")] = ""


class RawRoutes(SystemRoutes):
    """The store."""

    @list_("raw", sudo=True)
    @list_("raw/{path:some}", sudo=True)
    async def list_raw(self, req: CoreRequest, p: RawListParams) -> dict[str, Any]:
        """List the keys below a key."""
        self._serves_raw()
        folder = p.path.rstrip("/")
        names = await req.root.list(f"{folder}/" if folder else "", p.after, max(p.limit, 0))
        if not names:
            raise NotFound("")
        return {"keys": names}

    @read("raw[/]", sudo=True)
    @read("raw/{path:some}", sudo=True)
    async def read_raw(self, req: CoreRequest, p: RawReadParams) -> dict[str, Any]:
        """Show an entry."""
        value = await self._raw_value(req, p)
        if value is None:
            raise NotFound("")
        if p.compressed and value.startswith(_GZIP):
            value = _decompressed(value)
        return {"value": base64.b64encode(value).decode() if p.encoding else value.decode("utf-8", "replace")}

    @update("raw[/]", sudo=True, exists="raw_exists")
    @update("raw/{path:some}", sudo=True, exists="raw_exists")
    async def write_raw(self, req: CoreRequest, p: RawWriteParams) -> Response | None:
        """Write an entry."""
        old = await self._raw_value(req, p)
        if not p.path or len(p.path) > _MAX_KEY:
            raise InvalidRequest(f"the key of an entry has 1 to {_MAX_KEY} characters")
        if p.compression_type not in ("", "none", "gzip"):
            raise InvalidRequest(f'invalid compression type "{p.compression_type[:64]}"')
        value = p.value.encode("utf-8", "surrogatepass")
        if p.encoding:
            try:
                value = base64.b64decode(value, validate=True)
            except binascii.Error:
                raise InvalidRequest("the value is not base64") from None
        if p.compression_type == "gzip" or (not p.compression_type and old is not None and old.startswith(_GZIP)):
            value = _GZIP[:1] + gzip.compress(value, mtime=0)
        req.root.put(p.path, value)
        return None

    async def raw_exists(self, req: CoreRequest, p: RawWriteParams) -> bool:
        return await self._raw_value(req, p) is not None

    @delete("raw[/]", sudo=True)
    @delete("raw/{path:some}", sudo=True)
    async def delete_raw(self, req: CoreRequest, p: RawPath) -> None:
        """Delete an entry."""
        self._serves_raw()
        _check(p.path)
        req.root.delete(p.path)

    async def _raw_value(self, req: CoreRequest, p: RawReadParams) -> bytes | None:
        self._serves_raw()
        if p.encoding not in ("", "base64"):
            raise InvalidRequest(f'invalid encoding "{p.encoding[:64]}"')
        _check(p.path)
        return await req.root.get(p.path) if p.path else None

    def _serves_raw(self) -> None:
        if not self.core.config.raw_storage_endpoint:
            raise UnsupportedPath(MultipleErrors("unsupported path").args[0])


def _check(key: str) -> None:
    if key in _KEPT:
        raise InvalidRequest(f'cannot access "{key}"')


def _decompressed(value: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)  # 31: gzip
    try:
        plain = reader.decompress(value[1:], _MAX_PLAIN)
    except zlib.error:
        raise InvalidRequest("the value cannot be decompressed; read it with compressed=false") from None
    if reader.unconsumed_tail:
        raise InvalidRequest(f"the value has more than {_MAX_PLAIN} bytes; read it with compressed=false")
    return plain
