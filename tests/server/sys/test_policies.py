"""ACL and password policies through the API."""

from __future__ import annotations

import base64

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied

READ = 'path "kv-v1/a" { capabilities = ["read"] }'


async def test_a_policy_s_life(server):
    text = f"# as written\n{READ}"
    assert (await server.call("update", "sys/policies/acl/Mixed", {"policy": text})).data is None
    assert (await server.call("read", "sys/policies/acl/mixed")).data == {
        "name": "mixed", "policy": text, "version": 1, "modified": "2025-06-15T15:06:40Z", "cas_required": False,
        "allow_slashes_in_identity_templates": False, "allow_wildcards_in_identity_templates": False,
    }  # fmt: skip
    assert (await server.call("read", "sys/policy/MIXED")).data == {"name": "mixed", "rules": text}
    assert (await server.call("list", "sys/policies/acl")).data == {"keys": ["default", "mixed", "root"]}
    assert (await server.call("read", "sys/policy")).data["policies"] == ["default", "mixed", "root"]
    await server.call("delete", "sys/policies/acl/mixed")
    with pytest.raises(NotFound):
        await server.call("read", "sys/policies/acl/mixed")
    await server.call("delete", "sys/policies/acl/mixed")


async def test_names_with_slashes_and_per_cent_signs(server):
    names = ["team", "team/a", "team/b/c", "te%2Fam", "50%"]
    for name in names:
        await server.call("update", f"sys/policies/acl/{name}", {"policy": READ})
    for name in names:
        assert (await server.call("read", f"sys/policies/acl/{name}")).data["name"] == name.lower()
    assert (await server.call("list", "sys/policies/acl/team")).data["keys"] == ["team/a", "team/b/c"]
    assert (await server.call("list", "sys/policy/team/b")).data["keys"] == ["team/b/c"]
    with pytest.raises(NotFound):
        await server.call("list", "sys/policies/acl/none")
    listed = (await server.call("list", "sys/policies/acl")).data["keys"]
    assert sorted(listed) == sorted([*(name.lower() for name in names), "default", "root"])
    await server.call("update", "kv-v1/a", {"x": "1"})
    assert (await server.call("read", "kv-v1/a", token=await server.token(["team/a"]))).data


async def test_a_change_counts_for_tokens_that_exist(server):
    await server.call("update", "kv-v1/a", {"x": "1"})
    await server.policy("p", READ)
    token = await server.token(["p"])
    await server.call("read", "kv-v1/a", token=token)
    await server.policy("p", 'path "kv-v1/b" { capabilities = ["read"] }')
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/a", token=token)
    await server.policy("p", READ)
    await server.call("read", "kv-v1/a", token=token)
    await server.call("delete", "sys/policies/acl/p")
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/a", token=token)


async def test_text_may_be_base64_and_rules_is_an_old_name(server):
    await server.call("update", "sys/policies/acl/p", {"policy": base64.b64encode(READ.encode()).decode()})
    assert (await server.call("read", "sys/policies/acl/p")).data["policy"] == READ
    answer = await server.call("update", "sys/policy/q", {"rules": READ})
    assert answer.warnings == ["'rules' is deprecated, please use 'policy' instead"]
    assert not (await server.call("update", "sys/policy/q", {"rules": READ, "policy": READ})).warnings


@pytest.mark.parametrize("name", ["root", "response-wrapping"])
async def test_built_in_policies_stay(server, name):
    with pytest.raises(InvalidRequest, match="cannot update"):
        await server.call("update", f"sys/policies/acl/{name}", {"policy": READ})
    with pytest.raises(InvalidRequest, match="cannot delete"):
        await server.call("delete", f"sys/policies/acl/{name}")
    with pytest.raises(InvalidRequest, match="cannot delete default policy"):
        await server.call("delete", "sys/policies/acl/default")


@pytest.mark.parametrize(
    "text", ["", "nonsense", 'path "a" {', 'path "a" { capabilities = ["fly"] }', 'path "a/+*" {}', '{"path": ']
)
async def test_policies_that_are_refused(server, text):
    with pytest.raises(InvalidRequest):
        await server.call("update", "sys/policies/acl/p", {"policy": text})
    with pytest.raises(NotFound):
        await server.call("read", "sys/policies/acl/p")


