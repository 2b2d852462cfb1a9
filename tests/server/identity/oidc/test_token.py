"""What an application gets for a code, and what it can do with it."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import PermissionDenied
from caveau.server.identity.oidc.signing import half_hash
from caveau.tests.server.identity.oidc.conftest import CALLBACK, CHALLENGE, VERIFIER, unverified

SCOPE = '{"mail": {{identity.entity.metadata.mail}}, "in": {{identity.entity.groups.names}}}'


async def refused(awaitable, status=400):
    response = await awaitable
    assert response.status == status
    assert response.headers["Cache-Control"] == "no-store"
    return response.data["error"]


async def test_a_code_is_worth_an_id_token_and_an_access_token(provider):
    server = provider.server
    await server.write("oidc/scope/profile", template=SCOPE)
    await server.write("oidc/provider/default", scopes_supported="profile")
    await server.write("oidc/client/app", id_token_ttl="30m", access_token_ttl="1h")
    server.clock.advance(10)
    code = await provider.code(scope="openid profile unknown", nonce="n", max_age=100)
    response = await provider.exchange(code)
    tokens = response.data
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")
    now = int(server.clock.time())
    assert unverified(tokens["id_token"]) == {
        "iss": f"{server.core.config.api_addr}/v1/identity/oidc/provider/default",
        "namespace": "root",
        "sub": provider.id,
        "aud": provider.client["client_id"],
        "iat": now,
        "exp": now + 1800,
        "auth_time": now - 10,
        "nonce": "n",
        "at_hash": half_hash("ES256", tokens["access_token"]),
        "c_hash": half_hash("ES256", code),
        "mail": "ada@example.com",
        "in": ["dev"],
    }
    info = await provider.userinfo(tokens["access_token"])
    assert info.data == {"sub": provider.id, "mail": "ada@example.com", "in": ["dev"]}


async def test_scopes_that_the_provider_does_not_offer_are_left_out(provider):
    await provider.server.write("oidc/scope/profile", template=SCOPE)
    tokens = (await provider.exchange(await provider.code(scope="openid profile"))).data
    assert "mail" not in unverified(tokens["id_token"])
    assert (await provider.userinfo(tokens["access_token"])).data == {"sub": provider.id}


async def test_without_nonce_and_max_age_the_token_has_no_such_claims(provider):
    claims = unverified((await provider.exchange(await provider.code())).data["id_token"])
    assert not {"nonce", "auth_time", "mail"} & claims.keys()


async def test_a_code_works_once_and_for_five_minutes(provider):
    code = await provider.code()
    assert (await provider.exchange(code)).data["id_token"]
    assert await refused(provider.exchange(code)) == "invalid_grant"
    code = await provider.code()
    provider.server.clock.advance(299)
    assert (await provider.exchange(code)).data["id_token"]
    code = await provider.code()
    provider.server.clock.advance(300)
    assert await refused(provider.exchange(code)) == "invalid_grant"


@pytest.mark.parametrize(
    "wrong",
    [
        {"redirect_uri": "https://evil/cb"}, {"redirect_uri": None}, {"code_verifier": "x" * 43},
        {"code_verifier": None}, {"provider": "p"},
    ],
)  # fmt: skip
async def test_a_failed_attempt_spends_the_code(provider, wrong):
    await provider.server.write("oidc/provider/p", allowed_client_ids="*")
    code = await provider.code(code_challenge=CHALLENGE, code_challenge_method="S256")
    right = {"code_verifier": VERIFIER}
    assert await refused(provider.exchange(code, **(right | wrong))) in ("invalid_grant", "invalid_request")
    assert await refused(provider.exchange(code, **right)) == "invalid_grant"


async def test_a_code_is_bound_to_its_client(provider):
    code = await provider.code()
    await provider.register("other")
    assert await refused(provider.exchange(code)) == "invalid_grant"


@pytest.mark.parametrize(("challenge", "method"), [(CHALLENGE, "S256"), (VERIFIER, "plain"), (VERIFIER, None)])
async def test_the_verifier_of_pkce(provider, challenge, method):
    code = await provider.code(code_challenge=challenge, code_challenge_method=method)
    assert (await provider.exchange(code, code_verifier=VERIFIER)).data["id_token"]
    code = await provider.code(code_challenge=challenge, code_challenge_method=method)
    assert await refused(provider.exchange(code, code_verifier=VERIFIER[:-1] + "w")) == "invalid_grant"


async def test_a_confidential_client_has_to_know_its_secret(provider):
    id_, secret = provider.client["client_id"], provider.client["client_secret"]
    code = await provider.code()
    nothing = {"client_id": None, "client_secret": None}
    for attempt in (
        {"client_secret": "x"}, {"client_secret": None}, {"client_id": "nobody"},
        nothing | {"basic": f"{id_}:x"}, nothing | {"basic": f"{id_}"}, {"basic": f"{id_}:x"},
    ):  # fmt: skip
        response = await provider.exchange(code, **attempt)
        assert (response.status, response.data["error"]) == (401, "invalid_client")
        assert response.headers["WWW-Authenticate"] == "Basic"
    assert await refused(provider.exchange(code, **nothing)) == "invalid_request"
    assert (await provider.exchange(code, **nothing, basic=f"{id_}:{secret}")).data["id_token"]


async def test_a_public_client_has_no_secret_and_gets_tokens_by_its_verifier(provider):
    await provider.register("spa", client_type="public")
    code = await provider.code(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert (await provider.exchange(code, client_secret=None, code_verifier=VERIFIER)).data["id_token"]


async def test_who_is_no_longer_allowed_gets_no_tokens_for_an_earlier_code(provider):
    server = provider.server
    await server.write("oidc/assignment/a", entity_ids=[provider.id])
    await server.write("oidc/client/app", assignments="a")
    code = await provider.code()
    await server.write("oidc/assignment/a", entity_ids=[])
    assert await refused(provider.exchange(code)) == "invalid_request"
    await server.write("oidc/assignment/a", entity_ids=[provider.id])
    code = await provider.code()
    await server.write(f"entity/id/{provider.id}", disabled=True)
    assert await refused(provider.exchange(code)) == "invalid_request"


async def test_an_access_token_opens_userinfo_of_its_provider_and_nothing_else(provider):
    server = provider.server
    await server.policy("much", 'path "*" { capabilities = ["read", "update", "list", "sudo"] }')
    await server.write(f"entity/id/{provider.id}", policies=["much"])
    await server.write("oidc/provider/p", allowed_client_ids="*")
    access = (await provider.exchange(await provider.code())).data["access_token"]
    assert (await provider.userinfo(access)).data == {"sub": provider.id}
    assert await refused_userinfo(provider.userinfo(access, "p")) == "invalid_token"
    for op, path in (("read", "auth/token/lookup-self"), ("read", "sys/mounts"), ("list", "kv-v1/")):
        with pytest.raises(PermissionDenied):
            await server.call(op, path, token=access)
    assert (await server.call("update", "sys/capabilities", {"token": access, "paths": ["sys/mounts"]})).data[
        "sys/mounts"
    ] == ["deny"]


async def refused_userinfo(awaitable, status=401):
    response = await awaitable
    assert response.status == status
    assert ("WWW-Authenticate" in response.headers) is (status == 401)
    return response.data["error"]


async def test_userinfo_is_for_live_access_tokens_as_bearer_tokens(provider):
    server = provider.server
    await server.write("oidc/client/app", access_token_ttl="1m")
    access = (await provider.exchange(await provider.code())).data["access_token"]
    for other in ("", "hvb.x", access[:-4], server.root, provider.ada):
        assert await refused_userinfo(provider.userinfo(other)) == "invalid_token"
    assert await refused_userinfo(provider.userinfo(access, **{"X-Vault-Token": access})) == "invalid_token"
    batch = await server.token_of(provider.id, "default", type_="batch")
    assert "malformed" in (await provider.userinfo(batch)).data["error_description"]
    provider.server.clock.advance(59)
    assert (await provider.userinfo(access)).data == {"sub": provider.id}
    provider.server.clock.advance(1)
    assert await refused_userinfo(provider.userinfo(access)) == "invalid_token"


async def test_no_token_that_clients_can_make_passes_for_an_access_token(provider):
    server = provider.server
    meta = {"oidc_token_type": "access token", "client_id": provider.client["client_id"], "entity_id": provider.id,
            "scopes": ""}  # fmt: skip
    forged = await server.token(["default"], type="batch", meta=meta)
    assert await refused_userinfo(provider.userinfo(forged)) == "invalid_token"


async def test_userinfo_ends_with_the_users_right_to_log_in(provider):
    server = provider.server
    await server.write("oidc/assignment/a", entity_ids=[provider.id])
    await server.write("oidc/client/app", assignments="a")
    access = (await provider.exchange(await provider.code())).data["access_token"]
    assert (await provider.userinfo(access)).data == {"sub": provider.id}
    await server.write("oidc/assignment/a", entity_ids=[])
    assert await refused_userinfo(provider.userinfo(access), 403) == "access_denied"
    await server.write("oidc/client/app", assignments="allow_all")
    await server.write("oidc/provider/default", allowed_client_ids="someone")
    assert await refused_userinfo(provider.userinfo(access), 403) == "access_denied"
    await server.write("oidc/provider/default", allowed_client_ids="*")
    await server.write(f"entity/id/{provider.id}", disabled=True)
    assert await refused_userinfo(provider.userinfo(access)) == "invalid_token"
    await server.write(f"entity/id/{provider.id}", disabled=False)
    await server.call("delete", "identity/oidc/client/app")
    assert await refused_userinfo(provider.userinfo(access), 403) == "access_denied"


async def test_scopes_that_set_the_same_claim_cannot_be_asked_for_together(provider):
    server = provider.server
    for name in ("one", "two"):
        await server.write(f"oidc/scope/{name}", template='{"x": {{identity.entity.name}}}')
    response = await server.call("update", "identity/oidc/provider/default", {"scopes_supported": "one,two"})
    assert 'conflict "x" in scopes "one", "two"' in response.warnings[0]
    assert (await provider.exchange(await provider.code(scope="openid one"))).data["id_token"]
    assert await refused(provider.exchange(await provider.code(scope="openid one two"))) == "invalid_request"


async def test_an_application_can_get_a_token_of_its_own(provider):
    client = await provider.register("job", client_credentials=True, authorization_code=False, access_token_ttl="5m")
    asked = {"grant_type": "client_credentials", "scope": "openid", "redirect_uri": None}
    data = (await provider.exchange("", **asked)).data
    claims = unverified(data["access_token"])
    assert (claims["sub"], claims["aud"]) == (client["client_id"],) * 2
    assert claims["exp"] - claims["iat"] == data["expires_in"] == 300
    assert await refused_userinfo(provider.userinfo(data["access_token"])) == "invalid_token"
    assert (await provider.authorize()).data["error"] == "invalid_grant"
    await provider.register("app2")
    assert await refused(provider.exchange("", **asked)) == "invalid_grant"


async def test_the_secret_is_in_no_error_and_no_list(provider):
    secret = provider.client["client_secret"]
    listed = (await provider.server.call("list", "identity/oidc/client")).data
    response = await provider.exchange("x", client_secret=secret, redirect_uri=CALLBACK)
    assert secret not in f"{listed}{response.data}"


async def test_of_two_at_once_with_the_same_code_one_gets_tokens(provider):
    code = await provider.code()
    answers = await asyncio.gather(*(provider.exchange(code) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [0, 400, 400, 400]
