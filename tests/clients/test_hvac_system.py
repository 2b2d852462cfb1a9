"""hvac on policies, mounts, auth methods and capabilities, and the exceptions that it makes of our statuses."""

from __future__ import annotations

from collections.abc import Iterator

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, UnexpectedError, VaultError

from ..peers import Server

READ_ONLY = 'path "secret/data/app/*" { capabilities = ["read", "list"] }'


class TestPolicies:
    def test_acl_policies(self, root: hvac.Client, name: str) -> None:
        assert root.sys.create_or_update_acl_policy(name, READ_ONLY).status_code == 204
        data = root.sys.read_acl_policy(name)["data"]
        assert (data["name"], data["policy"]) == (name, READ_ONLY)
        assert {"default", "root", name} <= set(root.sys.list_acl_policies()["data"]["keys"])
        assert root.sys.delete_acl_policy(name).status_code == 204
        with pytest.raises(InvalidPath):
            root.sys.read_acl_policy(name)

    def test_the_older_calls(self, root: hvac.Client, name: str) -> None:
        assert root.sys.create_or_update_policy(name, READ_ONLY).status_code == 204
        data = root.sys.read_policy(name)["data"]
        assert (data["name"], data["rules"]) == (name, READ_ONLY)
        listed = root.sys.list_policies()["data"]
        assert name in listed["policies"]
        assert listed["policies"] == listed["keys"]
        assert root.sys.delete_policy(name).status_code == 204
        assert name not in root.sys.list_policies()["data"]["policies"]

    def test_a_policy_may_be_json(self, root: hvac.Client, name: str) -> None:
        root.sys.create_or_update_policy(name, {"path": {"a/b": {"capabilities": ["read"]}}})
        assert root.get_policy(name, parse=False)
        token = root.auth.token.create(policies=[name])["auth"]["client_token"]
        assert root.sys.get_capabilities(["a/b"], token=token)["data"]["a/b"] == ["read"]

    def test_names_are_lower_case(self, root: hvac.Client, name: str) -> None:
        root.sys.create_or_update_acl_policy(name.upper(), READ_ONLY)
        assert root.sys.read_acl_policy(name)["data"]["policy"] == READ_ONLY

    def test_what_is_refused(self, root: hvac.Client, name: str) -> None:
        for text in ('path "x" { capabilities = ["fly"] }', 'path "x" {', 'path "x" { colour = "red" }', ""):
            with pytest.raises(InvalidRequest):
                root.sys.create_or_update_acl_policy(name, text)
        with pytest.raises(InvalidRequest):
            root.sys.create_or_update_acl_policy("root", READ_ONLY)
        with pytest.raises(InvalidRequest):
            root.sys.delete_acl_policy("root")
        with pytest.raises(InvalidRequest):
            root.sys.delete_acl_policy("default")

    def test_password_policies(self, root: hvac.Client, name: str) -> None:
        path = f"sys/policies/password/{name}"
        rules = (
            'length = 20\nrule "charset" {\n  charset = "abc"\n  min-chars = 1\n}\n'
            'rule "charset" {\n  charset = "0123456789"\n  min-chars = 2\n}'
        )
        root.write_data(path, data={"policy": rules})
        assert root.read(path)["data"]["policy"] == rules
        assert name in root.list("sys/policies/password")["data"]["keys"]
        passwords = {root.read(f"{path}/generate")["data"]["password"] for _ in range(5)}
        assert len(passwords) == 5
        for password in passwords:
            assert len(password) == 20
            assert set(password) <= set("abc0123456789")
            assert sum(c.isdigit() for c in password) >= 2
        root.delete(path)
        assert root.read(path) is None
        with pytest.raises(InvalidRequest):
            root.write_data(path, data={"policy": "length = 2"})


