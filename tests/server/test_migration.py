from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from caveau.framework.errors import InvalidRequest, StoreError, StoreInUse
from caveau.framework.storage import Physical
from caveau.server import migration
from caveau.server.config import ConfigError, StorageConfig
from caveau.server.migration import NOTE, Plan
from caveau.server.process import make_store
from caveau.tests.postgresql import Cluster

ENTRIES: dict[str, bytes | None] = {
    key: random.Random(key).randbytes(random.Random(key).choice([0, 50, 9000]))
    for key in [
        *(f"core/{i}" for i in range(3)),
        *(f"namespaces/root/logical/{i:04}/{j}" for i in range(150) for j in "ab"),
        *(f"many/{i}" for i in range(2500)),
        "a", "a-", "a/b", "a0", "é/日本", "z",
    ]
}  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    def make(source: StorageConfig | None = None, destination: StorageConfig | None = None, address: str = "") -> Plan:
        return Plan(source or sqlite(tmp_path / "old"), destination or sqlite(tmp_path / "new"), address)

    return make


def sqlite(path: Path) -> StorageConfig:
    return StorageConfig(type="sqlite", options={"path": str(path)})


@contextlib.asynccontextmanager
async def opened(config: StorageConfig) -> AsyncIterator[Physical]:
    store = await asyncio.to_thread(make_store, config)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(config: StorageConfig) -> None:
    async with opened(config) as store:
        await store.commit(ENTRIES)


async def everything(config: StorageConfig) -> dict[str, bytes | None]:
    async with opened(config) as store:
        return {key: await store.get(key) async for key in migration._walk(store, "", "")}


class Stop(Exception):
    pass


def stop_after(count: int) -> Callable[[int, str], None]:
    def told(copied: int, last: str) -> None:
        if copied >= count:
            raise Stop

    return told


@pytest.mark.parametrize("parallel", [1, 7])
async def test_everything_is_copied_as_it_is(plan: Callable[..., Plan], parallel: int) -> None:
    made = plan()
    await fill(made.source)
    assert await migration.run(made, parallel=parallel) == len(ENTRIES)
    assert await everything(made.destination) == ENTRIES
    assert await everything(made.source) == ENTRIES


async def test_between_sqlite_and_postgresql_and_back(
    plan: Callable[..., Plan], postgresql_url: str, tmp_path: Path
) -> None:
    database = StorageConfig(type="postgresql", options={"connection_url": postgresql_url, "ha_enabled": "true"})
    there = plan(destination=database)
    await fill(there.source)
    assert await migration.run(there) == len(ENTRIES)
    back = plan(source=database)
    assert await migration.run(back) == len(ENTRIES)
    assert await everything(back.destination) == ENTRIES


async def test_to_raft(plan: Callable[..., Plan], tmp_path: Path) -> None:
    raft = StorageConfig(type="raft", options={"path": str(tmp_path / "raft"), "node_id": "one"})
    await fill(plan().source)
    with pytest.raises(InvalidRequest, match="cluster_addr"):
        await migration.run(plan(destination=raft))
    made = plan(destination=raft, address="https://127.0.0.1:8201")
    assert await migration.run(made) == len(ENTRIES)
    assert await everything(made.destination) == ENTRIES


@pytest.mark.parametrize("count", [1, 400, 2000])
async def test_goes_on_where_it_was(plan: Callable[..., Plan], count: int) -> None:
    made = plan()
    await fill(made.source)
    with pytest.raises(Stop):
        await migration.run(made, told=stop_after(count))
    for each in (made.source, made.destination):
        async with opened(each) as store:
            with pytest.raises(StoreError, match="not finished"):
                await migration.check(store)
    rest = await migration.run(made)
    assert 0 < rest <= len(ENTRIES) - count
    assert await everything(made.destination) == ENTRIES
    assert NOTE not in await everything(made.source)


async def test_giving_up_empties_the_destination(plan: Callable[..., Plan]) -> None:
    made = plan()
    await fill(made.source)
    with pytest.raises(Stop):
        await migration.run(made, told=stop_after(1))
    assert await migration.reset(made) > 0
    assert await everything(made.destination) == {}
    assert await everything(made.source) == ENTRIES
    assert await migration.reset(made) == 0


async def test_a_reset_leaves_what_no_migration_wrote(plan: Callable[..., Plan]) -> None:
    made = plan()
    await fill(made.destination)
    await migration.reset(made)
    assert await everything(made.destination) == ENTRIES


async def test_a_destination_with_data_is_refused(plan: Callable[..., Plan]) -> None:
    made = plan()
    await fill(made.destination)
    with pytest.raises(StoreError, match="holds data"):
        await migration.run(made)
    assert await everything(made.source) == {}


async def test_what_another_migration_left_is_not_continued(plan: Callable[..., Plan], tmp_path: Path) -> None:
    first = plan()
    await fill(first.source)
    with pytest.raises(Stop):
        await migration.run(first, told=stop_after(1))
    other = plan(source=sqlite(tmp_path / "other"))
    await fill(other.source)
    with pytest.raises(StoreError, match="destination is part of another migration"):
        await migration.run(other)
    elsewhere = plan(destination=sqlite(tmp_path / "elsewhere"))
    with pytest.raises(StoreError, match="source is part of another migration"):
        await migration.run(elsewhere)


async def test_a_source_in_use_is_refused(plan: Callable[..., Plan], tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path / "old")):
        with pytest.raises(StoreInUse):
            await migration.run(plan())


@pytest.mark.parametrize("start", ["many/2", "a/", "é", "zzz"])
async def test_from_a_key_on(plan: Callable[..., Plan], start: str) -> None:
    made = plan()
    await fill(made.source)
    await migration.run(made, start=start)
    assert await everything(made.destination) == {k: v for k, v in ENTRIES.items() if k >= start}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs one storage_source block"),
        ('storage_source "sqlite" {}\nstorage_destination "inmem" {}', "keeps nothing"),
        ('storage_source "sqlite" {}\nstorage_destination "sqlite" {}\nlistener "tcp" {}', "listener has no place"),
        ("storage_source {", "line 1"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.hcl").write_text(text)
    with pytest.raises(ConfigError, match=message):
        migration.load(str(tmp_path / "m.hcl"), {})


@pytest.fixture
def postgresql_url(postgresql: Cluster) -> str:
    return postgresql.url(postgresql.database())
