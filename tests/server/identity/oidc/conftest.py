"""A server with Ada, who is in a group, and an application that she may log in to."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from caveau.framework import Response
from caveau.tests.server.identity.conftest import Identities

CALLBACK = "https://app/cb"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def unverified(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


@dataclass
class Provider:
    """The server as an application and its user see it. ``ada``: her token; ``id``: the entity's."""

    server: Identities
    ada: str
    id: str
    group: str
    client: dict[str, Any]

    async def authorize(self, *, token: str | None = None, provider: str = "default", **params: Any) -> Response:
        asked = {
            "response_type": "code",
            "client_id": self.client["client_id"],
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s",
        }
        asked = {name: value for name, value in (asked | params).items() if value is not None}
        path = f"identity/oidc/provider/{provider}/authorize"
        return await self.server.call("update", path, asked, self.ada if token is None else token)

    async def code(self, **params: Any) -> str:
        return (await self.authorize(**params)).data["code"]

    async def exchange(self, code: str, *, provider: str = "default", basic: str = "", **params: Any) -> Response:
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "client_id": self.client["client_id"],
            "client_secret": self.client.get("client_secret", ""),
        }
        sent = {name: value for name, value in (sent | params).items() if value is not None}
        headers = {"Authorization": "Basic " + base64.b64encode(basic.encode()).decode()} if basic else {}
        return await self.server.call("update", f"identity/oidc/provider/{provider}/token", sent, "", headers=headers)

    async def userinfo(self, access_token: str, provider: str = "default", **headers: str) -> Response:
        headers = {"Authorization": f"Bearer {access_token}"} | headers
        return await self.server.call("read", f"identity/oidc/provider/{provider}/userinfo", token=access_token,
                                      headers=headers)  # fmt: skip

    async def register(self, name: str = "app", **params: Any) -> dict[str, Any]:
        await self.server.write(
            f"oidc/client/{name}", **({"redirect_uris": CALLBACK, "assignments": "allow_all"} | params)
        )
        self.client = await self.server.read(f"oidc/client/{name}")
        return self.client


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    server = await Identities().prepare()
    id_ = await server.entity("ada", metadata={"mail": "ada@example.com"})
    group = await server.group("dev", member_entity_ids=[id_])
    await server.policy("tokens", 'path "identity/oidc/token/*" { capabilities = ["read"] }')
    made = Provider(server, await server.token_of(id_, "default", "tokens"), id_, group, {})
    await made.server.write("oidc/key/fast", algorithm="ES256", allowed_client_ids="*")
    await made.register(key="fast")
    yield made
    await server.core.stop()
