"""What a token may do, as the API tells it, is what it can do."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest

RULES = """
path "kv-v1/a" { capabilities = ["read", "list"] }
path "kv-v1/b" { capabilities = ["deny"] }
path "sys/mounts" { capabilities = ["sudo", "read"] }
"""


async def test_own_another_s_and_by_accessor(server):
    await server.policy("p", RULES)
    token = await server.token(["p"])
    accessor = (await server.lookup(token))["accessor"]
    paths = {"paths": ["kv-v1/a", "kv-v1/b", "kv-v1/c", "sys/mounts"]}
    expected = {
        "kv-v1/a": ["list", "read"], "kv-v1/b": ["deny"], "kv-v1/c": ["deny"], "sys/mounts": ["read", "sudo"],
    }  # fmt: skip
    asked = (
        ("sys/capabilities-self", {}, token),
        ("sys/capabilities", {"token": token}, None),
        ("sys/capabilities-accessor", {"accessor": accessor}, None),
    )
    for path, whose, by in asked:
        assert (await server.call("update", path, paths | whose, by)).data == expected


async def test_one_path_is_told_twice(server):
    for body in ({"path": "kv-v1/a"}, {"paths": "kv-v1/a"}):
        answer = await server.call("update", "sys/capabilities-self", body)
        assert answer.data == {"capabilities": ["root"], "kv-v1/a": ["root"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sys/capabilities-self", {}),
        ("sys/capabilities", {"paths": ["a"]}),
        ("sys/capabilities", {"paths": ["a"], "token": "none"}),
        ("sys/capabilities-accessor", {"paths": ["a"]}),
        ("sys/capabilities-accessor", {"paths": ["a"], "accessor": "none"}),
    ],
)
async def test_refused(server, path, body):
    with pytest.raises(InvalidRequest):
        await server.call("update", path, body)
