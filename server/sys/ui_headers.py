"""``sys/config/ui/headers``: headers of answers under ``/ui/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson

from ...framework import Field, NoParams, Params, Response, View, delete, list_, read, update
from ...framework.errors import InvalidRequest, NotFound
from ...framework.wire import STRINGS
from ..request import CoreRequest
from .base import SystemRoutes

UI_HEADERS_KEY: Final = "core/ui-headers"
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, section 5.5
_MAX_HEADERS, _MAX_BYTES = 100, 8 << 10


class HeaderName(Params):
    header: Annotated[str, Field("Name of the header.")]


class HeaderReadParams(HeaderName):
    multivalue: Annotated[bool, Field("Whether to show every value.")] = False


class HeaderParams(HeaderReadParams):
    values: Annotated[list[str], Field("Values of the header.", STRINGS)] = ()  # type: ignore[assignment]


class UiHeaderRoutes(SystemRoutes):
    """Headers of the web page."""

    @list_("config/ui/headers", sudo=True)
    async def list_ui_headers(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the headers."""
        headers = await load_ui_headers(req.root)
        if not headers:
            raise NotFound("")
        return {"keys": sorted(headers)}

    @read("config/ui/headers/{header}", sudo=True)
    async def read_ui_header(self, req: CoreRequest, p: HeaderReadParams) -> dict[str, Any]:
        """Show a header."""
        values = (await load_ui_headers(req.root)).get(_canonical(p.header))
        if values is None:
            raise NotFound("")
        return {"values": values} if p.multivalue else {"value": values[0]}

    @update("config/ui/headers/{header}", sudo=True)
    async def write_ui_header(self, req: CoreRequest, p: HeaderParams) -> Response:
        """Set a header."""
        name = _canonical(p.header)
        if not p.values:
            raise InvalidRequest("header and values must be specified")
        if name.startswith("X-Vault-"):
            raise InvalidRequest("X-Vault headers cannot be set")
        if any(_UNSAFE.search(value) for value in p.values) or sum(map(len, p.values)) > _MAX_BYTES:
            raise InvalidRequest(f"values have no control characters, and at most {_MAX_BYTES} bytes in all")
        headers = await load_ui_headers(req.root)
        headers[name] = list(p.values)
        if len(headers) > _MAX_HEADERS:
            raise InvalidRequest(f"there are {_MAX_HEADERS} headers already; delete one first")
        self._put_ui_headers(req, headers)
        warning = f"overriding default {name} which is secure by default, proceed with caution"
        return Response(status=200, warnings=[warning] if name == "Content-Security-Policy" else [])

    @delete("config/ui/headers/{header}", sudo=True)
    async def delete_ui_header(self, req: CoreRequest, p: HeaderName) -> None:
        """Remove a header."""
        headers = await load_ui_headers(req.root)
        if headers.pop(_canonical(p.header), None) is not None:
            self._put_ui_headers(req, headers)

    def _put_ui_headers(self, req: CoreRequest, headers: dict[str, list[str]]) -> None:
        req.root.put(UI_HEADERS_KEY, orjson.dumps(headers))

        def apply() -> None:
            self.core.ui_headers = as_sent(headers)

        req.on_commit(apply)


async def load_ui_headers(view: View) -> dict[str, list[str]]:
    """The headers as stored: name to values."""
    headers: dict[str, list[str]] = orjson.loads(await view.get(UI_HEADERS_KEY) or b"{}")
    return headers


def as_sent(headers: Mapping[str, list[str]]) -> dict[str, str]:
    """The headers as answers have them: the values of each in one line (RFC 9110, section 5.3)."""
    return {name: ", ".join(values) for name, values in headers.items()}


def _canonical(name: str) -> str:
    """A name as Vault writes it: ``x-foo`` is ``X-Foo``."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))
