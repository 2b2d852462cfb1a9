"""The real ``bao operator raft snapshot`` saves and restores Caveau, on Raft and on SQLite, as it does OpenBao."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import hvac
import pytest

from ..peers import Server, bao_binary, bao_server_sealed, caveau_server_sealed, clean_environment

pytestmark = [pytest.mark.peer, pytest.mark.slow]

_REST = """
listener "tcp" {
  address = "127.0.0.1:$PORT"
  tls_disable = true
}
api_addr = "http://127.0.0.1:$PORT"
disable_mlock = true
"""
RAFT = 'storage "raft" {\n  path = "$HOME"\n  node_id = "a"\n}\ncluster_addr = "https://127.0.0.1:1"' + _REST
SQLITE = 'storage "sqlite" {\n  path = "$HOME/data"\n}' + _REST
SERVERS = {
    "caveau-raft": lambda: caveau_server_sealed(RAFT),
    "bao-raft": lambda: bao_server_sealed(RAFT),
    "caveau-sqlite": lambda: caveau_server_sealed(SQLITE),
}


def opened(server: Server, made: dict[str, list[str]]) -> hvac.Client:
    client = hvac.Client(url=server.address, token=made["root_token"])
    client.sys.submit_unseal_keys(made["keys"][:2])
    deadline = time.monotonic() + 30
    while not isinstance(client.sys.read_health_status(method="GET"), dict):  # a node elects itself first
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return client


def bao(server: Server, token: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(home) | {"BAO_ADDR": server.address, "BAO_TOKEN": token}
    return subprocess.run(
        [bao_binary(), "operator", "raft", "snapshot", *arguments],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("kind", SERVERS)
def test_save_and_restore(kind: str, tmp_path: Path) -> None:
    start: Callable[[], AbstractContextManager[Server]] = SERVERS[kind]
    file = tmp_path / "a.snap"
    with start() as server:
        made = hvac.Client(url=server.address).sys.initialize(3, 2)
        client, token = opened(server, made), made["root_token"]
        client.sys.enable_secrets_engine("kv", options={"version": "1"})
        client.secrets.kv.v1.create_or_update_secret("app", {"v": "before"}, mount_point="kv")
        done = bao(server, token, tmp_path, "save", str(file))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        client.secrets.kv.v1.create_or_update_secret("app", {"v": "after"}, mount_point="kv")
        refused = bao(server, "wrong", tmp_path, "restore", str(file))
        assert refused.returncode != 0
        assert "permission denied" in refused.stderr
        assert client.secrets.kv.v1.read_secret("app", mount_point="kv")["data"] == {"v": "after"}
        done = bao(server, token, tmp_path, "restore", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        assert client.secrets.kv.v1.read_secret("app", mount_point="kv")["data"] == {"v": "before"}
    with start() as other:
        theirs = hvac.Client(url=other.address).sys.initialize(1, 1)
        opened(other, theirs)
        refused = bao(other, theirs["root_token"], tmp_path, "restore", str(file))
        assert "use the snapshot-force API to bypass this check" in refused.stderr
        done = bao(other, theirs["root_token"], tmp_path, "restore", "-force", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        if kind == "bao-raft":  # until it is started again it wants as many keys as it had itself
            return
        client = opened(other, made)
        assert client.secrets.kv.v1.read_secret("app", mount_point="kv")["data"] == {"v": "before"}


def test_hvac(tmp_path: Path) -> None:
    with caveau_server_sealed(RAFT) as server:
        made = hvac.Client(url=server.address).sys.initialize(3, 2)
        client = opened(server, made)
        client.sys.enable_secrets_engine("kv", options={"version": "1"})
        client.secrets.kv.v1.create_or_update_secret("app", {"v": "before"}, mount_point="kv")
        content = client.sys.take_raft_snapshot().content
        client.secrets.kv.v1.create_or_update_secret("app", {"v": "after"}, mount_point="kv")
        assert client.sys.restore_raft_snapshot(content).status_code == 204
        assert client.secrets.kv.v1.read_secret("app", mount_point="kv")["data"] == {"v": "before"}
