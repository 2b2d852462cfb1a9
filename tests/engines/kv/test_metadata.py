from __future__ import annotations

import pytest
from caveau.framework.clock import rfc3339
from caveau.framework.errors import InvalidRequest, NotFound

START = 1_750_000_000
NEW = {
    "cas_required": False,
    "created_time": rfc3339(START),
    "current_metadata_version": 1,
    "current_version": 0,
    "custom_metadata": None,
    "delete_version_after": "0s",
    "max_versions": 0,
    "metadata_cas_required": False,
    "oldest_version": 0,
    "updated_time": rfc3339(START),
    "versions": {},
}


async def _metadata(kv2, path="a"):
    return (await kv2("read", f"metadata/{path}")).data


async def test_metadata_of_written_data(kv2):
    await kv2("update", "data/a", data={})
    kv2.clock.advance(5)
    await kv2("update", "data/a", data={})
    assert await _metadata(kv2) == NEW | {
        "current_metadata_version": 0,
        "current_version": 2,
        "updated_time": rfc3339(START + 5),
        "versions": {
            "1": {"created_time": rfc3339(START), "deletion_time": "", "destroyed": False},
            "2": {"created_time": rfc3339(START + 5), "deletion_time": "", "destroyed": False},
        },
    }


@pytest.mark.parametrize("op", ["update", "patch"])
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"cas_required": "true"}, {"cas_required": True}),
        ({"max_versions": "3"}, {"max_versions": 3}),
        ({"delete_version_after": "90m"}, {"delete_version_after": "1h30m0s"}),
        ({"custom_metadata": {"a": "b", "n": 1, "t": True, "f": 1.5}},
         {"custom_metadata": {"a": "b", "n": "1", "t": "1", "f": "1.5"}}),
        ({"custom_metadata": {"é": "日 本"}}, {"custom_metadata": {"é": "日 本"}}),
        ({"custom_metadata": {}}, {}),
        ({"custom_metadata": None}, {}),
        ({"metadata_cas_required": True}, {"metadata_cas_required": True}),
    ],
)  # fmt: skip
async def test_settings(kv2, op, given, shown):
    if op == "patch":
        await kv2("update", "metadata/a", max_versions=0)
        shown = shown | {"current_metadata_version": 2}
    assert (await kv2(op, "metadata/a", given)).status == 204
    assert await _metadata(kv2) == NEW | shown


async def test_settings_not_given_stay_and_data_is_untouched(kv2):
    await kv2("update", "metadata/a", custom_metadata={"k": "v"}, max_versions=4)
    assert (await kv2("update", "data/a", data={"x": 1})).data["custom_metadata"] == {"k": "v"}
    kv2.clock.advance(1)
    await kv2("update", "metadata/a", cas_required=True)
    metadata = await _metadata(kv2)
    assert metadata["custom_metadata"] == {"k": "v"}
    assert (metadata["max_versions"], metadata["current_metadata_version"]) == (4, 2)
    assert metadata["updated_time"] == rfc3339(START + 1)
    assert (await kv2("read", "data/a")).data["data"] == {"x": 1}


@pytest.mark.parametrize("op", ["update", "patch"])
async def test_custom_metadata(kv2, op):
    await kv2("update", "metadata/a", custom_metadata={"a": "1", "b": "2"})
    await kv2(op, "metadata/a", custom_metadata={"c": "3"})
    kept = {"a": "1", "b": "2"} if op == "patch" else {}
    assert (await _metadata(kv2))["custom_metadata"] == kept | {"c": "3"}
    await kv2(op, "metadata/a", custom_metadata=None)
    assert (await _metadata(kv2))["custom_metadata"] is None


async def test_patching_removes_what_is_null(kv2):
    settings = {"max_versions": 3, "cas_required": True, "delete_version_after": "1h"}
    await kv2("update", "metadata/a", custom_metadata={"a": "1", "b": "2"}, **settings)
    await kv2("patch", "metadata/a", custom_metadata={"a": None, "none": None}, **dict.fromkeys(settings))
    assert await _metadata(kv2) == NEW | {"custom_metadata": {"b": "2"}, "current_metadata_version": 2}


@pytest.mark.parametrize("given", [{}, {"metadata_cas": 5}])
async def test_writing_no_setting_does_nothing(kv2, given):
    assert (await kv2("update", "metadata/a", given)).status == 204
    with pytest.raises(NotFound):
        await kv2("read", "metadata/a")
    await kv2("update", "metadata/a", max_versions=0)
    for op in ("update", "patch"):
        assert (await kv2(op, "metadata/a", given)).status == 204
    assert await _metadata(kv2) == NEW


async def test_patching_what_is_not_there_answers_404_without_a_body(kv2):
    answer = await kv2("patch", "metadata/a", max_versions=1)
    assert (answer.status, answer.body) == (404, b"")


LONG_KEY, LONG_VALUE = "k" * 129, "v" * 513


