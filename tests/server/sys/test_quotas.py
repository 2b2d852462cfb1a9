"""``sys/quotas``: what may be set, and how it is shown."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound

RATE = "sys/quotas/rate-limit"


async def test_a_rate_limit_from_creation_to_deletion(server):
    with pytest.raises(NotFound):
        await server.call("list", RATE)
    await server.call("update", f"{RATE}/q", {"rate": "10", "path": "/kv-v1", "interval": "1m", "block_interval": "2m"})
    assert (await server.call("read", f"{RATE}/q")).data == {
        "name": "q", "type": "rate-limit", "path": "kv-v1/", "role": "", "inheritable": False,
        "rate": 10, "interval": 60, "block_interval": 120,
    }  # fmt: skip
    await server.call("update", f"{RATE}/q", {"rate": 99.5})
    shown = (await server.call("read", f"{RATE}/q")).data
    assert (shown["path"], shown["rate"], shown["interval"], shown["inheritable"]) == ("", 99.5, 1, True)
    assert (await server.call("list", RATE)).data == {"keys": ["q"]}
    await server.call("delete", f"{RATE}/q")
    with pytest.raises(NotFound):
        await server.call("read", f"{RATE}/q")
    await server.call("delete", f"{RATE}/q")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "'rate' is invalid"),
        ({"rate": -1}, "'rate' is invalid"),
        ({"rate": "inf"}, "out of range"),
        ({"rate": "x"}, "converting input"),
        ({"rate": True}, "expected a number"),
        ({"rate": 1, "interval": -1}, "negative"),
        ({"rate": 1, "path": "none/x"}, 'invalid mount path "none/x/"'),
        ({"rate": 1, "role": "r"}, 'Mount path "" is not a valid auth method'),
        ({"rate": 1, "path": "kv-v1", "role": "r"}, "is not a valid auth method"),
        ({"rate": 1, "path": "auth/token", "role": "r"}, "does not support use with role-based quotas"),
        ({"rate": 1, "path": "auth/token/create", "role": "r"}, "both a path suffix and a role"),
        ({"rate": 1, "group_by": "x"}, "unsupported group_by"),
        ({"rate": 1, "secondary_rate": 1}, "'secondary_rate' is invalid"),
        ({"rate": 1, "path": "kv-v2/"}, 'exists under the name "other"'),
    ],
)
async def test_what_is_refused(server, data, complaint):
    await server.call("update", f"{RATE}/other", {"rate": 1, "path": "kv-v2"})
    with pytest.raises(InvalidRequest, match=complaint):
        await server.call("update", f"{RATE}/q", data)


async def test_the_configuration(server):
    data = (await server.call("read", "sys/quotas/config")).data
    assert "sys/health" in data["rate_limit_exempt_paths"]
    changes = {"rate_limit_exempt_paths": ["a", "b/*"], "enable_rate_limit_audit_logging": True}
    await server.call("update", "sys/quotas/config", changes)
    await server.seal()
    await server.unseal()
    assert (await server.call("read", "sys/quotas/config")).data == {
        "rate_limit_exempt_paths": ("a", "b/*"),
        "enable_rate_limit_audit_logging": True,
        "enable_rate_limit_response_headers": False,
    }
    await server.call("update", "sys/quotas/config", {})
    assert (await server.call("read", "sys/quotas/config")).data["rate_limit_exempt_paths"] == ()
