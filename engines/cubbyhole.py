"""The cubbyhole: storage of each token's own, which nobody else reaches and which ends with the token.

Entries are at ``<name of the token's cubbyhole>/<path>``, as JSON text that goes into answers as it is.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson

from ..framework.engine import Engine
from ..framework.errors import InvalidRequest, MultipleErrors, NotFound
from ..framework.jsontext import dumps
from ..framework.messages import Request, Response
from ..framework.params import Field, Params
from ..framework.routes import delete, list_, read, update
from .kv import paths

_OLD_WAY = (
    "Reading cubbyhole/response is an old way to a wrapped answer: sys/wrapping/unwrap tells more when it fails.",
)


class EntryPath(Params):
    path: Annotated[str, Field("Where the secret is kept.")]


class EntryData(EntryPath):
    open = True


class Cubbyhole(Engine):
    """Keep secrets that only the token which wrote them can read.

    They are gone when the token expires or is revoked. Wrapped responses travel this way too.
    """

    @read("{path:path}")
    async def read_entry(self, req: Request, p: EntryPath) -> Response:
        """Read a secret of this token."""
        key = _key(req, p.path)
        entry = await req.storage.get(key) if paths.is_secret(key) else None
        if entry is None:
            raise NotFound
        return Response(data=orjson.Fragment(entry), warnings=_OLD_WAY if _is_wrapped(req, p.path) else ())

    @list_("{path:path}")
    async def list_entries(self, req: Request, p: EntryPath) -> dict[str, Any]:
        """List the secrets and folders in a folder of this token. Folders end in a slash."""
        keys = await req.storage.list(_area(req) + paths.folder(p.path))
        if not keys:
            raise NotFound
        return {"keys": keys}

    @update("{path:path}", exists="entry_exists")
    async def write_entry(self, req: Request, p: EntryData) -> None:
        """Write a secret of this token: the fields of the request, replacing what was there."""
        if p.path:
            paths.check_writable(p.path)
        key = _key(req, p.path)
        if not p.extra:
            raise MultipleErrors("missing data fields")
        req.storage.put(key, dumps(p.extra))

    @delete("{path:path}")
    async def delete_entry(self, req: Request, p: EntryPath) -> None:
        """Delete a secret of this token. Deleting what is not there is no error."""
        key = _area(req) + p.path
        if paths.is_secret(key):
            req.storage.delete(key)

    async def entry_exists(self, req: Request, p: EntryPath) -> bool:
        key = _area(req) + p.path
        return paths.is_secret(key) and await req.storage.get(key) is not None


def _is_wrapped(req: Request, path: str) -> bool:
    return path == "response" and req.client is not None and req.client.policies == ("response-wrapping",)


def _area(req: Request) -> str:
    if req.client is None or not req.client.cubbyhole:
        raise InvalidRequest("cubbyhole operations are only supported by 'service' type tokens")
    return req.client.cubbyhole + "/"


def _key(req: Request, path: str) -> str:
    area = _area(req)
    if not path:
        raise MultipleErrors("missing path")
    return area + path
