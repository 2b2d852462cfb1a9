"""Requests that wait until others approve of them."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework import jsontext
from caveau.framework.errors import CaveauError, InvalidRequest, NotFound, PermissionDenied

RULES = """
path "kv-v1/*" {
  capabilities = ["create", "read", "update", "list"]
  control_group = {
    ttl = "4h"
    factor "managers" {
      controlled_capabilities = ["create", "read", "update"]
      identity { group_names = ["Managers"]  approvals = 1 }
    }
  }
}
path "sys/control-group/*" { capabilities = ["update"] }
"""


def rule(path, capabilities, factor):
    return f'path "{path}" {{ capabilities = ["{capabilities}"] control_group {{ {factor} }} }}'


class People:
    """Makes tokens of entities, and groups of them."""

    def __init__(self, server):
        self.server = server
        self.ids = {}

    async def start(self):
        self.accessor = (await self.server.call("read", "sys/auth/token")).data["accessor"]
        await self.server.call("update", "auth/token/roles/r", {"allowed_entity_aliases": ["*"]})
        await self.server.policy("p", RULES)
        await self.server.call("update", "kv-v1/a", {"x": "1"})
        return self

    async def token(self, name, policies=("p",), **params):
        if name not in self.ids:
            entity = await self.server.call("update", "identity/entity", {"name": name})
            self.ids[name] = entity.data["id"]
            alias = {"name": name, "canonical_id": self.ids[name], "mount_accessor": self.accessor}
            await self.server.call("update", "identity/entity-alias", alias)
        return await self.server.token(list(policies), at="auth/token/create/r", entity_alias=name, **params)

    async def group(self, name, *members, **more):
        ids = [self.ids[member] for member in members]
        made = await self.server.call("update", "identity/group", {"name": name, "member_entity_ids": ids, **more})
        return made.data["id"]

    async def waiting(self):
        """Ann's token, that of Bob, who is a manager, and the token and accessor of a request of hers that waits."""
        asker, boss = await self.token("ann"), await self.token("bob")
        await self.group("managers", "bob")
        return asker, boss, *held(await self.server.call("read", "kv-v1/a", token=asker))


@pytest.fixture
async def people(server):
    return await People(server).start()


def value(response):
    """What an answer holds, which KV gives as JSON text."""
    return jsontext.loads(jsontext.dumps(response.data))


def held(response):
    """The token and accessor that stand for a request that waits."""
    assert response.data is None
    return response.wrap_info.token, response.wrap_info.accessor


async def authorize(server, token, accessor):
    return (await server.call("update", "sys/control-group/authorize", {"accessor": accessor}, token)).data["approved"]


async def unwrap(server, token, by=None):
    if by is None:
        return await server.call("update", "sys/wrapping/unwrap", {}, token)
    return await server.call("update", "sys/wrapping/unwrap", {"token": token}, by)


async def waits(server, token, by=None):
    with pytest.raises(PermissionDenied, match="needs further approval"):
        await unwrap(server, token, by)


@pytest.mark.parametrize("by_itself", [True, False])
async def test_an_answer_waits_for_approval_and_is_given_once(server, people, by_itself):
    asker, boss = await people.token("ann"), await people.token("bob")
    await people.group("managers", "bob")
    response = await server.call("read", "kv-v1/a", token=asker)
    token, accessor = held(response)
    assert (response.wrap_info.ttl, response.wrap_info.creation_path) == (4 * 3600, "kv-v1/a")
    by = None if by_itself else asker
    await waits(server, token, by)
    await waits(server, token, by)
    assert await authorize(server, boss, accessor)
    assert value(await unwrap(server, token, by)) == {"x": "1"}
    with pytest.raises(InvalidRequest, match="not valid or does not exist"):
        await unwrap(server, token, by)


async def test_a_write_is_carried_out_when_it_is_unwrapped(server, people):
    asker, boss = await people.token("ann"), await people.token("bob")
    await people.group("managers", "bob")
    token, accessor = held(await server.call("update", "kv-v1/new", {"n": 12345678901234567890123}, asker))
    await authorize(server, boss, accessor)
    with pytest.raises(NotFound):
        await server.call("read", "kv-v1/new")
    await unwrap(server, token, asker)
    assert value(await server.call("read", "kv-v1/new")) == {"n": 12345678901234567890123}


async def test_what_approvers_see(server, people):
    asker, boss = await people.token("ann"), await people.token("bob")
    await people.group("managers", "bob")
    _, accessor = held(await server.call("update", "kv-v1/new", {"x": "2"}, asker))
    shown = await server.call("update", "sys/control-group/request", {"accessor": accessor}, boss)
    assert shown.data == {
        "approved": False, "request_operation": "update", "request_path": "kv-v1/new", "request_data": {"x": "2"},
        "request_entity": {"id": people.ids["ann"], "name": "ann"}, "authorizations": [],
    }  # fmt: skip
    await authorize(server, boss, accessor)
    await authorize(server, boss, accessor)
    shown = await server.call("update", "sys/control-group/request", {"accessor": accessor}, boss)
    assert shown.data["approved"]
    assert shown.data["authorizations"] == [{"entity_id": people.ids["bob"], "entity_name": "bob"}]


