"""Real clients at a cluster of two nodes, each a process: the operator's commands of bao and Caveau, and hvac."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest

from ..peers import CAVEAU, Server, _from_config, bao_binary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CONFIG = """
storage "raft" {
  path = "$HOME/data"
  node_id = "NODE"
}
listener "tcp" {
  address = "127.0.0.1:$PORT"
  cluster_address = "127.0.0.1:0"
  tls_disable = true
}
"""


class Nodes:
    def __init__(self, first: Server, second: Server) -> None:
        self.first, self.second = first, second
        self.client = hvac.Client(url=first.address)
        made = self.client.sys.initialize(secret_shares=1, secret_threshold=1)
        self.key, self.token = made["keys"][0], made["root_token"]
        self.client.token = self.token
        self.client.sys.submit_unseal_key(self.key)

    def run(self, command: str, *arguments: str, at: Server | None = None, program: str = "caveau") -> Any:
        """The exit code, output and errors of a command."""
        argv = [bao_binary()] if program == "bao" else [sys.executable, "-m", "caveau"]
        address = (at or self.first).address
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_", "CAVEAU_"))}
        environment = {f"{p}_{k}": v for p in ("BAO", "VAULT") for k, v in (("ADDR", address), ("TOKEN", self.token))}
        done = subprocess.run(
            [*argv, *command.split(), *arguments], env=kept | environment, capture_output=True, text=True, timeout=30
        )
        return done.returncode, done.stdout, done.stderr

    def voters(self) -> set[str]:
        servers = self.client.sys.read_raft_config()["data"]["config"]["servers"]
        return {server["node_id"] for server in servers if server["voter"]}

    def health(self, server: Server) -> int:
        with contextlib.closing(http.client.HTTPConnection(server.netloc, timeout=10)) as connection:
            connection.request("GET", "/v1/sys/health")
            return connection.getresponse().status


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with (
        _from_config(CAVEAU, CONFIG.replace("NODE", "first")) as first,
        _from_config(CAVEAU, CONFIG.replace("NODE", "second")) as second,
    ):
        made = Nodes(first, second)
        try:
            yield made
        finally:
            made.client.adapter.close()


def until(condition: Callable[[], object], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("program", ["caveau", pytest.param("bao", marks=pytest.mark.peer)])
def test_a_cluster_is_made_looked_at_and_taken_apart_with_the_commands(nodes: Nodes, program: str) -> None:
    run = nodes.run
    assert run("operator raft autopilot set-config", "-server-stabilization-time=1s", program=program)[0] == 0
    shown = json.loads(run("operator raft autopilot get-config", "-format=json", program=program)[1])
    assert shown["server_stabilization_time"] == "1s"
    code, out, _ = run("operator raft join", nodes.first.address, at=nodes.second, program=program)
    assert (code, out.split()) == (0, ["Key", "Value", "---", "-----", "Joined", "true"])
    run("operator unseal", nodes.key, at=nodes.second, program=program)
    until(lambda: nodes.voters() == {"first", "second"})
    code, out, _ = run("operator raft list-peers", program=program)
    assert [line.split()[0] + line.split()[2] for line in out.splitlines()[2:]] == ["firstleader", "secondfollower"]
    assert run("operator raft list-peers", at=nodes.second, program=program)[1] == out
    until(lambda: json.loads(run("operator raft autopilot state", "-format=json", program=program)[1])["Healthy"])
    members = json.loads(run("operator members", "-format=json", program=program)[1])["Nodes"]
    assert [(node["api_address"], node["active_node"]) for node in members] == [
        (nodes.first.address, True), (nodes.second.address, False)
    ]  # fmt: skip
    assert run("operator raft demote", "second", program=program)[0] == 0
    assert nodes.voters() == {"first"}
    assert run("operator raft promote", "second", program=program)[0] == 0
    assert run("operator step-down", program=program)[0] == 0
    until(lambda: nodes.health(nodes.second) == 200)
    code, out, _ = run("status", program=program)
    assert "standby" in out
    assert nodes.second.address in out
    assert run("operator raft remove-peer", "first", at=nodes.second, program=program)[0] == 0
    code, out, _ = run("operator raft list-peers", at=nodes.second, program=program)
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["second"]


def test_hvac_joins_reads_and_removes(nodes: Nodes) -> None:
    second = hvac.Client(url=nodes.second.address, token=nodes.token)
    with contextlib.closing(second.adapter):
        assert second.sys.join_raft_cluster(nodes.first.address) == {"joined": True}
        second.sys.submit_unseal_key(nodes.key)
        until(lambda: not second.sys.is_sealed())
        nodes.client.sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
        second.secrets.kv.v1.create_or_update_secret("a", {"x": "1"}, mount_point="kv")
        assert nodes.client.secrets.kv.v1.read_secret("a", mount_point="kv")["data"] == {"x": "1"}
        assert second.sys.read_leader_status()["leader_address"] == nodes.first.address
        nodes.client.sys.remove_raft_node("second")
        servers = nodes.client.sys.read_raft_config()["data"]["config"]["servers"]
        assert [server["node_id"] for server in servers] == ["first"]


def test_a_machine_joins_with_a_token_from_a_file(nodes: Nodes, tmp_path: Path) -> None:
    code, out, error = nodes.run("operator raft join-token", "-ttl=5m", "-format=json")
    assert code == 0, error
    file = tmp_path / "token"
    file.write_text(json.loads(out)["data"]["join_token"] + "\n")
    arguments = (f"-join-token-file={file}", nodes.first.address)
    assert nodes.run("operator raft join", *arguments, at=nodes.second)[0] == 0
    until(lambda: nodes.health(nodes.second) == 503)  # sealed, and not uninitialized any more
    nodes.run("operator unseal", nodes.key, at=nodes.second)
    until(lambda: nodes.health(nodes.second) in (429, 473))
