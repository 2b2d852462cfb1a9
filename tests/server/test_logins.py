"""Logins: what an auth method answers becomes a token, within the bounds of its mount, and lives as the method says."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from caveau.framework import Auth, Engine, Field, Params, Request, Response, update
from caveau.framework.errors import InvalidRequest, PermissionDenied
from caveau.tests.server.harness import Server

HOUR = 3600


class Who(Params):
    name: Annotated[str, Field("Who.")]


class Door(Engine):
    """Lets everybody in, as the test says."""

    worth: dict[str, Any] = {}  # of the next login
    renewed: dict[str, Any] | None = {}  # of the next renewal; None: refuse

    @update("login/{name}", auth=False)
    async def login(self, req: Request, p: Who) -> Response:
        """Log in."""
        worth = {"policies": ["p"], "display_name": p.name, "internal": {"name": p.name}} | self.worth
        return Response(auth=Auth(**worth), warnings=["mind the step"])

    async def renew_login(self, req: Request, auth: Auth) -> Auth:
        if self.renewed is None:
            raise InvalidRequest("you have moved out")
        assert auth.internal == {"name": "ann"}
        return Auth(auth.policies, **self.renewed)


@pytest.fixture
async def door():
    Door.worth, Door.renewed = {}, {}
    server = Server()
    server.core.own_engines["door"] = Door
    await server.start()
    await server.call("update", "sys/auth/front/door", {"type": "door"})
    return server


async def enter(door, **worth):
    Door.worth = worth
    return await door.call("update", "auth/front/door/login/ann", token="")


async def test_a_login_gives_a_token(door):
    response = await enter(door, meta={"k": "v"}, ttl=HOUR, num_uses=3, bound_cidrs=["127.0.0.0/8"])
    auth = response.auth
    assert auth["policies"] == auth["token_policies"] == ("default", "p")
    assert (auth["metadata"], auth["lease_duration"], auth["renewable"]) == ({"k": "v"}, HOUR, True)
    assert (auth["token_type"], auth["orphan"], auth["num_uses"]) == ("service", True, 3)
    assert response.warnings == ["mind the step"]
    found = await door.lookup(auth["client_token"])
    assert found["display_name"] == "front-door-ann"
    assert found["path"] == "auth/front/door/login/ann"
    assert found["bound_cidrs"] == ["127.0.0.0/8"]
    with pytest.raises(PermissionDenied):
        await door.call("read", "auth/token/lookup-self", token=auth["client_token"], remote_address="10.0.0.1")


async def test_lifetimes_are_bounded_by_the_mount(door):
    await door.call("update", "sys/auth/front/door/tune", {"default_lease_ttl": "1h", "max_lease_ttl": "2h"})
    assert (await enter(door)).auth["lease_duration"] == HOUR
    response = await enter(door, ttl=5 * HOUR)
    assert response.auth["lease_duration"] == 2 * HOUR
    assert 'exceeded the effective max_ttl of "2h"' in response.warnings[-1]
    assert (await enter(door, ttl=HOUR, explicit_max_ttl=60)).auth["lease_duration"] == 60
    assert (await enter(door, period=600)).auth["lease_duration"] == 600


@pytest.mark.parametrize(
    ("mount", "method", "kind"),
    [
        ("default-service", "default", "service"),
        ("default-service", "batch", "batch"),
        ("default-batch", "default", "batch"),
        ("default-batch", "service", "service"),
        ("service", "batch", "service"),
        ("batch", "service", "batch"),
    ],
)
async def test_mount_and_method_decide_the_kind_of_token(door, mount, method, kind):
    await door.call("update", "sys/auth/front/door/tune", {"token_type": mount})
    auth = (await enter(door, token_type=method)).auth
    assert auth["token_type"] == kind
    assert auth["client_token"].startswith("hvs." if kind == "service" else "hvb.")
    assert auth["renewable"] is (kind == "service")
    assert await door.alive(auth["client_token"])


async def test_a_batch_token_takes_no_count_of_uses(door):
    with pytest.raises(InvalidRequest, match="num_uses"):
        await enter(door, token_type="batch", num_uses=1)


@pytest.mark.parametrize("policy", ["root", "ROOT ", "response-wrapping", "control-group"])
async def test_no_login_gives_what_only_the_server_may(door, policy):
    with pytest.raises(InvalidRequest):
        await enter(door, policies=[policy])


async def test_without_the_default_policy(door):
    assert (await enter(door, no_default_policy=True)).auth["policies"] == ("p",)


async def test_a_wrapped_login_tells_the_accessor(door):
    Door.worth = {}
    wrapped = await door.call("update", "auth/front/door/login/ann", token="", wrap_ttl=60.0)
    assert wrapped.wrap_info is not None
    inner = await door.call("update", "sys/wrapping/unwrap", token=wrapped.wrap_info.token)
    assert inner.data["auth"]["accessor"] == wrapped.wrap_info.wrapped_accessor
    assert await door.alive(inner.data["auth"]["client_token"])


async def test_a_renewal_asks_the_method(door):
    token = (await enter(door, ttl=HOUR)).auth["client_token"]
    Door.renewed = {"ttl": 2 * HOUR, "max_ttl": 3 * HOUR}
    door.clock.advance(1800)
    assert (await door.call("update", "auth/token/renew-self", token=token)).auth["lease_duration"] == 2 * HOUR
    door.clock.advance(HOUR)
    response = await door.call("update", "auth/token/renew-self", {"increment": "5h"}, token=token)
    assert response.auth["lease_duration"] == 3 * HOUR - 1800 - HOUR  # three hours after the login at the latest
    Door.renewed = {"period": 120}
    assert (await door.call("update", "auth/token/renew-self", token=token)).auth["lease_duration"] == 120
    assert (await door.lookup(token))["period"] == 120


async def test_a_renewal_that_the_method_refuses(door):
    token = (await enter(door, ttl=HOUR)).auth["client_token"]
    Door.renewed = None
    with pytest.raises(InvalidRequest, match="moved out"):
        await door.call("update", "auth/token/renew-self", token=token)
    assert (await door.lookup(token))["ttl"] == HOUR


async def test_past_the_maximum_no_renewal_helps(door):
    token = (await enter(door, ttl=HOUR, explicit_max_ttl=HOUR)).auth["client_token"]
    Door.renewed = {"explicit_max_ttl": 60}
    door.clock.advance(120)
    with pytest.raises(InvalidRequest, match="past the max TTL"):
        await door.call("update", "auth/token/renew-self", token=token)
