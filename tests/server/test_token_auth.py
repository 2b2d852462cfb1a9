"""``auth/token``: what is given to whom, and above all what is not."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import CaveauError, InvalidRequest, NotFound, PermissionDenied
from caveau.server.wrapping import WRAPPING_POLICY
from caveau.tests.server.harness import Server, SlowStore

# May do everything with tokens and roles that needs no sudo.
MAKER = """
path "auth/token/create" { capabilities = ["create", "update"] }
path "auth/token/create-orphan" { capabilities = ["create", "update"] }
path "auth/token/create/*" { capabilities = ["create", "update"] }
path "auth/token/renew" { capabilities = ["update"] }
path "auth/token/revoke-orphan" { capabilities = ["update"] }
"""
SUDO = MAKER.replace('"update"]', '"update", "sudo"]')


@pytest.fixture
async def maker(server):
    """A token with the policies default and maker."""
    await server.policy("maker", MAKER)
    await server.policy("sudo-maker", SUDO)
    await server.policy("secret", 'path "kv-v1/*" { capabilities = ["read"] }')
    return await server.token(["default", "maker"])


async def role(server, name, **fields):
    await server.call("update", f"auth/token/roles/{name}", fields)
    return f"auth/token/create/{name}"


async def policies(server, token):
    return list((await server.lookup(token))["policies"])


# More than the creator has


@pytest.mark.parametrize(
    "wanted",
    [
        {"policies": ["root"]}, {"policies": ["ROOT"]}, {"policies": [" root\t"]}, {"policies": "Root"},
        {"policies": ["default", "root"]}, {"policies": ["rOoT", "maker"]}, {"policies": ["secret"]},
        {"policies": ["Secret "]}, {"policies": ["maker", "secret"]}, {"policies": ["sudo-maker"]},
        {"policies": ["maker,secret"]}, {"policies": [WRAPPING_POLICY]}, {"policies": ["Response-Wrapping "]},
        {"policies": ["control-group"]}, {"policies": ["*"]}, {"policies": ["mak*"]}, {"policies": [".."]},
        {"policies": ["ｒｏｏｔ"]}, {"policies": ["r\u043eot"]}, {"policies": ["root\u200b"]},
        {"no_parent": True}, {"no_parent": "true"}, {"id": "chosen"}, {"id": "hvs.chosen"}, {"period": "1h"},
        {"period": 1}, {"policies": ["maker"], "no_parent": 1}, {"entity_alias": "someone"},
        {"type": "batch", "policies": ["root"]}, {"type": "root"}, {"type": "default-service"},
        {"num_uses": -1}, {"ttl": "-1h"}, {"explicit_max_ttl": -5}, {"type": "batch", "num_uses": 1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", ["auth/token/create", "auth/token/create-orphan"])
async def test_nobody_gives_more_than_he_has(server, maker, wanted, at):
    before = await server.keys_stored()
    with pytest.raises(InvalidRequest):
        await server.call("update", at, wanted, maker)
    assert await server.keys_stored() == before


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ({}, ["default", "maker"]),
        ({"policies": []}, ["default", "maker"]),
        ({"policies": ["", "  "]}, ["default"]),
        ({"policies": ["MAKER", "maker", " maker"]}, ["default", "maker"]),
        ({"policies": ["maker"], "no_default_policy": True}, ["maker"]),
        ({"no_default_policy": True}, ["maker"]),
        ({"policies": ["maker", " Default"], "no_default_policy": True}, ["maker"]),
        ({"policies": ["default"]}, ["default"]),
    ],
)
async def test_a_child_has_some_of_its_parents_policies(server, maker, wanted, given):
    assert await policies(server, await server.token(by=maker, **wanted)) == given


async def test_default_is_not_given_by_who_lacks_it(server, maker):
    bare = await server.token(["maker"], no_default_policy=True)
    assert await policies(server, await server.token(by=bare)) == ["maker"]
    assert await policies(server, await server.token(["maker"], by=bare)) == ["maker"]
    with pytest.raises(InvalidRequest, match="subset of parent"):
        await server.token(["default"], by=bare)


async def test_sudo_gives_any_policy_but_root(server, maker):
    sudo = await server.token(["sudo-maker"])
    assert await policies(server, await server.token(["secret"], by=sudo)) == ["default", "secret"]
    assert (await server.lookup(await server.token(by=sudo, no_parent=True)))["orphan"]
    assert (await server.lookup(await server.token(by=sudo, period="1h")))["period"] == 3600
    assert await server.token(by=sudo, id="my-own") == "my-own"
    for wanted in (["root"], ["default", " ROOT"], [WRAPPING_POLICY]):
        with pytest.raises(InvalidRequest):
            await server.token(wanted, by=sudo)


async def test_a_root_token_that_ends_gives_none_that_does_not(server):
    ending = await server.token(["root"], ttl="1h")
    for at in ("auth/token/create", "auth/token/create-orphan", await role(server, "open")):
        for wanted in ({}, {"policies": ["root"]}, {"ttl": 0}, {"no_parent": True}):
            with pytest.raises(InvalidRequest, match="expiring root tokens"):
                await server.call("update", at, wanted, ending)


@pytest.mark.parametrize("fields", [{"num_uses": 5}, {"type": "batch"}])
async def test_limited_and_batch_tokens_have_no_children(server, maker, fields):
    token = await server.token(by=maker, **fields)
    for at in ("auth/token/create", "auth/token/create-orphan", await role(server, "open")):
        with pytest.raises(InvalidRequest, match="cannot"):
            await server.call("update", at, {}, token)


async def test_a_wrapping_token_can_only_unwrap(server):
    wrapped = await server.call("read", "sys/mounts", wrap_ttl=60.0)
    with pytest.raises(PermissionDenied):
        await server.call("update", "auth/token/create", {}, wrapped.wrap_info.token)
    assert not await server.alive(wrapped.wrap_info.token)


@pytest.mark.parametrize("text", ["hvs.mine", "hvb.mine", "s.mine", "b.mine", "r.mine", "a.b", "x" * 1025, "new\nline"])
async def test_texts_that_a_token_may_not_have(server, text):
    with pytest.raises(InvalidRequest, match="custom token ID"):
        await server.token(["default"], id=text)


# Through a role


async def test_roles_without_lists_give_what_their_user_has(server, maker):
    at = await role(server, "open")
    assert await policies(server, await server.token(by=maker, at=at)) == ["default", "maker"]
    for wanted in ({"policies": ["secret"]}, {"policies": ["root"]}, {"id": "chosen"}, {"period": "1h"}):
        with pytest.raises(InvalidRequest):
            await server.call("update", at, wanted, maker)


async def test_a_role_decides_about_orphans_and_its_user_does_not(server, maker):
    child = await server.token(by=maker, at=await role(server, "child"), no_parent=True)
    orphan = await server.token(by=maker, at=await role(server, "orphan", orphan=True))
    assert not (await server.lookup(child))["orphan"]
    assert (await server.lookup(orphan))["orphan"]
    await server.call("update", "auth/token/revoke", {"token": maker})
    assert (await server.alive(child), await server.alive(orphan)) == (False, True)


@pytest.mark.parametrize(
    ("lists", "wanted", "given"),
    [
        ({"allowed_policies": ["a", "b"]}, None, ["a", "b", "default"]),
        ({"allowed_policies": ["a", "b"]}, ["a"], ["a", "default"]),
        ({"allowed_policies": ["a", "b"]}, ["c"], None),
        ({"allowed_policies": ["a", "b"]}, ["a", "c"], None),
        ({"allowed_policies": ["A ", "b"]}, ["a"], ["a", "default"]),
        ({"allowed_policies": ["a"], "token_no_default_policy": True}, None, ["a"]),
        ({"allowed_policies": ["a"], "token_no_default_policy": True}, ["a", "default"], None),
        ({"allowed_policies_glob": ["team-*"]}, ["team-x"], ["default", "team-x"]),
        ({"allowed_policies_glob": ["TEAM-*"]}, ["team-x"], ["default", "team-x"]),
        ({"allowed_policies_glob": ["team-*"]}, ["tea"], None),
        ({"allowed_policies_glob": ["team-*"]}, None, ["default"]),
        ({"allowed_policies_glob": ["a?c", "x[yz]"]}, ["abc"], None),
        ({"allowed_policies_glob": ["a?c", "x[yz]"]}, ["xy"], None),
        ({"allowed_policies_glob": ["a?c"]}, ["a?c"], ["a?c", "default"]),
        ({"allowed_policies_glob": ["*"], "disallowed_policies": ["secret"]}, ["secret"], None),
        ({"allowed_policies_glob": ["*"], "disallowed_policies": ["SECRET"]}, ["secret"], None),
        ({"allowed_policies_glob": ["*"], "disallowed_policies": [" Secret"]}, [" SECRET "], None),
        ({"allowed_policies_glob": ["*"], "disallowed_policies_glob": ["SEC*"]}, ["secret"], None),
        ({"disallowed_policies": ["secret"]}, ["secret"], None),
        ({"disallowed_policies": ["secret"]}, ["other"], ["default", "other"]),
        ({"disallowed_policies": ["default"]}, ["other"], ["other"]),
        ({"disallowed_policies": ["default"]}, ["default"], None),
        ({"disallowed_policies_glob": ["d*"]}, ["other"], ["other"]),
        ({"disallowed_policies": ["x"]}, None, ["default", "maker"]),
        ({"disallowed_policies": ["maker"]}, None, None),
        ({"allowed_policies_glob": ["*"]}, ["root"], None),
        ({"allowed_policies": ["root"]}, None, None),
        ({"allowed_policies": ["Root"]}, ["root"], None),
        ({"disallowed_policies": ["x"]}, ["root"], None),
        ({"allowed_policies_glob": ["*"]}, [WRAPPING_POLICY], None),
        ({"token_no_default_policy": True}, ["maker"], ["maker"]),
    ],
)
async def test_roles_allow_and_forbid_policies(server, maker, lists, wanted, given):
    at = await role(server, "r", **lists)
    if given is None:
        with pytest.raises(InvalidRequest):
            await server.token(wanted, by=maker, at=at)
    else:
        assert await policies(server, await server.token(wanted, by=maker, at=at)) == given


@pytest.mark.parametrize(
    ("fields", "asked", "shown"),
    [
        ({"token_num_uses": 3}, {}, {"num_uses": 3}),
        ({"token_num_uses": 3}, {"num_uses": 2}, {"num_uses": 2}),
        ({"token_num_uses": 3}, {"num_uses": 50}, {"num_uses": 3}),
        ({"token_num_uses": 3}, {"num_uses": 0}, {"num_uses": 3}),
        ({"token_period": "1h"}, {}, {"period": 3600, "ttl": 3600}),
        ({"token_period": "1h"}, {"ttl": "5h"}, {"period": 3600, "ttl": 3600}),
        ({"token_explicit_max_ttl": "1h"}, {"ttl": "5h"}, {"explicit_max_ttl": 3600, "ttl": 3600}),
        ({"token_explicit_max_ttl": "1h"}, {"explicit_max_ttl": "2h"}, {"explicit_max_ttl": 3600, "ttl": 3600}),
        ({"token_explicit_max_ttl": "1h"}, {"explicit_max_ttl": "30m"}, {"explicit_max_ttl": 1800, "ttl": 1800}),
        ({"renewable": False}, {"renewable": True}, {"renewable": False}),
        ({}, {"renewable": False}, {"renewable": False}),
        ({"path_suffix": "abc"}, {}, {"path": "auth/token/create/r/abc"}),
        ({"token_type": "batch", "orphan": True, "renewable": False}, {"type": "service"}, {"type": "batch"}),
        ({"token_type": "service"}, {"type": "batch"}, {"type": "service"}),
        ({"token_type": "default-batch"}, {}, {"type": "batch"}),
        ({"token_type": "default-batch"}, {"type": "service"}, {"type": "service"}),
        ({"token_type": "default-service"}, {"type": "batch"}, {"type": "batch"}),
        ({"token_explicit_max_ttl": "1h"}, {"type": "batch"}, {"type": "batch", "ttl": 3600}),
        ({"token_period": "1h"}, {"type": "batch", "ttl": "5h"}, {"type": "batch", "ttl": 3600}),
        ({"token_bound_cidrs": ["10.0.0.0/8", "::1/128"]}, {}, {"bound_cidrs": ["10.0.0.0/8", "::1"]}),
        ({"token_num_uses": 3}, {"type": "batch"}, None),
    ],
)
async def test_the_stricter_of_role_and_request_counts(server, maker, fields, asked, shown):
    at = await role(server, "r", **fields)
    if shown is None:
        with pytest.raises(InvalidRequest):
            await server.token(by=maker, at=at, **asked)
        return
    found = await server.lookup(await server.token(by=maker, at=at, **asked))
    assert {key: found.get(key) for key in shown} == shown


async def test_the_lesser_of_two_periods_counts(server):
    at = await role(server, "r", token_period="1h")
    for asked, period in (("2h", 3600), ("30m", 1800)):
        response = await server.call("update", at, {"policies": ["default"], "period": asked})
        assert f"using the lesser value of {period} seconds" in response.warnings[0]
        assert (await server.lookup(response.auth["client_token"]))["period"] == period


async def test_a_batch_token_is_bound_to_addresses_too(server, maker):
    token = await server.token(by=maker, at=await role(server, "r", token_bound_cidrs="10.0.0.0/8"), type="batch")
    with pytest.raises(PermissionDenied):
        await server.call("read", "auth/token/lookup-self", token=token, remote_address="127.0.0.1")
    await server.call("read", "auth/token/lookup-self", token=token, remote_address="10.0.0.1")


async def test_a_role_is_shown_as_it_was_written(server):
    await role(server, "r", period="1h", explicit_max_ttl="2h", bound_cidrs="127.0.0.1/32,10.0.0.0/8",
               allowed_policies=["B", "a", "a"], allowed_entity_aliases=["Me"])  # fmt: skip
    shown = (await server.call("read", "auth/token/roles/r")).data
    assert (shown["token_period"], shown["period"], shown["explicit_max_ttl"]) == (3600, 3600, 7200)
    assert list(shown["bound_cidrs"]) == ["127.0.0.1", "10.0.0.0/8"] == list(shown["token_bound_cidrs"])
    assert (list(shown["allowed_policies"]), list(shown["allowed_entity_aliases"])) == (["a", "b"], ["me"])
    await role(server, "r", token_period="3h", token_bound_cidrs="")
    shown = (await server.call("read", "auth/token/roles/r")).data
    assert (shown["token_period"], shown["period"], shown["explicit_max_ttl"]) == (10800, 0, 7200)
    assert not {"bound_cidrs", "token_bound_cidrs", "token_num_uses"} & shown.keys()
    assert (await server.call("list", "auth/token/roles")).data == {"keys": ["r"]}
    await server.call("delete", "auth/token/roles/r")
    with pytest.raises(NotFound):
        await server.call("read", "auth/token/roles/r")


@pytest.mark.parametrize(
    "fields",
    [
        {"token_type": "x"}, {"token_period": "x"}, {"token_period": "-1h"}, {"token_num_uses": -1},
        {"token_bound_cidrs": ["x"]}, {"token_bound_cidrs": ["1.2.3.4/99"]}, {"path_suffix": "../x"},
        {"path_suffix": "a/b"}, {"path_suffix": "a\nb"}, {"token_type": "batch"},
        {"token_type": "batch", "orphan": True}, {"token_type": "batch", "orphan": True, "renewable": False,
                                                  "token_period": "1h"},
        {"token_type": "batch", "orphan": True, "renewable": False, "token_num_uses": 1},
        {"token_type": "batch", "orphan": True, "renewable": False, "token_explicit_max_ttl": "1h"},
    ],
)  # fmt: skip
async def test_roles_that_are_refused(server, fields):
    with pytest.raises(InvalidRequest):
        await role(server, "r", **fields)
    with pytest.raises(NotFound):
        await server.call("read", "auth/token/roles/r")


async def test_a_role_that_was_narrowed_narrows_what_its_tokens_get_next(server, maker):
    at = await role(server, "r", token_explicit_max_ttl="10h")
    token = await server.token(by=maker, at=at, ttl="1h")
    await role(server, "r", token_explicit_max_ttl="2h")
    renewed = await server.call("update", "auth/token/renew", {"token": token, "increment": "9h"})
    assert renewed.auth["lease_duration"] == 7200
    await role(server, "r", token_explicit_max_ttl="20h")
    renewed = await server.call("update", "auth/token/renew", {"token": token, "increment": "19h"})
    assert renewed.auth["lease_duration"] == 36000
    await server.call("delete", "auth/token/roles/r")
    with pytest.raises(InvalidRequest, match="could not be found"):
        await server.call("update", "auth/token/renew", {"token": token})


# Lifetimes


async def test_a_token_is_renewed_up_to_its_maximum(server):
    token = await server.token(["default"], ttl="1h", explicit_max_ttl="3h")
    for elapsed, granted in ((0, 3600), (1800, 3600), (3500, 3600), (3500, 2000), (1999, 1)):
        server.clock.advance(elapsed)
        response = await server.call("update", "auth/token/renew-self", token=token)
        assert response.auth["lease_duration"] == granted
    server.clock.advance(1)
    with pytest.raises(PermissionDenied):
        await server.call("update", "auth/token/renew-self", token=token)


async def test_a_renewal_without_increment_gives_what_was_last_given(server):
    token = await server.token(["default"], ttl="1h")
    for increment, granted in ((None, 3600), ("2h", 7200), (None, 7200), (60, 60), (None, 60), (0, 60)):
        data = {} if increment is None else {"increment": increment}
        response = await server.call("update", "auth/token/renew-self", data, token)
        assert response.auth["lease_duration"] == granted
        assert (await server.lookup(token))["ttl"] == granted


async def test_a_renewal_past_the_maximum_is_refused_and_ends_nothing(server):
    token = await server.token(["default"], ttl="10h")
    server.clock.advance(7200)
    await server.call("update", "sys/auth/token/tune", {"max_lease_ttl": "1h", "default_lease_ttl": "1h"})
    with pytest.raises(InvalidRequest, match="past the max TTL"):
        await server.call("update", "auth/token/renew-self", token=token)
    assert (await server.lookup(token))["ttl"] == 8 * 3600


async def test_a_periodic_token_lives_as_long_as_it_is_renewed(server):
    token = await server.token(["default"], period="1h")
    for _ in range(2000):
        server.clock.advance(3599)
        response = await server.call("update", "auth/token/renew-self", {"increment": "900h"}, token)
    assert response.auth["lease_duration"] == 3600
    server.clock.advance(3600)
    assert not await server.alive(token)


@pytest.mark.parametrize("fields", [{"renewable": False}, {"type": "batch"}])
async def test_tokens_that_are_not_renewed(server, fields):
    token = await server.token(["default"], ttl="1h", **fields)
    for by, path in ((token, "renew-self"), (None, "renew")):
        with pytest.raises(InvalidRequest, match="renew"):
            await server.call("update", f"auth/token/{path}", {"token": token}, by)
    with pytest.raises(InvalidRequest, match="not renewable"):
        await server.call("update", "auth/token/renew", {"token": server.root})


async def test_a_renewal_does_not_give_uses_back(server):
    """A limited token's requests run side by side: none may write back what it read of the token before."""
    server = await Server(SlowStore()).start()
    token = await server.token(["default"], num_uses=40, ttl="1h")

    async def use(i: int) -> bool:
        try:
            await server.call("update", "auth/token/renew-self", {"increment": 3600 + i}, token)
        except PermissionDenied:
            return False
        return True

    for _ in range(4):
        assert sum(await asyncio.gather(*(use(i) for i in range(9)))) == 9
    assert sum(await asyncio.gather(*(use(i) for i in range(9)))) <= 4
    assert not await server.alive(token)
    await server.core.stop()