async def test_the_name_is_bounded(server):
    await server.call("update", f"sys/policies/acl/{'x' * 512}", {"policy": READ})
    with pytest.raises(InvalidRequest, match="512"):
        await server.call("update", f"sys/policies/acl/{'x' * 513}", {"policy": READ})


async def test_password_policies(server):
    text = 'length = 20\nrule "charset" { charset = "ab" }'
    with pytest.raises(NotFound):
        await server.call("list", "sys/policies/password")
    await server.call("update", "sys/policies/password/p", {"policy": base64.b64encode(text.encode()).decode()})
    assert (await server.call("list", "sys/policies/password")).data == {"keys": ["p"]}
    assert (await server.call("read", "sys/policies/password/p")).data == {"policy": text}
    password = (await server.call("read", "sys/policies/password/p/generate")).data["password"]
    assert len(password) == 20
    assert set(password) <= {"a", "b"}
    for wrong in ("", "length = 3", "nonsense"):
        with pytest.raises(InvalidRequest):
            await server.call("update", "sys/policies/password/p", {"policy": wrong})
    await server.call("delete", "sys/policies/password/p")
    for path in ("sys/policies/password/p", "sys/policies/password/p/generate"):
        with pytest.raises(NotFound):
            await server.call("read", path)


def _patch(server, name, **changes):
    return server.call("patch", f"sys/policies/acl/{name}", changes)


def _put(server, name, **fields):
    return server.call("update", f"sys/policies/acl/{name}", {"policy": READ, **fields})


async def _shown(server, name):
    return (await server.call("read", f"sys/policies/acl/{name}")).data


async def test_a_write_may_name_the_version_that_it_replaces(server):
    await _put(server, "p", cas=-1)
    with pytest.raises(InvalidRequest, match="set to -1 on existing entry"):
        await _put(server, "p", cas=-1)
    with pytest.raises(InvalidRequest, match="parameter 2 did not match the current version 1"):
        await _put(server, "p", cas=2)
    await _put(server, "p", cas=1, cas_required=True)
    for write in (_put, _patch):
        with pytest.raises(InvalidRequest, match="parameter required for this call"):
            await write(server, "p")
    with pytest.raises(InvalidRequest, match="parameter required for this call"):
        await server.call("update", "sys/policy/p", {"policy": READ})
    await _put(server, "p", cas=2)
    await _put(server, "p")
    shown = await _shown(server, "p")
    assert (shown["version"], shown["cas_required"]) == (4, False)


async def test_a_patch_keeps_what_it_does_not_name(server):
    with pytest.raises(InvalidRequest, match="policy not found"):
        await _patch(server, "p", policy=READ)
    with pytest.raises(InvalidRequest, match="not supplied or empty"):
        await _patch(server, "p", policy="")
    await _put(server, "p", ttl="1h", cas=0, cas_required=True, allow_slashes_in_identity_templates=True)
    server.clock.advance(60)
    assert (await _patch(server, "p", policy=f"{READ} # new", cas=1)).status == 200
    shown = await _shown(server, "p")
    assert shown == {
        "name": "p", "policy": f"{READ} # new", "version": 2, "cas_required": True,
        "modified": "2025-06-15T15:07:40Z", "expiration": "2025-06-15T16:06:40Z",
        "allow_slashes_in_identity_templates": True, "allow_wildcards_in_identity_templates": False,
    }  # fmt: skip
    await _patch(server, "p", cas=2, cas_required=False, ttl="2h", allow_slashes_in_identity_templates=False)
    later = await _shown(server, "p")
    assert later == shown | {
        "version": 3, "cas_required": False, "expiration": "2025-06-15T17:07:40Z",
        "allow_slashes_in_identity_templates": False,
    }  # fmt: skip
    await _put(server, "p")
    assert "expiration" not in await _shown(server, "p")


