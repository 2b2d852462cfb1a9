"""``sys/audit``, ``sys/audit-hash`` and ``sys/config/auditing``: the audit devices."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, read, update
from ...framework.errors import InvalidRequest
from ...framework.wire import PAIRS
from ..audit.broker import Entry
from ..audit.record import Record
from ..mounts import clean_path
from ..request import CoreRequest
from .base import SystemRoutes

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-vault-token"})
"""Hashed whatever is asked for."""


class DevicePath(Params):
    path: Annotated[str, Field("Path of the device.")]


class EnableDevice(DevicePath):
    type: Annotated[str, Field("file, socket, syslog, http, or one that a plug-in brings.")] = ""
    description: Annotated[str, Field("A text for people.")] = ""
    options: Annotated[dict[str, str], Field("The options of the device.", PAIRS)] = field(default_factory=dict)
    local: Annotated[bool, Field("Whether the device is of this cluster only.")] = False


class HashInput(DevicePath):
    input: Annotated[str, Field("The text to hash.", sensitive=True)] = ""


class HeaderName(Params):
    header: Annotated[str, Field("Name of the request header.")]


class HeaderParams(HeaderName):
    hmac: Annotated[bool, Field("Whether its values are hashed.")] = False


class AuditRoutes(SystemRoutes):
    """Audit devices."""

    @read("audit", sudo=True)
    async def audit_devices(self, req: CoreRequest, p: NoParams) -> Response:
        """List the audit devices."""
        devices = self.core.audit.devices
        return Response(data={path: device.entry.shown() for path, device in devices.items()}, flat=True)

    @update("audit/{path:some}", sudo=True, writes=False, external=True)
    async def enable_audit_device(self, req: CoreRequest, p: EnableDevice) -> None:
        """Enable an audit device, once a test entry was written to it."""
        if not self.core.config.unsafe_allow_api_audit_creation:
            raise InvalidRequest(
                "cannot enable audit device via API; use declarative, config-based audit device management instead"
            )
        entry = Entry(clean_path(p.path), p.type, p.description, p.local, p.options)
        broker = self.core.audit
        await broker.enable(req.node.store, entry)
        if req.incoming.audit is None:
            req.incoming.audit = Record.of_the_first_device(broker, req)

    @delete("audit/{path:some}", sudo=True)
    async def disable_audit_device(self, req: CoreRequest, p: DevicePath) -> None:
        """Disable an audit device. What it wrote stays."""
        channel = self.core.audit.disable(req.root, clean_path(p.path), req.on_commit)
        if channel is not None:
            req.after_commit.append(channel.close)

    @update("audit-hash/{path:some}", writes=False)
    async def audit_hash(self, req: CoreRequest, p: HashInput) -> Response:
        """Hash a text as the entries of a device show it, to look for it in them."""
        if not p.input:
            raise InvalidRequest('the "input" parameter is empty')
        path = clean_path(p.path)
        device = self.core.audit.devices.get(path)
        if device is None:
            raise InvalidRequest(f'unknown audit backend "{path}"')
        return Response(data={"hash": device.formatter.hash(p.input)}, flat=True)

    @read("config/auditing/request-headers", sudo=True)
    async def audited_headers(self, req: CoreRequest, p: NoParams) -> Response:
        """List the request headers that entries show."""
        shown = {name: {"hmac": hashed} for name, hashed in sorted(self.core.audit.headers.items())}
        return Response(data={"headers": shown}, flat=True)

    @read("config/auditing/request-headers/{header:some}", sudo=True)
    async def audited_header(self, req: CoreRequest, p: HeaderName) -> Response:
        """Tell whether entries show a request header, and how."""
        hashed = self.core.audit.headers.get(p.header.lower())
        if hashed is None:
            raise InvalidRequest("Could not find header in config")
        found: dict[str, Any] = {p.header: {"hmac": hashed}}
        return Response(data=found, flat=True)

    @update("config/auditing/request-headers/{header:some}", sudo=True)
    async def audit_header(self, req: CoreRequest, p: HeaderParams) -> None:
        """Have entries show a request header."""
        headers = await self.core.audit.stored_headers(req.root)
        if len(headers) >= 100 or len(p.header) > 256:
            raise InvalidRequest("at most 100 headers are shown, with names of at most 256 characters")
        name = p.header.lower()
        self.core.audit.set_headers(req.root, {**headers, name: p.hmac or name in _SECRET_HEADERS}, req.on_commit)

    @delete("config/auditing/request-headers/{header:some}", sudo=True)
    async def forget_header(self, req: CoreRequest, p: HeaderName) -> None:
        """Have entries show a request header no longer."""
        headers = await self.core.audit.stored_headers(req.root)
        left = {name: hashed for name, hashed in headers.items() if name != p.header.lower()}
        self.core.audit.set_headers(req.root, left, req.on_commit)
