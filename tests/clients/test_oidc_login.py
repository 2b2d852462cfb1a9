"""Another application logs its user in through the server, with the libraries that such applications use:
Authlib does the code flow with PKCE, PyJWT verifies what comes of it against the served keys."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import hvac
import jwt
import pytest
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

CALLBACK = "https://app.example/callback"


@pytest.fixture
def user(root: hvac.Client, dev_server, name: str) -> Iterator[hvac.Client]:
    """hvac as somebody who has logged in with a password."""
    root.sys.enable_auth_method("userpass", path=name)
    root.auth.userpass.create_or_update_user("ada", "pw", policies=["default", "id-tokens"], mount_point=name)
    root.sys.create_or_update_policy("id-tokens", 'path "identity/oidc/token/*" { capabilities = ["read"] }')
    client = hvac.Client(url=dev_server.address)
    entity = client.auth.userpass.login("ada", "pw", mount_point=name)["auth"]["entity_id"]
    root.write(f"identity/group/name/{name}", member_entity_ids=entity)
    yield client
    client.adapter.close()
    root.sys.disable_auth_method(name)


@pytest.fixture
def metadata(root: hvac.Client, dev_server, name: str) -> dict[str, Any]:
    """What a provider with a scope and a fast key says of itself, read as an application would."""
    root.write(f"identity/oidc/key/{name}", algorithm="ES256", allowed_client_ids="*")
    root.write(f"identity/oidc/scope/{name}", template='{"groups": {{identity.entity.groups.names}}}')
    root.write(f"identity/oidc/provider/{name}", scopes_supported=name, allowed_client_ids="*")
    connection = http.client.HTTPConnection(dev_server.netloc)
    connection.request("GET", f"/v1/identity/oidc/provider/{name}/.well-known/openid-configuration")
    document: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return document


def register(root: hvac.Client, name: str, **params: Any) -> dict[str, Any]:
    root.write(f"identity/oidc/client/{name}", redirect_uris=CALLBACK, assignments="allow_all", key=name, **params)
    client: dict[str, Any] = root.read(f"identity/oidc/client/{name}")["data"]
    return client


def agree(user: hvac.Client, name: str, url: str) -> str:
    """Do what the web page of the authorisation endpoint does; the URL that the browser is sent back to."""
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    given = user.write_data(f"identity/oidc/provider/{name}/authorize", data=query)
    return f"{query['redirect_uri']}?{urllib.parse.urlencode(given)}"


def verified(metadata: dict[str, Any], id_token: str, client_id: str) -> dict[str, Any]:
    key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(id_token)
    return jwt.decode(id_token, key, algorithms=["ES256"], audience=client_id, issuer=metadata["issuer"])


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_code_flow_with_pkce(root, user, metadata, name, method):
    client = register(root, name, client_type="public" if method == "none" else "confidential")
    verifier = generate_token(48)
    with OAuth2Session(
        client["client_id"],
        client.get("client_secret"),
        token_endpoint_auth_method=method,
        scope=f"openid {name}",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    ) as app:
        url, state = app.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, nonce="n-0S6"
        )
        back = agree(user, name, url)
        tokens = app.fetch_token(
            metadata["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier
        )
        claims = verified(metadata, tokens["id_token"], client["client_id"])
        assert (claims["nonce"], claims["groups"]) == ("n-0S6", [name])
        info = app.get(metadata["userinfo_endpoint"]).json()
        assert info == {"sub": claims["sub"], "groups": [name]}
        with pytest.raises(OAuthError, match="invalid_grant"):
            app.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=verifier)


def test_a_stolen_code_is_worth_nothing_without_the_verifier(root, user, metadata, name):
    client = register(root, name, client_type="public")
    with OAuth2Session(
        client["client_id"], token_endpoint_auth_method="none", scope="openid", redirect_uri=CALLBACK,
        code_challenge_method="S256",
    ) as app:  # fmt: skip
        url, _ = app.create_authorization_url(metadata["authorization_endpoint"], code_verifier=generate_token(48))
        back = agree(user, name, url)
        with pytest.raises(OAuthError, match="invalid_grant"):
            app.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=generate_token(48))


def test_an_application_with_a_wrong_secret_gets_nothing(root, user, metadata, name):
    client = register(root, name)
    with OAuth2Session(client["client_id"], "wrong", scope="openid", redirect_uri=CALLBACK) as app:
        url, _ = app.create_authorization_url(metadata["authorization_endpoint"])
        with pytest.raises(OAuthError, match="invalid_client"):
            app.fetch_token(metadata["token_endpoint"], authorization_response=agree(user, name, url))


def test_identity_tokens_with_hvac(root, user, dev_server, name):
    tokens = root.secrets.identity
    tokens.create_named_key(
        name, rotation_period="1h", verification_ttl="1h", allowed_client_ids=["*"], algorithm="RS256"
    )
    assert tokens.read_named_key(name)["data"]["algorithm"] == "RS256"
    assert name in tokens.list_named_keys()["data"]["keys"]
    tokens.create_or_update_role(name, key=name, template='{"name": {{identity.entity.name}}}', ttl="10m")
    role = tokens.read_role(name)["data"]
    assert name in tokens.list_roles()["data"]["keys"]
    signed = user.secrets.identity.generate_signed_id_token(name)["data"]
    assert tokens.introspect_signed_id_token(signed["token"], client_id=role["client_id"])["active"] is True
    issuer = tokens.read_well_known_configurations()["issuer"]
    key = jwt.PyJWKClient(f"{dev_server.address}/v1/identity/oidc/.well-known/keys").get_signing_key_from_jwt(
        signed["token"]
    )
    claims = jwt.decode(signed["token"], key, algorithms=["RS256"], audience=role["client_id"], issuer=issuer)
    assert claims["name"].startswith("entity_")
    tokens.rotate_named_key(name, verification_ttl="20m")
    assert key.key_id in {each["kid"] for each in tokens.read_active_public_keys()["keys"]}
    tokens.configure_tokens_backend(issuer="https://id.example:8200")
    assert tokens.read_tokens_backend_configuration()["data"]["issuer"] == "https://id.example:8200"
    tokens.configure_tokens_backend(issuer="")
    tokens.delete_role(name)
    tokens.delete_named_key(name)
