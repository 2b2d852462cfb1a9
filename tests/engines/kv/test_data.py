from __future__ import annotations

import pytest
from caveau.engines.kv.data import merge_patch
from caveau.framework.clock import rfc3339
from caveau.framework.errors import CaveauError, InvalidRequest, NotFound

START = 1_750_000_000


def _version(number, *, created=START, deletion=None, destroyed=False, custom=None):
    return {
        "created_time": rfc3339(created),
        "custom_metadata": custom,
        "deletion_time": "" if deletion is None else rfc3339(deletion),
        "destroyed": destroyed,
        "version": number,
    }


async def test_writing_answers_with_the_version(kv2):
    answer = await kv2("update", "data/a/b", data={"x": 1})
    assert (answer.status, answer.data) == (200, _version(1))


@pytest.mark.parametrize("version", [None, 0, -1, "2", 2, ""])
async def test_reading_the_latest_version(kv2, version):
    await kv2("update", "data/a", data={"x": 1})
    kv2.clock.advance(5)
    await kv2("update", "data/a", data={"y": {"z": [2]}})
    answer = await kv2("read", "data/a", {} if version is None else {"version": version})
    assert (answer.status, answer.data) == (
        200,
        {"data": {"y": {"z": [2]}}, "metadata": _version(2, created=START + 5)},
    )


async def test_reading_an_earlier_version(kv2):
    await kv2("update", "data/a", data={"x": 1})
    await kv2("update", "data/a", data={"x": 2})
    answer = await kv2("read", "data/a", version="1")
    assert answer.data == {"data": {"x": 1}, "metadata": _version(1)}


@pytest.mark.parametrize(
    ("path", "version"), [("data/nothing", 0), ("data/a", 99), ("data/", 0), ("data/a/", 0), ("data/dir", 0)]
)
async def test_reading_what_never_was(kv2, path, version):
    await kv2("update", "data/a", data={"x": 1})
    await kv2("update", "data/dir/x", data={"x": 1})
    with pytest.raises(NotFound) as error:
        await kv2("read", path, version=version)
    assert error.value.messages == []


async def test_a_version_that_is_no_number(kv2):
    with pytest.raises(InvalidRequest, match='"version"'):
        await kv2("read", "data/a", version="x")


@pytest.mark.parametrize("data", [None, {}, {"": ""}, {"n": 12345678901234567890123, "f": 1.5, "u": "<é\u2028>"}])
async def test_data_comes_back_as_written(kv2, data):
    await kv2("update", "data/a", data=data)
    assert (await kv2("read", "data/a")).data["data"] == data


@pytest.mark.parametrize("op", ["update", "patch"])
@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("data/a", {}, "no data provided"),
        ("data/a", {"options": {"cas": 1}}, "no data provided"),
        ("data/a/", {"data": {}}, "cannot write to a path ending in '/'"),
        ("data/a", {"data": [1]}, '"data"'),
        ("data/a", {"data": "x"}, '"data"'),
        ("data/a", {"data": {}, "options": "x"}, '"options"'),
        ("data/a", {"data": {}, "options": {"cas": "zz"}}, "error parsing check-and-set parameter"),
        ("data/a", {"data": {}, "options": {"cas": 1.5}}, "error parsing check-and-set parameter"),
        ("data/a", {"data": {}, "options": {"cas": []}}, "error parsing check-and-set parameter"),
    ],
)
async def test_bad_writes(kv2, op, path, body, message):
    await kv2("update", "data/a", data={"x": 1})
    with pytest.raises(InvalidRequest) as error:
        await kv2(op, path, body)
    assert message in str(error.value)
    assert (await kv2("read", "data/a")).data["metadata"]["version"] == 1


@pytest.mark.parametrize("cas", [2, "2", 2.0])
@pytest.mark.parametrize("op", ["update", "patch"])
async def test_check_and_set_with_the_current_version(kv2, op, cas):
    for _ in range(2):
        await kv2("update", "data/a", data={"x": 1})
    assert (await kv2(op, "data/a", data={"x": 2}, options={"cas": cas})).data["version"] == 3


