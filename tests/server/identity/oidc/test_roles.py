"""Identity tokens."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, PermissionDenied
from caveau.tests.server.identity.oidc.conftest import unverified


async def token(provider, role="r"):
    return (await provider.server.call("read", f"identity/oidc/token/{role}", token=provider.ada)).data


async def test_a_token_says_who_the_caller_is(provider):
    server = provider.server
    template = '{"who": {{identity.entity.name}}, "in": {{identity.entity.groups.names}}}'
    await server.write("oidc/role/r", key="fast", ttl="1h", client_id="me", template=template)
    data = await token(provider)
    now = int(server.clock.time())
    assert (data["client_id"], data["ttl"]) == ("me", 3600)
    assert unverified(data["token"]) == {
        "iss": f"{server.core.config.api_addr}/v1/identity/oidc",
        "namespace": "root",
        "sub": provider.id,
        "aud": "me",
        "iat": now,
        "exp": now + 3600,
        "who": "ada",
        "in": ["dev"],
    }
    await server.write("oidc/config", issuer="https://id.example:8200")
    assert unverified((await token(provider))["token"])["iss"] == "https://id.example:8200/v1/identity/oidc"


async def test_a_caller_without_an_entity_gets_none(provider):
    server = provider.server
    await server.write("oidc/role/r", key="fast")
    with pytest.raises(InvalidRequest, match="no entity associated"):
        await server.call("read", "identity/oidc/token/r")
    with pytest.raises(PermissionDenied):
        await server.call("read", "identity/oidc/token/r", token="")


async def test_only_roles_that_the_key_names_may_use_it(provider):
    server = provider.server
    await server.write("oidc/role/r", key="fast", client_id="me")
    await server.write("oidc/key/fast", allowed_client_ids="you")
    with pytest.raises(InvalidRequest, match='the key "fast" does not list the client ID of the role "r"'):
        await token(provider)
    await server.write("oidc/key/fast", allowed_client_ids="you,me")
    await token(provider)


async def test_no_token_outlives_the_key_it_is_verified_with(provider):
    server = provider.server
    with pytest.raises(InvalidRequest, match="cannot be longer than the verification_ttl"):
        await server.write("oidc/role/r", key="fast", ttl="25h")
    await server.write("oidc/role/r", key="fast", ttl="1h")
    await server.write("oidc/client/app", id_token_ttl="1h")
    with pytest.raises(InvalidRequest, match="one or more roles with a token ttl greater than 3599"):
        await server.write("oidc/key/fast", verification_ttl=3599)
    await server.write("oidc/role/r", ttl="1m")
    with pytest.raises(InvalidRequest, match="one or more clients with an id_token_ttl greater than 3599"):
        await server.write("oidc/key/fast", verification_ttl=3599)
    await server.write("oidc/key/fast", verification_ttl=3600)


async def test_introspection_knows_forged_and_outdated_tokens_and_gone_entities(provider):
    server = provider.server

    async def error(text):
        data = (await server.call("update", "identity/oidc/introspect", {"token": text})).data
        assert data["active"] is ("error" not in data)
        return data.get("error", "")

    await server.write("oidc/role/r", key="fast", ttl="30m")
    text = (await token(provider))["token"]
    assert await error(text) == ""
    assert "signature" in await error(text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB"))
    await server.write("oidc/config", issuer="https://other")
    assert "issuer" in await error(text)
    await server.write("oidc/config", issuer="")
    await server.write(f"entity/id/{provider.id}", disabled=True)
    assert "disabled" in await error(text)
    await server.write(f"entity/id/{provider.id}", disabled=False)
    server.clock.advance(1799)
    assert await error(text) == ""
    server.clock.advance(1)
    assert "expired" in await error(text)
