"""``identity/oidc/provider``: what applications see as their OpenID provider, with its documents."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

from ....framework import Field, Params, Response, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ...request import CoreRequest
from .base import ISSUER_WARNING, Name, address, changes, check_issuer
from .clients import ClientRoutes
from .records import ANY, Provider
from .scopes import OPENID, ScopeRoutes
from .signing import ALGORITHMS
from .wellknown import CACHED, WellKnownRoutes


class ProviderParams(Name):
    issuer: Annotated[str, Field(
        "Scheme, host and optional port at which applications reach this server; empty: its own address.",
    )] = ""  # fmt: skip
    allowed_client_ids: Annotated[list[str], Field("Ids of the clients that may use it; * for all.")] = field(
        default_factory=list
    )
    scopes_supported: Annotated[list[str], Field("Scopes that applications can ask for.")] = field(default_factory=list)


class ProviderList(Params):
    allowed_client_id: Annotated[str, Field("List only providers that this client may use.")] = ""


class ProviderRoutes(ClientRoutes, ScopeRoutes, WellKnownRoutes):
    @read("oidc/provider/{name}")
    async def read_oidc_provider(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Read a provider."""
        return _shown(req, p.name, await self._provider(req, p.name))

    @update("oidc/provider/{name}", exists="oidc_provider_exists")
    async def write_oidc_provider(self, req: CoreRequest, p: ProviderParams) -> Response | None:
        """Create or change a provider."""
        provider = await self.oidc.providers.get(req.storage, p.name) or Provider()
        check_issuer(p.issuer)
        provider = replace(provider, **changes(p))
        for scope in provider.scopes_supported:
            if await self.oidc.scopes.get(req.storage, scope) is None:
                raise InvalidRequest(f'scope "{scope}" does not exist')
        self.oidc.providers.put(req.storage, p.name, provider)
        warnings = [ISSUER_WARNING] if provider.issuer else []
        if conflicts := await self.conflicts(req.storage, provider.scopes_supported):
            which = ", ".join(f'conflict "{claim}" in scopes "{one}", "{two}"' for claim, one, two in conflicts)
            warnings.append(
                f"Found scope templates with conflicting top-level keys: {which}. This may result in an error if the "
                "scopes are requested in an OIDC Authentication Request."
            )
        return Response(warnings=warnings) if warnings else None

    @delete("oidc/provider/{name}")
    async def delete_oidc_provider(self, req: CoreRequest, p: Name) -> None:
        """Delete a provider."""
        if p.name in self.oidc.providers.builtin:
            raise InvalidRequest(f'deletion of OIDC provider "{p.name}" not allowed')
        self.oidc.providers.delete(req.storage, p.name)

    @list_("oidc/provider")
    async def list_oidc_providers(self, req: CoreRequest, p: ProviderList) -> dict[str, Any]:
        """List providers with their settings."""
        found = {
            name: _shown(req, name, provider)
            for name, provider in (await self.oidc.providers.all(req.storage)).items()
            if not p.allowed_client_id or provider.allows(p.allowed_client_id)
        }
        return {"keys": list(found), "key_info": found}

    async def oidc_provider_exists(self, req: CoreRequest, p: ProviderParams) -> bool:
        return await self.oidc.providers.get(req.storage, p.name) is not None

    @read("oidc/provider/{name}/.well-known/keys", auth=False)
    async def read_oidc_provider_keys(self, req: CoreRequest, p: Name) -> Response:
        """Read the public keys that ID tokens of a provider can be verified with, as a JWK set."""
        provider = await self._provider(req, p.name)
        if ANY in provider.allowed_client_ids:
            names = await self.used_keys(req.storage, "clients")
        else:
            clients = [await self.client_of(req.storage, client_id) for client_id in provider.allowed_client_ids]
            names = sorted({client.key for client in clients if client})
        return Response(data={"keys": await self.jwks(req.storage, names)}, bare=True)

    @read("oidc/provider/{name}/.well-known/openid-configuration", auth=False)
    async def read_oidc_provider_discovery(self, req: CoreRequest, p: Name) -> Response:
        """Read all that an application needs to know of a provider (OpenID Connect Discovery 1.0, RFC 8414)."""
        provider = await self._provider(req, p.name)
        issuer = provider_issuer(req, p.name, provider)
        document = {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/keys",
            "authorization_endpoint": address(req, provider.issuer, f"/provider/{p.name}/authorize", "ui/vault"),
            "token_endpoint": f"{issuer}/token",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "id_token_signing_alg_values_supported": ALGORITHMS,
            "response_types_supported": ["code"],
            "scopes_supported": [*provider.scopes_supported, OPENID],
            "claims_supported": [],
            "subject_types_supported": ["public"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }
        return Response(data=document, bare=True, headers=CACHED)

    async def _provider(self, req: CoreRequest, name: str) -> Provider:
        provider = await self.oidc.providers.get(req.storage, name)
        if provider is None:
            raise NotFound
        return provider


def provider_issuer(req: CoreRequest, name: str, provider: Provider) -> str:
    """The ``iss`` claim of a provider's ID tokens; its documents and endpoints are below it."""
    return address(req, provider.issuer, f"/provider/{name}")


def _shown(req: CoreRequest, name: str, provider: Provider) -> dict[str, Any]:
    return {
        "allowed_client_ids": provider.allowed_client_ids,
        "issuer": provider_issuer(req, name, provider),
        "scopes_supported": provider.scopes_supported,
    }
