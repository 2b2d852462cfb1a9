"""KV version 1: one value a path, written and read whole.

An entry at ``v1/<path>`` is a line with the refresh hint in seconds (empty: the mount's default), then the
JSON text of the data, which goes into answers as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson

from ...framework.engine import Engine
from ...framework.errors import InvalidRequest, NotFound
from ...framework.jsontext import dumps
from ...framework.messages import Request, Response
from ...framework.params import Field, Params
from ...framework.routes import delete, list_, read, scan, update
from ...framework.wire import parse_duration
from . import paths

PREFIX = "v1/"
_DEFAULT_TTL = 2764800  # seconds; 32 days, Vault's own default


class SecretPath(Params):
    path: Annotated[str, Field("Where the secret is kept.")]


class SecretData(SecretPath):
    open = True


class KvV1(Engine):
    """Keep arbitrary secrets, each under a path of your choice, encrypted.

    Writing replaces the whole secret. For earlier versions of it, and for updates that check what they
    replace, mount version 2.
    """

    @read("{path:path}")
    async def read_secret(self, req: Request, p: SecretPath) -> Response:
        """Read a secret.

        The answer's lease duration is a hint to read again after so many seconds: the field ttl
        (or lease) of the secret where it has one, else the default of the mount. Nothing expires.
        """
        entry = await req.storage.get(PREFIX + p.path) if paths.is_secret(p.path) else None
        if entry is None:
            raise NotFound
        hint, _, data = entry.partition(b"\n")
        return Response(data=orjson.Fragment(data), lease_duration=int(hint) if hint else self._default_ttl())

    @list_("{path:path}")
    async def list_secrets(self, req: Request, p: SecretPath) -> dict[str, Any]:
        """List the secrets and folders in a folder. Folders end in a slash."""
        keys = await req.storage.list(PREFIX + paths.folder(p.path))
        if not keys:
            raise NotFound
        return {"keys": keys}

    @scan("{path:path}")
    async def scan_secrets(self, req: Request, p: SecretPath) -> dict[str, Any]:
        """List every secret below a folder, however deep."""
        keys = await paths.scan(req.storage.list, PREFIX + paths.folder(p.path))
        return {"keys": keys} if keys else {}

    @update("{path:path}", exists="secret_exists")
    async def write_secret(self, req: Request, p: SecretData) -> None:
        """Write a secret: the fields of the request, replacing what was there.

        A field ttl tells readers how soon to read again.
        """
        if not p.path:
            raise InvalidRequest("missing path")
        paths.check_writable(p.path)
        if not p.extra:
            raise InvalidRequest("missing data fields")
        req.storage.put(PREFIX + p.path, _refresh_hint(p.extra) + b"\n" + dumps(p.extra))

    @delete("{path:path}")
    async def delete_secret(self, req: Request, p: SecretPath) -> None:
        """Delete a secret. Deleting what is not there is no error."""
        if paths.is_secret(p.path):
            req.storage.delete(PREFIX + p.path)

    async def secret_exists(self, req: Request, p: SecretPath) -> bool:
        return paths.is_secret(p.path) and await req.storage.get(PREFIX + p.path) is not None

    def _default_ttl(self) -> int:
        return self.context.system.default_ttl() if self.context.system else _DEFAULT_TTL


def data_of(entry: bytes) -> bytes:
    """The JSON text of the data in a stored entry."""
    return entry.partition(b"\n")[2]


def _refresh_hint(data: Mapping[str, Any]) -> bytes:
    key = "ttl" if "ttl" in data else "lease"
    if key not in data:
        return b""
    try:
        return b"%d" % int(parse_duration(data[key] or 0))
    except ValueError:
        return b""