@pytest.mark.parametrize("fields", [{}, {"num_uses": 9}])
async def test_a_renewal_does_not_bring_a_revoked_token_back(fields):
    for delay in range(30):
        server = await Server(SlowStore()).start()
        token = await server.token(["default"], ttl="1h", **fields)

        async def renew(server=server, token=token, delay=delay):
            for _ in range(delay):
                await asyncio.sleep(0)
            await server.call("update", "auth/token/renew-self", token=token)

        revoke = server.call("update", "auth/token/revoke", {"token": token})
        await asyncio.gather(renew(), revoke, return_exceptions=True)
        assert not await server.alive(token)
        assert len(await server.keys_stored("namespaces/root/sys/token/id/")) == 1
        await server.core.stop()


@pytest.mark.parametrize("at", ["auth/token/create", "auth/token/create-orphan"])
async def test_no_child_is_born_to_a_revoked_token(at):
    """Whichever comes first: a child that its parent's revocation did not see would live on."""
    for delay in range(30):
        server = await Server(SlowStore()).start()
        await server.policy("maker", MAKER)
        parent = await server.token(["maker"])

        async def bear(server=server, parent=parent, delay=delay):
            for _ in range(delay):
                await asyncio.sleep(0)
            return await server.token(by=parent, at=at)

        child, _ = await asyncio.gather(
            bear(), server.call("update", "auth/token/revoke", {"token": parent}), return_exceptions=True
        )
        if isinstance(child, str) and at == "auth/token/create":
            assert not await server.alive(child)
        elif not isinstance(child, str):
            assert isinstance(child, PermissionDenied)
        assert not await server.keys_stored("namespaces/root/sys/token/parent/")
        await server.core.stop()


