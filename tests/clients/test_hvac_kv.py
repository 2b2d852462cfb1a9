"""hvac on the KV secrets engine, both versions: every call it has for them."""

from __future__ import annotations

from typing import Any

import hvac
import pytest
from hvac.exceptions import InvalidPath, InvalidRequest


class TestV1:
    @pytest.fixture
    def kv(self, root: hvac.Client, name: str) -> Any:
        root.sys.enable_secrets_engine("kv", path=name, options={"version": "1"})
        return root.secrets.kv.v1

    def test_what_is_written_is_read(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret(
            "app/db", {"user": "u", "n": 1, "nested": {"a": [True, None]}}, method="POST", mount_point=name
        )
        answer = kv.read_secret("app/db", mount_point=name)
        assert answer["data"] == {"user": "u", "n": 1, "nested": {"a": [True, None]}}
        assert answer["lease_duration"] == 2764800
        assert (answer["lease_id"], answer["renewable"]) == ("", False)

    def test_a_write_replaces_the_whole_secret(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("a", {"x": "1", "y": "2"}, method="PUT", mount_point=name)
        kv.create_or_update_secret("a", {"x": "3"}, mount_point=name)  # hvac asks for the capabilities itself
        assert kv.read_secret("a", mount_point=name)["data"] == {"x": "3"}

    def test_listing_shows_names_and_folders(self, kv: Any, name: str) -> None:
        for path in ("b", "a", "folder/x", "folder/sub/y"):
            kv.create_or_update_secret(path, {"v": path}, method="POST", mount_point=name)
        assert kv.list_secrets("", mount_point=name)["data"]["keys"] == ["a", "b", "folder/"]
        assert kv.list_secrets("folder", mount_point=name)["data"]["keys"] == ["sub/", "x"]

    def test_deleting_removes(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("gone", {"v": "1"}, method="POST", mount_point=name)
        assert kv.delete_secret("gone", mount_point=name).status_code == 204
        with pytest.raises(InvalidPath):
            kv.read_secret("gone", mount_point=name)
        assert kv.delete_secret("gone", mount_point=name).status_code == 204
        with pytest.raises(InvalidPath):
            kv.list_secrets("", mount_point=name)

    def test_an_empty_write_is_refused(self, kv: Any, name: str) -> None:
        with pytest.raises(InvalidRequest):
            kv.create_or_update_secret("empty", {}, method="POST", mount_point=name)

    def test_the_plain_calls_of_the_client_work_too(self, kv: Any, root: hvac.Client, name: str) -> None:
        root.write_data(f"{name}/plain", data={"k": "v", "ttl": "90s"})
        assert root.read(f"{name}/plain")["lease_duration"] == 90
        assert root.list(name)["data"]["keys"] == ["plain"]
        root.delete(f"{name}/plain")
        assert root.read(f"{name}/plain") is None


class TestV2:
    @pytest.fixture
    def kv(self, root: hvac.Client, name: str) -> Any:
        root.sys.enable_secrets_engine("kv", path=name, options={"version": "2"})
        return root.secrets.kv.v2

    def test_versions_count_up_and_stay_readable(self, kv: Any, name: str) -> None:
        first = kv.create_or_update_secret("app", {"v": "one"}, mount_point=name)["data"]
        assert (first["version"], first["deletion_time"], first["destroyed"]) == (1, "", False)
        assert kv.create_or_update_secret("app", {"v": "two"}, mount_point=name)["data"]["version"] == 2

        latest = kv.read_secret("app", mount_point=name, raise_on_deleted_version=True)["data"]
        assert latest["data"] == {"v": "two"}
        assert latest["metadata"]["version"] == 2
        old = kv.read_secret_version("app", version=1, mount_point=name, raise_on_deleted_version=True)
        assert old["data"]["data"] == {"v": "one"}
        assert old["data"]["metadata"]["created_time"] == first["created_time"]
        with pytest.raises(InvalidPath):
            kv.read_secret_version("app", version=3, mount_point=name, raise_on_deleted_version=True)

    def test_check_and_set(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("cas", {"v": 1}, cas=0, mount_point=name)
        with pytest.raises(InvalidRequest, match="check-and-set"):
            kv.create_or_update_secret("cas", {"v": 2}, cas=0, mount_point=name)
        assert kv.create_or_update_secret("cas", {"v": 2}, cas=1, mount_point=name)["data"]["version"] == 2

    @pytest.mark.filterwarnings("ignore:The raise_on_deleted_version:DeprecationWarning")  # inside hvac's patch
    def test_patch_reads_merges_and_writes_with_check_and_set(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("p", {"keep": "1", "change": "2"}, mount_point=name)
        assert kv.patch("p", {"change": "3"}, mount_point=name)["data"]["version"] == 2
        read = kv.read_secret("p", mount_point=name, raise_on_deleted_version=True)
        assert read["data"]["data"] == {"keep": "1", "change": "3"}
        with pytest.raises(InvalidPath):
            kv.patch("absent", {"a": "b"}, mount_point=name)

    def test_a_merge_patch_removes_what_is_null(self, kv: Any, root: hvac.Client, name: str) -> None:
        kv.create_or_update_secret("p", {"keep": "1", "nested": {"a": 1, "b": 2}}, mount_point=name)
        root.adapter.request(
            "patch",
            f"/v1/{name}/data/p",
            json={"data": {"nested": {"b": None}}},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        read = kv.read_secret("p", mount_point=name, raise_on_deleted_version=True)
        assert read["data"]["data"] == {"keep": "1", "nested": {"a": 1}}

    def test_a_deleted_version_can_be_undeleted(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("d", {"v": "one"}, mount_point=name)
        assert kv.delete_latest_version_of_secret("d", mount_point=name).status_code == 204
        with pytest.raises(InvalidPath):
            kv.read_secret("d", mount_point=name, raise_on_deleted_version=True)
        shell = kv.read_secret("d", mount_point=name, raise_on_deleted_version=False)["data"]
        assert shell["data"] is None
        assert shell["metadata"]["deletion_time"]

        assert kv.undelete_secret_versions("d", [1], mount_point=name).status_code == 204
        assert kv.read_secret("d", mount_point=name, raise_on_deleted_version=True)["data"]["data"] == {"v": "one"}

    def test_chosen_versions_are_deleted(self, kv: Any, name: str) -> None:
        for value in ("one", "two", "three"):
            kv.create_or_update_secret("d", {"v": value}, mount_point=name)
        kv.delete_secret_versions("d", [1, 2], mount_point=name)
        versions = kv.read_secret_metadata("d", mount_point=name)["data"]["versions"]
        assert [bool(versions[str(n)]["deletion_time"]) for n in (1, 2, 3)] == [True, True, False]

    def test_destroyed_data_does_not_come_back(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("x", {"v": "one"}, mount_point=name)
        kv.create_or_update_secret("x", {"v": "two"}, mount_point=name)
        assert kv.destroy_secret_versions("x", [1], mount_point=name).status_code == 204
        kv.undelete_secret_versions("x", [1], mount_point=name)
        with pytest.raises(InvalidPath):
            kv.read_secret_version("x", version=1, mount_point=name, raise_on_deleted_version=True)
        metadata = kv.read_secret_metadata("x", mount_point=name)["data"]
        assert metadata["versions"]["1"]["destroyed"] is True
        assert metadata["versions"]["2"]["destroyed"] is False

    def test_metadata_says_what_exists_and_takes_settings(self, kv: Any, name: str) -> None:
        kv.update_metadata(
            "m",
            max_versions=2,
            cas_required=False,
            delete_version_after="1h",
            custom_metadata={"owner": "ops"},
            mount_point=name,
        )
        for value in range(3):
            kv.create_or_update_secret("m", {"v": value}, mount_point=name)
        metadata = kv.read_secret_metadata("m", mount_point=name)["data"]
        assert (metadata["max_versions"], metadata["delete_version_after"]) == (2, "1h0m0s")
        assert (metadata["current_version"], metadata["oldest_version"]) == (3, 2)
        assert set(metadata["versions"]) == {"2", "3"}
        assert metadata["custom_metadata"] == {"owner": "ops"}
        read = kv.read_secret("m", mount_point=name, raise_on_deleted_version=True)["data"]
        assert read["metadata"]["custom_metadata"] == {"owner": "ops"}
        assert read["metadata"]["deletion_time"], "delete_version_after sets the time ahead"

    def test_a_key_can_insist_on_check_and_set(self, kv: Any, name: str) -> None:
        kv.update_metadata("strict", cas_required=True, mount_point=name)
        with pytest.raises(InvalidRequest, match="check-and-set"):
            kv.create_or_update_secret("strict", {"v": 1}, mount_point=name)
        assert kv.create_or_update_secret("strict", {"v": 1}, cas=0, mount_point=name)["data"]["version"] == 1

    def test_deleting_the_metadata_removes_everything(self, kv: Any, name: str) -> None:
        kv.create_or_update_secret("all", {"v": "one"}, mount_point=name)
        assert kv.delete_metadata_and_all_versions("all", mount_point=name).status_code == 204
        with pytest.raises(InvalidPath):
            kv.read_secret_metadata("all", mount_point=name)
        with pytest.raises(InvalidPath):
            kv.read_secret("all", mount_point=name, raise_on_deleted_version=False)
        assert kv.create_or_update_secret("all", {"v": "new"}, mount_point=name)["data"]["version"] == 1

    def test_listing_shows_names_and_folders(self, kv: Any, name: str) -> None:
        for path in ("b", "a", "folder/x"):
            kv.create_or_update_secret(path, {"v": path}, mount_point=name)
        kv.delete_latest_version_of_secret("b", mount_point=name)
        assert kv.list_secrets("", mount_point=name)["data"]["keys"] == ["a", "b", "folder/"]
        assert kv.list_secrets("folder", mount_point=name)["data"]["keys"] == ["x"]
        with pytest.raises(InvalidPath):
            kv.list_secrets("nothing-here", mount_point=name)

    def test_the_mount_has_settings_of_its_own(self, kv: Any, name: str) -> None:
        assert kv.read_configuration(mount_point=name)["data"]["cas_required"] is False
        assert (
            kv.configure(max_versions=3, cas_required=True, delete_version_after="90s", mount_point=name).status_code
            == 204
        )
        settings = kv.read_configuration(mount_point=name)["data"]
        assert (settings["max_versions"], settings["cas_required"]) == (3, True)
        assert settings["delete_version_after"] == "1m30s"
        with pytest.raises(InvalidRequest):
            kv.create_or_update_secret("x", {"v": 1}, mount_point=name)

    def test_subkeys_show_the_shape_without_the_values(self, kv: Any, root: hvac.Client, name: str) -> None:
        kv.create_or_update_secret("s", {"a": "secret", "b": {"c": "secret", "d": {"e": 1}}}, mount_point=name)
        full = root.read(f"{name}/subkeys/s")["data"]
        assert full["subkeys"] == {"a": None, "b": {"c": None, "d": {"e": None}}}
        assert full["metadata"]["version"] == 1
        shallow = root.adapter.get(f"/v1/{name}/subkeys/s", params={"depth": 1})["data"]
        assert shallow["subkeys"] == {"a": None, "b": None}

    def test_the_generic_front_reads_and_writes_version_2(self, kv: Any, root: hvac.Client, name: str) -> None:
        assert root.secrets.kv.default_kv_version == "2"
        root.secrets.kv.create_or_update_secret("g", {"v": "1"}, mount_point=name)
        assert root.secrets.kv.read_secret_version("g", mount_point=name, raise_on_deleted_version=True)["data"][
            "data"
        ] == {"v": "1"}
        assert root.sys.retrieve_mount_option(name, "version") == "2"
