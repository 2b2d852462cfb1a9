"""``identity/oidc/client``: applications that log their users in here (RFC 6749, section 2)."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

from ....framework import Field, NoParams, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ....framework.storage import ReadView
from ....framework.wire import SECONDS
from ...request import CoreRequest
from ...tokens import random_id
from .base import Name, changes
from .keys import KeyRoutes
from .records import DAY, Client

_CLIENT_IDS = "oidc/client-id/"
_ID_LENGTH, _SECRET_LENGTH = 32, 64
SECRET_PREFIX = "hvo_secret_"
CONFIDENTIAL, PUBLIC = "confidential", "public"


class ClientParams(Name):
    redirect_uris: Annotated[list[str], Field(
        "Where users may be sent back to. A request has to name one of them exactly; only the port of a loopback "
        "address is free.",
    )] = field(default_factory=list)  # fmt: skip
    assignments: Annotated[list[str], Field("Assignments that say who may log in; allow_all is everybody.")] = field(
        default_factory=list
    )
    key: Annotated[str, Field("The named key that signs; it cannot be changed later.")] = "default"
    id_token_ttl: Annotated[int, Field("How long an ID token is valid.", SECONDS)] = DAY
    access_token_ttl: Annotated[int, Field("How long an access token is valid.", SECONDS)] = DAY
    client_type: Annotated[str, Field(
        "confidential, with a secret; or public, which has none and needs PKCE. It cannot be changed later.",
    )] = CONFIDENTIAL  # fmt: skip
    authorization_code: Annotated[bool, Field("Whether users can log in.")] = True
    client_credentials: Annotated[bool, Field("Whether the application can get tokens for itself.")] = False


class ClientRoutes(KeyRoutes):
    @read("oidc/client/{name}")
    async def read_oidc_client(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Read a client, its secret included."""
        client = await self.oidc.clients.get(req.storage, p.name)
        if client is None:
            raise NotFound
        secret = {"client_secret": client.client_secret} if client.client_type == CONFIDENTIAL else {}
        return _shown(client) | secret

    @update("oidc/client/{name}", exists="oidc_client_exists")
    async def write_oidc_client(self, req: CoreRequest, p: ClientParams) -> None:
        """Create or change a client; its id and secret are made once and stay."""
        old = await self.oidc.clients.get(req.storage, p.name)
        given = changes(p)
        if old is not None:
            for name in ("key", "client_type"):
                if given.get(name, getattr(old, name)) != getattr(old, name):
                    raise InvalidRequest(f"{name} modification is not allowed")
        client = replace(old or Client(""), **given)
        if client.client_type not in (CONFIDENTIAL, PUBLIC):
            raise InvalidRequest(f'invalid client_type "{client.client_type[:32]}"')
        if client.client_credentials and client.client_type == PUBLIC:
            raise InvalidRequest("client_credentials=true is only allowed for client_type=confidential")
        for assignment in client.assignments:
            if await self.oidc.assignments.get(req.storage, assignment) is None:
                raise InvalidRequest(f'assignment "{assignment}" does not exist')
        key = await self.signer(req, client.key)
        if key is None:
            raise InvalidRequest(f'key "{client.key}" does not exist')
        if client.id_token_ttl > key.verification_ttl:
            raise InvalidRequest(
                "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references"
            )
        if old is None:
            secret = SECRET_PREFIX + random_id(_SECRET_LENGTH) if client.client_type == CONFIDENTIAL else ""
            client = replace(client, client_id=random_id(_ID_LENGTH), client_secret=secret)
            req.storage.put(_CLIENT_IDS + client.client_id, p.name.encode(), new=True)
            self.use(req.storage, client.key, "clients", p.name)
        self.oidc.clients.put(req.storage, p.name, client)

    @delete("oidc/client/{name}")
    async def delete_oidc_client(self, req: CoreRequest, p: Name) -> None:
        """Delete a client: nobody can log in to it any more."""
        client = await self.oidc.clients.get(req.storage, p.name)
        if client is not None:
            req.storage.delete(_CLIENT_IDS + client.client_id)
            self.unuse(req.storage, client.key, "clients", p.name)
            self.oidc.clients.delete(req.storage, p.name)

    @list_("oidc/client")
    async def list_oidc_clients(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List clients with their settings."""
        clients = await self.oidc.clients.all(req.storage)
        if not clients:
            raise NotFound
        return {"keys": list(clients), "key_info": {name: _shown(client) for name, client in clients.items()}}

    async def oidc_client_exists(self, req: CoreRequest, p: ClientParams) -> bool:
        return await self.oidc.clients.get(req.storage, p.name) is not None

    async def client_of(self, view: ReadView, client_id: str) -> Client | None:
        """The client with this id."""
        name = await view.get(_CLIENT_IDS + client_id) if client_id.isalnum() else None
        return None if name is None else await self.oidc.clients.get(view, name.decode())


def _shown(client: Client) -> dict[str, Any]:
    return {
        "access_token_ttl": client.access_token_ttl,
        "assignments": client.assignments,
        "authorization_code": client.authorization_code,
        "client_credentials": client.client_credentials,
        "client_id": client.client_id,
        "client_type": client.client_type,
        "id_token_ttl": client.id_token_ttl,
        "key": client.key,
        "redirect_uris": client.redirect_uris,
    }
