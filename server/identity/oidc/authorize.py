"""``identity/oidc/provider/NAME/authorize``: the user agrees, and gets a code for the application.

The checks and errors are those of OpenID Connect Core 1.0 (section 3.1.2) and PKCE (RFC 7636). Vault adds three codes
that tell its web page not to send the user back: ``invalid_client_id``, ``invalid_redirect_uri``, and
``max_age_violation``, after which the user logs in again.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from typing import Annotated, Final

from ....framework import Field, Response, View, read, update
from ....framework.storage import ReadView
from ...policy.templating import Identity
from ...request import CoreRequest
from ...tokens import random_id
from .assignments import AssignmentRoutes
from .base import Name
from .clients import PUBLIC
from .oauth import Refusal
from .providers import ProviderRoutes
from .records import Client, Code
from .scopes import OPENID

CODE_KIND: Final = "oidc-code"
"""Kind of the entries of the expiry index at which unused codes are forgotten."""
_CODE_SECONDS = 300
_CODE_LENGTH = 32
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_CHALLENGE = re.compile(r"[A-Za-z0-9\-._~]{43,128}")  # RFC 7636 section 4.2
_METHODS = ("plain", "S256")


class AuthorizeParams(Name):
    client_id: Annotated[str, Field("Id of the client.")] = ""
    scope: Annotated[str, Field("Scopes, separated by spaces; openid has to be one.")] = ""
    redirect_uri: Annotated[str, Field("Where the user is sent back to.")] = ""
    response_type: Annotated[str, Field("What is asked for: code.")] = ""
    state: Annotated[str, Field("Given back as it is.")] = ""
    nonce: Annotated[str, Field("A claim that the ID token is to have.")] = ""
    max_age: Annotated[int, Field("Seconds since the user logged in, at most.")] = 0
    code_challenge: Annotated[str, Field("The code challenge of PKCE.")] = ""
    code_challenge_method: Annotated[str, Field("What was done to the code verifier: plain or S256.")] = "plain"
    request: Annotated[str, Field("Not supported.")] = ""
    request_uri: Annotated[str, Field("Not supported.")] = ""


class AuthorizeRoutes(AssignmentRoutes, ProviderRoutes):
    @read("oidc/provider/{name}/authorize", writes=True)
    @update("oidc/provider/{name}/authorize")
    async def authorize_oidc(self, req: CoreRequest, p: AuthorizeParams) -> Response:
        """Give the caller a code with which the application gets an ID token of theirs."""
        try:
            code = await self._authorize(req, p)
        except Refusal as refusal:
            return refusal.response(state=p.state)
        text = random_id(_CODE_LENGTH)
        name = code_name(text)
        self.oidc.codes.put(req.storage, name, code)
        req.node.expiry.add(req.root, code.expires, CODE_KIND, name)
        return Response(data={"code": text, "state": p.state}, bare=True)

    async def _authorize(self, req: CoreRequest, p: AuthorizeParams) -> Code:
        """What the code is to stand for; raises Refusal."""
        client = await self._client(req.storage, p)  # first: where the client is in doubt, nobody is sent back to it
        if p.request:
            raise Refusal("request_not_supported", "request parameter is not supported")
        if p.request_uri:
            raise Refusal("request_uri_not_supported", "request_uri parameter is not supported")
        provider = await self.oidc.providers.get(req.storage, p.name)
        if provider is None:
            raise Refusal("invalid_request", "provider not found")
        scopes = p.scope.split()
        if OPENID not in scopes:
            raise Refusal("invalid_request", f'scope parameter must contain the "{OPENID}" value')
        if not p.response_type:
            raise Refusal("invalid_request", "response_type parameter is required")
        if p.response_type != "code":
            raise Refusal("unsupported_response_type", "unsupported response_type value")
        if not provider.allows(client.client_id):
            raise Refusal("unauthorized_client", "client is not authorized to use the provider")
        if not client.authorization_code:
            raise Refusal("invalid_grant", "client not allowed to perform authorization code credential flow")
        identity = await self._caller(req)
        if not await self.is_assigned(req.storage, client, identity):
            raise Refusal("access_denied", "identity entity not authorized by client assignment")
        self._check_challenge(client, p)
        now = self.clock.time()
        auth_time = int(req.caller.creation_time)
        if "max_age" in p.given:
            if p.max_age <= 0:
                raise Refusal("invalid_request", "max_age must be greater than zero")
            if now - auth_time > p.max_age:
                raise Refusal("max_age_violation", "active re-authentication is required by max_age")
        return Code(
            provider=p.name,
            client_id=client.client_id,
            entity_id=identity.id,
            redirect_uri=p.redirect_uri,
            scopes=tuple(scope for scope in scopes if scope in provider.scopes_supported),
            expires=now + _CODE_SECONDS,
            nonce=p.nonce,
            code_challenge=p.code_challenge,
            code_challenge_method=p.code_challenge_method if p.code_challenge else "",
            auth_time=auth_time if "max_age" in p.given else 0,
        )

    async def _client(self, view: ReadView, p: AuthorizeParams) -> Client:
        if not p.client_id:
            raise Refusal("invalid_client_id", "client_id parameter is required")
        client = await self.client_of(view, p.client_id)
        if client is None:
            raise Refusal("invalid_client_id", "client with client_id not found")
        if not p.redirect_uri:
            raise Refusal("invalid_request", "redirect_uri parameter is required")
        if not is_redirect(p.redirect_uri, client.redirect_uris):
            raise Refusal("invalid_redirect_uri", "redirect_uri is not allowed for the client")
        return client

    async def _caller(self, req: CoreRequest) -> Identity:
        if not req.caller.entity_id:
            raise Refusal("access_denied", "identity entity must be associated with the request")
        identity = await self.identity(req, req.caller.entity_id)
        if identity is None:
            raise Refusal("access_denied", "identity entity associated with the request not found")
        return identity

    def _check_challenge(self, client: Client, p: AuthorizeParams) -> None:
        if not p.code_challenge:
            if client.client_type == PUBLIC:
                raise Refusal("invalid_request", "PKCE is required for public clients")
            return
        if p.code_challenge_method not in _METHODS:
            raise Refusal("invalid_request", "invalid code_challenge_method")
        if not _CHALLENGE.fullmatch(p.code_challenge):
            raise Refusal("invalid_request", "invalid code_challenge")

    async def take_code(self, req: CoreRequest, text: str) -> Code | None:
        """What a code stands for, and it can be used no more; None when it never was one, or is over."""
        name = code_name(text)
        code = await self.oidc.codes.get(req.storage, name)
        if code is not None:
            self.oidc.codes.delete(req.storage, name)
            req.node.expiry.remove(req.root, code.expires, CODE_KIND, name)
        return None if code is None or code.expires <= self.clock.time() else code

    def forget_code(self, view: View, name: str) -> None:
        """Remove a code that nobody has used in time."""
        self.oidc.codes.delete(view, name)


def code_name(text: str) -> str:
    """What a code is stored as: names in the store can be read by those who hold its files."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_redirect(uri: str, allowed: tuple[str, ...]) -> bool:
    """Whether ``uri`` is one of the ``allowed`` ones; the port of a loopback address is free (RFC 8252, 7.3)."""
    if uri in allowed:
        return True
    found = _without_port(uri)
    return found is not None and any(_without_port(each) == found for each in allowed)


def _without_port(uri: str) -> urllib.parse.SplitResult | None:
    """A loopback URI without its port; None for every other."""
    try:
        parts = urllib.parse.urlsplit(uri)
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    if parts.hostname not in _LOOPBACK or parts.username is not None:
        return None
    return parts._replace(netloc=parts.hostname)