# Bad input


@pytest.mark.parametrize("path", ["lookup", "renew", "revoke", "revoke-orphan"])
@pytest.mark.parametrize("text", [1, None, ["x"], {"a": 1}, True])
async def test_a_token_is_text(server, path, text):
    with pytest.raises(PermissionDenied, match="invalid token"):
        await server.call("update", f"auth/token/{path}", {"token": text})


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("renew", {}), ("renew", {"token": "none"}), ("revoke", {}), ("revoke-orphan", {}),
        ("revoke-orphan", {"token": "none"}), ("lookup-accessor", {}), ("lookup-accessor", {"accessor": "none"}),
        ("renew-accessor", {"accessor": ""}), ("revoke-accessor", {}), ("create/no-such-role", {}),
        ("create", {"ttl": "x"}), ("create", {"num_uses": "x"}), ("create", {"policies": {"a": 1}}),
        ("create", {"meta": "x"}), ("create", {"ttl": "300y"}), ("create", {"num_uses": 10**30}),
        ("create", {"ttl": "1" * 400}), ("renew", {"token": "x", "increment": "x"}),
    ],
)  # fmt: skip
async def test_bad_input_is_the_clients_mistake(server, path, data):
    with pytest.raises(CaveauError) as error:
        await server.call("update", f"auth/token/{path}", data)
    assert error.value.status == 400