@pytest.mark.parametrize("op", ["update", "patch"])
@pytest.mark.parametrize(
    ("custom", "messages"),
    [
        ({"": "b"}, ['length of key "" is 0 but must be 0 < len(key) <= 128']),
        ({"a": ""}, ['length of value for key "a" is 0 but must be 0 < len(value) <= 512']),
        ({LONG_KEY: "b", "c": LONG_VALUE}, [
            f'length of key "{LONG_KEY}" is 129 but must be 0 < len(key) <= 128',
            'length of value for key "c" is 513 but must be 0 < len(value) <= 512']),
        ({"é" * 65: "b"}, [f'length of key "{"é" * 65}" is 130 but must be 0 < len(key) <= 128']),
        ({"a": "\a", "b": "\n"}, ['value for key "a" contains unprintable characters',
                                  'value for key "b" contains unprintable characters']),
        ({"c\t": "q"}, ['key "c\\t" contains unprintable characters']),
        ({"b": "\u00a0"}, ['value for key "b" contains unprintable characters']),
        ({str(n): "x" for n in range(65)}, ["payload must contain at most 64 keys, provided 65"]),
    ],
)  # fmt: skip
async def test_limits_of_custom_metadata(kv2, op, custom, messages):
    await kv2("update", "metadata/a", max_versions=0)
    with pytest.raises(InvalidRequest) as error:
        await kv2(op, "metadata/a", custom_metadata=custom)
    count = "1 error" if len(messages) == 1 else f"{len(messages)} errors"
    lines = "".join(f"\t* custom_metadata validation failed: {m}\n" for m in messages)
    assert str(error.value) == f"{count} occurred:\n{lines}\n"
    assert await _metadata(kv2) == NEW


async def test_custom_metadata_at_its_limits(kv2):
    custom = {f"{n:0128}": "v" * 512 for n in range(64)}
    await kv2("update", "metadata/a", custom_metadata=custom)
    assert (await _metadata(kv2))["custom_metadata"] == custom
    with pytest.raises(InvalidRequest, match="provided 65"):  # not by one patch after another either
        await kv2("patch", "metadata/a", custom_metadata={"one more": "x"})


@pytest.mark.parametrize("op", ["update", "patch"])
@pytest.mark.parametrize("value", [{"b": 1}, [1]])
async def test_custom_metadata_is_flat(kv2, op, value):
    await kv2("update", "metadata/a", max_versions=0)
    with pytest.raises(InvalidRequest, match=r"^custom_metadata validation failed: expected type 'string'"):
        await kv2(op, "metadata/a", custom_metadata={"a": value})


@pytest.mark.parametrize(
    "given",
    [
        {"custom_metadata": "x"},
        {"custom_metadata": ["a=b"]},
        {"max_versions": "x"},
        {"max_versions": -3},
        {"delete_version_after": "-7s"},
        {"delete_version_after": "x"},
        {"metadata_cas": "x"},
    ],
)
async def test_bad_settings(kv2, given):
    with pytest.raises(InvalidRequest, match=next(iter(given))):
        await kv2("update", "metadata/a", given)


@pytest.mark.parametrize("op", ["update", "patch"])
@pytest.mark.parametrize("path", ["metadata/", "metadata/a/"])
async def test_folders_have_no_metadata(kv2, op, path):
    with pytest.raises(InvalidRequest, match=r"^cannot write to a path ending in '/'$"):
        await kv2(op, path, max_versions=1)


async def test_check_and_set_of_metadata(kv2):
    with pytest.raises(InvalidRequest, match=r"^metadata_cas must be 0 when creating new metadata$"):
        await kv2("update", "metadata/a", max_versions=1, metadata_cas=1)
    await kv2("update", "metadata/a", max_versions=1, metadata_cas=0)
    for op in ("update", "patch"):
        for wrong in (0, 7, -1):
            with pytest.raises(InvalidRequest, match=r"^metadata check-and-set parameter does not match the current"):
                await kv2(op, "metadata/a", max_versions=2, metadata_cas=wrong)
    await kv2("update", "metadata/a", max_versions=2, metadata_cas="1")
    await kv2("patch", "metadata/a", max_versions=3, metadata_cas=2)
    metadata = await _metadata(kv2)
    assert (metadata["max_versions"], metadata["current_metadata_version"]) == (3, 3)


@pytest.mark.parametrize("path", ["config", "metadata/a"])
async def test_check_and_set_of_metadata_required_by_the_mount_or_the_secret(kv2, path):
    await kv2("update", "metadata/a", max_versions=1)
    await kv2("update", path, metadata_cas_required=True)
    for op in ("update", "patch"):
        with pytest.raises(InvalidRequest, match=r"^metadata check-and-set parameter required for this call$"):
            await kv2(op, "metadata/a", max_versions=2)
    current = (await _metadata(kv2))["current_metadata_version"]
    await kv2("update", "metadata/a", max_versions=2, metadata_cas=current)
    if path == "config":
        with pytest.raises(InvalidRequest, match="required for this call"):
            await kv2("update", "metadata/new", max_versions=2)


