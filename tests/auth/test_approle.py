"""AppRole: roles, secret ids and logins with them."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import (
    InvalidCredentials,
    InvalidRequest,
    NotFound,
    UnsupportedOperation,
    UnsupportedPath,
)
from caveau.server.node import leaves
from caveau.tests.server.harness import Server

ROLE = "auth/approle/role/app"
LOGIN = "auth/approle/login"
HOUR = 3600


@pytest.fixture
async def server():
    server = await Server().start()
    await server.call("update", "sys/auth/approle", {"type": "approle"})
    await server.call("update", ROLE, {"token_policies": "p", "role_id": "the-app", "token_ttl": "1h"})
    return server


async def secret_id(server, role="app", **params):
    return (await server.call("update", f"auth/approle/role/{role}/secret-id", params)).data


async def login(server, secret, role_id="the-app", **incoming):
    body = {"role_id": role_id} | ({"secret_id": secret} if secret else {})
    return (await server.call("update", LOGIN, body, token="", **incoming)).auth


async def stored(server):
    """Every key of the mount, but the salt."""
    prefix = server.node.router.get("auth/approle/").prefix
    keys = await leaves(server.node.store, prefix, 0)
    return sorted(key.removeprefix(prefix) for key in keys if not key.endswith("/salt"))


async def sweep(server):
    await server.call("update", "auth/approle/tidy/secret-id")
    await server.node.router.get("auth/approle/").engine._sweeping


async def test_a_role_and_its_secret_id_open(server):
    made = await secret_id(server, metadata='{"team": "blue", "role_name": "me"}')
    auth = await login(server, made["secret_id"])
    assert auth["policies"] == ("default", "p")
    assert auth["metadata"] == {"team": "blue", "role_name": "app"}  # the name of the role is not the caller's to say
    assert auth["lease_duration"] == HOUR
    assert (await server.lookup(auth["client_token"]))["display_name"] == "approle"


@pytest.mark.parametrize(("role_id", "secret"), [("the-app", "guess"), ("nobody", "guess"), ("nobody", "")])
async def test_what_is_wrong_is_not_told(server, role_id, secret):
    with pytest.raises(InvalidCredentials, match=r"^invalid role or secret ID$"):
        await login(server, secret, role_id)


async def test_a_secret_id_of_another_role_opens_nothing(server):
    await server.call("update", "auth/approle/role/other", {"role_id": "other"})
    made = await secret_id(server, "other")
    with pytest.raises(InvalidCredentials):
        await login(server, made["secret_id"])


async def test_both_ids_are_asked_for(server):
    with pytest.raises(InvalidRequest, match="missing role_id"):
        await login(server, "x", "")
    with pytest.raises(InvalidRequest, match="missing secret_id"):
        await login(server, "")


async def test_the_store_has_no_secret_id_in_it(server):
    made = await secret_id(server, ttl="1h")
    keys = await stored(server)
    assert not [key for key in keys if made["secret_id"] in key]
    prefix = server.node.router.get("auth/approle/").prefix
    assert not [key for key in keys if made["secret_id"].encode() in await server.node.store.get(prefix + key)]


async def test_uses_are_counted(server):
    made = await secret_id(server, num_uses=2)
    secret = {"secret_id": made["secret_id"]}
    assert await login(server, made["secret_id"])
    assert (await server.call("update", ROLE + "/secret-id/lookup", secret)).data["secret_id_num_uses"] == 1
    assert await login(server, made["secret_id"])
    with pytest.raises(InvalidCredentials):
        await login(server, made["secret_id"])
    assert (await server.call("update", ROLE + "/secret-id/lookup", secret)).data is None
    with pytest.raises(NotFound):
        await server.call("list", ROLE + "/secret-id")


async def test_of_many_at_once_only_so_many_get_in(server):
    made = await secret_id(server, num_uses=3)
    results = await asyncio.gather(*(login(server, made["secret_id"]) for _ in range(7)), return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 3
    assert {type(result) for result in results} == {dict, InvalidCredentials}


async def test_a_failed_login_takes_no_use(server):
    made = await secret_id(server, num_uses=1, cidr_list="10.0.0.0/8")
    with pytest.raises(InvalidRequest, match="unauthorized through CIDR restrictions on the secret ID"):
        await login(server, made["secret_id"])
    assert await login(server, made["secret_id"], remote_address="10.0.0.7")


async def test_a_secret_id_ends(server):
    made = await secret_id(server, ttl="1h")
    assert made["secret_id_ttl"] == HOUR
    server.clock.advance(HOUR - 1)
    assert await login(server, made["secret_id"])
    server.clock.advance(1)
    with pytest.raises(InvalidCredentials):
        await login(server, made["secret_id"])
    before = await stored(server)
    await sweep(server)
    assert set(before) - set(await stored(server)) == {key for key in before if key.split("/")[0] in
                                                       ("secret", "accessor", "end")}  # fmt: skip


async def test_what_has_ended_is_swept_without_being_asked(server):
    await secret_id(server, ttl="1h")
    made = await secret_id(server)
    server.clock.advance(2 * HOUR)
    await login(server, made["secret_id"])
    await server.node.router.get("auth/approle/").engine._sweeping
    assert (await server.call("list", ROLE + "/secret-id")).data == {"keys": [made["secret_id_accessor"]]}


async def test_a_sweep_takes_many(server):
    for _ in range(450):
        await secret_id(server, ttl=60)
    server.clock.advance(60)
    await sweep(server)
    assert [key for key in await stored(server) if not key.startswith("role")] == []


async def test_a_deleted_role_takes_its_secret_ids_with_it(server):
    made = await secret_id(server, ttl="1h")
    await server.call("delete", ROLE)
    await server.call("update", ROLE, {"role_id": "the-app"})  # made again, it has none of the old ones
    with pytest.raises(InvalidCredentials):
        await login(server, made["secret_id"])
    await sweep(server)
    assert [key.partition("/")[0] for key in await stored(server)] == ["role-id", "role"]


@pytest.mark.parametrize(
    ("role", "given", "expected"),
    [
        ({}, {}, (0, 0)),
        ({"secret_id_num_uses": 5, "secret_id_ttl": 100}, {}, (5, 100)),
        ({"secret_id_num_uses": 5, "secret_id_ttl": 100}, {"num_uses": 2, "ttl": 50}, (2, 50)),
        ({}, {"num_uses": 7, "ttl": 70}, (7, 70)),
        ({}, {"ttl": "9000h"}, (0, 768 * HOUR)),  # the mount's maximum
        ({"secret_id_num_uses": 5}, {"num_uses": 6}, "num_uses cannot be higher"),
        ({"secret_id_num_uses": 5}, {"num_uses": 0}, "num_uses cannot be higher"),
        ({"secret_id_ttl": 100}, {"ttl": 101}, "ttl cannot be longer"),
        ({"secret_id_ttl": 100}, {"ttl": 0}, "ttl cannot be longer"),
        ({}, {"num_uses": -1}, "cannot be negative"),
        ({}, {"cidr_list": "x"}, "error parsing address"),
        ({}, {"token_bound_cidrs": "x"}, "error parsing address"),
        ({"secret_id_bound_cidrs": "10.0.0.0/8"}, {"cidr_list": "10.1.0.0/16"}, (0, 0)),
        ({"secret_id_bound_cidrs": "10.0.0.0/8"}, {"cidr_list": "11.0.0.0/8"}, "subset relationship"),
        ({"secret_id_bound_cidrs": "10.0.0.0/8"}, {"cidr_list": "::1/128"}, "subset relationship"),
        ({"bind_secret_id": False, "token_bound_cidrs": "::1"}, {}, "bind_secret_id is not set"),
    ],
)
async def test_bounds_of_a_secret_id(server, role, given, expected):
    await server.call("update", ROLE, role)
    if isinstance(expected, str):
        with pytest.raises(InvalidRequest, match=expected):
            await secret_id(server, **given)
    else:
        made = await secret_id(server, **given)
        assert (made["secret_id_num_uses"], made["secret_id_ttl"]) == expected


async def test_custom_secret_ids(server):
    path = ROLE + "/custom-secret-id"
    await server.call("update", path, {"secret_id": "of my own"})
    assert await login(server, "of my own")
    for given, told in (("of my own", "already registered"), ("", "missing"), ("x" * 4097, "longer than 4096")):
        with pytest.raises(InvalidRequest, match=told):
            await server.call("update", path, {"secret_id": given})


async def test_accessors(server):
    made = [await secret_id(server) for _ in range(3)]
    accessors = sorted(m["secret_id_accessor"] for m in made)
    assert (await server.call("list", ROLE + "/secret-id")).data == {"keys": accessors}
    assert (await server.call("list", ROLE + "/secret-id", {"after": accessors[0], "limit": 1})).data == {
        "keys": accessors[1:2]
    }
    one = {"secret_id_accessor": made[0]["secret_id_accessor"]}
    found = (await server.call("update", ROLE + "/secret-id-accessor/lookup", one)).data
    assert found == (await server.call("update", ROLE + "/secret-id/lookup", made[0])).data
    await server.call("update", ROLE + "/secret-id-accessor/destroy", one)
    with pytest.raises(InvalidCredentials):
        await login(server, made[0]["secret_id"])
    assert (await server.call("update", ROLE + "/secret-id-accessor/lookup", one)).status == 404
    with pytest.raises(InvalidRequest, match="failed to find accessor"):
        await server.call("update", ROLE + "/secret-id-accessor/destroy", one)
    await server.call("delete", ROLE + "/secret-id/destroy", {"secret_id": made[1]["secret_id"]})
    assert (await server.call("list", ROLE + "/secret-id")).data == {"keys": [made[2]["secret_id_accessor"]]}


async def test_a_wrapped_secret_id_tells_its_accessor(server):
    response = await server.call("update", ROLE + "/secret-id", wrap_ttl=60.0)
    assert response.wrap_info is not None
    inner = (await server.call("update", "sys/wrapping/unwrap", token=response.wrap_info.token)).data["data"]
    assert inner["secret_id_accessor"] == response.wrap_info.wrapped_accessor
    assert await login(server, inner["secret_id"])


async def test_without_a_secret_id_an_address_has_to_do(server):
    with pytest.raises(InvalidRequest, match="at least one constraint"):
        await server.call("update", ROLE, {"bind_secret_id": False})
    await server.call("update", ROLE, {"bind_secret_id": False, "secret_id_bound_cidrs": "10.0.0.0/8"})
    with pytest.raises(InvalidRequest, match="unauthorized by CIDR restrictions on the role"):
        await login(server, "")
    assert await login(server, "", remote_address="10.0.0.1")
    with pytest.raises(InvalidRequest, match="at least one constraint"):
        await server.call("delete", ROLE + "/secret-id-bound-cidrs")


async def test_a_secret_id_says_where_its_tokens_are_good(server):
    await server.call("update", ROLE, {"token_bound_cidrs": "10.0.0.0/8"})
    token = (await login(server, (await secret_id(server))["secret_id"]))["client_token"]
    assert (await server.lookup(token))["bound_cidrs"] == ["10.0.0.0/8"]
    token = (await login(server, (await secret_id(server, token_bound_cidrs="::1"))["secret_id"]))["client_token"]
    assert (await server.lookup(token))["bound_cidrs"] == ["::1"]


async def test_a_role_id_is_one_role_s(server):
    with pytest.raises(InvalidRequest, match="already in use"):
        await server.call("update", "auth/approle/role/other", {"role_id": "the-app"})
    await server.call("update", "auth/approle/role/Other", {})
    with pytest.raises(InvalidRequest, match="already in use"):
        await server.call("update", "auth/approle/role/other/role-id", {"role_id": "the-app"})
    made = await secret_id(server)
    await server.call("update", ROLE + "/role-id", {"role_id": "fresh"})
    with pytest.raises(InvalidCredentials):
        await login(server, made["secret_id"])
    assert await login(server, made["secret_id"], "fresh")
    await server.call("update", "auth/approle/role/other/role-id", {"role_id": "the-app"})  # it is free again
    for wrong in ("", "x" * 4097):
        with pytest.raises(InvalidRequest, match="role_id is"):
            await server.call("update", ROLE, {"role_id": wrong})


SETTINGS = {
    "policies": ("token_policies", "a,b", ("a", "b")),
    "period": ("token_period", "2h", 7200),
    "token-ttl": ("token_ttl", "2h", 7200),
    "token-max-ttl": ("token_max_ttl", 9000, 9000),
    "token-num-uses": ("token_num_uses", 3, 3),
    "token-bound-cidrs": ("token_bound_cidrs", "10.0.0.0/8", ["10.0.0.0/8"]),
    "bind-secret-id": ("bind_secret_id", True, True),
    "secret-id-num-uses": ("secret_id_num_uses", 4, 4),
    "secret-id-ttl": ("secret_id_ttl", "1m", 60),
    "secret-id-bound-cidrs": ("secret_id_bound_cidrs", "10.0.0.0/8", ("10.0.0.0/8",)),
}


@pytest.mark.parametrize("path", SETTINGS)
async def test_single_settings(server, path):
    name, given, shown = SETTINGS[path]
    await server.call("update", "auth/approle/role/new", {})
    default = (await server.call("read", "auth/approle/role/new")).data[name]
    await server.call("update", f"{ROLE}/{path}", {name: given})
    assert (await server.call("read", f"{ROLE}/{path}")).data == {name: shown}
    assert (await server.call("read", ROLE)).data[name] == shown
    await server.call("delete", f"{ROLE}/{path}")
    assert (await server.call("read", ROLE)).data[name] == default
    await server.call("delete", f"auth/approle/role/nobody/{path}")
    with pytest.raises(NotFound):
        await server.call("read", f"auth/approle/role/nobody/{path}")
    with pytest.raises(UnsupportedPath):
        await server.call("update", f"auth/approle/role/nobody/{path}", {name: given})
    if "cidrs" not in path:
        with pytest.raises(InvalidRequest, match="missing "):
            await server.call("update", f"{ROLE}/{path}", {})


async def test_old_names_of_settings(server):
    await server.call("update", ROLE + "/policies", {"policies": "B,a"})
    assert (await server.call("read", ROLE + "/policies")).data == {
        "policies": ("a", "b"),
        "token_policies": ("a", "b"),
    }
    await server.call("update", ROLE + "/bound-cidr-list", {"bound_cidr_list": "10.0.0.0/8"})
    assert (await server.call("read", ROLE)).data["secret_id_bound_cidrs"] == ("10.0.0.0/8",)
    assert (await server.call("read", ROLE + "/bound-cidr-list")).warnings


async def test_local_secret_ids_is_fixed(server):
    assert (await server.call("read", ROLE + "/local-secret-ids")).data == {"local_secret_ids": False}
    with pytest.raises(InvalidRequest, match="only be modified during role creation"):
        await server.call("update", ROLE, {"local_secret_ids": True})
    with pytest.raises(UnsupportedOperation):
        await server.call("update", ROLE + "/local-secret-ids", {"local_secret_ids": True})


async def test_a_change_keeps_what_is_not_given(server):
    before = (await server.call("read", ROLE)).data
    await server.call("update", "auth/approle/role/APP", {"secret_id_ttl": 60})
    assert (await server.call("read", ROLE)).data == before | {"secret_id_ttl": 60}
    assert (await server.call("read", ROLE + "/role-id")).data == {"role_id": "the-app"}
    assert (await server.call("list", "auth/approle/role")).data == {"keys": ["app"]}


async def test_batch_tokens(server):
    response = await server.call("update", ROLE, {"token_type": "default-batch"})
    assert response.warnings == ["default-batch has no useful meaning; adjusting to batch"]
    auth = await login(server, (await secret_id(server))["secret_id"])
    assert auth["client_token"].startswith("hvb.")
    assert (await server.call("read", "auth/token/lookup-self", token=auth["client_token"])).data["ttl"] == HOUR


async def test_renewal_follows_the_role(server):
    token = (await login(server, (await secret_id(server))["secret_id"]))["client_token"]
    await server.call("update", ROLE, {"token_ttl": "2h", "token_policies": "another"})
    renewed = (await server.call("update", "auth/token/renew-self", token=token)).auth
    assert (renewed["lease_duration"], renewed["policies"]) == (2 * HOUR, ("default", "p"))
    await server.call("delete", ROLE)
    with pytest.raises(InvalidRequest, match="deleted"):
        await server.call("update", "auth/token/renew-self", token=token)


async def test_all_of_it_survives_a_seal(server):
    made = await secret_id(server)
    await server.seal()
    await server.unseal()
    assert await login(server, made["secret_id"])


async def test_an_id_opens_the_role_that_has_it_whoever_had_it_before(server):
    mine = (await secret_id(server))["secret_id"]
    assert (await login(server, mine))["metadata"] == {"role_name": "app"}
    await server.call("update", ROLE + "/role-id", {"role_id": "fresh"})
    with pytest.raises(InvalidCredentials):
        await login(server, mine)
    await server.call("update", "auth/approle/role/other", {"token_policies": "q", "role_id": "the-app"})
    theirs = (await secret_id(server, "other"))["secret_id"]
    assert (await login(server, theirs))["metadata"] == {"role_name": "other"}
    with pytest.raises(InvalidCredentials):
        await login(server, mine)
    assert (await login(server, mine, "fresh"))["metadata"] == {"role_name": "app"}
    await server.call("delete", "auth/approle/role/other")
    with pytest.raises(InvalidCredentials):
        await login(server, theirs)