async def test_revoke_orphan_needs_sudo(server, maker):
    token = await server.token(["default"])
    with pytest.raises(InvalidRequest, match="sudo privileges"):
        await server.call("update", "auth/token/revoke-orphan", {"token": token}, maker)
    assert await server.alive(token)
    sudo = await server.token(["sudo-maker"])
    await server.call("update", "auth/token/revoke-orphan", {"token": token}, sudo)
    assert not await server.alive(token)


async def test_accessors_are_listed_to_who_has_sudo(server):
    await server.policy("lister", 'path "auth/token/accessors" { capabilities = ["list"] }')
    await server.policy("lister2", 'path "auth/token/accessors/" { capabilities = ["list"] }')
    token = await server.token(["lister", "lister2"])
    with pytest.raises(PermissionDenied):
        await server.call("list", "auth/token/accessors", token=token)


async def test_what_is_told_of_a_token(server):
    token = await server.token(["default"], meta={"a": "b"}, display_name="my name!", ttl="1h")
    shown = await server.lookup(token)
    assert (shown["display_name"], shown["meta"], shown["id"]) == ("token-my-name", {"a": "b"}, token)
    assert (shown["ttl"], shown["creation_ttl"], shown["orphan"], shown["path"]) == (3600, 3600, False,
                                                                                   "auth/token/create")  # fmt: skip
    created = await server.call("update", "auth/token/create", {"policies": ["no-such-policy"]})
    assert 'Policy "no-such-policy" does not exist' in created.warnings


async def test_a_root_token_of_the_server_has_no_lease_to_tell_of(server):
    made, created = await server.lookup(server.root), await server.lookup(await server.token(["root"]))
    assert created.keys() - made.keys() == {"issue_time", "renewable"}
    assert (made["path"], made["display_name"], made["ttl"], made["expire_time"]) == (
        "auth/token/root",
        "root",
        0,
        None,
    )
