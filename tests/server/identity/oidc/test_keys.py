"""Named keys: how they rotate, and what of them is published."""

from __future__ import annotations

import jwt
import pytest
from caveau.framework.errors import InvalidRequest
from caveau.tests.server.identity.oidc.conftest import unverified

DAY = 86400


async def published(server, path=".well-known/keys"):
    response = await server.call("read", f"identity/oidc/{path}", token="")
    return [key["kid"] for key in response.data["keys"]]


async def signer(provider, role="r"):
    fresh = await provider.server.token_of(provider.id, "tokens")
    token = (await provider.server.call("read", f"identity/oidc/token/{role}", token=fresh)).data["token"]
    return jwt.get_unverified_header(token)["kid"]


async def role(server, key="k", **params):
    await server.write(f"oidc/key/{key}", **({"algorithm": "EdDSA", "allowed_client_ids": "*"} | params))
    await server.write("oidc/role/r", key=key, ttl=0)


async def test_a_key_rotates_when_its_period_is_over(provider):
    server = provider.server
    await role(server, rotation_period="1h", verification_ttl="30m")
    first, following = await published(server)
    assert await signer(provider) == first
    server.clock.advance(3599)
    await server.reap()
    assert await published(server) == [first, following]
    server.clock.advance(1)
    await server.reap()
    second, third, retired = await published(server)
    assert (second, retired) == (following, first)
    assert await signer(provider) == second
    server.clock.advance(1799)
    assert first in await published(server)
    server.clock.advance(1)
    assert await published(server) == [second, third]
    server.clock.advance(1800)
    await server.reap()
    assert await signer(provider) == third


async def test_rotation_survives_a_restart(provider):
    server = provider.server
    await role(server, rotation_period="1d", verification_ttl="7d")
    first, following = await published(server)
    await server.seal()
    server.clock.advance(2 * DAY)
    await server.unseal()
    await server.reap()
    assert (await published(server))[0] == following
    assert first in await published(server)


async def test_a_key_can_be_rotated_by_hand(provider):
    server = provider.server
    await role(server, rotation_period="1h", verification_ttl="30m")
    first, following = await published(server)
    await server.write("oidc/key/k/rotate")
    assert await signer(provider) == following
    assert first in await published(server)
    await server.write("oidc/key/k/rotate", verification_ttl=0)
    assert following not in await published(server)
    server.clock.advance(3599)
    current = await signer(provider)
    await server.reap()
    assert await signer(provider) == current  # the period began again
    server.clock.advance(1)
    await server.reap()
    assert await signer(provider) != current


async def test_a_shorter_period_counts_at_once_and_a_longer_one_from_the_next_rotation(provider):
    server = provider.server
    await role(server, rotation_period="1h", verification_ttl="10m")
    first = await signer(provider)
    await server.write("oidc/key/k", rotation_period="5m")
    server.clock.advance(300)
    await server.reap()
    second = await signer(provider)
    assert second != first
    await server.write("oidc/key/k", rotation_period="2h")
    server.clock.advance(300)
    await server.reap()
    third = await signer(provider)
    assert third != second
    server.clock.advance(7199)
    await server.reap()
    assert await signer(provider) == third


async def test_another_algorithm_means_other_keys_and_the_old_one_can_still_be_verified(provider):
    server = provider.server
    await role(server)
    first, following = await published(server)
    await server.write("oidc/key/k", algorithm="ES384")
    keys = (await server.call("read", "identity/oidc/.well-known/keys", token="")).data["keys"]
    assert [key["alg"] for key in keys] == ["ES384", "ES384", "EdDSA"]
    assert keys[2]["kid"] == first
    assert following not in {key["kid"] for key in keys}


async def test_a_key_does_not_grow_with_its_rotations(provider):
    server = provider.server
    await role(server, rotation_period="1m", verification_ttl="2m")
    sizes = []
    for _ in range(6):
        server.clock.advance(60)
        await server.reap()
        (entry,) = [value for key, value in (await server.plain()).items() if key.endswith("oidc/key/k")]
        sizes.append(len(entry))
    assert sizes[-1] == sizes[-2] == sizes[-3]
    assert len(await published(server)) == 4


async def test_only_keys_that_something_signs_with_are_published(provider):
    server = provider.server
    await server.write("oidc/key/k", algorithm="EdDSA")
    assert await published(server) == []
    of_clients = await published(server, "provider/default/.well-known/keys")
    assert len(of_clients) == 2
    await server.write("oidc/role/r", key="k", ttl=0)
    assert len(await published(server)) == 2
    assert not set(of_clients) & set(await published(server))
    await server.call("delete", "identity/oidc/role/r")
    assert await published(server) == []
    await server.write("oidc/provider/p", allowed_client_ids="nobody")
    assert await published(server, "provider/p/.well-known/keys") == []
    await server.write("oidc/provider/p", allowed_client_ids=provider.client["client_id"])
    assert await published(server, "provider/p/.well-known/keys") == of_clients


async def test_the_default_key_is_made_when_it_is_needed(provider):
    server = provider.server
    assert not [key for key in await server.plain() if key.endswith("oidc/key/default")]
    await server.write("oidc/role/r", key="default")
    (first, _) = await published(server)
    assert await signer(provider) == first
    server.clock.advance(DAY)
    await server.reap()
    assert await signer(provider) != first


async def test_a_key_in_use_stays(provider):
    server = provider.server
    await role(server)
    with pytest.raises(InvalidRequest, match=r"referenced by these roles: r$"):
        await server.call("delete", "identity/oidc/key/k")
    with pytest.raises(InvalidRequest, match=r"referenced by these clients: app$"):
        await server.call("delete", "identity/oidc/key/fast")
    await server.write("oidc/role/r", key="fast", ttl=0)
    await server.call("delete", "identity/oidc/key/k")
    server.clock.advance(2 * DAY)
    while await server.reap():
        pass
    assert "k" not in (await server.call("list", "identity/oidc/key")).data["keys"]


async def test_no_private_key_is_ever_shown(provider):
    server = provider.server
    await role(server)
    shown = [
        await server.read("oidc/key/k"),
        (await server.call("read", "identity/oidc/.well-known/keys", token="")).data,
    ]
    assert "PRIVATE" not in str(shown)
    assert "'d'" not in str(shown)


async def test_tokens_of_a_retired_key_can_be_introspected_until_its_time_is_over(provider):
    server = provider.server
    await server.write(
        "oidc/key/k", algorithm="EdDSA", allowed_client_ids="*", rotation_period="1h", verification_ttl="1h"
    )
    await server.write("oidc/role/r", key="k", ttl="1h", client_id="me")
    token = (await server.call("read", "identity/oidc/token/r", token=provider.ada)).data["token"]

    async def active(**more):
        return (await server.call("update", "identity/oidc/introspect", {"token": token, **more})).data["active"]

    await server.write("oidc/key/k/rotate")
    assert await active()
    assert await active(client_id="me")
    assert not await active(client_id="you")
    server.clock.advance(3600)
    assert not await active()
    assert unverified(token)["exp"] == int(server.clock.time())