class TestMounts:
    def test_enable_list_tune_disable(self, root: hvac.Client, name: str) -> None:
        assert (
            root.sys.enable_secrets_engine(
                "kv", path=name, description="for tests", options={"version": "2"}, config={"default_lease_ttl": "1h"}
            ).status_code
            == 204
        )
        mount = root.sys.list_mounted_secrets_engines()["data"][f"{name}/"]
        assert (mount["type"], mount["description"], mount["options"]) == ("kv", "for tests", {"version": "2"})
        assert mount["config"]["default_lease_ttl"] == 3600
        assert mount["accessor"].startswith("kv_")
        assert len(mount["uuid"]) == 36

        assert (
            root.sys.tune_mount_configuration(
                name, max_lease_ttl="5h", description="changed", listing_visibility="unauth"
            ).status_code
            == 204
        )
        tuned = root.sys.read_mount_configuration(name)["data"]
        assert (tuned["default_lease_ttl"], tuned["max_lease_ttl"]) == (3600, 18000)
        assert (tuned["description"], tuned["listing_visibility"]) == ("changed", "unauth")

        assert root.sys.disable_secrets_engine(name).status_code == 204
        assert f"{name}/" not in root.sys.list_mounted_secrets_engines()["data"]
        with pytest.raises(InvalidRequest):
            root.sys.read_mount_configuration(name)

    def test_the_default_mounts(self, root: hvac.Client) -> None:
        mounts = root.sys.list_mounted_secrets_engines()["data"]
        assert {"cubbyhole/", "sys/", "secret/"} <= set(mounts)
        assert mounts["secret/"]["options"] == {"version": "2"}

    def test_moving_takes_the_secrets_along(self, root: hvac.Client, name: str) -> None:
        root.sys.enable_secrets_engine("kv", path=name, options={"version": "1"})
        root.secrets.kv.v1.create_or_update_secret("a", {"b": "c"}, method="POST", mount_point=name)
        moved = root.sys.move_backend(name, f"{name}-moved")
        status = moved if isinstance(moved, dict) else moved.json()
        assert status["data"]["migration_id"]
        for _ in range(200):
            state = root.read(f"sys/remount/status/{status['data']['migration_id']}")["data"]["migration_info"]
            if state["status"] != "in-progress":
                break
        assert state == {"source_mount": f"{name}/", "target_mount": f"{name}-moved/", "status": "success"}
        assert root.secrets.kv.v1.read_secret("a", mount_point=f"{name}-moved")["data"] == {"b": "c"}
        with pytest.raises(InvalidPath):
            root.secrets.kv.v1.read_secret("a", mount_point=name)

    def test_what_is_refused(self, root: hvac.Client, name: str) -> None:
        root.sys.enable_secrets_engine("kv", path=name)
        for path, kind in ((name, "kv"), (f"{name}/below", "kv"), ("sys/x", "kv"), (f"{name}-other", "no-such-engine")):
            with pytest.raises(InvalidRequest):
                root.sys.enable_secrets_engine(kind, path=path)
        with pytest.raises(InvalidRequest):
            root.sys.disable_secrets_engine("cubbyhole")
        assert root.sys.disable_secrets_engine(f"{name}-never").status_code == 204

    def test_disabling_destroys_the_secrets(self, root: hvac.Client, name: str) -> None:
        for _ in range(2):
            root.sys.enable_secrets_engine("kv", path=name, options={"version": "1"})
            with pytest.raises(InvalidPath):
                root.secrets.kv.v1.read_secret("a", mount_point=name)
            root.secrets.kv.v1.create_or_update_secret("a", {"b": "c"}, method="POST", mount_point=name)
            root.sys.disable_secrets_engine(name)


class TestAuthMethods:
    def test_the_token_method_is_there_and_stays(self, root: hvac.Client) -> None:
        method = root.sys.list_auth_methods()["data"]["token/"]
        assert method["type"] == "token"
        assert method["accessor"].startswith("auth_token_")
        with pytest.raises(InvalidRequest):
            root.sys.disable_auth_method("token")

    def test_tuning(self, root: hvac.Client) -> None:
        before = root.sys.read_auth_method_tuning("token")["data"]
        assert before["default_lease_ttl"] == 2764800
        assert root.sys.tune_auth_method("token", description="tuned by a test").status_code == 204
        assert root.sys.read_auth_method_tuning("token")["data"]["description"] == "tuned by a test"
        root.sys.tune_auth_method("token", description="token based credentials")

    def test_what_is_refused(self, root: hvac.Client, name: str) -> None:
        with pytest.raises(InvalidRequest):
            root.sys.enable_auth_method("no-such-method", path=name)
        with pytest.raises(InvalidRequest):
            root.sys.read_auth_method_tuning(name)
        assert root.sys.disable_auth_method(name).status_code == 204


