"""Logins with a second factor: who needs one, in one request and in two, and what is never accepted."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework import Auth, Engine, NoParams, Request, Response, update
from caveau.framework.errors import InvalidRequest, PermissionDenied, RateLimited
from caveau.server.identity.mfa import login
from caveau.tests.server.harness import SlowStore
from caveau.tests.server.identity.mfa.conftest import Guarded


async def test_without_an_enforcement_a_password_is_enough(server):
    assert await server.alive((await server.log_in()).auth["client_token"])


async def test_a_login_in_two_requests(server):
    app = await server.app()
    await server.enforce()
    response = await server.log_in()
    assert response.auth["client_token"] == response.auth["accessor"] == ""
    requirement = response.auth["mfa_requirement"]
    told = {"type": "totp", "id": server.method, "uses_passcode": True, "name": "phone"}
    assert requirement["mfa_constraints"] == {"all": {"any": [told]}}
    assert "mfa/validate" in response.warnings[0]
    done = await server.validate(requirement["mfa_request_id"], server.code(app))
    assert done.auth["entity_id"] == server.ann
    assert done.auth["policies"] == ("default", "p")
    assert done.auth["mfa_requirement"] is None
    assert (await server.lookup(done.auth["client_token"]))["path"] == "auth/userpass/login/ann"
    with pytest.raises(InvalidRequest, match="invalid request ID"):
        await server.validate(requirement["mfa_request_id"], server.code(app, 1))


@pytest.mark.parametrize("form", ["{id}:{code}", "phone:{code}", "phone:passcode={code}"])
async def test_a_login_in_one_request(server, form):
    app = await server.app()
    await server.enforce()
    response = await server.log_in(form.format(id=server.method, code=server.code(app)))
    assert await server.alive(response.auth["client_token"])
    with pytest.raises(PermissionDenied):
        await server.log_in(form.format(id=server.method, code="000000"))


async def test_a_wrong_password_is_told_before_any_second_factor(server):
    await server.enforce()
    with pytest.raises(InvalidRequest, match="invalid username or password"):
        await server.call("update", "auth/userpass/login/ann", {"password": "no"}, "")


@pytest.mark.parametrize("by", ["accessor", "type", "entity", "group", "parent group"])
async def test_what_an_enforcement_is_about(server, by):
    group = (await server.call("update", "identity/group", {"member_entity_ids": [server.ann]})).data["id"]
    parent = (await server.call("update", "identity/group", {"member_group_ids": [group]})).data["id"]
    on = {
        "accessor": {"auth_method_accessors": server.accessor},
        "type": {"auth_method_types": "userpass"},
        "entity": {"identity_entity_ids": server.ann},
        "group": {"identity_group_ids": group},
        "parent group": {"identity_group_ids": parent},
    }
    await server.enforce(**on[by])
    assert await server.begin()
    await server.call("delete", "identity/mfa/login-enforcement/all")
    assert (await server.log_in()).auth["client_token"]


async def test_an_enforcement_leaves_others_alone(server):
    await server.call("update", "auth/userpass/users/bob", {"password": "p"})
    await server.enforce(identity_entity_ids=server.ann)
    assert (await server.call("update", "auth/userpass/login/bob", {"password": "p"}, "")).auth["client_token"]
    assert await server.token(["default"])


async def test_every_enforcement_has_to_be_satisfied_by_one_of_its_methods(server):
    app, other = await server.app(), await server.totp("tablet")
    second = await server.app(other)
    await server.enforce()
    await server.enforce("more", mfa_method_ids=[other], identity_entity_ids=server.ann)
    request = await server.begin()
    with pytest.raises(PermissionDenied, match="failed to satisfy enforcement more"):
        await server.validate(request, server.code(app))
    both = {server.method: [server.code(app)], "tablet": [server.code(second)]}
    body = {"mfa_request_id": request, "mfa_payload": both}
    assert (await server.call("update", "sys/mfa/validate", body, "")).auth["client_token"]


async def test_a_code_is_good_for_one_login(server):
    app = await server.app()
    await server.enforce()
    code = server.code(app)
    await server.log_in(f"phone:{code}")
    with pytest.raises(PermissionDenied):
        await server.log_in(f"phone:{code}")
    with pytest.raises(PermissionDenied, match="code already used"):
        await server.validate(await server.begin(), code)
    await server.seal()
    await server.unseal()
    with pytest.raises(PermissionDenied, match="code already used"):
        await server.validate(await server.begin(), code)
    server.clock.advance(app.period)
    assert await server.log_in(f"phone:{server.code(app)}")


async def test_of_many_logins_at_once_with_one_code_one_gets_a_token():
    server = await Guarded(SlowStore()).prepare()
    app = await server.app()
    await server.enforce()
    code = server.code(app)
    requests = [await server.begin() for _ in range(3)]
    tries = [server.validate(request, code) for request in [*requests, requests[0]]] + [server.log_in(f"phone:{code}")]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(each, Exception) for each in answers) == 1
    assert all(isinstance(each, PermissionDenied | InvalidRequest) for each in answers if isinstance(each, Exception))
    await server.seal()


async def test_codes_of_the_next_and_the_last_period_are_accepted_and_no_others(server):
    app = await server.app()
    await server.enforce()
    for ahead, accepted in ((-2, False), (-1, True), (2, False), (1, True)):
        code = f"phone:{server.code(app, ahead)}"
        if accepted:
            await server.log_in(code)
        else:
            with pytest.raises(PermissionDenied):
                await server.log_in(code)


async def test_wrong_codes_are_counted_and_then_none_is_accepted_for_a_period(server):
    app = await server.app()
    await server.enforce()
    request = await server.begin()
    for _ in range(5):
        with pytest.raises(PermissionDenied, match="MFA credentials not supplied or incorrect"):
            await server.validate(request, "000000")
    with pytest.raises(PermissionDenied, match="maximum TOTP validation attempts 6 exceeded the allowed attempts 5"):
        await server.validate(request, server.code(app))
    with pytest.raises(PermissionDenied):
        await server.log_in(f"phone:{server.code(app)}")
    server.clock.advance(app.period)
    assert (await server.validate(request, server.code(app))).auth["client_token"]


async def test_a_right_code_forgets_the_wrong_ones(server):
    app = await server.app()
    await server.enforce()
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(PermissionDenied):
                await server.log_in("phone:000000")
        server.clock.advance(1)
        assert await server.log_in(f"phone:{server.code(app)}")
        server.clock.advance(app.period - 1)


async def test_a_login_waits_for_five_minutes(server):
    app = await server.app()
    await server.enforce()
    request = await server.begin()
    server.clock.advance(299)
    with pytest.raises(PermissionDenied):
        await server.validate(request, "000000")
    server.clock.advance(1)
    with pytest.raises(InvalidRequest, match="invalid request ID"):
        await server.validate(request, server.code(app))


async def test_of_one_client_only_so_many_logins_wait(server):
    await server.app()
    await server.enforce()
    first = await server.begin()
    for _ in range(20):
        last = await server.begin()
    with pytest.raises(InvalidRequest, match="invalid request ID"):
        await server.validate(first, "000000")
    with pytest.raises(PermissionDenied):
        await server.validate(last, "000000")


async def test_who_has_no_key_cannot_log_in(server):
    await server.enforce()
    with pytest.raises(PermissionDenied, match='MFA secret for method name "phone" not present in entity'):
        await server.validate(await server.begin(), "123456")


@pytest.mark.parametrize(
    "passcode", [(), ("",), ("1", "2"), ("passcode=",), ("x" * 100_000,), ({"a": 1},), ("12345٦",)]
)
async def test_what_is_no_passcode_is_refused(server, passcode):
    await server.app()
    await server.enforce()
    with pytest.raises(PermissionDenied, match="failed to satisfy enforcement all"):
        await server.validate(await server.begin(), *passcode)


@pytest.mark.parametrize(("body", "problem"), [
    ({}, "missing request ID"),
    ({"mfa_request_id": "x"}, "invalid request ID"),
    ({"mfa_request_id": "x", "mfa_payload": "x"}, "mfa_payload"),
    ({"mfa_request_id": "x", "mfa_payload": {"a": "1"}}, "invalid mfa payload"),
])  # fmt: skip
async def test_what_makes_no_sense_to_validate(server, body, problem):
    with pytest.raises(InvalidRequest, match=problem):
        await server.call("update", "sys/mfa/validate", body, "")


@pytest.mark.parametrize("header", ["phone:", ":123456"])
async def test_a_header_that_cannot_be_read(server, header):
    await server.enforce()
    with pytest.raises(InvalidRequest, match="failed to parse X-Vault-MFA header"):
        await server.log_in(header)


async def test_the_token_can_be_wrapped_in_both_ways(server):
    app = await server.app()
    await server.enforce()
    one = await server.log_in(f"phone:{server.code(app)}", wrap_ttl=60)
    two = await server.validate(await server.begin(), server.code(app, 1), wrap_ttl=60)
    for wrapped in (one, two):
        assert wrapped.auth is None
        inner = await server.call("update", "sys/wrapping/unwrap", {}, wrapped.wrap_info.token)
        assert inner.data["auth"]["client_token"].startswith("hvs.")


async def test_whoever_is_disabled_meanwhile_gets_no_token(server):
    app = await server.app()
    await server.enforce()
    request = await server.begin()
    await server.call("update", f"identity/entity/id/{server.ann}", {"disabled": True})
    with pytest.raises(PermissionDenied, match=r"^permission denied$"):
        await server.validate(request, server.code(app))


async def test_a_mount_that_is_gone_gives_no_token(server):
    app = await server.app()
    await server.enforce()
    request = await server.begin()
    await server.call("delete", "sys/auth/userpass")
    await server.userpass()
    with pytest.raises(PermissionDenied, match=r"^permission denied$"):
        await server.validate(request, server.code(app))


async def test_what_is_enforced_now_counts_not_what_was_when_the_login_began(server):
    app, other = await server.app(), await server.totp("tablet")
    await server.app(other)
    await server.enforce()
    request = await server.begin()
    await server.enforce("more", mfa_method_ids=[other], auth_method_types="userpass")
    with pytest.raises(PermissionDenied, match="enforcement more"):
        await server.validate(request, server.code(app))


async def test_enforcements_are_there_after_an_unseal(server):
    await server.enforce()
    await server.seal()
    await server.unseal()
    assert await server.begin()


async def test_an_enforcement_is_about_the_namespaces_below_too(server):
    await server.call("update", "sys/namespaces/team")
    inside = {"namespace": "team/"}
    await server.userpass(**inside)
    await server.enforce()
    ann = await server.entity("ann", **inside)
    app = await server.app(entity=ann, **inside)
    request = await server.begin(**inside)
    with pytest.raises(InvalidRequest, match="invalid request ID"):
        await server.validate(request, server.code(app))
    token = (await server.validate(request, server.code(app), **inside)).auth["client_token"]
    assert token.startswith("hvs.")
    assert (await server.call("list", "identity/mfa/method", **inside)).data["keys"] == [server.method]


async def test_an_enforcement_of_a_namespace_is_not_about_those_above_and_ends_with_it(server):
    await server.call("update", "sys/namespaces/team")
    inside = {"namespace": "team/"}
    await server.userpass(**inside)
    body = {"mfa_method_ids": [server.method], "auth_method_types": "userpass"}
    await server.call("update", "identity/mfa/login-enforcement/all", body, **inside)
    assert (await server.log_in()).auth["client_token"]
    assert await server.begin(**inside)
    await server.seal()
    await server.unseal()
    assert await server.begin(**inside)
    with pytest.raises(InvalidRequest, match="still used by an enforcement"):
        await server.call("delete", f"identity/mfa/method/totp/{server.method}")
    await server.call("delete", "sys/namespaces/team")
    await asyncio.gather(*server.node.namespaces._deletions)
    assert not server.node.enforced


async def test_only_so_many_logins_wait_whoever_they_are_of(server, monkeypatch):
    monkeypatch.setattr(login, "_KEPT", 3)
    await server.enforce()
    first = await server.begin()
    for user in ("bob", "cid", "dan"):
        await server.call("update", f"auth/userpass/users/{user}", {"password": "p"})
        await server.call("update", f"auth/userpass/login/{user}", {"password": "p"}, "")
    with pytest.raises(InvalidRequest, match="invalid request ID"):
        await server.validate(first, "000000")


class Door(Engine):
    """Lets anybody in, and knows nobody."""

    @update("login", auth=False)
    async def login(self, req: Request, p: NoParams) -> Response:
        """Log in."""
        return Response(auth=Auth(["p"]), warnings=["mind the step"])


async def test_a_login_of_nobody_needs_its_factor_too(server):
    server.core.own_engines["door"] = Door
    await server.call("update", "sys/auth/door", {"type": "door"})
    await server.enforce(auth_method_types="door")
    request = (await server.call("update", "auth/door/login", {}, "")).auth["mfa_requirement"]["mfa_request_id"]
    with pytest.raises(PermissionDenied, match='not present in entity ""'):
        await server.validate(request, "123456")
    await server.call("delete", "identity/mfa/login-enforcement/all")
    done = await server.validate(request)  # nothing is enforced any more
    assert done.auth["entity_id"] == ""
    assert done.warnings == ["mind the step"]


async def test_a_lease_count_quota_is_held_when_the_token_is_made(server):
    app = await server.app()
    await server.enforce()
    request = await server.begin()
    await server.call("update", "sys/quotas/lease-count/few", {"path": "auth/userpass/", "max_leases": 1})
    await server.node.leases.index.count_all()
    await server.log_in(f"phone:{server.code(app)}")
    with pytest.raises(RateLimited, match="lease count quota exceeded"):
        await server.validate(request, server.code(app, 1))