async def test_only_others_in_the_group_approve(server, people):
    asker, boss, other = [await people.token(name) for name in ("ann", "bob", "eve")]
    await people.group("managers", "ann", "bob")
    token, accessor = held(await server.call("read", "kv-v1/a", token=asker))
    assert not await authorize(server, asker, accessor)
    assert not await authorize(server, other, accessor)
    for nobody in (server.root, await server.token(["p"])):
        with pytest.raises(InvalidRequest, match="empty entity ID"):
            await authorize(server, nobody, accessor)
    await waits(server, token, asker)
    assert await authorize(server, boss, accessor)


async def test_one_may_approve_of_ones_own_where_the_policy_says_so(server, people):
    asker = await people.token("ann")
    await people.group("managers", "ann")
    await server.policy("p", RULES.replace("approvals = 1", "self_authorization = true"))
    token, accessor = held(await server.call("read", "kv-v1/a", token=asker))
    assert await authorize(server, asker, accessor)
    assert (await unwrap(server, token)).data


async def test_every_factor_needs_its_approvals_of_different_people(server, people):
    tokens = {name: await people.token(name) for name in ("ann", "bob", "cat", "dan")}
    leads = await people.group("leads", "cat", "dan")
    await people.group("managers", member_group_ids=[await people.group("inner", "bob", "cat")])
    two = f'identity {{ group_ids = ["{leads}"] approvals = 2 }}'
    await server.policy("p", RULES.replace("    factor", f'    factor "leads" {{ {two} }}\n    factor'))
    token, accessor = held(await server.call("read", "kv-v1/a", token=tokens["ann"]))
    assert not await authorize(server, tokens["cat"], accessor)  # for both
    assert not await authorize(server, tokens["cat"], accessor)
    assert not await authorize(server, tokens["bob"], accessor)
    await waits(server, token)
    assert await authorize(server, tokens["dan"], accessor)
    assert value(await unwrap(server, token)) == {"x": "1"}


async def test_factors_of_all_policies_add_up(server, people):
    asker, bob, cat = [await people.token(name, ("p", "q")) for name in ("ann", "bob", "cat")]
    await people.group("managers", "bob")
    await people.group("leads", "cat")
    await server.policy("q", rule("kv-v1/*", "read", 'factor "q" { identity { group_names = ["leads"] } }'))
    _, accessor = held(await server.call("read", "kv-v1/a", token=asker))
    assert not await authorize(server, bob, accessor)
    assert await authorize(server, cat, accessor)


async def test_only_controlled_capabilities_wait(server, people):
    asker = await people.token("ann")
    assert (await server.call("list", "kv-v1", token=asker)).data == {"keys": ["a"]}
    only_sudo = 'factor "s" { controlled_capabilities = ["sudo"] identity { group_names = ["managers"] } }'
    await server.policy("s", rule("sys/*", 'read", "sudo', only_sudo))
    token = await people.token("bob", ("s",))
    assert (await server.call("read", "sys/host-info", token=token)).data
    held(await server.call("read", "sys/internal/inspect/router/root", token=token))


async def test_root_waits_for_nobody(server, people):
    assert (await server.call("read", "kv-v1/a")).data


async def test_an_approval_ages(server, people):
    asker, boss = await people.token("ann"), await people.token("bob")
    await people.group("managers", "bob")
    await server.policy("p", RULES.replace("approvals = 1", 'ttl = "10m"'))
    token, accessor = held(await server.call("read", "kv-v1/a", token=asker))
    assert await authorize(server, boss, accessor)
    server.clock.advance(600)
    await waits(server, token)
    assert await authorize(server, boss, accessor)
    assert (await unwrap(server, token)).data


async def test_a_request_waits_as_long_as_its_policy_says(server, people):
    asker, boss, token, accessor = await people.waiting()
    looked_up = (await server.call("update", "sys/wrapping/lookup", {"token": token}, "")).data
    assert (looked_up["creation_path"], looked_up["creation_ttl"]) == ("kv-v1/a", 4 * 3600)
    server.clock.advance(4 * 3600)
    with pytest.raises(InvalidRequest, match="invalid accessor"):
        await authorize(server, boss, accessor)
    with pytest.raises(InvalidRequest):
        await unwrap(server, token, asker)
    await server.reap()
    assert not [key for key in await server.keys_stored() if key.endswith("control-group")]


