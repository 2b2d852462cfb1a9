"""``identity/oidc/provider/NAME/token`` and ``userinfo``: what an application gets for a code.

RFC 6749 sections 4.1.3, 4.4 and 5, RFC 7636 section 4.6, OpenID Connect Core 1.0 sections 3.1.3 and 5.3. An access
token is a batch token without policies and without an entity of its own: it opens nothing but userinfo.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import uuid
from typing import Annotated, Any, Final

from ....framework import Field, Response, read, update
from ....framework.errors import InvalidRequest
from ...policy.templating import Identity
from ...request import CoreRequest
from ...tokens import TokenEntry
from . import signing
from .authorize import AuthorizeRoutes
from .base import Name
from .clients import CONFIDENTIAL
from .oauth import Refusal
from .providers import provider_issuer
from .records import Client, Code, Key, Provider
from .scopes import OPENID

_PATH = "oidc/provider/"  # below no auth method: clients can make no token that says so
_UNCACHED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_GRANTS: Final = ("authorization_code", "client_credentials")


class TokenParams(Name):
    code: Annotated[str, Field("The code that authorize gave.", sensitive=True)] = ""
    grant_type: Annotated[str, Field("authorization_code, or client_credentials.")] = ""
    redirect_uri: Annotated[str, Field("The same as at authorize.")] = ""
    code_verifier: Annotated[str, Field("The code verifier of PKCE.", sensitive=True)] = ""
    client_id: Annotated[str, Field("Id of the client, unless it is in the Authorization header.")] = ""
    client_secret: Annotated[str, Field("Its secret, unless it is in the Authorization header.", sensitive=True)] = ""
    scope: Annotated[str, Field("For client_credentials: scopes, separated by spaces; openid has to be one.")] = ""


class TokenRoutes(AuthorizeRoutes):
    @update("oidc/provider/{name}/token", auth=False)
    async def exchange_oidc_code(self, req: CoreRequest, p: TokenParams) -> Response:
        """Get tokens for a code, or for the client's own credentials."""
        try:
            data = await self._exchange(req, p)
        except Refusal as refusal:
            if refusal.error == "invalid_client":
                return refusal.response(401, {**_UNCACHED, "WWW-Authenticate": "Basic"})
            return refusal.response(headers=_UNCACHED)
        return Response(data=data, bare=True, headers=_UNCACHED)

    async def _exchange(self, req: CoreRequest, p: TokenParams) -> dict[str, Any]:
        provider = await self.oidc.providers.get(req.storage, p.name)
        if provider is None:
            raise Refusal("invalid_request", "provider not found")
        client = await self._authenticate(req, p)
        if not provider.allows(client.client_id):
            raise Refusal("invalid_client", "client is not authorized to use the provider")
        key = await self.oidc.keys.get(req.storage, client.key)
        if key is None or key.signing is None or not key.allows(client.client_id):
            raise Refusal("invalid_client", "client is not authorized to use the key")
        if p.grant_type not in _GRANTS:
            raise Refusal("unsupported_grant_type", "unsupported grant_type or parameter is empty value")
        if not getattr(client, p.grant_type):
            raise Refusal("invalid_grant", "client is not authorized to use given credentials flow")
        if p.grant_type == "client_credentials":
            return await self._own_token(req, p, provider, client, key)
        if not p.code:
            raise Refusal("invalid_request", "code parameter is required")
        code = await self.take_code(req, p.code)
        if code is None:
            raise Refusal("invalid_grant", "authorization grant is invalid or expired")
        _check_code(code, p, client)
        identity = await self.identity(req, code.entity_id)
        if identity is None:
            raise Refusal("invalid_request", "identity entity for authorization grant not found")
        if not await self.is_assigned(req.storage, client, identity):
            raise Refusal("invalid_request", "identity entity not authorized by client assignment")
        return await self._tokens(req, p, provider, client, key, code, identity)

    async def _authenticate(self, req: CoreRequest, p: TokenParams) -> Client:
        """The client that asks; raises Refusal unless it knows its secret, or is public."""
        client_id, secret = _basic(req.incoming.headers.get("Authorization", "")) or (p.client_id, p.client_secret)
        if not client_id:
            raise Refusal("invalid_request", "client_id parameter is required")
        client = await self.client_of(req.storage, client_id)
        if client is None:
            raise Refusal("invalid_client", "client failed to authenticate")
        known = hmac.compare_digest(client.client_secret.encode(), secret.encode("utf-8", "surrogatepass"))
        if client.client_type == CONFIDENTIAL and not known:
            raise Refusal("invalid_client", "client failed to authenticate")
        return client

    async def _tokens(
        self, req: CoreRequest, p: TokenParams, provider: Provider, client: Client, key: Key, code: Code,
        identity: Identity,
    ) -> dict[str, Any]:  # fmt: skip
        if conflicts := await self.conflicts(req.storage, code.scopes):
            claim, one, two = conflicts[0]
            raise Refusal(
                "invalid_request",
                f'found scopes with conflicting top-level claim: claim "{claim}" in scopes "{one}", "{two}"',
            )
        now = self.clock.time()
        try:
            claims = await self.scope_claims(req.storage, code.scopes, identity)
        except InvalidRequest as error:
            raise Refusal("invalid_request", str(error)) from None
        lifetime = min(client.access_token_ttl or req.node.ttls(req.mount_point)[0], req.node.ttls(req.mount_point)[1])
        _, access_token = await req.node.tokens.create(req.root, TokenEntry(
            accessor="",
            policies=(),
            path=_path(p.name),
            creation_time=now,
            display_name="",
            meta={
                "oidc_token_type": "access token",
                "client_id": client.client_id,
                "entity_id": identity.id,
                "scopes": " ".join(code.scopes),
            },
            creation_ttl=lifetime,
            expire_time=now + lifetime,
            type="batch",
        ))  # fmt: skip
        claims |= {
            "iss": provider_issuer(req, p.name, provider),
            "namespace": req.node.namespace.id,
            "sub": identity.id,
            "aud": client.client_id,
            "iat": int(now),
            "exp": int(now) + client.id_token_ttl,
            "at_hash": signing.half_hash(key.algorithm, access_token),
            "c_hash": signing.half_hash(key.algorithm, p.code),
        }
        if code.nonce:
            claims["nonce"] = code.nonce
        if code.auth_time:
            claims["auth_time"] = code.auth_time
        return {
            "access_token": access_token,
            "expires_in": lifetime,
            "id_token": await _signed(key, claims),
            "token_type": "Bearer",
        }

    async def _own_token(
        self, req: CoreRequest, p: TokenParams, provider: Provider, client: Client, key: Key
    ) -> dict[str, Any]:
        """A token for the application itself (RFC 6749 section 4.4), in the form of RFC 9068."""
        if OPENID not in p.scope.split():
            raise Refusal("invalid_request", f'scope parameter must contain the "{OPENID}" value')
        now = int(self.clock.time())
        claims = {
            "iss": provider_issuer(req, p.name, provider),
            "namespace": req.node.namespace.id,
            "sub": client.client_id,
            "aud": client.client_id,
            "iat": now,
            "exp": now + client.access_token_ttl,
            "jti": str(uuid.uuid4()),
        }
        return {
            "access_token": await _signed(key, claims),
            "expires_in": client.access_token_ttl,
            "token_type": "Bearer",
        }

    @read("oidc/provider/{name}/userinfo", auth=False)
    @update("oidc/provider/{name}/userinfo", auth=False, writes=False)
    async def read_oidc_userinfo(self, req: CoreRequest, p: Name) -> Response:
        """Read the claims about the user whom an access token stands for."""
        try:
            return Response(data=await self._userinfo(req, p.name), bare=True)
        except Refusal as refusal:
            if refusal.error == "access_denied":
                return refusal.response(403)
            challenge = f'Bearer error="{refusal.error}",error_description="{refusal}"'
            status = 400 if refusal.error == "invalid_request" else 401  # RFC 6750 section 3.1
            return refusal.response(status, {"WWW-Authenticate": challenge})

    async def _userinfo(self, req: CoreRequest, name: str) -> dict[str, Any]:
        if req.token is None:
            raise Refusal("invalid_token", "permission denied")
        provider = await self.oidc.providers.get(req.storage, name)
        if provider is None:
            raise Refusal("invalid_request", "provider not found")
        if req.incoming.headers.get("X-Vault-Token"):
            raise Refusal("invalid_token", "access token must be sent as a Bearer token")
        if not req.token.path.startswith(_PATH):
            raise Refusal("invalid_token", "access token is malformed or invalid")
        if req.token.path != _path(name):
            raise Refusal("invalid_token", "permission denied")
        identity = await self.identity(req, req.token.meta["entity_id"])
        if identity is None:
            raise Refusal("invalid_token", "permission denied")
        client = await self.client_of(req.storage, req.token.meta["client_id"])
        if client is None or not provider.allows(client.client_id):
            raise Refusal("access_denied", "client is not authorized to use the provider")
        if not await self.is_assigned(req.storage, client, identity):
            raise Refusal("access_denied", "identity entity not authorized by client assignment")
        scopes = req.token.meta["scopes"].split()
        try:
            return await self.scope_claims(req.storage, scopes, identity) | {"sub": identity.id}
        except InvalidRequest as error:
            raise Refusal("invalid_request", str(error)) from None