@pytest.mark.parametrize("op", ["update", "patch"])
@pytest.mark.parametrize("name", ["cas_required", "metadata_cas_required"])
async def test_what_the_mount_mandates_cannot_be_switched_off(kv2, op, name):
    await kv2("update", "metadata/a", max_versions=1)
    assert (await kv2(op, "metadata/a", {name: False, "metadata_cas": 1})).warnings == []
    await kv2("update", "config", {name: True})
    answer = await kv2(op, "metadata/a", {name: False, "metadata_cas": 2})
    assert answer.warnings == [f'"{name}" set to false, but is mandated by backend config. This value will be ignored.']


@pytest.mark.parametrize("path", ["nothing", "", "a/", "d"])
async def test_reading_what_is_not_there(kv2, path):
    await kv2("update", "data/a", data={})
    await kv2("update", "data/d/x", data={})
    with pytest.raises(NotFound):
        await kv2("read", f"metadata/{path}")


async def test_deleting_removes_everything(kv2):
    for path in ("a", "a/b"):
        for _ in range(3):
            await kv2("update", f"data/{path}", data={})
    assert (await kv2("delete", "metadata/a")).status == 204
    assert await kv2.keys() == ["metadata/a/b", "versions/a/b/1", "versions/a/b/2", "versions/a/b/3"]
    for path in ("a", "nothing", "", "a/"):
        assert (await kv2("delete", f"metadata/{path}")).status == 204
    assert (await kv2("update", "data/a", data={})).data["version"] == 1


async def test_existence_tells_create_from_update(kv2):
    assert not await kv2.exists("metadata/a")
    await kv2("update", "metadata/a", max_versions=1)
    assert await kv2.exists("metadata/a")


# Listing


async def _fill(kv2):
    for path in ("a", "d", "d/x/1", "d/x/2", "d/y", "dv", "e/z", "s"):
        await kv2("update", f"data/{path}", data={"at": path})


@pytest.mark.parametrize("top", ["metadata", "detailed-metadata"])
@pytest.mark.parametrize(
    ("folder", "page", "keys"),
    [
        ("", {}, ["a", "d", "d/", "dv", "e/", "s"]),
        ("/", {}, ["a", "d", "d/", "dv", "e/", "s"]),
        ("/d", {}, ["x/", "y"]),
        ("/d/", {}, ["x/", "y"]),
        ("", {"limit": 2}, ["a", "d"]),
        ("", {"limit": "2", "after": "a"}, ["d", "d/"]),
        ("", {"after": "d"}, ["d/", "dv", "e/", "s"]),
        ("", {"after": "d/", "limit": 1}, ["dv"]),
        ("", {"after": "d0"}, ["dv", "e/", "s"]),
        ("", {"limit": 0}, ["a", "d", "d/", "dv", "e/", "s"]),
        ("", {"limit": -1}, ["a", "d", "d/", "dv", "e/", "s"]),
    ],
)
async def test_listing(kv2, top, folder, page, keys):
    await _fill(kv2)
    answer = await kv2("list", top + folder, page)
    assert (answer.data["keys"], answer.warnings) == (keys, [])


@pytest.mark.parametrize("top", ["metadata", "detailed-metadata"])
@pytest.mark.parametrize(("folder", "page"), [("/nothing", {}), ("", {"after": "zz"}), ("/a", {})])
async def test_listing_nothing(kv2, top, folder, page):
    await _fill(kv2)
    with pytest.raises(NotFound):
        await kv2("list", top + folder, page)


async def test_a_limit_that_is_no_number(kv2):
    with pytest.raises(InvalidRequest, match='"limit"'):
        await kv2("list", "metadata", limit="x")


@pytest.mark.parametrize("top", ["metadata", "detailed-metadata"])
@pytest.mark.parametrize("page", [{}, {"limit": 2}, {"after": "d"}])
async def test_scanning(kv2, top, page):
    await _fill(kv2)
    assert (await kv2("scan", top, page)).data["keys"] == ["a", "d", "dv", "s", "e/z", "d/y", "d/x/1", "d/x/2"]
    assert (await kv2("scan", f"{top}/d", page)).data["keys"] == ["y", "x/1", "x/2"]
    assert (await kv2("scan", f"{top}/nothing", page)).data == {}


@pytest.mark.parametrize(("op", "folders"), [("list", {"x/": {}}), ("scan", {})])
async def test_details_are_the_metadata_of_each_secret(kv2, op, folders):
    await _fill(kv2)
    answer = await kv2(op, "detailed-metadata/d")
    secrets = {key: await _metadata(kv2, f"d/{key}") for key in answer.data["keys"] if not key.endswith("/")}
    assert answer.data["key_info"] == folders | secrets
    assert "y" in secrets


async def test_a_folder_does_not_show_the_metadata_of_the_secret_of_its_name(kv2):
    await _fill(kv2)
    info = (await kv2("list", "detailed-metadata")).data["key_info"]
    assert info["d/"] == {}
    assert info["d"]["current_version"] == 1
