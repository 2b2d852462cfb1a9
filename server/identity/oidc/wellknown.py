"""``identity/oidc/config`` and the documents that tell applications how to verify identity tokens.

The documents are those of OpenID Connect Discovery 1.0 and RFC 7517; anyone may read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from ....framework import Field, NoParams, Params, Response, read, update
from ....framework.storage import ReadView
from ...request import CoreRequest
from .base import ISSUER_WARNING, OidcEngine, address, check_issuer
from .records import Settings
from .signing import ALGORITHMS

CACHED: Final = {"Cache-Control": "max-age=3600"}  # discovery documents hardly ever change


class ConfigParams(Params):
    issuer: Annotated[str, Field(
        "Scheme, host and optional port that identity tokens name as their issuer; empty: the server's own address.",
    )] = ""  # fmt: skip


class WellKnownRoutes(OidcEngine):
    @read("oidc/config[/]")
    async def read_oidc_config(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Read what identity tokens name as their issuer."""
        return {"issuer": (await self._settings(req.storage)).issuer}

    @update("oidc/config")
    async def write_oidc_config(self, req: CoreRequest, p: ConfigParams) -> Response | None:
        """Set what identity tokens name as their issuer."""
        if "issuer" not in p.given:
            return None
        check_issuer(p.issuer)
        self.oidc.settings.put(req.storage, "issuer", Settings(p.issuer))
        return Response(warnings=[ISSUER_WARNING]) if p.issuer else None

    @read("oidc/.well-known/keys[/]", auth=False)
    async def read_oidc_public_keys(self, req: CoreRequest, p: NoParams) -> Response:
        """Read the public keys that identity tokens can be verified with, as a JWK set."""
        used = await self.used_keys(req.storage, "roles")
        return Response(data={"keys": await self.jwks(req.storage, used)}, bare=True)

    @read("oidc/.well-known/openid-configuration[/]", auth=False)
    async def read_oidc_discovery(self, req: CoreRequest, p: NoParams) -> Response:
        """Read where identity tokens come from and where their keys are."""
        issuer = await self.issuer(req)
        document = {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/keys",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ALGORITHMS,
        }
        return Response(data=document, bare=True, headers=CACHED)

    async def issuer(self, req: CoreRequest) -> str:
        """The ``iss`` claim of identity tokens."""
        return address(req, (await self._settings(req.storage)).issuer, "")

    async def jwks(self, view: ReadView, names: Iterable[str]) -> list[Mapping[str, str]]:
        """The published keys of some named keys."""
        now = self.clock.time()
        keys = [await self.oidc.keys.get(view, name) for name in names]
        return [jwk for key in keys if key is not None for jwk in key.jwks(now)]

    async def _settings(self, view: ReadView) -> Settings:
        return await self.oidc.settings.get(view, "issuer") or Settings()