@pytest.mark.parametrize("cas", [0, 1, 3, -1, None, True, "", "1"])
@pytest.mark.parametrize("op", ["update", "patch"])
async def test_check_and_set_with_another_version(kv2, op, cas):
    for _ in range(2):
        await kv2("update", "data/a", data={"x": 1})
    with pytest.raises(InvalidRequest, match=r"^check-and-set parameter did not match the current version$"):
        await kv2(op, "data/a", data={"x": 2}, options={"cas": cas})


async def test_check_and_set_zero_creates_and_nothing_else(kv2):
    with pytest.raises(InvalidRequest, match="did not match"):
        await kv2("update", "data/a", data={}, options={"cas": 1})
    await kv2("update", "data/a", data={}, options={"cas": 0})
    with pytest.raises(InvalidRequest, match="did not match"):
        await kv2("update", "data/a", data={}, options={"cas": 0})


@pytest.mark.parametrize("path", ["config", "metadata/a"])
@pytest.mark.parametrize("options", [None, {}, {"other": 1}])
async def test_check_and_set_required_by_the_mount_or_the_secret(kv2, path, options):
    await kv2("update", "data/a", data={})
    await kv2("update", path, cas_required=True)
    for op in ("update", "patch"):
        with pytest.raises(InvalidRequest, match=r"^check-and-set parameter required for this call$"):
            await kv2(op, "data/a", data={}, options=options)
    await kv2("update", "data/a", data={}, options={"cas": 1})


async def test_parameters_of_reads_are_accepted_in_writes(kv2):
    assert (await kv2("update", "data/a", data={}, version=1)).warnings == []
    answer = await kv2("update", "data/a", data={}, zip=1)
    assert answer.warnings == ["Endpoint ignored these unrecognized parameters: [zip]"]


async def test_patching_merges_into_the_latest_version(kv2):
    await kv2("update", "data/a", data={"x": 0, "y": {"z": 1, "k": 2}, "w": 2**70})
    answer = await kv2("patch", "data/a", data={"x": None, "y": {"z": 3, "q": None}, "n": {"a": None, "b": 1}})
    assert answer.data == _version(2)
    assert (await kv2("read", "data/a")).data["data"] == {"n": {"b": 1}, "w": 2**70, "y": {"k": 2, "z": 3}}
    assert (await kv2("read", "data/a", version=1)).data["data"]["x"] == 0


async def test_patching_with_null_and_from_null(kv2):
    await kv2("update", "data/a", data={"x": 0})
    await kv2("patch", "data/a", data=None)
    assert (await kv2("read", "data/a")).data["data"] is None
    await kv2("patch", "data/a", data={"y": 1})
    assert (await kv2("read", "data/a")).data["data"] == {"y": 1}


