"""``identity/oidc/scope``: names for sets of claims that applications can ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

from ....framework import Field, NoParams, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ....framework.storage import ReadView
from ...policy.templating import Identity
from ...request import CoreRequest
from . import template
from .base import Name, OidcEngine
from .records import Scope

OPENID = "openid"


class ScopeParams(Name):
    template: Annotated[str, Field("The claims, as a template of JSON; it may be in base64.")] = ""
    description: Annotated[str, Field("What it is for.")] = ""


class ScopeRoutes(OidcEngine):
    @read("oidc/scope/{name}")
    async def read_oidc_scope(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Read a scope."""
        scope = await self.oidc.scopes.get(req.storage, p.name)
        if scope is None:
            raise NotFound
        return {"description": scope.description, "template": scope.template}

    @update("oidc/scope/{name}", exists="oidc_scope_exists")
    async def write_oidc_scope(self, req: CoreRequest, p: ScopeParams) -> None:
        """Create or change a scope."""
        if p.name == OPENID:
            raise InvalidRequest(f'the "{OPENID}" scope name is reserved')
        scope = await self.oidc.scopes.get(req.storage, p.name) or Scope()
        if "template" in p.given:
            scope = replace(scope, template=template.plain(p.template))
            template.check(scope.template)
        if "description" in p.given:
            scope = replace(scope, description=p.description)
        self.oidc.scopes.put(req.storage, p.name, scope)

    @delete("oidc/scope/{name}")
    async def delete_oidc_scope(self, req: CoreRequest, p: Name) -> None:
        """Delete a scope that no provider supports."""
        providers = await self.oidc.providers.all(req.storage)
        if users := [name for name, provider in providers.items() if p.name in provider.scopes_supported]:
            raise InvalidRequest(
                f'unable to delete scope "{p.name}" because it is currently referenced by these providers: '
                + ", ".join(users)
            )
        self.oidc.scopes.delete(req.storage, p.name)

    @list_("oidc/scope")
    async def list_oidc_scopes(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List scopes."""
        names = await self.oidc.scopes.names(req.storage)
        if not names:
            raise NotFound
        return {"keys": names}

    async def oidc_scope_exists(self, req: CoreRequest, p: ScopeParams) -> bool:
        return await self.oidc.scopes.get(req.storage, p.name) is not None

    async def conflicts(self, view: ReadView, scopes: Iterable[str]) -> list[tuple[str, str, str]]:
        """Claims that more than one of the scopes sets: the claim and the two scopes."""
        setters: dict[str, str] = {}
        found = []
        for name in scopes:
            scope = await self.oidc.scopes.get(view, name)
            claims = template.claims_of(scope.template) if scope else {}
            found += [(claim, setters[claim], name) for claim in claims if claim in setters]
            setters |= dict.fromkeys(claims, name)
        return found

    async def scope_claims(self, view: ReadView, scopes: Iterable[str], identity: Identity) -> dict[str, Any]:
        """The claims of some scopes for an entity; raises InvalidRequest."""
        claims: dict[str, Any] = {}
        for name in scopes:
            scope = await self.oidc.scopes.get(view, name)
            if scope is not None:
                claims |= template.render(scope.template, identity, self.clock.time())
        return claims
