"""``sys/config/cors``."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from ...framework import Field, NoParams, Params, Response, delete, read, update
from ...framework.errors import MultipleErrors
from ..cors import HEADERS, Cors
from ..request import CoreRequest
from .base import SystemRoutes

CORS_KEY = "core/cors"


class CorsParams(Params):
    enable: Annotated[bool, Field("Whether other origins are answered.")] = True
    allowed_origins: Annotated[list[str], Field("The origins, or * for any.")] = field(default_factory=list)
    allowed_headers: Annotated[list[str], Field("Request headers beside the usual ones.")] = field(default_factory=list)
    allow_credentials: Annotated[bool, Field("Whether browsers may send credentials.")] = False


class CorsRoutes(SystemRoutes):
    """Cross-origin requests."""

    @read("config/cors", sudo=True)
    async def read_cors(self, req: CoreRequest, p: NoParams) -> Response:
        """Show which other origins are answered."""
        cors = self.core.cors
        if not cors.enabled:
            return Response(data={"enabled": False}, flat=True)
        shown = {
            "enabled": True,
            "allowed_origins": cors.allowed_origins,
            "allowed_headers": (*HEADERS, *cors.allowed_headers),
            "allow_credentials": cors.allow_credentials,
        }
        return Response(data=shown, flat=True)

    @update("config/cors", sudo=True)
    async def write_cors(self, req: CoreRequest, p: CorsParams) -> None:
        """Answer other origins."""
        if p.enable and not p.allowed_origins:
            raise MultipleErrors("at least one origin or the wildcard must be provided")
        self._set(req, Cors(p.enable, tuple(p.allowed_origins), tuple(p.allowed_headers), p.allow_credentials))

    @delete("config/cors", sudo=True)
    async def delete_cors(self, req: CoreRequest, p: NoParams) -> None:
        """Answer no other origin."""
        self._set(req, Cors())

    def _set(self, req: CoreRequest, cors: Cors) -> None:
        req.root.put(CORS_KEY, cors.dump())

        def apply() -> None:
            self.core.cors = cors

        req.on_commit(apply)
