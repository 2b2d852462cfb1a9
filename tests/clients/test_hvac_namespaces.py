"""hvac in namespaces: ``namespace=`` on the client, and the namespaces themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath

from ..peers import Server

Enter = Callable[..., hvac.Client]


@pytest.fixture
def enter(dev_server: Server) -> Iterator[Enter]:
    """hvac in a namespace, with the root token or another."""
    clients = []

    def make(namespace: str, token: str = "") -> hvac.Client:
        client = hvac.Client(url=dev_server.address, token=token or dev_server.token, namespace=namespace)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.adapter.close()


def test_a_secret_of_one_namespace_is_not_one_of_another(root: hvac.Client, name: str, enter: Enter) -> None:
    for path in (name, f"{name}-b"):
        assert root.sys.create_namespace(path)["data"]["path"] == f"{path}/"
        enter(path).sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    enter(name).secrets.kv.v2.create_or_update_secret("a", {"x": "1"}, mount_point="kv")
    assert enter(name).secrets.kv.v2.read_secret_version("a", mount_point="kv", raise_on_deleted_version=True)["data"][
        "data"
    ] == {"x": "1"}
    with pytest.raises(InvalidPath):
        enter(f"{name}-b").secrets.kv.v2.read_secret_version("a", mount_point="kv", raise_on_deleted_version=True)
    assert {f"{name}/", f"{name}-b/"} <= set(root.sys.list_namespaces()["data"]["keys"])


def test_a_token_serves_in_its_namespace(root: hvac.Client, name: str, enter: Enter) -> None:
    root.sys.create_namespace(name)
    enter(name).sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
    enter(name).secrets.kv.v1.create_or_update_secret("a", {"x": "1"}, mount_point="kv")
    enter(name).sys.create_or_update_policy("reader", 'path "kv/*" { capabilities = ["read"] }')
    token = enter(name).auth.token.create(policies=["reader"])["auth"]["client_token"]
    inside = enter(name, token)
    assert inside.is_authenticated()
    assert inside.secrets.kv.v1.read_secret("a", mount_point="kv")["data"] == {"x": "1"}
    with pytest.raises(Forbidden):
        enter("", token).secrets.kv.v1.read_secret("a", mount_point="secret")


def test_deleting(root: hvac.Client, name: str, enter: Enter) -> None:
    root.sys.create_namespace(name)
    assert root.sys.delete_namespace(name)["data"] == {"status": "in-progress"}
    with pytest.raises(InvalidPath):
        enter(name).sys.list_mounted_secrets_engines()