async def test_an_approval_replaces_no_policy(server, people):
    _asker, boss, token, accessor = await people.waiting()
    await authorize(server, boss, accessor)
    await server.policy("p", RULES.replace('"read", "update", "list"]', '"update", "list"]').replace('"read", ', ""))
    with pytest.raises(PermissionDenied):
        await unwrap(server, token)


async def test_what_waits_for_others_now_waits_anew(server, people):
    _asker, boss, token, accessor = await people.waiting()
    await authorize(server, boss, accessor)
    await server.policy("p", RULES.replace("approvals = 1", "approvals = 2"))
    again, _ = held(await unwrap(server, token))
    await waits(server, again)


async def test_the_request_ends_with_the_token_that_made_it(server, people):
    asker, boss, token, accessor = await people.waiting()
    await authorize(server, boss, accessor)
    await server.call("update", "auth/token/revoke", {"token": asker})
    with pytest.raises(PermissionDenied):
        await unwrap(server, token)


async def test_the_token_can_do_nothing_else(server, people):
    asker = await people.token("ann")
    for op, path in (("read", "kv-v1/a"), ("read", "cubbyhole/control-group"), ("read", "auth/token/lookup-self")):
        token, _ = held(await server.call("read", "kv-v1/a", token=asker))
        with pytest.raises(PermissionDenied):
            await server.call(op, path, token=token)
        assert not await server.alive(token)
    token, _ = held(await server.call("read", "kv-v1/a", token=asker))
    with pytest.raises(InvalidRequest, match="not valid"):
        await server.call("update", "sys/wrapping/rewrap", {"token": token}, asker)


async def test_of_many_that_unwrap_one_has_it_carried_out(server, people):
    asker, boss = await people.token("ann"), await people.token("bob")
    await people.group("managers", "bob")
    factor = 'factor "m" { identity { group_names = ["managers"] } }'
    await server.policy("t", rule("auth/token/create", "update", factor))
    maker = await people.token("ann", ("p", "t"))
    token, accessor = held(await server.call("update", "auth/token/create", {"policies": ["p"]}, maker))
    await authorize(server, boss, accessor)
    found = await asyncio.gather(
        *(unwrap(server, token, by) for by in (None, asker, None, asker)), return_exceptions=True
    )
    assert sorted(isinstance(each, CaveauError) for each in found) == [False, True, True, True]


async def test_wrapping_and_limited_uses_are_kept(server, people):
    asker, boss = await people.token("ann", num_uses=2), await people.token("bob")
    await people.group("managers", "bob")
    token, accessor = held(await server.call("read", "kv-v1/a", token=asker, wrap_ttl=60.0))
    await authorize(server, boss, accessor)
    wrapped = (await unwrap(server, token)).wrap_info
    assert wrapped.ttl == 60
    assert (await unwrap(server, wrapped.token)).data["data"] == {"x": "1"}
    assert not await server.alive(asker)


async def test_approvals_come_from_the_namespace_of_the_policy(server, people):
    boss = await people.token("bob")
    await people.group("managers", "bob")
    await server.call("update", "sys/namespaces/ns")
    await server.call("update", "ns/sys/mounts/kv-v1", {"type": "kv-v1"})
    await server.call("update", "ns/sys/policies/acl/p", {"policy": RULES})
    made = await server.call("update", "ns/auth/token/create", {"policies": ["p"]})
    token, accessor = held(await server.call("update", "ns/kv-v1/a", {"x": "2"}, made.auth["client_token"]))
    await server.policy("p", RULES + RULES.replace('"kv-v1', '"ns/kv-v1').replace('"sys/c', '"ns/sys/c'))
    with pytest.raises(InvalidRequest, match="of the namespace of the policy"):
        await server.call("update", "ns/sys/control-group/authorize", {"accessor": accessor}, boss)
    with pytest.raises(InvalidRequest, match="invalid accessor"):
        await server.call("update", "sys/control-group/authorize", {"accessor": "nonsense"}, boss)
    await waits(server, token)
    asker = await people.token("ann")
    token, accessor = held(await server.call("update", "ns/kv-v1/a", {"x": "3"}, asker))
    approved = await server.call("update", "ns/sys/control-group/authorize", {"accessor": accessor}, boss)
    assert approved.data["approved"]
    await unwrap(server, token)
    assert value(await server.call("read", "ns/kv-v1/a")) == {"x": "3"}


async def test_explain_says_that_a_request_waits(server, people):
    asker = await people.token("ann")
    for operation, waits_for in (("read", ", once it is approved of: managers"), ("list", "")):
        asked = {"token": asker, "path": "kv-v1/a", "operation": operation}
        told = (await server.call("update", "sys/internal/acl/explain", asked)).data
        assert (told["allowed"], told["reason"]) == (True, f"the rule grants {operation}{waits_for}")
