"""The file of a snapshot: a gzipped tar (POSIX.1-1988 ustar) of four members, in this order.

- ``meta.json``: ``version`` of this format (1), ``time`` (RFC 3339), ``index`` of the last commit in it, ``storage``
  (type of the store), ``caveau`` (version that wrote it), ``cluster_id``, ``state_size`` in bytes;
- ``state.sqlite3``: the state, a SQLite file with the table ``kv``; all values are ciphertext;
- ``SHA256SUMS``: the SHA-256 of the two, as sha256sum(1) writes and checks it;
- ``SHA256SUMS.sealed``: that file encrypted by the barrier, which only a server with the same keys can have written.

``tar xzf FILE && sha256sum -c SHA256SUMS`` checks one without Caveau, except for who wrote it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from ...framework.errors import InvalidRequest
from .scratch import check_room, create

META, STATE, SUMS, SEALED = "meta.json", "state.sqlite3", "SHA256SUMS", "SHA256SUMS.sealed"
SUMS_KEY = "core/snapshot/sums"
"""Under which the barrier encrypts the sums; nothing is stored there."""

_VERSION = 1
_PART = 1 << 20
_SMALL = 64 << 10  # bytes of the members but the state


@dataclass(frozen=True, slots=True)
class Archive:
    """One that was unpacked, and whose sums are right. ``state``: path of the state's file."""

    meta: Mapping[str, Any]
    state: Path
    sums: bytes
    sealed: bytes


def pieces(state: IO[bytes], meta: Mapping[str, Any], seal: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """The file, about a megabyte at a time, none empty. ``seal``: encrypts the sums."""
    size = os.fstat(state.fileno()).st_size
    about = orjson.dumps({"version": _VERSION, **meta, "state_size": size})
    press = zlib.compressobj(1, wbits=31)  # 31: gzip. Ciphertext does not become smaller for more of an effort

    def small(name: str, content: bytes) -> bytes:
        return _header(name, len(content)) + content + _padding(len(content))

    yield press.compress(small(META, about) + _header(STATE, size)) + press.flush(zlib.Z_SYNC_FLUSH)
    digest, left = hashlib.sha256(), size
    while left:
        part = state.read(min(_PART, left))
        if not part:
            raise OSError("the state has become shorter while it was read")
        left -= len(part)
        digest.update(part)
        if pressed := press.compress(part):
            yield pressed
    sums = f"{hashlib.sha256(about).hexdigest()}  {META}\n{digest.hexdigest()}  {STATE}\n".encode()
    end = _padding(size) + small(SUMS, sums) + small(SEALED, seal(sums)) + bytes(2 * tarfile.BLOCKSIZE)
    yield press.compress(end) + press.flush()


def unpack(archive: Path, folder: Path) -> Archive:
    """Put the state beside, into ``folder``, and check the sums; raises InvalidRequest naming what is wrong, and
    RequestTooLarge."""
    try:
        with tarfile.open(archive, "r|gz") as tar:
            found = _members(tar, folder)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise InvalidRequest(f"it is no snapshot, or is cut off: {error}") from None
    meta, digest, sums, sealed = found
    right = f"{hashlib.sha256(meta).hexdigest()}  {META}\n{digest}  {STATE}\n".encode()
    if sums != right:
        raise InvalidRequest("the snapshot is damaged: its SHA-256 is not what it was")
    return Archive(_meta(meta), folder / STATE, sums, sealed)


def _members(tar: tarfile.TarFile, folder: Path) -> tuple[bytes, str, bytes, bytes]:
    small: dict[str, bytes] = {}
    digest = ""
    for expected in (META, STATE, SUMS, SEALED):
        member = tar.next()
        if member is None or member.name != expected or not member.isreg():
            raise ValueError(f"{expected} is missing where it should be")
        content = tar.extractfile(member)
        assert content is not None
        if expected == STATE:
            if member.size != _meta(small[META]).get("state_size"):
                raise ValueError(f"{META} says another size of {STATE}")
            check_room(folder, member.size)
            digest = _put(content, folder / STATE, member.size)
        elif member.size > _SMALL:
            raise ValueError(f"{expected} is too long")
        else:
            small[expected] = content.read()
    return small[META], digest, small[SUMS], small[SEALED]


def _put(content: IO[bytes], path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with os.fdopen(create(path), "wb") as file:
        while part := content.read(_PART):
            digest.update(part)
            file.write(part)
    if path.stat().st_size != size:
        raise ValueError(f"{STATE} is cut off")
    return digest.hexdigest()


def _meta(raw: bytes) -> dict[str, Any]:
    meta = orjson.loads(raw)
    if not isinstance(meta, dict) or not isinstance(meta.get("version"), int):
        raise InvalidRequest(f"it is no snapshot of Caveau: {META} does not say which version of the format it has")
    if meta["version"] > _VERSION:
        raise InvalidRequest("the snapshot was written by a newer Caveau: upgrade this one")
    return meta


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT if size >> 33 else tarfile.USTAR_FORMAT)  # ustar ends at 8 GiB


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
