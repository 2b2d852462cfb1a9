from __future__ import annotations

import pytest
from caveau.framework.clock import rfc3339
from caveau.framework.errors import InvalidRequest

START = 1_750_000_000


@pytest.fixture
async def secret(kv2):
    """``a`` with versions 1 to 3."""
    for number in (1, 2, 3):
        await kv2("update", "data/a", data={"n": number})
    return kv2


async def _versions(kv2):
    versions = (await kv2("read", "metadata/a")).data["versions"]
    return {int(n): (v["deletion_time"], v["destroyed"]) for n, v in versions.items()}


@pytest.mark.parametrize("versions", [[1, 3], ["1", 3], "1,3", [1, 3, 99, 0, -1]])
async def test_deleting_and_undeleting_versions(secret, versions):
    secret.clock.advance(5)
    assert (await secret("update", "delete/a", versions=versions)).status == 204
    gone = (rfc3339(START + 5), False)
    assert await _versions(secret) == {1: gone, 2: ("", False), 3: gone}
    assert (await secret("read", "data/a", version=1)).status == 404
    assert (await secret("read", "data/a", version=2)).status == 200
    assert (await secret("update", "undelete/a", versions=versions)).status == 204
    assert (await secret("read", "data/a", version=1)).data["data"] == {"n": 1}
    assert await _versions(secret) == {1: ("", False), 2: ("", False), 3: ("", False)}


@pytest.mark.parametrize("versions", [[1, 3, 99], "1,3", ["3", 1]])
async def test_destroying_versions(secret, versions):
    assert (await secret("update", "destroy/a", versions=versions)).status == 204
    assert await _versions(secret) == {1: ("", True), 2: ("", False), 3: ("", True)}
    answer = await secret("read", "data/a")
    assert (answer.status, answer.data["data"]) == (404, None)
    assert [key for key in await secret.keys() if key.startswith("versions")] == ["versions/a/2"]


async def test_what_is_destroyed_stays_so(secret):
    await secret("update", "delete/a", versions=[1])
    await secret("update", "destroy/a", versions=[1, 2])
    for op in ("undelete", "delete", "destroy"):
        await secret("update", f"{op}/a", versions=[1, 2])
    assert await _versions(secret) == {1: (rfc3339(START), True), 2: ("", True), 3: ("", False)}


async def test_deleting_again_keeps_the_time(secret):
    await secret("update", "delete/a", versions=[1])
    secret.clock.advance(5)
    await secret("update", "delete/a", versions=[1])
    assert (await _versions(secret))[1] == (rfc3339(START), False)


async def test_deleting_what_would_delete_itself_later(secret):
    await secret("update", "config", delete_version_after="1h")
    await secret("update", "data/a", data={})
    secret.clock.advance(5)
    await secret("update", "delete/a", versions=[4])
    assert (await _versions(secret))[4] == (rfc3339(START + 5), False)


async def test_undeleting_starts_the_time_to_deletion_again(secret):
    await secret("update", "delete/a", versions=[1])
    await secret("update", "config", delete_version_after="1h")
    secret.clock.advance(5)
    await secret("update", "undelete/a", versions=[1])
    assert (await _versions(secret))[1] == (rfc3339(START + 3605), False)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("delete", "No version number provided"),
        ("undelete", "No version number provided"),
        ("destroy", "no version number provided"),
    ],
)
@pytest.mark.parametrize("body", [{}, {"versions": []}, {"versions": None}, {"versions": ""}])
async def test_versions_must_be_named(secret, op, message, body):
    with pytest.raises(InvalidRequest) as error:
        await secret("update", f"{op}/a", body)
    assert str(error.value) == message


@pytest.mark.parametrize("op", ["delete", "undelete", "destroy"])
@pytest.mark.parametrize("versions", ["x", [1.5], [[1]], {"a": 1}])
async def test_versions_must_be_numbers(secret, op, versions):
    with pytest.raises(InvalidRequest, match='"versions"'):
        await secret("update", f"{op}/a", versions=versions)


@pytest.mark.parametrize("op", ["delete", "undelete", "destroy"])
async def test_secrets_that_do_not_exist_are_passed_over(secret, op):
    before = await secret.keys()
    assert (await secret("update", f"{op}/nothing", versions=[1])).status == 204
    assert await secret.keys() == before
    for path in ("", "a/"):
        with pytest.raises(InvalidRequest, match="path ending in '/'"):
            await secret("update", f"{op}/{path}", versions=[1])


@pytest.mark.parametrize("op", ["delete", "undelete", "destroy"])
def test_they_need_the_update_capability_only(kv2, op):
    route, _ = kv2.engine.match("update", f"{op}/a")
    assert not route.exists
