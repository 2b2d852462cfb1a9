from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import caveau
import pytest
from caveau.framework.errors import InvalidRequest, OutcomeUnknown, StoreError, StoreInUse, StoreUnreachable
from caveau.framework.storage import Batch
from caveau.storage.postgresql import writer
from caveau.storage.postgresql.store import PostgresqlStore
from caveau.storage.store import Store
from caveau.tests.postgresql import Cluster

from .conformance import Conformance


@pytest.fixture(scope="module")
def database(postgresql: Cluster) -> str:
    return postgresql.database()


@pytest.fixture
def url(postgresql: Cluster, database: str) -> str:
    """Of an empty database."""
    postgresql.psql("SET client_min_messages = error; DROP TABLE IF EXISTS caveau_store, caveau_leader", database)
    return postgresql.url(database)


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresqlStore]:
    store = PostgresqlStore(url)
    await store.open()
    yield store
    await store.close()


class TestConformance(Conformance):
    @pytest.fixture
    def store(self, store: PostgresqlStore) -> PostgresqlStore:
        return store


Psql = Callable[[str], Awaitable[str]]


@pytest.fixture
def psql(postgresql: Cluster, database: str) -> Psql:
    return lambda sql: asyncio.to_thread(postgresql.psql, sql, database)


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresqlStore]:
    store = PostgresqlStore(url, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


KILL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name = 'caveau' AND datname = current_database()"
)


# One server at a time


async def test_a_second_server_is_refused_until_the_first_is_done(store: PostgresqlStore, url: str) -> None:
    with pytest.raises(StoreInUse, match="another server"):
        await PostgresqlStore(url).open()
    await store.commit({"k": b"v"})
    await store.close()
    async with opened(url) as second:
        assert await second.get("k") == b"v"


async def test_a_second_server_waits_and_takes_over(store: PostgresqlStore, url: str) -> None:
    second = PostgresqlStore(url, waits=True)
    opening = asyncio.create_task(second.open())
    await store.commit({"k": b"v"})
    assert not opening.done()
    await store.close()
    await opening
    assert await second.get("k") == b"v"
    await second.close()


async def test_two_stores_of_one_database_do_not_mind_each_other(store: PostgresqlStore, url: str) -> None:
    async with opened(url, table="other", leader_table='the "other" lead\'er') as other:
        await other.commit({"k": b"theirs"})
        assert await store.get("k") is None


async def test_who_was_cut_off_writes_nothing_any_more(store: PostgresqlStore, psql: Psql) -> None:
    """Its connection, and so the lock, may be there still: the epoch says that another has led."""
    await store.commit({"k": b"before"})
    await psql("UPDATE caveau_leader SET epoch = epoch + 1")
    with pytest.raises(StoreError, match="another server has taken the lead"):
        await store.commit({"k": b"after"})
    assert "another server" in str(await store.deposed())
    with pytest.raises(StoreError, match="does not lead"):
        await store.get("k")
    assert await psql("SELECT convert_from(value, 'UTF8') FROM caveau_store") == "before"


async def test_who_finds_that_another_has_led_meanwhile_gives_up(store: PostgresqlStore, psql: Psql) -> None:
    await psql(f"UPDATE caveau_leader SET epoch = epoch + 1; {KILL}")
    assert "another server has led meanwhile" in str(await store.deposed())


async def test_who_finds_the_database_older_than_it_was_gives_up(store: PostgresqlStore, psql: Psql) -> None:
    await store.commit({"k": b"v"})
    await psql(f"UPDATE caveau_leader SET commits = commits - 1; {KILL}")
    assert "lacks what it had acknowledged" in str(await store.deposed())


async def test_who_may_be_replaced_gives_up_when_the_database_is_out_of_reach(url: str, postgresql: Cluster) -> None:
    async with opened(url, waits=True, patience=0.2) as store:
        await asyncio.to_thread(postgresql.stop)
        try:
            assert "could not reach the database for 0.2 seconds" in str(await store.deposed())
        finally:
            await asyncio.to_thread(postgresql.start)


# Connections that break


async def test_connections_are_made_again(store: PostgresqlStore, psql: Psql) -> None:
    await asyncio.gather(*(store.get(str(i)) for i in range(8)))
    for i in range(5):
        await store.commit({"k": str(i).encode(), f"k{i}": b""})
        await psql(KILL)
        assert await store.get("k") == str(i).encode()
    assert await store.list("") == ["k", *(f"k{i}" for i in range(5))]


async def write(store: PostgresqlStore, name: str, acknowledged: dict[str, int], stop: asyncio.Event) -> None:
    while not stop.is_set():
        number = acknowledged.get(name, 0) + 1
        await store.commit({f"a/{name}": str(number).encode(), f"b/{name}": str(number).encode()})
        acknowledged[name] = number


