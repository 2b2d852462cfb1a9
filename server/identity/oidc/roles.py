"""``identity/oidc/role``, ``token`` and ``introspect``: identity tokens for services to know each other by."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated, Any

from ....framework import Field, NoParams, Params, Response, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ....framework.wire import SECONDS
from ...request import CoreRequest
from ...tokens import random_id
from . import signing, template
from .base import Name, changes
from .keys import KeyRoutes
from .records import DAY, Role
from .wellknown import WellKnownRoutes

_log = logging.getLogger(__name__)
_CLIENT_ID_LENGTH = 26


class RoleParams(Name):
    key: Annotated[str, Field("The named key that signs.")] = ""
    template: Annotated[str, Field("Claims to add, as a template of JSON; it may be in base64.")] = ""
    ttl: Annotated[int, Field("How long a token is valid.", SECONDS)] = DAY
    client_id: Annotated[str, Field("The audience of the tokens; one is made up unless given.")] = ""


class IntrospectParams(Params):
    token: Annotated[str, Field("The token to verify.", sensitive=True)] = ""
    client_id: Annotated[str, Field("The audience that the token has to be for; any unless given.")] = ""


class RoleRoutes(KeyRoutes, WellKnownRoutes):
    @read("oidc/role/{name}")
    async def read_oidc_role(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Read a role of identity tokens."""
        role = await self.oidc.roles.get(req.storage, p.name)
        if role is None:
            raise NotFound
        return {"client_id": role.client_id, "key": role.key, "template": role.template, "ttl": role.ttl}

    @update("oidc/role/{name}", exists="oidc_role_exists")
    async def write_oidc_role(self, req: CoreRequest, p: RoleParams) -> None:
        """Create or change a role of identity tokens."""
        old = await self.oidc.roles.get(req.storage, p.name)
        role = replace(old or Role("", ""), **changes(p))
        role = replace(role, template=template.plain(role.template))
        if not role.key:
            raise InvalidRequest("the key parameter is required")
        key = await self.signer(req, role.key)
        if key is None:
            raise InvalidRequest(f'cannot find key "{role.key}"')
        if role.ttl > key.verification_ttl:
            raise InvalidRequest(
                "a role's token ttl cannot be longer than the verification_ttl of the key it references"
            )
        template.check(role.template)
        if not role.client_id:
            role = replace(role, client_id=random_id(_CLIENT_ID_LENGTH))
        if old is not None and old.key != role.key:
            self.unuse(req.storage, old.key, "roles", p.name)
        self.use(req.storage, role.key, "roles", p.name)
        self.oidc.roles.put(req.storage, p.name, role)

    @delete("oidc/role/{name}")
    async def delete_oidc_role(self, req: CoreRequest, p: Name) -> None:
        """Delete a role; tokens that it gave stay valid."""
        role = await self.oidc.roles.get(req.storage, p.name)
        if role is not None:
            self.unuse(req.storage, role.key, "roles", p.name)
            self.oidc.roles.delete(req.storage, p.name)

    @list_("oidc/role")
    async def list_oidc_roles(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List roles of identity tokens."""
        names = await self.oidc.roles.names(req.storage)
        if not names:
            raise NotFound
        return {"keys": names}

    async def oidc_role_exists(self, req: CoreRequest, p: RoleParams) -> bool:
        return await self.oidc.roles.get(req.storage, p.name) is not None

    @read("oidc/token/{name}")
    async def read_oidc_token(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Get an identity token of a role: a signed JWT that says who the caller is."""
        role = await self.oidc.roles.get(req.storage, p.name)
        if role is None:
            raise InvalidRequest(f'role "{p.name}" not found')
        key = await self.oidc.keys.get(req.storage, role.key)
        if key is None or key.signing is None:
            raise InvalidRequest(f'key "{role.key}" not found')
        if not key.allows(role.client_id):
            raise InvalidRequest(
                f'the key "{role.key}" does not list the client ID of the role "{p.name}" as an allowed client ID'
            )
        if not req.caller.entity_id:
            raise InvalidRequest("no entity associated with the request's token")
        identity = await self.identity(req, req.caller.entity_id)
        if identity is None:
            raise InvalidRequest("no entity associated with the request's token")
        now = self.clock.time()
        claims = {
            "iss": await self.issuer(req),
            "namespace": req.node.namespace.id,
            "sub": identity.id,
            "aud": role.client_id,
            "iat": int(now),
            "exp": int(now) + role.ttl,
        }
        try:
            claims = template.render(role.template, identity, now) | claims
        except InvalidRequest as error:  # the template was sound when it was written
            _log.warning("identity token of role %s goes without its template: %s", p.name, error)
        token = await asyncio.to_thread(signing.sign, key.signing, claims)
        return {"client_id": role.client_id, "token": token, "ttl": role.ttl}

    @update("oidc/introspect", writes=False)
    async def introspect_oidc_token(self, req: CoreRequest, p: IntrospectParams) -> Response:
        """Tell whether an identity token is valid, and whether its entity still is (RFC 7662)."""
        try:
            await self._verify(req, p)
        except ValueError as error:
            return Response(data={"active": False, "error": str(error)}, bare=True)
        return Response(data={"active": True}, bare=True)

    async def _verify(self, req: CoreRequest, p: IntrospectParams) -> None:
        """Raises ValueError unless the token is valid."""
        jwks = await self.jwks(req.storage, await self.oidc.keys.names(req.storage))
        claims = await asyncio.to_thread(signing.verify, p.token, jwks)
        if p.client_id and claims.get("aud") != p.client_id:
            raise ValueError("error validating claims: the token is for another audience (aud)")
        if claims.get("iss") != await self.issuer(req):
            raise ValueError("error validating claims: the token is of another issuer (iss)")
        expires = claims.get("exp")
        if not isinstance(expires, int) or expires <= self.clock.time():
            raise ValueError("error validating claims: the token is expired (exp)")
        if await self.identity(req, str(claims.get("sub"))) is None:
            raise ValueError("entity was not found or is disabled")
