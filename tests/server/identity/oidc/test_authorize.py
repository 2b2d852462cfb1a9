"""Who gets a code for which application. What errors look like, the comparison with OpenBao shows."""

from __future__ import annotations

import pytest
from caveau.server.identity.oidc.authorize import is_redirect
from caveau.tests.server.identity.oidc.conftest import CALLBACK, CHALLENGE


async def refused(app, **params):
    response = await app.authorize(**params)
    assert response.status == 400
    return response.data["error"]


async def test_entities_and_groups_of_the_assignments_get_codes_and_nobody_else(provider):
    server = provider.server
    await provider.register("other", assignments=[])
    assert await refused(provider) == "access_denied"
    await server.write("oidc/assignment/a", entity_ids=["someone"])
    await server.write("oidc/client/other", assignments=["a"])
    assert await refused(provider) == "access_denied"
    await server.write("oidc/assignment/a", entity_ids=["someone", provider.id])
    assert await provider.code()
    await server.write("oidc/assignment/a", entity_ids=[], group_ids=[provider.group])
    assert await provider.code()
    outer = await server.group("outer", member_group_ids=[provider.group])
    await server.write("oidc/assignment/a", group_ids=[outer])
    assert await provider.code()
    await server.write("group/id/" + outer, member_group_ids=[])
    assert await refused(provider) == "access_denied"
    assert await refused(provider, token=server.root) == "access_denied"  # it has no entity


async def test_a_provider_serves_the_clients_it_names(provider):
    await provider.server.write("oidc/provider/p", allowed_client_ids="someone")
    assert await refused(provider, provider="p") == "unauthorized_client"
    await provider.server.write("oidc/provider/p", allowed_client_ids=["someone", provider.client["client_id"]])
    assert await provider.code(provider="p")


async def test_a_public_client_needs_pkce(provider):
    await provider.register("spa", client_type="public")
    assert "client_secret" not in provider.client
    assert await refused(provider) == "invalid_request"
    assert await provider.code(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert await refused(provider, code_challenge=CHALLENGE, code_challenge_method="none") == "invalid_request"
    for bad in ("a" * 42, "a" * 129, "a" * 42 + "+"):
        assert await refused(provider, code_challenge=bad) == "invalid_request"


async def test_who_logged_in_too_long_ago_has_to_do_it_again(provider):
    provider.server.clock.advance(60)
    assert await provider.code(max_age=60)
    assert await refused(provider, max_age=59) == "max_age_violation"
    assert await refused(provider, max_age=0) == "invalid_request"


@pytest.mark.parametrize(
    "uri",
    [
        "https://app/cb", "http://127.0.0.1:8000/cb", "http://127.0.0.1:9/cb", "http://127.0.0.1/cb",
        "http://[::1]:5/cb", "http://localhost:77/cb?x=1",
    ],
)  # fmt: skip
def test_redirect_uris_that_are_registered(uri):
    registered = ("https://app/cb", "http://127.0.0.1:8000/cb", "http://[::1]/cb", "http://localhost/cb?x=1")
    assert is_redirect(uri, registered)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app/cb/", "https://app/cb?x=1", "https://app:444/cb", "https://app.evil/cb", "http://app/cb", "",
        "https://app/CB", "https://127.0.0.1:9/cb", "http://127.0.0.1:9/cb2", "http://127.0.0.2:9/cb",
        "http://127.0.0.1:9@evil/cb", "http://user@127.0.0.1:9/cb", "http://127.0.0.1:x/cb", "http://localhost:9/cb",
        "http://127.0.0.1:9/cb#x", "http://[::1:9/cb", "http://127.0.0.1.evil/cb",
    ],
)  # fmt: skip
def test_redirect_uris_that_are_not(uri):
    assert not is_redirect(uri, ("https://app/cb", "http://127.0.0.1:8000/cb"))


async def test_codes_are_nowhere_in_the_store_and_unused_ones_go_away(provider):
    code = await provider.code()
    stored = await provider.server.plain()
    assert code not in str(stored)
    assert [key for key in stored if "oidc/code/" in key]
    provider.server.clock.advance(300)
    await provider.server.reap()
    assert not [key for key in await provider.server.plain() if "oidc" in key and "code" in key]


async def test_the_callback_is_not_followed_anywhere_else(provider):
    assert await refused(provider, redirect_uri=CALLBACK + "/x") == "invalid_redirect_uri"
    assert await refused(provider, client_id="nobody") == "invalid_client_id"
