"""``sys/capabilities``, ``-self`` and ``-accessor``: what a token may do on given paths."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from ...framework import Field, Params, Response, update
from ...framework.errors import InvalidRequest, MultipleErrors, PermissionDenied
from ..request import CoreRequest
from ..tokens import TokenEntry
from .base import SystemRoutes


class PathsParams(Params):
    paths: Annotated[list[str], Field("The paths.", aliases=("path",))] = field(default_factory=list)


class TokenPathsParams(PathsParams):
    token: Annotated[str, Field("The token.", sensitive=True)] = ""


class AccessorPathsParams(PathsParams):
    accessor: Annotated[str, Field("Accessor of the token.")] = ""


class CapabilityRoutes(SystemRoutes):
    """What a token may do."""

    @update("capabilities", writes=False)
    async def capabilities(self, req: CoreRequest, p: TokenPathsParams) -> Response:
        """Tell what a token may do on paths."""
        if not p.token:
            raise MultipleErrors("no token found")
        token = await req.node.tokens.lookup(req.root, p.token)
        if token is None or not (req.node.holds(token) or req.node.reaches(token)):
            raise MultipleErrors("invalid token")
        return await self._answer(req, token, p)

    @update("capabilities-self", writes=False)
    async def capabilities_self(self, req: CoreRequest, p: TokenPathsParams) -> Response:
        """Tell what the token that asks may do on paths."""
        return await self._answer(req, req.caller, p)

    @update("capabilities-accessor", writes=False)
    async def capabilities_accessor(self, req: CoreRequest, p: AccessorPathsParams) -> Response:
        """Tell what the token of an accessor may do on paths."""
        if not p.accessor:
            raise InvalidRequest("missing accessor")
        token = await req.node.tokens.by_accessor(req.root, p.accessor)
        if token is None or not req.node.holds(token):
            raise MultipleErrors("invalid accessor")
        return await self._answer(req, token, p)

    async def _answer(self, req: CoreRequest, token: TokenEntry, p: PathsParams) -> Response:
        if not p.paths:
            raise InvalidRequest("paths must be supplied")
        try:
            acl = await req.node.acl(token)
        except PermissionDenied:  # its entity is disabled or gone
            raise MultipleErrors("invalid token") from None
        here, home = req.node.namespace.path, req.node.namespaces.of_token(token).path
        found = {
            path: acl.capabilities(full.removeprefix(home)) if (full := here + path).startswith(home) else ["deny"]
            for path in p.paths
        }
        if len(p.paths) == 1:
            found["capabilities"] = found[p.paths[0]]
        return Response(data=found, flat=True)