# RFC 7386, appendix A
@pytest.mark.parametrize(
    ("target", "change", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, change, result):
    assert merge_patch(target, change) == result


@pytest.mark.parametrize("settings_only", [False, True])
async def test_patching_what_is_not_there_answers_404_without_a_body(kv2, settings_only):
    if settings_only:
        await kv2("update", "metadata/a", max_versions=1)
    answer = await kv2("patch", "data/a", data={"x": 1}, options={"cas": 5})
    assert (answer.status, answer.body, answer.data) == (404, b"", None)


async def test_patching_a_deleted_version_answers_404_with_what_it_is(kv2):
    await kv2("update", "data/a", data={"x": 1})
    await kv2("delete", "data/a")
    answer = await kv2("patch", "data/a", data={"x": 2})
    assert (answer.status, answer.data) == (404, _version(1, deletion=START))
    await kv2("update", "destroy/a", versions=[1])
    answer = await kv2("patch", "data/a", data={"x": 2})
    assert (answer.status, answer.data) == (404, _version(1, deletion=START, destroyed=True))


async def test_a_deleted_version_answers_404_with_what_it_is(kv2):
    await kv2("update", "metadata/a", custom_metadata={"k": "v"})
    await kv2("update", "data/a", data={"x": 1})
    await kv2("update", "data/a", data={"x": 2})
    kv2.clock.advance(3)
    assert (await kv2("delete", "data/a")).status == 204
    answer = await kv2("read", "data/a")
    gone = _version(2, deletion=START + 3, custom={"k": "v"})
    assert (answer.status, answer.data) == (404, {"data": None, "metadata": gone})
    assert (await kv2("read", "data/a", version=1)).status == 200
    kv2.clock.advance(3)
    await kv2("delete", "data/a")  # deleted already: the time stays
    assert (await kv2("read", "data/a")).data["metadata"] == gone


@pytest.mark.parametrize("path", ["data/nothing", "data/settings", "data/", "data/a/"])
async def test_deleting_what_is_not_there(kv2, path):
    await kv2("update", "metadata/settings", max_versions=1)
    await kv2("update", "data/a", data={})
    before = await kv2.keys()
    assert (await kv2("delete", path)).status == 204
    assert await kv2.keys() == before
    assert (await kv2("read", "data/a")).status == 200


async def test_writing_after_a_delete_makes_the_next_version(kv2):
    await kv2("update", "data/a", data={"x": 1})
    await kv2("delete", "data/a")
    assert (await kv2("update", "data/a", data={"x": 2})).data == _version(2)


@pytest.mark.parametrize(
    ("mount_limit", "secret_limit", "kept"),
    [(0, 0, 10), (3, 0, 3), (0, 2, 2), (5, 3, 5), (2, 4, 4), (1, 0, 1)],
)
async def test_old_versions_are_pruned(kv2, mount_limit, secret_limit, kept):
    await kv2("update", "config", max_versions=mount_limit)
    await kv2("update", "metadata/a", max_versions=secret_limit)
    for number in range(1, 14):
        await kv2("update", "data/a", data={"n": number})
        oldest = (await kv2("read", "metadata/a")).data["oldest_version"]
        assert oldest == (number - kept + 1 if number > kept else 0)
    with pytest.raises(NotFound):
        await kv2("read", "data/a", version=13 - kept)
    assert (await kv2("read", "data/a", version=14 - kept)).data["data"] == {"n": 14 - kept}
    stored = sorted(f"versions/a/{n}" for n in range(14 - kept, 14))
    assert [key for key in await kv2.keys() if key.startswith("versions/")] == stored


async def test_a_lower_limit_takes_effect_with_the_next_write(kv2):
    for _ in range(8):
        await kv2("update", "data/a", data={})
    await kv2("update", "metadata/a", max_versions=2)
    assert len((await kv2("read", "metadata/a")).data["versions"]) == 8
    await kv2("update", "data/a", data={})
    assert list((await kv2("read", "metadata/a")).data["versions"]) == ["8", "9"]
    await kv2("update", "metadata/a", max_versions=5)
    await kv2("update", "data/a", data={})
    metadata = (await kv2("read", "metadata/a")).data
    assert (list(metadata["versions"]), metadata["oldest_version"]) == (["10", "8", "9"], 8)


@pytest.mark.parametrize(
    ("mount_seconds", "secret_seconds", "lifetime"),
    [
        ("0", "0", None),
        ("2h", "0", 7200),
        ("0", "1h", 3600),
        ("2h", "1h", 3600),
        ("1h", "5h", 3600),
        ("-1s", "1h", None),
        ("-5m", "0", None),
    ],
)
async def test_versions_delete_themselves(kv2, mount_seconds, secret_seconds, lifetime):
    await kv2("update", "config", delete_version_after=mount_seconds)
    await kv2("update", "metadata/a", delete_version_after=secret_seconds)
    answer = await kv2("update", "data/a", data={"x": 1})
    assert answer.data == _version(1, deletion=None if lifetime is None else START + lifetime)
    kv2.clock.advance((lifetime or 10**6) - 1)
    assert (await kv2("read", "data/a")).status == 200
    kv2.clock.advance(1)
    answer = await kv2("read", "data/a")
    assert answer.status == (200 if lifetime is None else 404)
    assert (answer.data["data"] is None) == (lifetime is not None)


async def test_existence_tells_create_from_update(kv2):
    for path in ("a", "a/", ""):
        assert not await kv2.exists(f"data/{path}")
    await kv2("update", "data/a", data={})
    assert await kv2.exists("data/a")
    await kv2("delete", "data/a")
    assert await kv2.exists("data/a")
    await kv2("delete", "metadata/a")
    assert not await kv2.exists("data/a")


async def test_secrets_inside_secrets_do_not_touch_each_other(kv2):
    for path in ("a", "a/1", "a/1/1"):
        for number in (1, 2):
            await kv2("update", f"data/{path}", data={"at": path, "n": number})
    await kv2("update", "destroy/a", versions=[1])
    for path in ("a/1", "a/1/1"):
        for number in (1, 2):
            assert (await kv2("read", f"data/{path}", version=number)).data["data"] == {"at": path, "n": number}


async def test_a_version_destroyed_between_the_two_reads_of_a_read_is_a_404(kv2):
    await kv2("update", "data/a", data={"x": 1})
    engine, real = kv2.engine, kv2.engine.data

    async def late(storage, path, number):
        engine.data = real
        await kv2("update", "destroy/a", versions=[1])
        return await real(storage, path, number)

    engine.data = late
    answer = await kv2("read", "data/a")
    assert (answer.status, answer.data["metadata"]["destroyed"]) == (404, True)


async def test_lost_data_is_an_error_and_no_empty_secret(kv2):
    await kv2("update", "data/a", data={"x": 1})

    async def lose(txn):
        txn.delete("m/versions/a/1")

    await kv2.store.run(lose)
    for op in ("read", "patch"):
        with pytest.raises(CaveauError, match="version 1 is missing"):
            await kv2(op, "data/a", {} if op == "read" else {"data": {}})


# subkeys

DEEP = {"a": {"b": {"c": 1, "e": {}}, "x": [{"y": 1}]}, "n": None, "s": "secret"}


@pytest.mark.parametrize(
    ("depth", "subkeys"),
    [
        ("0", {"a": {"b": {"c": None, "e": None}, "x": None}, "n": None, "s": None}),
        (3, {"a": {"b": {"c": None, "e": None}, "x": None}, "n": None, "s": None}),
        (2, {"a": {"b": None, "x": None}, "n": None, "s": None}),
        (1, {"a": None, "n": None, "s": None}),
        (-1, {"a": None, "n": None, "s": None}),
    ],
)
async def test_subkeys_show_names_without_values(kv2, depth, subkeys):
    await kv2("update", "data/a", data=DEEP)
    await kv2("update", "data/a", data={})
    answer = await kv2("read", "subkeys/a", version=1, depth=depth)
    assert (answer.status, answer.data) == (200, {"metadata": _version(1), "subkeys": subkeys})


@pytest.mark.parametrize("data", [None, {}])
async def test_subkeys_of_nothing(kv2, data):
    await kv2("update", "data/a", data=data)
    assert (await kv2("read", "subkeys/a")).data["subkeys"] == data


async def test_subkeys_of_the_deepest_data(kv2):
    data: dict = {}
    for _ in range(290):
        data = {"k": data}
    await kv2("update", "data/a", data=data)
    subkeys, depth = (await kv2("read", "subkeys/a")).data["subkeys"], 0
    while subkeys:
        subkeys, depth = subkeys["k"], depth + 1
    assert depth == 290


async def test_subkeys_of_a_deleted_version(kv2):
    await kv2("update", "data/a", data=DEEP)
    await kv2("delete", "data/a")
    answer = await kv2("read", "subkeys/a")
    assert (answer.status, answer.data) == (404, {"metadata": _version(1, deletion=START), "subkeys": None})


@pytest.mark.parametrize("path", ["nothing", "a/", ""])
async def test_subkeys_of_what_is_not_there(kv2, path):
    await kv2("update", "data/a", data={})
    with pytest.raises(NotFound):
        await kv2("read", f"subkeys/{path}")
