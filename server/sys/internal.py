"""``sys/internal/ui`` and ``sys/internal/specs/openapi``: what user interfaces and generators ask."""

from __future__ import annotations

from typing import Annotated, Any

from ... import VAULT_VERSION
from ...framework import Field, NoParams, Params, openapi, read, update
from ...framework.errors import PermissionDenied
from ...framework.messages import Response
from ..mounts import Mount
from ..node import Node
from ..request import CoreRequest
from ..tokens import TokenEntry
from .base import SystemRoutes
from .mounts import MountPath, describe


class OpenApiParams(Params):
    context: Annotated[str, Field("Accepted for older clients; means nothing.")] = ""
    generic_mount_paths: Annotated[bool, Field("Write mount paths as path parameters.")] = False


class InternalRoutes(SystemRoutes):
    """For user interfaces."""

    @read("internal/ui/mounts", auth=False)
    async def ui_mounts(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the mounts that the caller may see: without a token, those made visible to all."""
        token = _caller(req)
        shown: dict[str, dict[str, Any]] = {"secret": {}, "auth": {}}
        for mount in req.node.router:
            entry = mount.entry
            visible = entry.config.listing_visibility == "unauth"
            if not visible and (token is None or not await self._reaches(req.node, token, mount)):
                continue
            kind = "auth" if entry.table == "auth" else "secret"
            brief = {"description": entry.description, "options": entry.options, "type": entry.type}
            shown[kind][entry.path] = brief if token is None else describe(mount)
        return shown

    @read("internal/ui/mounts/{path:some}", auth=False)
    async def ui_mount(self, req: CoreRequest, p: MountPath) -> dict[str, Any]:
        """Tell which mount serves a path."""
        token = req.token
        if token is None:
            raise PermissionDenied
        namespaces, here = req.node.namespaces, req.node.namespace
        namespace, path = namespaces.find(here.path, p.path)
        namespaces.check_lock(namespace)
        node = await namespaces.node(namespace)
        found = node.router.match(path)
        if found is None or not await self._reaches(node, token, found[0]):
            raise PermissionDenied(
                "preflight capability check returned 403, please ensure client's policies grant access to path "
                f'"{p.path.strip("/")}/"'
            )
        return describe(found[0]) | {"path": namespace.path.removeprefix(here.path) + found[0].entry.path}

    @read("internal/ui/resultant-acl")
    async def resultant_acl(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Show what the policies of the token that asks come to."""
        return req.permissions.resultant()

    @read("internal/ui/namespaces", auth=False)
    async def ui_namespaces(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the namespaces that the token may enter."""
        if req.token is None:
            raise PermissionDenied
        acl = await req.node.acl(req.token)
        below = [each.name for each in req.node.namespaces.below(req.node.namespace) if not each.tainted]
        keys = [name for name in below if acl.grants_under(req.node.below(req.token, name))]
        return {"keys": keys} if keys else {}

    @read("internal/specs/openapi", auth=False)
    @update("internal/specs/openapi", auth=False, writes=False)
    async def openapi(self, req: CoreRequest, p: OpenApiParams) -> Response:
        """Describe the paths that the caller may reach, as OpenAPI 3."""
        token = _caller(req)
        items: dict[str, Any] = {}
        for mount in req.node.router:
            if mount.point == "sys/" or (token is not None and await self._reaches(req.node, token, mount)):
                prefix = _prefix(mount, p.generic_mount_paths)
                items |= openapi.paths(type(mount.engine), prefix, mount.entry.tag)
        return Response(data=openapi.document(items, VAULT_VERSION), bare=True)

    async def _reaches(self, node: Node, token: TokenEntry, mount: Mount) -> bool:
        acl = await node.acl(token)
        return acl.grants_under(node.below(token, mount.point))


def _caller(req: CoreRequest) -> TokenEntry | None:
    """The token of a request that needs none; raises PermissionDenied for one that is not valid."""
    if req.token is None and req.incoming.token:
        raise PermissionDenied
    return req.token


def _prefix(mount: Mount, generic: bool) -> str:
    """How the document writes where an engine is: its path, or a parameter that stands for it."""
    if not generic or mount.entry.type.removeprefix("ns_") in ("system", "token", "cubbyhole"):
        return mount.point
    kind = f"{mount.entry.type}_mount_path"
    return f"auth/{{{kind}}}/" if mount.entry.table == "auth" else f"{{{kind}}}/"