class TestCapabilities:
    @pytest.fixture
    def limited(self, root: hvac.Client, dev_server: Server, name: str) -> Iterator[hvac.Client]:
        root.sys.create_or_update_policy(
            name,
            f'''
            path "{name}/read" {{ capabilities = ["read"] }}
            path "{name}/write/*" {{ capabilities = ["create", "update", "list"] }}
            path "{name}/write/denied" {{ capabilities = ["deny"] }}
            path "{name}/one/+/three" {{ capabilities = ["delete"] }}
            path "sys/capabilities*" {{ capabilities = ["update"] }}''',
        )
        root.sys.enable_secrets_engine("kv", path=name, options={"version": "1"})
        token = root.auth.token.create(policies=[name])["auth"]["client_token"]
        client = hvac.Client(url=dev_server.address, token=token)
        yield client
        client.adapter.close()

    def test_of_the_token_itself_of_another_and_by_accessor(
        self, root: hvac.Client, limited: hvac.Client, name: str
    ) -> None:
        expected = {
            f"{name}/read": ["read"],
            f"{name}/write/a/b": ["create", "list", "update"],
            f"{name}/write/denied": ["deny"],
            f"{name}/one/two/three": ["delete"],
            f"{name}/other": ["deny"],
        }
        paths = list(expected)
        accessor = limited.auth.token.lookup_self()["data"]["accessor"]
        for answer in (
            limited.sys.get_capabilities(paths),
            root.sys.get_capabilities(paths, token=limited.token),
            root.sys.get_capabilities(paths, accessor=accessor),
        ):
            assert {path: answer["data"][path] for path in paths} == expected
        assert root.sys.get_capabilities(["anything"])["data"]["capabilities"] == ["root"]

    def test_what_a_policy_allows_is_what_happens(self, root: hvac.Client, limited: hvac.Client, name: str) -> None:
        root.secrets.kv.v1.create_or_update_secret("read", {"v": "1"}, method="POST", mount_point=name)
        kv = limited.secrets.kv.v1
        assert kv.read_secret("read", mount_point=name)["data"] == {"v": "1"}
        kv.create_or_update_secret("write/x", {"v": "2"}, method="POST", mount_point=name)
        assert kv.list_secrets("write", mount_point=name)["data"]["keys"] == ["x"]
        for attempt in (
            lambda: kv.read_secret("write/x", mount_point=name),
            lambda: kv.delete_secret("read", mount_point=name),
            lambda: kv.create_or_update_secret("write/denied", {"v": "3"}, method="POST", mount_point=name),
            lambda: limited.sys.list_mounted_secrets_engines(),
            lambda: limited.sys.seal(),
        ):
            with pytest.raises(Forbidden, match="permission denied"):
                attempt()

    def test_changing_a_policy_changes_living_tokens(self, root: hvac.Client, limited: hvac.Client, name: str) -> None:
        root.secrets.kv.v1.create_or_update_secret("read", {"v": "1"}, method="POST", mount_point=name)
        limited.secrets.kv.v1.read_secret("read", mount_point=name)
        root.sys.delete_policy(name)
        with pytest.raises(Forbidden):
            limited.secrets.kv.v1.read_secret("read", mount_point=name)


class TestErrors:
    """Each status arrives as hvac's own exception, with our text in it."""

    def test_forbidden(self, dev_server: Server) -> None:
        client = hvac.Client(url=dev_server.address, token="wrong")
        with pytest.raises(Forbidden) as caught:
            client.secrets.kv.v2.read_secret("a", raise_on_deleted_version=True)
        assert caught.value.errors == ["permission denied"]
        client.adapter.close()

    def test_invalid_path(self, root: hvac.Client, name: str) -> None:
        with pytest.raises(InvalidPath, match="no handler for route"):
            root.secrets.kv.v1.read_secret("a", mount_point=name)
        with pytest.raises(InvalidPath) as caught:
            root.secrets.kv.v2.read_secret(f"absent-{name}", raise_on_deleted_version=True)
        assert caught.value.errors == []

    def test_invalid_request(self, root: hvac.Client) -> None:
        with pytest.raises(InvalidRequest):
            root.write_data("sys/policies/acl/x", data={"wrong": "field"})

    def test_unsupported_operation(self, root: hvac.Client) -> None:
        with pytest.raises(UnexpectedError, match="unsupported operation"):  # what hvac makes of a 405
            root.delete("sys/mounts")

    def test_an_address_without_a_server(self) -> None:
        client = hvac.Client(url="http://127.0.0.1:1", token="x")
        with pytest.raises(OSError, match="Connection refused"):
            client.sys.read_seal_status()
        client.adapter.close()

    def test_unknown_parameters_are_named_in_a_warning(self, root: hvac.Client, name: str) -> None:
        answer = root.write_data(f"secret/data/{name}", data={"data": {"a": "b"}, "extra": "1"})
        assert answer["warnings"] == ["Endpoint ignored these unrecognized parameters: [extra]"]

    def test_namespaces_that_do_not_exist(self, dev_server: Server) -> None:
        client = hvac.Client(url=dev_server.address, token=dev_server.token, namespace="no-such-namespace")
        with pytest.raises(VaultError):
            client.auth.token.lookup_self()
        client.adapter.close()
