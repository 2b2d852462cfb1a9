"""``sys/plugins``: which engines and auth methods are built in or installed."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import field
from importlib.metadata import EntryPoint
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, read, update
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound, UnsupportedOperation
from .. import plugins
from ..request import CoreRequest
from .base import SystemRoutes

_TYPES = ("auth", "database", "secret")
_INTERNAL = frozenset({"cubbyhole", "identity"})


class PluginType(Params):
    type: Annotated[str, Field("Type of plugin: auth, database or secret.")]


class PluginName(PluginType):
    name: Annotated[str, Field("Name of the plugin.")]


class UntypedName(Params):
    name: Annotated[str, Field("Name of the plugin.")]


class Registration(UntypedName):
    type: Annotated[str, Field("Type of plugin: auth, database or secret.")] = ""


class ReloadParams(Params):
    plugin: Annotated[str, Field("Plugin whose mounts are reloaded.")] = ""
    mounts: Annotated[list[str], Field("Mounts that are reloaded.")] = field(default_factory=list)
    scope: Annotated[str, Field("global: on every node.")] = ""


async def _available(kind: str) -> dict[str, EntryPoint]:
    if kind not in plugins.GROUPS or kind not in _TYPES:
        return {}
    found = await asyncio.to_thread(plugins.installed, kind)  # the first time, that reads files
    return {name: point for name, point in sorted(found.items()) if name not in _INTERNAL}


def _detail(kind: str, name: str, point: EntryPoint) -> dict[str, Any]:
    builtin = plugins.is_builtin(point)
    return {
        "builtin": builtin,
        **({"deprecation_status": "supported"} if builtin else {}),
        "name": name,
        "type": kind,
        "version": plugins.version(point),
    }


def _unsupported() -> UnsupportedOperation:
    return UnsupportedOperation(MultipleErrors("unsupported operation").args[0])


def _without_type(name: str, what: str) -> Response:
    if name in _TYPES:
        raise _unsupported()
    return Response(warnings=[f'Deprecated API endpoint, cannot {what} catalog for "{name}"'])


class PluginRoutes(SystemRoutes):
    """The plugin catalog. Plugins are Python packages with an entry point: installed, not registered."""

    @read("plugins/catalog[/]")
    async def list_catalog(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List every plugin that can be mounted."""
        found = {kind: await _available(kind) for kind in _TYPES}
        detailed = await asyncio.to_thread(
            lambda: [_detail(kind, name, point) for kind in _TYPES for name, point in found[kind].items()]
        )
        return {**{kind: list(names) for kind, names in found.items() if names}, "detailed": detailed}

    @list_("plugins/catalog/{type}", sudo=True)
    async def list_type(self, req: CoreRequest, p: PluginType) -> dict[str, Any]:
        """List the plugins of one type."""
        if p.type not in _TYPES:
            raise _unsupported()
        return {"keys": list(await _available(p.type))}

    @read("plugins/catalog/{type}/{name}", sudo=True)
    async def read_plugin(self, req: CoreRequest, p: PluginName) -> Response | dict[str, Any]:
        """Show one plugin."""
        if p.type not in _TYPES:
            return _without_type(f"{p.type}/{p.name}", "read plugin information from")
        point = (await _available(p.type)).get(p.name)
        if point is None:
            raise NotFound
        shown = await asyncio.to_thread(_detail, p.type, p.name, point)
        del shown["type"]
        return {"args": None, "command": "", "oci": False, "sha256": "", **shown}

    @read("plugins/catalog/{name}", sudo=True)
    async def read_untyped(self, req: CoreRequest, p: UntypedName) -> Response:
        """Nothing: plugins are known by type and name."""
        return _without_type(p.name, "read plugin information from")

    @update("plugins/catalog/{type}/{name}", sudo=True, writes=False)
    @update("plugins/catalog/{name}", sudo=True, writes=False)
    async def register(self, req: CoreRequest, p: Registration) -> None:
        """Refused: a plugin is installed as a package on the server, not registered through the API."""
        if p.name in _TYPES:
            raise _unsupported()
        raise InvalidRequest(
            "plugins are not registered here: install the Python package that brings "
            f"{p.name[:64]!r} beside the server (pip install ...) and restart it"
        )

    @delete("plugins/catalog/{type}/{name}", sudo=True, writes=False)
    async def deregister(self, req: CoreRequest, p: PluginName) -> Response | None:
        """Nothing for what is not there; an installed package is to be uninstalled on the server."""
        if p.type not in _TYPES:
            return _without_type(f"{p.type}/{p.name}", "deregister plugin from")
        point = (await _available(p.type)).get(p.name)
        if point is not None and not plugins.is_builtin(point):
            raise InvalidRequest(
                f"plugin {p.name!r} is an installed Python package: uninstall it on the server and restart it"
            )
        return None

    @delete("plugins/catalog/{name}", sudo=True, writes=False)
    async def deregister_untyped(self, req: CoreRequest, p: UntypedName) -> Response:
        """Nothing: plugins are known by type and name."""
        return _without_type(p.name, "deregister plugin from")

    @update("plugins/reload/backend")
    async def reload(self, req: CoreRequest, p: ReloadParams) -> dict[str, str]:
        """Set the engines of a plugin, or of mounts, up anew."""
        if not p.plugin and not p.mounts:
            raise InvalidRequest("plugin or mounts must be provided")
        if p.plugin and p.mounts:
            raise InvalidRequest("plugin and mounts cannot be set at the same time")
        mounts = [m for m in req.node.router if m.entry.type == p.plugin] if p.plugin else []
        for path in p.mounts:
            mount = req.node.router.get(path.strip("/") + "/")
            if mount is None:
                raise InvalidRequest(f"cannot reload: no mount at {path[:128]!r}")
            mounts.append(mount)
        for mount in mounts:
            await req.node.rebuild(req.root, mount, req.on_commit)
        return {"reload_id": str(uuid.uuid4())}
