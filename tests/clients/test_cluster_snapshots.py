"""Three real nodes: a snapshot restored at any of them is what all of them have."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import hvac
import pytest

from ..peers import caveau_server_sealed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONFIG = """
storage "raft" {
  path = "$HOME/raft"
  node_id = "NAME"
}
listener "tcp" {
  address = "127.0.0.1:$PORT"
  tls_disable = true
}
api_addr = "http://127.0.0.1:$PORT"
disable_mlock = true
"""


def value(client: hvac.Client) -> str:
    try:
        found: str = client.secrets.kv.v1.read_secret("app", mount_point="kv")["data"]["v"]
    except hvac.exceptions.VaultDown:  # it is just opening
        return ""
    return found


def test_all_nodes_have_what_was_restored(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(caveau_server_sealed(CONFIG.replace("NAME", name))) for name in "abc"]
        nodes = [hvac.Client(url=server.address) for server in servers]
        first = nodes[0]
        made = first.sys.initialize(1, 1)
        first.sys.submit_unseal_keys(made["keys"])
        for node in nodes:
            node.token = made["root_token"]
        for node in nodes[1:]:
            node.sys.join_raft_cluster(servers[0].address)
            node.sys.submit_unseal_keys(made["keys"])
            _until(lambda node=node: not node.sys.is_sealed())
        first.sys.enable_secrets_engine("kv", options={"version": "1"})
        first.secrets.kv.v1.create_or_update_secret("app", {"v": "before"}, mount_point="kv")
        _until(lambda: all(value(node) == "before" for node in nodes))
        content = nodes[1].sys.take_raft_snapshot().content
        first.secrets.kv.v1.create_or_update_secret("app", {"v": "after"}, mount_point="kv")
        first.sys.enable_secrets_engine("kv", path="later")
        nodes[2].sys.restore_raft_snapshot(content)
        for node in nodes:
            _until(lambda node=node: value(node) == "before")
            assert "later/" not in node.sys.list_mounted_secrets_engines()["data"]
        nodes[2].secrets.kv.v1.create_or_update_secret("app", {"v": "later"}, mount_point="kv")
        for node in nodes:
            _until(lambda node=node: value(node) == "later")
            assert len(node.sys.read_raft_config()["data"]["config"]["servers"]) == 3
            node.adapter.close()


def _until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
