from __future__ import annotations

import pytest
from caveau.engines.kv import KvV1, KvV2, factory
from caveau.framework.engine import Context
from caveau.framework.errors import InvalidRequest, NotFound, UnsupportedOperation


@pytest.mark.parametrize(("options", "engine"), [({}, KvV1), ({"version": "1"}, KvV1), ({"version": "2"}, KvV2)])
def test_the_option_version_chooses_the_engine(options, engine):
    assert type(factory(Context(options=options))) is engine


@pytest.mark.parametrize("version", ["3", "abc", "01", "-1"])
def test_other_versions_are_refused(version):
    with pytest.raises(InvalidRequest, match=version):
        factory(Context(options={"version": version}))


async def test_what_was_written_is_read(kv1):
    assert (await kv1("update", "a/b", user="u", nested={"list": [1, None, True, 1.5]})).status == 204
    answer = await kv1("read", "a/b")
    assert answer.status == 200
    assert answer.data == {"nested": {"list": [1, None, True, 1.5]}, "user": "u"}


async def test_writing_replaces_the_whole_secret(kv1):
    await kv1("update", "a", x=1, y=2)
    await kv1("update", "a", z=3)
    assert (await kv1("read", "a")).data == {"z": 3}


async def test_a_field_named_path_is_a_field_like_any_other(kv1):
    assert (await kv1("update", "a", path="p", x=1)).warnings == []
    assert (await kv1("read", "a")).data == {"path": "p", "x": 1}


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"x": 1}, 2764800),
        ({"ttl": "1h"}, 3600),
        ({"ttl": 90}, 90),
        ({"ttl": "90"}, 90),
        ({"ttl": "5d"}, 432000),
        ({"lease": "30m"}, 1800),
        ({"ttl": "10", "lease": "30m"}, 10),
        ({"ttl": "0"}, 0),
        ({"ttl": None}, 0),
        ({"ttl": -5}, -5),
        ({"ttl": "bogus"}, 2764800),
        ({"ttl": True}, 2764800),
        ({"ttl": [5]}, 2764800),
        ({"ttl": "999999999h"}, 2764800),
        ({"ttl": 10**400}, 2764800),
    ],
)
async def test_ttl_in_the_data_tells_when_to_read_again(kv1, fields, seconds):
    await kv1("update", "a", fields)
    answer = await kv1("read", "a")
    assert answer.lease_duration == seconds
    assert answer.data == fields


async def test_the_default_lease_duration_is_the_mounts(kv1):
    class System:
        def default_ttl(self) -> int:
            return 7

    kv1.engine.context.system = System()
    await kv1("update", "a", x=1)
    assert (await kv1("read", "a")).lease_duration == 7


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("a", {}, "missing data fields"),
        ("", {"x": 1}, "missing path"),
        ("a/", {"x": 1}, "cannot write to a path ending in '/'"),
        ("a/", {}, "cannot write to a path ending in '/'"),
    ],
)
async def test_bad_writes(kv1, path, fields, message):
    with pytest.raises(InvalidRequest) as error:
        await kv1("update", path, fields)
    assert str(error.value) == message
    assert await kv1.keys() == []


@pytest.mark.parametrize("path", ["", "a", "d/", "d"])
async def test_reading_what_is_not_there(kv1, path):
    await kv1("update", "d/x", x=1)
    with pytest.raises(NotFound) as error:
        await kv1("read", path)
    assert error.value.messages == []


async def test_deleting(kv1):
    await kv1("update", "a", x=1)
    await kv1("update", "d/x", x=1)
    for path in ("a", "a", "nothing", "", "d/"):
        assert (await kv1("delete", path)).status == 204
    with pytest.raises(NotFound):
        await kv1("read", "a")
    assert (await kv1("read", "d/x")).data == {"x": 1}


async def _fill(kv1):
    for path in ("a", "b", "d", "d/e/f", "d/g", "sp ace", "d/é"):
        await kv1("update", path, x=1)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("", ["a", "b", "d", "d/", "sp ace"]),
        ("d", ["e/", "g", "é"]),
        ("d/", ["e/", "g", "é"]),
        ("d/e", ["f"]),
    ],
)
async def test_listing(kv1, path, keys):
    await _fill(kv1)
    assert (await kv1("list", path)).data == {"keys": keys}


@pytest.mark.parametrize("path", ["nothing", "a", "d/g/"])
async def test_listing_an_empty_folder(kv1, path):
    await _fill(kv1)
    with pytest.raises(NotFound):
        await kv1("list", path)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("", {"keys": ["a", "b", "d", "sp ace", "d/g", "d/é", "d/e/f"]}),
        ("d", {"keys": ["g", "é", "e/f"]}),
        ("nothing", {}),
        ("a", {}),
    ],
)
async def test_scanning(kv1, path, data):
    await _fill(kv1)
    answer = await kv1("scan", path)
    assert (answer.status, answer.data) == (200, data)


async def test_lists_are_not_paged(kv1):
    await _fill(kv1)
    answer = await kv1("list", "", limit=1, after="a")
    assert len(answer.data["keys"]) == 5
    assert answer.warnings == ["Endpoint ignored these unrecognized parameters: [after limit]"]


async def test_existence_tells_create_from_update(kv1):
    assert not await kv1.exists("a")
    assert not await kv1.exists("")
    await kv1("update", "a", x=1)
    assert await kv1.exists("a")
    await kv1("delete", "a")
    assert not await kv1.exists("a")


def test_there_is_no_patch(kv1):
    with pytest.raises(UnsupportedOperation):
        kv1.engine.match("patch", "a")


async def test_integers_of_any_size_come_back_exactly(kv1):
    await kv1("update", "a", n=12345678901234567890123, m=-(2**64))
    assert (await kv1("read", "a")).data == {"m": -(2**64), "n": 12345678901234567890123}