def _path(provider: str) -> str:
    """What an access token of a provider says of where it was made: the mark that it is one, and of which."""
    return f"{_PATH}{provider}/token"


async def _signed(key: Key, claims: dict[str, Any]) -> str:
    assert key.signing is not None
    return await asyncio.to_thread(signing.sign, key.signing, claims)


def _check_code(code: Code, p: TokenParams, client: Client) -> None:
    """Raises Refusal unless the code is the client's, of this provider and redirect URI, and it has its verifier."""
    if code.client_id != client.client_id:
        raise Refusal("invalid_grant", "authorization code was not issued to the client")
    if code.provider != p.name:
        raise Refusal("invalid_grant", "authorization code was not issued by the provider")
    if not p.redirect_uri:
        raise Refusal("invalid_request", "redirect_uri parameter is required")
    if code.redirect_uri != p.redirect_uri:
        raise Refusal("invalid_grant", "redirect_uri does not match the redirect_uri used in the authorization request")
    if not code.code_challenge:
        if p.code_verifier:
            raise Refusal("invalid_request", "unexpected code_verifier for token exchange")
        return
    if not p.code_verifier:
        raise Refusal("invalid_request", "expected code_verifier for token exchange")
    verifier = p.code_verifier.encode("utf-8", "surrogatepass")
    if code.code_challenge_method == "S256":
        verifier = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=")
    if not hmac.compare_digest(verifier, code.code_challenge.encode()):
        raise Refusal("invalid_grant", "invalid code_verifier for token exchange")


def _basic(header: str) -> tuple[str, str] | None:
    """User and password of an Authorization header (RFC 7617); None where it has none."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return user, password
