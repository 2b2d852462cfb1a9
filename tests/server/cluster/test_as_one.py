"""Whatever is asked of whichever node, while leadership moves: the answers are those of one server."""

from __future__ import annotations

import random

import pytest
from caveau.tests.server.cluster.fake import cluster
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving

PATHS = ("kv-v2/data/a", "kv-v2/data/b", "one/x", "two/x", "team/kv/x")
POLICIES = (
    'path "kv-v2/data/a" { capabilities = ["read"] }',
    'path "+/x" { capabilities = ["read", "update", "create"] }',
    'path "sys/*" { capabilities = ["read", "list", "sudo"] }',
)
READS = (
    "sys/mounts/one", "sys/mounts/two", "sys/policies/acl/p", "sys/quotas/lease-count/q", "sys/config/cors",
    "sys/namespaces/team", "sys/key-status",
)  # fmt: skip
_VARYING = frozenset(
    {"accessor", "client_token", "counter", "created_time", "encryptions", "id", "install_time", "key_info", "modified",
     "plugin_version", "request_id", "running_plugin_version", "uuid"}
)  # fmt: skip


def shape(value):
    """An answer without what is different every time."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items() if key not in _VARYING}
    return [shape(each) for each in value] if isinstance(value, list) else value


def steps(chance: random.Random, count: int):
    """Requests, as verb, path and body, and whether the token with few rights makes them."""
    for number in range(count):
        few = chance.random() < 0.3
        kind = chance.randrange(9)
        path = chance.choice(PATHS)
        if kind < 3:
            yield "GET", path, None, few
        elif kind < 5:
            yield "POST", path, {"data": {"v": number}} if path.startswith("kv-v2") else {"v": number}, few
        elif kind == 5:
            yield "DELETE", path, None, few
        elif kind == 6:
            mount = chance.choice(("one", "two", "team/sys/mounts/kv"))
            where = mount if "/" in mount else f"sys/mounts/{mount}"
            yield chance.choice((("POST", where, {"type": "kv"}, False), ("DELETE", where, None, False)))
        elif kind == 7:
            yield "GET", chance.choice(READS), None, few
        else:
            yield chance.choice(
                (
                    ("PUT", "sys/policies/acl/p", {"policy": chance.choice(POLICIES)}, False),
                    ("POST", "sys/namespaces/team", {}, False),
                    ("POST", "sys/quotas/lease-count/q", {"max_leases": 1000 + number}, False),
                    ("DELETE", "sys/quotas/lease-count/q", None, False),
                    ("POST", "sys/config/cors", {"allowed_origins": f"https://{number}.test"}, False),
                    ("POST", "sys/rotate", None, False),
                    ("POST", "auth/token/renew-self", {}, False),
                )
            )


@pytest.mark.parametrize("seed", range(4))
async def test_many_nodes_answer_as_one_does(seed):
    chance = random.Random(seed)
    alone = await Server().start(("kv-v2",))
    async with serving(alone) as client, cluster(3) as many:

        async def one(verb, path, body, token):
            return await client.ask(verb, f"/v1/{path}", body, token)

        first = many.nodes[0]
        tokens = []
        for server in (alone, first):
            await server.policy("p", POLICIES[0])
            tokens.append(await server.token(["p"]))
        for verb, path, body, few in steps(chance, 150):
            if chance.random() < 0.05:
                many.lead(chance.randrange(3))
            node = chance.choice(many.nodes)
            expected = await one(verb, path, body, tokens[0] if few else alone.root)
            answer = await node.ask(verb, path, body, tokens[1] if few else None)
            assert (answer.status, shape(answer.json if answer.body else None)) == (
                expected.status, shape(expected.json if expected.body else None),
            ), (verb, path, body, few)  # fmt: skip
