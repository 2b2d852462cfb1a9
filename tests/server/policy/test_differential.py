"""Random policies decide alike here and in a real OpenBao.

``CAVEAU_FUZZ`` sets the number of capability comparisons, ``CAVEAU_SEED`` repeats a run: the seed
stands in every failure.
"""

import http.client
import json
import os
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from caveau.server.policy import ACL, parse_policy

from ...peers import Server

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]

COMPARISONS = int(os.environ.get("CAVEAU_FUZZ", "3000"))
PATHS_PER_POLICY_SET = 60
REQUESTS = COMPARISONS // 10
NOW = 1_800_000_000.0


class Bao:
    """One kept connection to the server, as JSON in and out."""

    def __init__(self, server: Server) -> None:
        self.connection = http.client.HTTPConnection(server.netloc, timeout=30)
        self.root = server.token

    def call(self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> tuple[int, Any]:
        self.connection.request(
            method, f"/v1/{path}", None if body is None else json.dumps(body),
            {"X-Vault-Token": token or self.root} | {k.replace("_", "-"): v for k, v in headers.items()},
        )  # fmt: skip
        with self.connection.getresponse() as response:
            raw = response.read()
        return response.status, json.loads(raw) if raw.strip() else None

    def token_with(self, texts: list[str]) -> str:
        """A token that has exactly these policies."""
        for index, text in enumerate(texts):
            status, answer = self.call("PUT", f"sys/policies/acl/p{index}", {"policy": text})
            assert status < 300, (text, answer)
        names = [f"p{index}" for index in range(len(texts))]
        status, answer = self.call(
            "POST", "auth/token/create", {"policies": names, "no_default_policy": True, "type": "batch"}
        )
        assert status == 200, answer
        token: str = answer["auth"]["client_token"]
        return token


@pytest.fixture(scope="module")
def peer(bao: Server) -> Iterator[Bao]:
    peer = Bao(bao)
    status, _ = peer.call("POST", "sys/mounts/kv1", {"type": "kv"})
    assert status == 204
    yield peer
    peer.connection.close()


@pytest.fixture
def rng(record_property: Any) -> random.Random:
    seed = int(os.environ.get("CAVEAU_SEED", random.SystemRandom().getrandbits(32)))
    record_property("seed", seed)
    print(f"CAVEAU_SEED={seed}")
    return random.Random(seed)


SEGMENTS = ["a", "b", "ab", "c", "", "a", "b"]
RULE_SEGMENTS = [*SEGMENTS, "+", "+", "+", "+b", "a+", "*", "b*c"]
WORDS = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo", "deny"]


def random_rule_path(rng: random.Random) -> str:
    path = "/".join(rng.choice(RULE_SEGMENTS) for _ in range(rng.choice([1, 2, 2, 3, 3, 4])))
    path = rng.choice(["", "", "", "", "/"]) + path + rng.choice(["", "", "", "/", "*", "*", "/*", "/+", "**"])
    return re.sub(r"\+\*+", "+", path)  # "+*" is refused


def random_capabilities(rng: random.Random) -> str:
    words = rng.sample(WORDS[:-1] if rng.random() < 0.85 else WORDS, rng.choice([0, 1, 1, 1, 2, 3]))
    lines = [f"capabilities = {json.dumps(words)}"]
    if rng.random() < 0.1:
        lines.append(f"capabilities = {json.dumps(rng.sample(WORDS, 1))}")
    if rng.random() < 0.1:
        lines.append(f'policy = "{rng.choice(["read", "write", "sudo", "deny", ""])}"')
    if rng.random() < 0.05:
        lines.append(f"expiration = {rng.choice([1, 1900000000])}")
    rng.shuffle(lines)
    return "\n  ".join(lines)


def random_policy(rng: random.Random) -> str:
    return "\n".join(
        f'path "{random_rule_path(rng)}" {{\n  {random_capabilities(rng)}\n}}' for _ in range(rng.choice([1, 2, 3, 5]))
    )


def random_path(rng: random.Random) -> str:
    parts = [rng.choice([*SEGMENTS, "abc", "+", "+b", "a+", "b*c", "*", "x"]) for _ in range(rng.choice([1, 2, 3, 4]))]
    return rng.choice(["", "", "", "/", "//"]) + "/".join(parts) + rng.choice(["", "", "/", "//"])


def test_capabilities(peer: Bao, rng: random.Random) -> None:
    compared = 0
    while compared < COMPARISONS:
        texts = [random_policy(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
        acl = ACL((parse_policy(f"p{index}", text) for index, text in enumerate(texts)), now=NOW)
        paths = sorted({path for _ in range(PATHS_PER_POLICY_SET) if (path := random_path(rng)).strip("/")})
        token = peer.token_with(texts)
        status, answer = peer.call("POST", "sys/capabilities", {"token": token, "paths": paths})
        assert status == 200, answer
        theirs = {path: answer["data"][path] for path in paths}
        ours = {path: acl.capabilities(path) for path in paths}
        different = {path: {"ours": ours[path], "bao": theirs[path]} for path in paths if ours[path] != theirs[path]}
        assert not different, "\n".join([*texts, json.dumps(different, indent=1)])
        compared += len(paths)
    print(f"{compared} capability comparisons")


VALUES: list[Any] = ["x", "xy", "*", "", True, False, 1, 2.5, None, [], ["x"], ["x", 1], {}, {"k": "x"}, "a*b", "axb"]
LISTED = ['"x"', '"x*"', '"*y"', '"**"', '"*"', '""', "true", "1", '["x"]', "{}", '{ k = "x" }', '"a*b"', '"*x*"']
NAMES = ["p", "q", "Foo", "foo", "*"]


def random_parameters(rng: random.Random, key: str) -> str:
    entries = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        listed = ", ".join(rng.sample(LISTED, rng.choice([0, 0, 1, 1, 2])))
        entries.append(f'"{rng.choice(NAMES)}" = [{listed}]')
    # The same name in two cases is one parameter here, and whichever comes last in a Go map there.
    names = [entry.split('"')[1] for entry in entries]
    if len({name.lower() for name in names}) < len(set(names)):
        return ""
    return f"{key} = {{ {', '.join(entries)} }}"


def random_conditions(rng: random.Random) -> str:
    lines = ['capabilities = ["create", "update", "read", "delete", "list", "patch"]']
    lines += [random_parameters(rng, key) for key in ("allowed_parameters", "denied_parameters") if rng.random() < 0.5]
    if rng.random() < 0.2:
        lines.append(f"required_parameters = {json.dumps(rng.sample(NAMES[:-1], rng.choice([1, 2])))}")
    bounds = sorted(rng.sample([0, 1, 5, 10], 2))
    if rng.random() < 0.2:
        lines.append(f'min_wrapping_ttl = "{bounds[0]}s"')
    if rng.random() < 0.2:
        lines.append(f"max_wrapping_ttl = {bounds[1]}")
    return "\n  ".join(lines)


def test_requests(peer: Bao, rng: random.Random) -> None:
    """Parameters and wrapping bounds, on a mount that takes any write."""
    peer.call("POST", "kv1/a/b", {"v": 1})
    for _ in range(REQUESTS // 10):
        texts = [f'path "kv1/a/b" {{\n  {random_conditions(rng)}\n}}' for _ in range(rng.choice([1, 2, 3]))]
        acl = ACL((parse_policy(f"p{index}", text) for index, text in enumerate(texts)), now=NOW)
        token = peer.token_with(texts)
        for _ in range(10):
            names = rng.sample(["p", "q", "P", "foo", "FOO"], rng.choice([0, 1, 1, 2]))
            body = {name: rng.choice(VALUES) for name in names}
            method = rng.choice(["POST", "POST", "POST", "GET", "DELETE", "LIST"])
            op = {"POST": "update", "GET": "read", "DELETE": "delete", "LIST": "list"}[method]
            wrap = rng.choice([None, None, None, 0, 3, 7, 20])
            headers = {} if wrap is None else {"X_Vault_Wrap_TTL": str(wrap)}
            status, answer = peer.call(method, "kv1/a/b", body if method == "POST" else None, token=token, **headers)
            if method == "DELETE":
                peer.call("POST", "kv1/a/b", {"v": 1})
            ours = acl.allow(op, "kv1/a/b", data=body if method == "POST" else None, wrap_ttl=wrap)
            assert ours.allowed == (status != 403), (texts, method, body, wrap, status, answer, ours)


def test_operations(peer: Bao, rng: random.Random) -> None:
    """Real requests, where a list or scan is looked up otherwise than its capabilities."""
    for _ in range(REQUESTS // 20):
        texts = [
            "\n".join(
                f'path "kv1/{random_rule_path(rng).lstrip("/")}" {{\n  {random_capabilities(rng)}\n}}' for _ in range(4)
            )
            for _ in range(rng.choice([1, 2]))
        ]
        acl = ACL((parse_policy(f"p{index}", text) for index, text in enumerate(texts)), now=NOW)
        token = peer.token_with(texts)
        for _ in range(20):
            parts = [rng.choice(["a", "b", "ab", "c", "+b", "a+", "x"]) for _ in range(rng.choice([1, 2, 3]))]
            path = "kv1/" + "/".join(parts) + rng.choice(["", "", "/"])
            op = rng.choice(["list", "list", "scan", "read", "delete"])
            query = "?list=true" if op == "list" and rng.random() < 0.3 else ""
            method = {"list": "GET" if query else "LIST", "scan": "SCAN", "read": "GET", "delete": "DELETE"}[op]
            status, answer = peer.call(method, path + query, token=token)
            ours = acl.allow(op, path)
            assert ours.allowed == (status != 403), (texts, method, path, status, answer, ours)