@pytest.mark.parametrize(
    "life", [{"ttl": "1h"}, {"expiration": "2025-06-15T18:06:40+02:00"}, {"expiration": 1_750_003_600}]
)
async def test_a_policy_ends_when_it_says_and_is_deleted(server, life):
    await server.call("update", "kv-v1/a", {"x": "1"})
    await _put(server, "team/p", **life)
    token = await server.token(["team/p"])
    server.clock.advance(3599)
    await server.reap()
    await server.call("read", "kv-v1/a", token=token)
    server.clock.advance(1)
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/a", token=token)
    with pytest.raises(NotFound):
        await _shown(server, "team/p")
    assert "team/p" not in (await server.call("list", "sys/policies/detailed/acl")).data["keys"]
    await server.reap()
    assert "team/p" not in (await server.call("list", "sys/policies/acl")).data["keys"]
    assert not [key for key in await server.keys_stored() if "team" in key]


async def test_a_policy_that_was_written_anew_lives_on(server):
    for anew in ({}, {"ttl": "2h"}):
        await _put(server, "p", ttl="1h")
        await _put(server, "p", **anew)
        assert len([key for key in await server.keys_stored() if ".policy." in key]) == len(anew)
        server.clock.advance(3600)
        await server.reap()
        assert (await _shown(server, "p"))["policy"] == READ
    await server.call("delete", "sys/policies/acl/p")
    assert not [key for key in await server.keys_stored() if ".policy." in key]


async def test_after_its_end_a_policy_of_the_same_name_is_a_new_one(server):
    await _put(server, "p", ttl="1h", cas=-1, cas_required=True)
    server.clock.advance(3600)
    await _put(server, "p", cas=-1)
    await server.reap()
    assert (await _shown(server, "p"))["version"] == 1


@pytest.mark.parametrize(
    "life",
    [{"ttl": 0}, {"ttl": "-1h"}, {"expiration": "2020-01-01T00:00:00Z"}, {"expiration": "2030-01-01"},
     {"expiration": "9999-12-31T23:59:59-23:59"}, {"expiration": 10**17}, {"expiration": ""},
     {"ttl": "1h", "expiration": "2030-01-01T00:00:00Z"}],
)  # fmt: skip
async def test_ends_that_are_refused(server, life):
    with pytest.raises(InvalidRequest):
        await _put(server, "p", **life)
    await _put(server, "p")
    with pytest.raises(InvalidRequest):
        await _patch(server, "p", **life)


async def test_the_detailed_list_shows_what_reading_shows(server):
    for name in ("team/a", "team/b"):
        await _put(server, name)
    listed = (await server.call("list", "sys/policies/detailed/acl")).data
    assert listed["keys"] == (await server.call("list", "sys/policies/acl")).data["keys"]
    assert listed["key_info"] == {name: await _shown(server, name) for name in listed["keys"]}
    assert (await server.call("list", "sys/policies/detailed/acl/team")).data["keys"] == ["team/a", "team/b"]
    with pytest.raises(NotFound):
        await server.call("list", "sys/policies/detailed/acl/none")


async def test_templates_may_be_let_put_slashes_into_paths(server):
    """Without that, a value with a slash in it makes the request fail."""
    rules = 'path "kv-v1/{{identity.entity.metadata.home}}/*" { capabilities = ["read"] }'
    entity = (await server.call("update", "identity/entity", {"name": "e", "metadata": {"home": "a/b"}})).data["id"]
    accessor = (await server.call("read", "sys/auth/token")).data["accessor"]
    await server.call(
        "update", "identity/entity-alias", {"name": "e", "canonical_id": entity, "mount_accessor": accessor}
    )
    await server.call("update", "auth/token/roles/r", {"allowed_entity_aliases": ["e"]})
    await server.call("update", "kv-v1/a/b/c", {"x": "1"})
    await server.policy("p", rules)
    token = await server.token(["p"], at="auth/token/create/r", entity_alias="e")
    with pytest.raises(PermissionDenied):
        await server.call("read", "kv-v1/a/b/c", token=token)
    await _patch(server, "p", allow_slashes_in_identity_templates=True)
    assert (await server.call("read", "kv-v1/a/b/c", token=token)).data
