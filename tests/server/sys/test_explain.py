"""``sys/internal/acl/explain``."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, PermissionDenied

RULES = """
path "kv-v1/*" { capabilities = ["read", "update"] }
path "kv-v1/safe" { capabilities = ["deny"] }
path "kv-v1/+/x" { capabilities = ["list"] }
path "kv-v1/wrapped" { capabilities = ["read"] min_wrapping_ttl = "10s" }
path "kv-v1/fields" { capabilities = ["update"] denied_parameters = { "a" = [] } }
path "sys/audit" { capabilities = ["read"] }
"""


async def explain(server, **asked):
    return (await server.call("update", "sys/internal/acl/explain", asked)).data


@pytest.fixture
async def token(server):
    await server.policy("app", RULES)
    await server.policy("more", 'path "kv-v1/*" { capabilities = ["delete"] }')
    return await server.token(["app", "more"])


async def test_the_rule_that_decides(server, token):
    assert await explain(server, token=token, path="kv-v1/a", operation="read") == {
        "operation": "read",
        "path": "kv-v1/a",
        "sudo_required": False,
        "allowed": True,
        "rule": "kv-v1/*",
        "policies": {"app": ["read", "update"], "more": ["delete"]},
        "reason": "the rule grants read",
    }


@pytest.mark.parametrize(
    ("asked", "allowed", "rule", "reason"),
    [
        ({"path": "kv-v1/safe"}, False, "kv-v1/safe", "does not grant read"),
        ({"path": "/kv-v1/a", "operation": "create"}, False, "kv-v1/*", "does not grant create"),
        ({"path": "kv-v1/b/x"}, False, "kv-v1/+/x", "does not grant read"),
        ({"path": "elsewhere/x"}, False, "", "no rule"),
        ({"path": "kv-v1/wrapped"}, False, "kv-v1/wrapped", "min_wrapping_ttl"),
        ({"path": "kv-v1/wrapped", "wrap_ttl": "1m"}, True, "kv-v1/wrapped", "grants read"),
        ({"path": "kv-v1/fields", "operation": "update", "parameters": {"a": 1}}, False, "kv-v1/fields", "a is denied"),
        ({"path": "sys/audit"}, False, "sys/audit", "needs sudo"),
        ({"path": "sys/health"}, True, "", "needs no token"),
    ],
)
async def test_answers(server, token, asked, allowed, rule, reason):
    found = await explain(server, token=token, **asked)
    assert (found["allowed"], found["rule"]) == (allowed, rule)
    assert reason in found["reason"]


async def test_by_accessor_and_for_root(server, token):
    accessor = (await server.lookup(token))["accessor"]
    assert (await explain(server, accessor=accessor, path="kv-v1/a"))["rule"] == "kv-v1/*"
    found = await explain(server, token=server.root, path="kv-v1/a")
    assert (found["allowed"], found["policies"]) == (True, {"root": ["root"]})


async def test_only_with_sudo_and_for_what_there_is(server, token):
    await server.policy("asker", 'path "sys/internal/acl/explain" { capabilities = ["update"] }')
    with pytest.raises(PermissionDenied):
        await server.call("update", "sys/internal/acl/explain", {"token": token, "path": "a"},
                          await server.token(["asker"]))  # fmt: skip
    for wrong in (
        {"path": "a"},
        {"token": token},
        {"token": "x", "path": "a"},
        {"accessor": "x", "path": "a"},
        {"token": token, "path": "a", "operation": "x"},
        {"token": token, "accessor": "x", "path": "a"},
    ):
        with pytest.raises(InvalidRequest):
            await explain(server, **wrong)
