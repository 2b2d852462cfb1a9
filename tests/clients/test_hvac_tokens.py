"""hvac on the token auth method."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultError

from ..peers import Server


@pytest.fixture
def login(dev_server: Server) -> Iterator[Callable[[str], hvac.Client]]:
    """A client with another token."""
    made: list[hvac.Client] = []

    def client(token: str) -> hvac.Client:
        made.append(hvac.Client(url=dev_server.address, token=token))
        return made[-1]

    yield client
    for each in made:
        each.adapter.close()


Login = Callable[[str], hvac.Client]


def test_a_created_token_has_what_was_asked(root: hvac.Client, name: str) -> None:
    auth = root.auth.token.create(
        policies=["default"], meta={"team": "a"}, ttl="1h", display_name=name, explicit_max_ttl="2h", num_uses=7
    )["auth"]
    assert auth["policies"] == ["default"]
    assert auth["metadata"] == {"team": "a"}
    assert (auth["lease_duration"], auth["renewable"], auth["orphan"]) == (3600, True, False)
    assert auth["token_type"] == "service"
    assert auth["accessor"]

    data = root.auth.token.lookup(auth["client_token"])["data"]
    assert data["id"] == auth["client_token"]
    assert data["accessor"] == auth["accessor"]
    assert data["display_name"] == f"token-{name}"
    assert data["meta"] == {"team": "a"}
    assert (data["creation_ttl"], data["explicit_max_ttl"], data["num_uses"]) == (3600, 7200, 7)
    assert 3590 <= data["ttl"] <= 3600
    assert data["path"] == "auth/token/create"
    assert data["expire_time"] > data["issue_time"]


def test_a_token_reads_itself(root: hvac.Client, login: Login) -> None:
    auth = root.auth.token.create(policies=["default"], ttl="1h")["auth"]
    client = login(auth["client_token"])
    assert client.is_authenticated()
    assert client.auth.token.lookup_self()["data"]["accessor"] == auth["accessor"]
    assert root.auth.token.lookup_self()["data"]["policies"] == ["root"]
    assert root.auth.token.lookup_self()["data"]["ttl"] == 0


def test_default_policy_can_be_left_out(root: hvac.Client, name: str) -> None:
    root.sys.create_or_update_policy(name, 'path "x" { capabilities = ["read"] }')
    auth = root.auth.token.create(policies=[name], no_default_policy=True)["auth"]
    assert auth["policies"] == [name]
    assert root.auth.token.create(policies=[name])["auth"]["policies"] == sorted(["default", name])


def test_an_orphan_outlives_its_maker_and_a_child_does_not(root: hvac.Client, login: Login, name: str) -> None:
    root.sys.create_or_update_policy(name, 'path "auth/token/*" { capabilities = ["create", "update", "sudo"] }')
    maker = root.auth.token.create(policies=[name])["auth"]["client_token"]
    child = login(maker).auth.token.create(policies=["default"])["auth"]["client_token"]
    orphan = login(maker).auth.token.create_orphan(policies=["default"])["auth"]
    assert orphan["orphan"] is True

    assert root.auth.token.revoke(maker).status_code == 204

    assert login(orphan["client_token"]).is_authenticated()
    assert not login(child).is_authenticated()
    with pytest.raises(Forbidden):
        root.auth.token.lookup(child)


def test_revoking_and_orphaning_spares_the_children(root: hvac.Client, login: Login, name: str) -> None:
    root.sys.create_or_update_policy(name, 'path "auth/token/create" { capabilities = ["update"] }')
    maker = root.auth.token.create(policies=[name])["auth"]["client_token"]
    child = login(maker).auth.token.create(policies=["default"])["auth"]["client_token"]

    assert root.auth.token.revoke_and_orphan_children(maker).status_code == 204

    assert not login(maker).is_authenticated()
    assert login(child).auth.token.lookup_self()["data"]["orphan"] is True
    with pytest.raises(InvalidRequest):
        root.auth.token.revoke_and_orphan_children(maker)


def test_a_token_revokes_itself(root: hvac.Client, login: Login) -> None:
    client = login(root.auth.token.create(policies=["default"])["auth"]["client_token"])
    assert client.auth.token.revoke_self().status_code == 204
    assert not client.is_authenticated()
    with pytest.raises(Forbidden):
        client.auth.token.lookup_self()


def test_logging_out_revokes_when_asked(root: hvac.Client, login: Login) -> None:
    token = root.auth.token.create(policies=["default"])["auth"]["client_token"]
    login(token).logout(revoke_token=True)
    assert not login(token).is_authenticated()


def test_renewing(root: hvac.Client, login: Login) -> None:
    token = root.auth.token.create(policies=["default"], ttl="1h", explicit_max_ttl="3h")["auth"]["client_token"]
    assert root.auth.token.renew(token, increment="2h")["auth"]["lease_duration"] == 7200
    assert login(token).auth.token.renew_self(increment=60)["auth"]["lease_duration"] == 60
    capped = root.auth.token.renew(token, increment="5h")
    assert 10790 <= capped["auth"]["lease_duration"] <= 10800
    assert capped["warnings"]


def test_a_token_that_is_not_renewable_or_has_no_ttl_is_not_renewed(root: hvac.Client) -> None:
    fixed = root.auth.token.create(policies=["default"], ttl="1h", renewable=False)["auth"]
    assert fixed["renewable"] is False
    with pytest.raises(InvalidRequest, match="not renewable"):
        root.auth.token.renew(fixed["client_token"])
    with pytest.raises(InvalidRequest):
        root.auth.token.renew_self()


def test_accessors_stand_for_tokens_without_giving_them_away(root: hvac.Client, login: Login) -> None:
    auth = root.auth.token.create(policies=["default"], ttl="1h")["auth"]
    accessor = auth["accessor"]
    assert accessor in root.auth.token.list_accessors()["data"]["keys"]
    looked_up = root.auth.token.lookup_accessor(accessor)["data"]
    assert looked_up["id"] == ""
    assert looked_up["accessor"] == accessor
    renewed = root.auth.token.renew_accessor(accessor, increment="2h")["auth"]
    assert renewed["lease_duration"] == 7200
    assert not renewed["client_token"]

    assert root.auth.token.revoke_accessor(accessor).status_code == 204

    assert not login(auth["client_token"]).is_authenticated()
    assert accessor not in root.auth.token.list_accessors()["data"]["keys"]
    with pytest.raises(VaultError):
        root.auth.token.lookup_accessor(accessor)


def test_a_batch_token_is_a_value_and_nothing_else(root: hvac.Client, login: Login) -> None:
    auth = root.auth.token.create(policies=["default"], type="batch", ttl="1h")["auth"]
    assert (auth["token_type"], auth["accessor"], auth["renewable"]) == ("batch", "", False)
    assert login(auth["client_token"]).auth.token.lookup_self()["data"]["type"] == "batch"
    with pytest.raises(InvalidRequest, match="batch tokens cannot be renewed"):
        root.auth.token.renew(auth["client_token"])
    with pytest.raises(InvalidRequest, match="batch tokens cannot be revoked"):
        root.auth.token.revoke(auth["client_token"])


def test_uses_run_out(root: hvac.Client, login: Login) -> None:
    client = login(root.auth.token.create(policies=["default"], num_uses=2)["auth"]["client_token"])
    assert client.auth.token.lookup_self()["data"]["num_uses"] == 1
    client.auth.token.lookup_self()
    with pytest.raises(Forbidden):
        client.auth.token.lookup_self()


def test_a_periodic_token_renews_to_its_period(root: hvac.Client, login: Login) -> None:
    auth = root.auth.token.create(policies=["default"], period="30m")["auth"]
    assert auth["lease_duration"] == 1800
    client = login(auth["client_token"])
    assert client.auth.token.lookup_self()["data"]["period"] == 1800
    assert client.auth.token.renew_self(increment="99h")["auth"]["lease_duration"] == 1800


def test_root_chooses_the_token_itself(root: hvac.Client, login: Login, name: str) -> None:
    chosen = f"chosen-{name}"
    assert root.auth.token.create(id=chosen, policies=["default"])["auth"]["client_token"] == chosen
    assert login(chosen).is_authenticated()
    with pytest.raises(InvalidRequest):
        root.auth.token.create(id=chosen, policies=["default"])


def test_a_token_cannot_give_what_it_does_not_have(root: hvac.Client, login: Login, name: str) -> None:
    root.sys.create_or_update_policy(name, 'path "auth/token/create" { capabilities = ["update"] }')
    client = login(root.auth.token.create(policies=[name])["auth"]["client_token"])
    with pytest.raises(InvalidRequest):
        client.auth.token.create(policies=["root"])
    with pytest.raises(InvalidRequest):
        client.auth.token.create(id="mine", policies=[name])
    with pytest.raises(Forbidden):
        client.auth.token.create_orphan(policies=[name])
    assert client.auth.token.create()["auth"]["policies"] == sorted(["default", name])


def test_roles_decide_what_their_tokens_are(root: hvac.Client, name: str) -> None:
    root.sys.create_or_update_policy(name, 'path "x" { capabilities = ["read"] }')
    assert (
        root.auth.token.create_or_update_role(
            name,
            allowed_policies=[name],
            orphan=True,
            renewable=False,
            path_suffix="suffix",
            token_period="10m",
            token_explicit_max_ttl="0",
        ).status_code
        == 204
    )
    role = root.auth.token.read_role(name)["data"]
    assert role["name"] == name
    assert role["allowed_policies"] == [name]
    assert (role["orphan"], role["renewable"], role["path_suffix"]) == (True, False, "suffix")
    assert role["token_period"] == 600
    assert name in root.auth.token.list_roles()["data"]["keys"]

    auth = root.auth.token.create(role_name=name, policies=[name])["auth"]
    assert (auth["orphan"], auth["renewable"], auth["lease_duration"]) == (True, False, 600)
    data = root.auth.token.lookup(auth["client_token"])["data"]
    assert data["role"] == name
    assert data["path"] == f"auth/token/create/{name}/suffix"
    with pytest.raises(InvalidRequest):
        root.auth.token.create(role_name=name, policies=["not-allowed"])

    assert root.auth.token.delete_role(name).status_code == 204
    with pytest.raises(InvalidPath):
        root.auth.token.read_role(name)
    with pytest.raises(InvalidRequest):
        root.auth.token.create(role_name=name)


def test_tidy_runs_in_the_background(root: hvac.Client) -> None:
    assert root.auth.token.tidy().status_code == 202


def test_unknown_tokens_are_refused_alike(root: hvac.Client, login: Login) -> None:
    for token in ("", "nonsense", "hvs." + "A" * 24, "s." + "A" * 24):
        client = login(token or "\t")
        client.token = token
        assert not client.is_authenticated()
        with pytest.raises(Forbidden, match="permission denied"):
            client.auth.token.lookup_self()
    assert root.auth.token.revoke("nonsense").status_code == 204
