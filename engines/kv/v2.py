"""KV version 2: secrets with versions. The routes are in one module each; here they make an engine."""

from __future__ import annotations

from typing import Annotated

from ...framework.errors import MultipleErrors, UnsupportedOperation
from ...framework.messages import Request, Response
from ...framework.params import Field, Params
from ...framework.routes import delete, list_, patch, read, scan, update
from .config import ConfigRoutes
from .data import DataRoutes
from .metadata import MetadataRoutes
from .versions import VersionRoutes

_WRITTEN = {"data", "delete", "destroy", "metadata", "undelete"}
_FOLDERS = {*_WRITTEN, "detailed-metadata", "subkeys"}
_COMMANDS = {"read": "get", "update": "put", "create": "put"}


class AnyPath(Params):
    open = True
    path: Annotated[str, Field("A path outside the API of this engine.")]


class KvV2(ConfigRoutes, DataRoutes, MetadataRoutes, VersionRoutes):
    """Keep secrets with their versions, encrypted, each under a path of your choice.

    Every write makes a new version. Versions can be read by number, deleted and brought back, or
    destroyed; the oldest are removed once there are too many. Data is under data/, all else that is known of a
    secret under metadata/.
    """

    @read("{path:path}", hidden=True)
    @list_("{path:path}", hidden=True)
    @scan("{path:path}", hidden=True)
    @update("{path:path}", hidden=True, writes=False)
    @patch("{path:path}", hidden=True, writes=False)
    @delete("{path:path}", hidden=True, writes=False)
    async def other_path(self, req: Request, p: AnyPath) -> Response:
        """Explain that a path is outside the API.

        Clients made for version 1 end here when they are pointed at a version 2 mount.
        """
        first, slash, _ = p.path.partition("/")
        listing = req.op in ("list", "scan")
        if (first in _FOLDERS and (slash or listing)) or (p.path == "config" and not listing):
            raise UnsupportedOperation(MultipleErrors("unsupported operation").args[0])
        if p.path in _WRITTEN:
            hint = "Non-listing operations on the root of a K/V v2 mount are not supported."
        else:
            hint = (
                "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints "
                f"to use. On the command line, use 'caveau kv {_COMMANDS.get(req.op, req.op)}' for this operation."
            )
        return Response(status=404, warnings=[hint])