@pytest.mark.parametrize("mode", ["terminate", "fast", "immediate"])
async def test_a_restart_of_the_database_is_only_a_delay(
    store: PostgresqlStore, postgresql: Cluster, psql: Psql, mode: str
) -> None:
    """No commit fails, none is lost, none is half there: after the break it is known which was written."""
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for i in range(8):
            tasks.create_task(write(store, str(i), acknowledged, stop))
        for _ in range(3):
            if mode == "terminate":
                await psql(KILL)
            else:
                await asyncio.to_thread(postgresql.stop, mode)
                await asyncio.to_thread(postgresql.start)
            before = dict(acknowledged)
            while any(acknowledged.get(name, 0) < count + 2 for name, count in before.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
    assert len(acknowledged) == 8
    for name, number in acknowledged.items():
        assert await store.get(f"a/{name}") == await store.get(f"b/{name}") == str(number).encode()


@pytest.mark.parametrize("written", [True, False])
async def test_what_became_of_a_commit_is_found_out(
    store: PostgresqlStore, psql: Psql, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    await store.commit({"k": b"before"})
    real, left = writer.rows, [1]

    async def rows(connection: Any, statement: str, *values: object) -> Sequence[Any]:
        if "fence" not in statement or not left:
            return await real(connection, statement, *values)
        left.pop()
        if written:
            await real(connection, statement, *values)
        raise ConnectionResetError("cut")

    before = int(await psql("SELECT commits FROM caveau_leader"))
    monkeypatch.setattr(writer, "rows", rows)
    await store.commit({"k": b"after"})
    assert await store.get("k") == b"after"
    assert int(await psql("SELECT commits FROM caveau_leader")) == before + 1
    await store.commit({"k": b"later"})
    assert await store.get("k") == b"later"


async def test_an_unknown_outcome_is_told(url: str, postgresql: Cluster, database: str) -> None:
    async with opened(url, patience=0.2) as store:
        await store.commit({"k": b"before"})
        lock = "BEGIN; LOCK TABLE caveau_store IN EXCLUSIVE MODE; SELECT pg_sleep(60)"
        holding = asyncio.create_task(asyncio.to_thread(postgresql.psql, lock, database))
        held = "SELECT true FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation IS NOT NULL"
        while "t" not in await asyncio.to_thread(postgresql.psql, held, database):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        waits = [asyncio.ensure_future(store.commit({"k": b"after"}))]
        await asyncio.sleep(0)
        waits.append(asyncio.ensure_future(store.commit({"other": b"behind"})))
        await asyncio.to_thread(postgresql.stop, "immediate")
        try:
            with pytest.raises(OutcomeUnknown, match="not known"):
                await waits[0]
            with pytest.raises(StoreError):
                await waits[1]
            with pytest.raises(StoreUnreachable, match="127"):
                await store.get("k")
        finally:
            await asyncio.to_thread(postgresql.start)
            await asyncio.gather(holding, return_exceptions=True)
        while True:
            with contextlib.suppress(StoreUnreachable):
                assert await store.get("k") == b"before"
                break
            await asyncio.sleep(0.01)
        await store.commit({"k": b"again"})
        assert await store.get("k") == b"again"


async def test_a_statement_that_fails_writes_nothing_and_breaks_nothing(store: PostgresqlStore, psql: Psql) -> None:
    await psql("ALTER TABLE caveau_store ADD CHECK (length(value) < 10)")
    with pytest.raises(StoreError) as failure:
        await store.commit({"small": b"", "k": bytes(10)})
    assert failure.value.status == 500
    await store.commit({"k": b"v"})
    assert await store.list("") == ["k"]


async def test_an_abandoned_read_leaves_the_store_as_it_was(store: PostgresqlStore) -> None:
    await store.commit({"k": b"v"})
    for _ in range(20):
        reading = asyncio.create_task(store.get("k"))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert await store.get("k") == b"v"


# What it does with the database


async def test_commits_that_wait_are_written_together(store: PostgresqlStore, psql: Psql) -> None:
    before = int(await psql("SELECT commits FROM caveau_leader"))
    await asyncio.gather(*(store.commit({"shared": bytes([i]), f"k{i}": b""}) for i in range(64)))
    assert int(await psql("SELECT commits FROM caveau_leader")) - before <= 2
    assert await store.get("shared") == bytes([63])


async def test_reads_some_ahead(store: PostgresqlStore) -> None:
    await store.commit({"k": b"1", "日本": b"2", "other": b"x"})
    assert await store.read_ahead(["k", "日本", "none"]) == {"k": b"1", "日本": b"2"}


class Plain:
    def encrypt_batch(self, writes: Batch) -> dict[str, bytes | None]:
        return dict(writes)

    def decrypt(self, key: str, ciphertext: bytes) -> bytes:
        return ciphertext


async def test_a_key_too_long_for_the_index_is_the_requests_mistake(store: PostgresqlStore) -> None:
    front = Store(store, Plain())
    longest = bytes(range(1, 256)).decode("latin-1")[:200] * 20
    txn = front.begin()
    txn.put(longest, b"v")
    with pytest.raises(InvalidRequest, match="too long"):
        await front.commit(txn)
    while len(longest.encode()) > store.key_limit:
        longest = longest[:-1]
    txn = front.begin()
    txn.put(longest, b"v")
    await front.commit(txn)
    assert await store.get(longest) == b"v"


async def test_durability_turned_off_for_the_user_is_on_for_us(url: str, psql: Psql, database: str) -> None:
    await psql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    try:
        async with opened(url) as store:
            assert store._writer is not None
            connection = await store._writer.connected()
            assert (await writer.rows(connection, "SHOW synchronous_commit"))[0][0] == "on"
    finally:
        await psql(f"ALTER DATABASE {database} RESET synchronous_commit")


async def test_tables_of_others_are_left_alone(url: str, psql: Psql) -> None:
    await psql("CREATE TABLE caveau_store (parent_path text, path text, key text, value bytea)")
    with pytest.raises(StoreError, match="another program"):
        await PostgresqlStore(url).open()


async def test_a_newer_schema_is_refused(store: PostgresqlStore, url: str, psql: Psql) -> None:
    await store.close()
    await psql("UPDATE caveau_leader SET schema = 2")
    with pytest.raises(StoreError, match="newer Caveau"):
        await PostgresqlStore(url).open()


async def test_tables_are_not_made_where_they_must_not_be(url: str, psql: Psql) -> None:
    with pytest.raises(StoreError, match="is missing"):
        await PostgresqlStore(url, create=False).open()
    await psql("; ".join(PostgresqlStore(url).statements))
    async with opened(url, create=False) as store:
        await store.commit({"k": b""})


async def test_mistakes_in_the_url_are_told_without_the_password(postgresql: Cluster, database: str, url: str) -> None:
    wrong = {
        postgresql.url(database, password="hunter2"): "password is wrong",
        postgresql.url("nowhere", password="secret-of-the-database"): "no such database",
        url.replace(str(postgresql.port), "1"): "cannot be reached",
        url + "?sslmode=hunter2": "sslmode",
    }
    for each, text in wrong.items():
        with pytest.raises((StoreError, InvalidRequest), match=text) as failure:
            await PostgresqlStore(each).open()
        assert "hunter2@" not in str(failure.value)
        assert "secret-of" not in str(failure.value)


async def test_a_user_that_may_not_make_tables(url: str, psql: Psql, postgresql: Cluster, database: str) -> None:
    await psql("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    try:
        with pytest.raises(StoreError, match="lacks a permission"):
            await PostgresqlStore(postgresql.url(database, "weak", "weak")).open()
    finally:
        await psql("DROP ROLE weak")


async def test_a_store_that_is_not_open_says_so(url: str) -> None:
    store = PostgresqlStore(url)
    for asked in (store.get("k"), store.list(""), store.read_ahead(["k"]), store.commit({})):
        with pytest.raises(StoreError, match="not open"):
            await asked


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "needs connection_url"),
        ({"connection_url": "host=db user=x"}, "must be a URL"),
        ({"connection_url": "postgres://db/x", "tabel": "y"}, "no setting tabel"),
        ({"connection_url": "postgres://db/x", "max_parallel": "-1"}, "max_parallel must be a number"),
        ({"connection_url": "postgres://db/x", "ha_enabled": "perhaps"}, "ha_enabled must be true or false"),
        ({"connection_url": "postgres://db/x", "table": "t" * 64}, "1 to 63 bytes"),
    ],
)
def test_wrong_settings(settings: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        PostgresqlStore.from_config(settings)


def test_settings() -> None:
    PostgresqlStore.from_config({
        "connection_url": "postgresql://u:p@a,b/x", "table": "t", "ha_table": "h", "ha_enabled": "true",
        "max_parallel": "128", "max_idle_connections": "2", "skip_create_table": "true",
    })  # fmt: skip


def test_the_tables_that_the_documentation_shows_are_these() -> None:
    text = (Path(caveau.__file__).parent / "docs" / "storage.md").read_text()
    shown = text.split("```sql\n")[1].split("```")[0]
    made = PostgresqlStore("postgres://db/x").statements
    assert [line.rstrip(";") for line in shown.splitlines()] == [each.replace('"', "") for each in made]
