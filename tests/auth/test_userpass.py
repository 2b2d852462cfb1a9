"""Userpass: users, their passwords, and logins with them."""

from __future__ import annotations

import bcrypt
import pytest
from caveau.framework.errors import InvalidCredentials, InvalidRequest, NotFound, PermissionDenied
from caveau.tests.server.harness import Server

LOGIN = "auth/userpass/login/"
USERS = "auth/userpass/users/"


@pytest.fixture
async def server():
    server = await Server().start()
    await server.call("update", "sys/auth/userpass", {"type": "userpass"})
    await server.call("update", USERS + "ann", {"password": "open sesame", "token_policies": "p"})
    return server


async def login(server, name="ann", password="open sesame", **incoming):
    return (await server.call("update", LOGIN + name, {"password": password}, token="", **incoming)).auth


async def test_the_right_password_opens(server):
    auth = await login(server)
    assert auth["policies"] == ("default", "p")
    assert auth["metadata"] == {"username": "ann"}
    assert (await server.lookup(auth["client_token"]))["display_name"] == "userpass-ann"


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_a_wrong_password_and_an_unknown_user_look_alike(server, name):
    with pytest.raises(InvalidCredentials, match=r"^invalid username or password$"):
        await login(server, name, "guess")


async def test_unknown_users_take_as_long(server, monkeypatch):
    checked = []
    real = bcrypt.checkpw
    monkeypatch.setattr(
        bcrypt, "checkpw", lambda password, hashed: checked.append(hashed[:7]) or real(password, hashed)
    )
    for name in ("ann", "nobody"):
        with pytest.raises(InvalidCredentials):
            await login(server, name, "guess")
    assert checked == [b"$2b$10$", b"$2b$10$"]


async def test_case_of_a_name_does_not_matter(server):
    await server.call("update", USERS + "Bob", {"password": "x"})
    assert (await login(server, "BOB", "x"))["metadata"] == {"username": "bob"}
    assert (await server.call("list", "auth/userpass/users")).data == {"keys": ["ann", "bob"]}


async def test_a_login_from_elsewhere(server):
    await server.call("update", USERS + "ann", {"token_bound_cidrs": "10.0.0.0/8"})
    with pytest.raises(PermissionDenied):
        await login(server)
    with pytest.raises(InvalidCredentials):  # where one is, is told only to who knows the password
        await login(server, password="guess")
    assert await login(server, remote_address="10.1.2.3")


async def test_a_token_bound_to_the_address_of_its_login(server):
    await server.call("update", USERS + "ann", {"token_strictly_bind_ip": True})
    token = (await login(server, remote_address="10.1.2.3"))["client_token"]
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token)
    assert await server.call("read", "auth/token/lookup-self", token=token, remote_address="10.1.2.3")


async def test_nothing_shows_the_password(server):
    shown = (await server.call("read", USERS + "ann")).data
    assert "sesame" not in str(shown)
    assert not [key for key in shown if "pass" in key]
    stored = await server.node.store.get(server.node.router.get("auth/userpass/").prefix + "user/ann")
    assert b"sesame" not in stored


async def test_a_hash_from_elsewhere(server):
    hashed = bcrypt.hashpw(b"from another system", bcrypt.gensalt(4)).decode()
    await server.call("update", USERS + "old", {"password_hash": hashed.replace("$2b$", "$2y$")})
    assert await login(server, "old", "from another system")
    long = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()  # all that older programs took of a longer one
    await server.call("update", USERS + "old/password", {"password_hash": long})
    assert await login(server, "old", "x" * 80)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "must provide either"),
        ({"password": "a", "password_hash": "b"}, "only one of"),
        ({"password_hash": "$2b$12$abc"}, "not a valid bcrypt hash"),
        ({"password_hash": "$2b$31$" + "a" * 53}, "cost over 16"),
        ({"password_hash": "$2b$03$" + "a" * 53}, "not a valid bcrypt hash"),
        ({"password": "x" * 73}, "more than 72 bytes"),
        ({"password": "é" * 37}, "more than 72 bytes"),
    ],
)
async def test_passwords_that_are_refused(server, given, told):
    for path in (USERS + "new", USERS + "ann/password"):
        with pytest.raises(InvalidRequest, match=told):
            await server.call("update", path, given)
    with pytest.raises(NotFound):
        await server.call("read", USERS + "new")
    assert await login(server)


async def test_odd_passwords(server):
    for password in ("nul\0inside", "\ud800 lone", "x" * 72):
        await server.call("update", USERS + "ann/password", {"password": password})
        assert await login(server, password=password)
        with pytest.raises(InvalidCredentials):
            await login(server, password="nul" if "nul" in password else "x")


async def test_a_name_that_is_too_long(server):
    with pytest.raises(InvalidRequest, match="255"):
        await server.call("update", USERS + "a" * 256, {"password": "x"})


async def test_a_change_keeps_what_is_not_given(server):
    await server.call("update", USERS + "ann", {"token_ttl": "1h"})
    assert (await login(server))["lease_duration"] == 3600
    await server.call("update", USERS + "ann/policies", {"policies": "Q,r"})
    assert (await login(server))["policies"] == ("default", "q", "r")
    await server.call("update", USERS + "ann/password", {"password": "new"})
    with pytest.raises(InvalidCredentials):
        await login(server)
    assert (await login(server, password="new"))["policies"] == ("default", "q", "r")


@pytest.mark.parametrize("path", ["password", "policies"])
async def test_changes_of_nobody(server, path):
    with pytest.raises(InvalidRequest, match="username does not exist"):
        await server.call("update", f"{USERS}nobody/{path}", {"password": "x"})


async def test_renewal_ends_with_the_user_and_with_a_change_of_policies(server):
    token = (await login(server))["client_token"]
    await server.call("update", USERS + "ann", {"token_ttl": "2h"})
    assert (await server.call("update", "auth/token/renew-self", token=token)).auth["lease_duration"] == 7200
    await server.call("update", USERS + "ann", {"token_policies": "P,default"})  # the same ones
    assert await server.call("update", "auth/token/renew-self", token=token)
    await server.call("update", USERS + "ann", {"token_policies": "p,more"})
    with pytest.raises(InvalidRequest, match="policies have changed"):
        await server.call("update", "auth/token/renew-self", token=token)
    await server.call("delete", USERS + "ann")
    with pytest.raises(InvalidRequest, match="deleted"):
        await server.call("update", "auth/token/renew-self", token=token)
    assert await server.alive(token)


async def test_pages_of_users(server):
    for name in ("bob", "cid"):
        await server.call("update", USERS + name, {"password_hash": "$2b$04$" + "a" * 53})
    assert (await server.call("list", USERS, {"after": "ann", "limit": 1})).data == {"keys": ["bob"]}
