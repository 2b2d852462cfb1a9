"""A server with a user of userpass, a TOTP method, and an app that knows the user's key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from caveau.framework import Response
from caveau.framework.totp import Totp
from caveau.tests.server.harness import Server


class Guarded(Server):
    """``method``: id of a TOTP method; ``ann``: id of the entity of the user who logs in."""

    method: str
    ann: str
    accessor: str

    async def prepare(self) -> Guarded:
        await self.start()
        self.accessor = await self.userpass()
        self.ann = await self.entity("ann")
        self.method = await self.totp("phone")
        return self

    async def userpass(self, **where: Any) -> str:
        """Mount userpass with the user ann; its accessor."""
        await self.call("update", "sys/auth/userpass", {"type": "userpass"}, **where)
        await self.call("update", "auth/userpass/users/ann", {"password": "p", "token_policies": "p"}, **where)
        accessor: str = (await self.call("read", "sys/auth", **where)).data["userpass/"]["accessor"]
        return accessor

    async def entity(self, name: str, **where: Any) -> str:
        accessor = (await self.call("read", "sys/auth", **where)).data["userpass/"]["accessor"]
        id_: str = (await self.call("update", "identity/entity", {"name": f"{name}-entity"}, **where)).data["id"]
        alias = {"name": name, "canonical_id": id_, "mount_accessor": accessor}
        await self.call("update", "identity/entity-alias", alias, **where)
        return id_

    async def create(self, kind: str, name: str, **settings: Any) -> str:
        made = await self.call("update", f"identity/mfa/method/{kind}", {"method_name": name, **settings})
        id_: str = made.data["method_id"]
        return id_

    async def totp(self, name: str, **settings: Any) -> str:
        return await self.create("totp", name, **({"issuer": "Caveau"} | settings))

    async def app(self, method: str = "", entity: str = "", **where: Any) -> Totp:
        """A new key of an entity, in an authenticator app."""
        ids = {"method_id": method or self.method, "entity_id": entity or self.ann}
        made = await self.call("update", "identity/mfa/method/totp/admin-generate", ids, **where)
        query = {name: value[0] for name, value in parse_qs(urlsplit(made.data["url"]).query).items()}
        return Totp(query["secret"], int(query["period"]), int(query["digits"]), query["algorithm"])

    def code(self, app: Totp, ahead: int = 0) -> str:
        """What the app shows now, or some periods from now."""
        return app.code(app.counter(self.clock.time()) + ahead)

    async def enforce(self, name: str = "all", **on: Any) -> None:
        on = on or {"auth_method_types": "userpass"}
        await self.call("update", f"identity/mfa/login-enforcement/{name}", {"mfa_method_ids": [self.method], **on})

    async def log_in(self, mfa: str = "", **incoming: Any) -> Response:
        headers = {"X-Vault-MFA": mfa} if mfa else {}
        return await self.call("update", "auth/userpass/login/ann", {"password": "p"}, "", headers=headers, **incoming)

    async def begin(self, **incoming: Any) -> str:
        """The request id of a login that waits for a second factor."""
        requirement: dict[str, Any] = (await self.log_in(**incoming)).auth["mfa_requirement"]
        id_: str = requirement["mfa_request_id"]
        return id_

    async def validate(self, request: str, *passcode: str, method: str = "", **incoming: Any) -> Response:
        payload = {method or self.method: list(passcode)}
        body = {"mfa_request_id": request, "mfa_payload": payload}
        return await self.call("update", "sys/mfa/validate", body, "", **incoming)


@pytest.fixture
async def server() -> AsyncIterator[Guarded]:
    server = await Guarded().prepare()
    yield server
    await server.seal()
