"""A namespace has keys, clients and providers of its own."""

from __future__ import annotations

import pytest
from caveau.framework.errors import NotFound
from caveau.tests.server.harness import Server
from caveau.tests.server.identity.oidc.conftest import CALLBACK, unverified

CLIENT = {"redirect_uris": CALLBACK, "assignments": "allow_all", "key": "k"}
PROVIDER = "ns1/identity/oidc/provider/default"


@pytest.fixture
async def server():
    made = await Server().start()
    await made.call("update", "sys/namespaces/ns1")
    await made.call("update", "ns1/identity/oidc/key/k", {"algorithm": "EdDSA", "allowed_client_ids": "*"})
    await made.call("update", "ns1/identity/oidc/client/app", CLIENT)
    yield made
    await made.core.stop()


async def kids(server):
    return [key["kid"] for key in (await server.call("read", f"{PROVIDER}/.well-known/keys", token="")).data["keys"]]


async def test_a_login_within_a_namespace(server):
    await server.call("update", "ns1/sys/auth/userpass", {"type": "userpass"})
    await server.call("update", "ns1/auth/userpass/users/ada", {"password": "pw"})
    login = await server.call("update", "ns1/auth/userpass/login/ada", {"password": "pw"}, "")
    client = (await server.call("read", "ns1/identity/oidc/client/app")).data
    with pytest.raises(NotFound):
        await server.call("read", "identity/oidc/client/app")
    asked = {"client_id": client["client_id"], "redirect_uri": CALLBACK, "scope": "openid", "response_type": "code"}
    code = (await server.call("update", f"{PROVIDER}/authorize", asked, login.auth["client_token"])).data["code"]
    sent = {"grant_type": "authorization_code", "code": code, "client_secret": client["client_secret"]}
    elsewhere = PROVIDER.removeprefix("ns1/")
    assert (await server.call("update", f"{elsewhere}/token", asked | sent, "")).data["error"] == "invalid_client"
    tokens = (await server.call("update", f"{PROVIDER}/token", asked | sent, "")).data
    claims = unverified(tokens["id_token"])
    assert claims["iss"] == f"{server.core.config.api_addr}/v1/{PROVIDER}"
    assert claims["namespace"] == server.core.unsealed().namespaces.find("", "ns1/x")[0].id
    access, headers = tokens["access_token"], {"Authorization": f"Bearer {tokens['access_token']}"}
    info = await server.call("read", f"{PROVIDER}/userinfo", token=access, headers=headers)
    assert info.data == {"sub": login.auth["entity_id"]}
    refused = await server.call("read", f"{elsewhere}/userinfo", token=access, headers=headers)
    assert (refused.status, refused.data["error"]) == (401, "invalid_token")


async def test_keys_rotate_in_a_namespace_that_nobody_has_asked_since_the_server_began(server):
    first, following = await kids(server)
    await server.seal()
    server.clock.advance(86400)
    await server.unseal()
    await server.core.unsealed().namespaces.reap()
    signing, _, retired = await kids(server)
    assert (signing, retired) == (following, first)
