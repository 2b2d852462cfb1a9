from __future__ import annotations

import pytest
from caveau.engines.cubbyhole import Cubbyhole
from caveau.framework.errors import CaveauError, InvalidRequest, NotFound, UnsupportedOperation


@pytest.fixture
def cubbyhole(mount):
    return mount(Cubbyhole)


def _as(cubbyhole, area):
    cubbyhole.client.cubbyhole = area


async def test_what_was_written_is_read(cubbyhole):
    assert (await cubbyhole("update", "a/b", x={"y": [2**70]}, path="p", ttl="1h")).status == 204
    answer = await cubbyhole("read", "a/b")
    assert (answer.status, answer.data) == (200, {"path": "p", "ttl": "1h", "x": {"y": [2**70]}})
    assert answer.lease_duration == 0


async def test_every_token_has_its_own(cubbyhole):
    await cubbyhole("update", "a", mine=1)
    for other in ("other", "are", "area2"):
        _as(cubbyhole, other)
        with pytest.raises(NotFound):
            await cubbyhole("read", "a")
        with pytest.raises(NotFound):
            await cubbyhole("list", "")
        await cubbyhole("update", "a", mine=2)
    _as(cubbyhole, "area")
    assert (await cubbyhole("read", "a")).data == {"mine": 1}


async def test_writing_replaces_and_deleting_removes(cubbyhole):
    await cubbyhole("update", "a", x=1)
    await cubbyhole("update", "a", y=2)
    assert (await cubbyhole("read", "a")).data == {"y": 2}
    for path in ("a", "a", "nothing", "", "d/"):
        assert (await cubbyhole("delete", path)).status == 204
    with pytest.raises(NotFound):
        await cubbyhole("read", "a")


async def test_listing(cubbyhole):
    for path in ("x", "d/e", "d/f"):
        await cubbyhole("update", path, x=1)
    assert (await cubbyhole("list", "")).data == {"keys": ["d/", "x"]}
    assert (await cubbyhole("list", "d")).data == {"keys": ["e", "f"]}
    assert (await cubbyhole("list", "d/")).data == {"keys": ["e", "f"]}
    answer = await cubbyhole("list", "", limit=1)
    assert (answer.data, len(answer.warnings)) == ({"keys": ["d/", "x"]}, 1)
    with pytest.raises(NotFound):
        await cubbyhole("list", "nothing")


@pytest.mark.parametrize("path", ["nothing", "d", "d/"])
async def test_reading_what_is_not_there(cubbyhole, path):
    await cubbyhole("update", "d/x", x=1)
    with pytest.raises(NotFound):
        await cubbyhole("read", path)


@pytest.mark.parametrize("op", ["read", "list", "update", "delete"])
@pytest.mark.parametrize("known", [True, False])
async def test_batch_tokens_have_none(cubbyhole, op, known):
    if known:
        _as(cubbyhole, "")
    else:
        cubbyhole.client = None
    with pytest.raises(InvalidRequest) as error:
        await cubbyhole(op, "a", {"x": 1} if op == "update" else {})
    assert str(error.value) == "cubbyhole operations are only supported by 'service' type tokens"


@pytest.mark.parametrize(
    ("op", "path", "body", "status", "message"),
    [
        ("update", "a", {}, 400, "missing data fields"),
        ("update", "", {"x": 1}, 400, "missing path"),
        ("read", "", {}, 400, "missing path"),
        ("update", "a/", {"x": 1}, 400, "cannot write to a path ending in '/'"),
    ],
)
async def test_bad_requests_answer_as_vault_does(cubbyhole, op, path, body, status, message):
    with pytest.raises(CaveauError) as error:
        await cubbyhole(op, path, body)
    assert error.value.status == status
    assert message in str(error.value)


@pytest.mark.parametrize("op", ["scan", "patch"])
def test_unsupported_operations(cubbyhole, op):
    with pytest.raises(UnsupportedOperation):
        cubbyhole.engine.match(op, "a")


async def test_existence_tells_create_from_update(cubbyhole):
    assert not await cubbyhole.exists("a")
    assert not await cubbyhole.exists("")
    await cubbyhole("update", "a", x=1)
    assert await cubbyhole.exists("a")
