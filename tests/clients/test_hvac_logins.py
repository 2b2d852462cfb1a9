"""hvac on the auth methods userpass and approle."""

from __future__ import annotations

from collections.abc import Iterator

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

from ..peers import Server


@pytest.fixture
def visitor(dev_server: Server) -> Iterator[hvac.Client]:
    """A client without a token."""
    client = hvac.Client(url=dev_server.address, token="")
    yield client
    client.adapter.close()


@pytest.fixture
def userpass(root: hvac.Client, name: str) -> str:
    """The path of a userpass mount with the user ann."""
    path = f"{name}-users"
    root.sys.enable_auth_method("userpass", path=path)
    root.auth.userpass.create_or_update_user("ann", password="first", policies=["default"], mount_point=path)
    return path


@pytest.fixture
def approle(root: hvac.Client, name: str) -> str:
    """The path of an approle mount with the role app."""
    path = f"{name}-apps"
    root.sys.enable_auth_method("approle", path=path)
    root.auth.approle.create_or_update_approle("app", token_policies=["default"], token_ttl="1h", mount_point=path)
    return path


def test_users(root: hvac.Client, userpass: str) -> None:
    users = root.auth.userpass
    users.create_or_update_user("bob", password="x", mount_point=userpass)
    assert users.list_user(mount_point=userpass)["data"]["keys"] == ["ann", "bob"]
    assert users.read_user("ann", mount_point=userpass)["data"]["policies"] == ["default"]
    users.delete_user("bob", mount_point=userpass)
    with pytest.raises(InvalidPath):
        users.read_user("bob", mount_point=userpass)


def test_a_user_logs_in_and_changes_password(visitor: hvac.Client, root: hvac.Client, userpass: str) -> None:
    auth = visitor.auth.userpass.login("ann", "first", mount_point=userpass)["auth"]
    assert visitor.token == auth["client_token"]  # hvac has taken it over
    assert auth["metadata"] == {"username": "ann"}
    assert visitor.auth.token.lookup_self()["data"]["display_name"] == f"{userpass}-ann"
    assert visitor.auth.token.renew_self()["auth"]["renewable"] is True
    root.auth.userpass.update_password_on_user("ann", "second", mount_point=userpass)
    with pytest.raises(InvalidRequest, match="invalid username or password"):
        visitor.auth.userpass.login("ann", "first", mount_point=userpass)
    visitor.auth.userpass.login("ann", "second", mount_point=userpass)


def test_too_many_wrong_passwords(visitor: hvac.Client, root: hvac.Client, userpass: str) -> None:
    for _ in range(5):
        with pytest.raises(InvalidRequest):
            visitor.auth.userpass.login("ann", "wrong", mount_point=userpass)
    with pytest.raises(Forbidden):
        visitor.auth.userpass.login("ann", "first", mount_point=userpass)
    accessor = root.sys.list_auth_methods()["data"][f"{userpass}/"]["accessor"]
    root.write_data(f"sys/locked-users/{accessor}/unlock/ann", data={})
    visitor.auth.userpass.login("ann", "first", mount_point=userpass)


def test_roles(root: hvac.Client, approle: str) -> None:
    roles = root.auth.approle
    assert roles.list_roles(mount_point=approle)["data"]["keys"] == ["app"]
    found = roles.read_role("app", mount_point=approle)["data"]
    assert (found["token_policies"], found["token_ttl"], found["bind_secret_id"]) == (["default"], 3600, True)
    roles.update_role_id("app", "of-my-own", mount_point=approle)
    assert roles.read_role_id("app", mount_point=approle)["data"] == {"role_id": "of-my-own"}
    roles.delete_role("app", mount_point=approle)
    with pytest.raises(InvalidPath):
        roles.read_role("app", mount_point=approle)


def test_a_machine_logs_in(visitor: hvac.Client, root: hvac.Client, approle: str) -> None:
    roles = root.auth.approle
    role_id = roles.read_role_id("app", mount_point=approle)["data"]["role_id"]
    made = roles.generate_secret_id("app", metadata={"site": "north"}, mount_point=approle)["data"]
    auth = visitor.auth.approle.login(role_id, made["secret_id"], mount_point=approle)["auth"]
    assert auth["metadata"] == {"role_name": "app", "site": "north"}
    assert (auth["lease_duration"], auth["token_type"]) == (3600, "service")
    assert visitor.is_authenticated()


def test_secret_ids_and_their_accessors(visitor: hvac.Client, root: hvac.Client, approle: str) -> None:
    roles = root.auth.approle
    role_id = roles.read_role_id("app", mount_point=approle)["data"]["role_id"]
    made = roles.create_custom_secret_id("app", "chosen", cidr_list=["127.0.0.0/8"], mount_point=approle)["data"]
    accessor = made["secret_id_accessor"]
    assert roles.list_secret_id_accessors("app", mount_point=approle)["data"]["keys"] == [accessor]
    by_text = roles.read_secret_id("app", "chosen", mount_point=approle)["data"]
    assert by_text["cidr_list"] == ["127.0.0.0/8"]
    assert roles.read_secret_id_accessor("app", accessor, mount_point=approle)["data"] == by_text
    visitor.auth.approle.login(role_id, "chosen", mount_point=approle)
    roles.destroy_secret_id_accessor("app", accessor, mount_point=approle)
    with pytest.raises(InvalidRequest, match="invalid role or secret ID"):
        visitor.auth.approle.login(role_id, "chosen", mount_point=approle)
    roles.create_custom_secret_id("app", "another", mount_point=approle)
    roles.destroy_secret_id("app", "another", mount_point=approle)
    with pytest.raises(InvalidPath):
        roles.list_secret_id_accessors("app", mount_point=approle)


def test_a_wrapped_secret_id(visitor: hvac.Client, root: hvac.Client, approle: str) -> None:
    role_id = root.auth.approle.read_role_id("app", mount_point=approle)["data"]["role_id"]
    wrap = root.auth.approle.generate_secret_id("app", wrap_ttl="60s", mount_point=approle)["wrap_info"]
    visitor.token = wrap["token"]
    inner = visitor.sys.unwrap()["data"]
    assert inner["secret_id_accessor"] == wrap["wrapped_accessor"]
    visitor.auth.approle.login(role_id, inner["secret_id"], mount_point=approle)
