from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from caveau.framework.errors import InvalidRequest, StoreError
from caveau.storage.sqlite import SqliteStore

from .conformance import Conformance
from .full_disk import file_size_limit


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(tmp_path / "data") as store:
        yield store


async def wal_size(path: Path) -> int:
    return (await asyncio.to_thread((path / "data" / "caveau.sqlite3-wal").stat)).st_size


class TestConformance(Conformance):
    @pytest.fixture
    def store(self, store: SqliteStore) -> SqliteStore:
        return store


async def test_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    for i in range(3):
        async with opened(path) as store:
            assert await store.list("") == [f"k{n}" for n in range(i)]
            await store.commit({f"k{i}": b""})
    assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == ["vault.db", "vault.db.lock"]


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        async with opened(tmp_path / "data") as store:
            await store.commit({"k": b""})
            modes = await asyncio.to_thread(
                lambda: {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
            )
        assert modes.pop("data") == 0o700
        assert len(modes) == 4  # the database, its -wal and -shm, the lock
        assert set(modes.values()) == {0o600}
    finally:
        os.umask(previous)


async def test_a_second_opener_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="in use by another process"):
        await SqliteStore(tmp_path / "data").open()
    await store.commit({"k": b""})
    assert await store.get("k") == b""


def test_another_process_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom caveau.storage.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(sys.argv[1])\n"
        "    await store.open()\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", script, tmp_path]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    with start() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with start() as second:
            assert "in use by another process" in second.communicate()[1]
        first.communicate("\n")
    with start() as third:
        assert third.communicate("\n")[0] == "open\n"


async def test_reads_some_ahead(store: SqliteStore) -> None:
    keys = ["k", "a/b", "%2F\"'", "日本"]
    await store.commit({key: key.encode() for key in keys} | {"other": b"x"})
    assert await store.read_ahead([*keys, "none"]) == {key: key.encode() for key in keys}
    await store.commit({"k": b"new", "a/b": None})
    assert await store.read_ahead(["k", "a/b"]) == {"k": b"new"}


async def test_reading_ahead_of_a_closed_store_is_an_error(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        pass
    with pytest.raises(StoreError, match="not open"):
        await store.read_ahead(["k"])


async def test_full_disk_fails_the_commit_and_those_behind_it(store: SqliteStore, tmp_path: Path) -> None:
    await store.commit({"k": b"before"})
    limit = await wal_size(tmp_path) + 20_000
    with file_size_limit(limit):
        waits = [store.commit({"k": bytes(1 << 20), "other": b""})]
        await asyncio.sleep(0)  # it is being written now, and the next one queues behind it
        waits.append(store.commit({"k": b"behind"}))
        results = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(r, StoreError) and "disk" in str(r) for r in results), results
    assert await store.get("k") == b"before"
    assert await store.get("other") is None
    await store.commit({"k": b"after"})
    assert await store.get("k") == b"after"


async def test_failed_group_of_many_statements_leaves_nothing(store: SqliteStore, tmp_path: Path) -> None:
    await store.commit({"k": b"before"})
    with file_size_limit(await wal_size(tmp_path) + 3_000_000), pytest.raises(StoreError):
        await store.commit({f"many/{i}": bytes(2000) for i in range(5000)})
    assert await store.list("") == ["k"]
    await store.commit({"k": b"after"})
    assert await store.list("") == ["k"]


async def test_group_that_fails_between_its_statements_is_rolled_back(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="surrogates"):
        await store.commit({f"many/{i}": b"" for i in range(1500)} | {"\ud800": b""})
    await store.commit({"k": b"after"})
    assert await store.list("") == ["k"]


async def test_page_limit_reads_as_a_full_disk(store: SqliteStore) -> None:
    """SQLITE_FULL proper, which a write that meets ENOSPC gives."""
    assert store._writer is not None
    await store._writer.execute("PRAGMA max_page_count = 10")
    with pytest.raises(StoreError, match="disk is full"):
        await store.commit({"k": bytes(1 << 20)})
    await store.commit({"k": b"small"})
    assert await store.get("k") == b"small"


async def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "file").touch)
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        await SqliteStore(tmp_path / "file" / "data").open()


async def test_read_only_file(store: SqliteStore) -> None:
    assert store._writer is not None
    await store._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="read-only"):
        await store.commit({"k": b""})
    await store._writer.execute("PRAGMA query_only = OFF")
    await store.commit({"k": b""})


async def test_file_of_noise(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "x.db").write_bytes, b"noise" * 1000)
    with pytest.raises(StoreError, match=r"x\.db: the file is damaged"):
        await SqliteStore(tmp_path / "x.db").open()


async def test_damaged_page_is_reported_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.commit({f"k{i:04}": bytes(500) for i in range(1000)})

    def damage() -> None:
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (path.stat().st_size - 8192))

    await asyncio.to_thread(damage)
    with pytest.raises(StoreError, match="damaged"):
        async with opened(path) as store:
            await store.get("k0001")


async def test_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    def create() -> bytes:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE theirs (a)")
        return path.read_bytes()

    content = await asyncio.to_thread(create)
    with pytest.raises(StoreError, match="another program"):
        await SqliteStore(path).open()
    assert await asyncio.to_thread(path.read_bytes) == content


async def test_newer_schema_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        pass
    with closing(sqlite3.connect(tmp_path / "x.db")) as newer:
        newer.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="newer Caveau"):
        await store.open()


async def test_wal_stays_bounded(store: SqliteStore, tmp_path: Path) -> None:
    """At 8 MB the log starts over, though the writer never rests."""
    for i in range(60):
        await store.commit({f"k{i % 7}": os.urandom(400_000)})
        await store.get("k0")
        await store.list("")
    assert await wal_size(tmp_path) < 12 << 20


async def test_interrupted_listing_does_not_pin_a_snapshot(store: SqliteStore, tmp_path: Path) -> None:
    """A listing that stops at its limit must not keep checkpoints from restarting the WAL."""
    await store.commit({f"p/{i}": b"" for i in range(100)})
    names = await store.list("p/", limit=1)
    for _ in range(40):
        await store.commit({"k": os.urandom(400_000)})
    assert names == ["0"]
    assert await wal_size(tmp_path) < 12 << 20


async def test_million_key_folder_costs_a_step(store: SqliteStore) -> None:
    """Counted in SQLite's own steps, not in seconds."""
    await store.commit({f"p/crowd/{i:06}": b"" for i in range(20_000)} | {"p/z": b""})
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert store._table is not None
    store._table.reader.set_progress_handler(count, 100)
    assert await store.list("p/") == ["crowd/", "z"]
    store._table.reader.set_progress_handler(None, 100)
    assert steps < 10


async def test_concurrent_commits_share_syncs(store: SqliteStore) -> None:
    """64 writers at once are two groups: the first, and all that queued behind it."""
    statements: list[str] = []
    assert store._writer is not None
    await store._writer.set_trace_callback(statements.append)
    await asyncio.gather(*(store.commit({"shared": bytes([i]), f"k{i}": b""}) for i in range(64)))
    await store._writer.set_trace_callback(None)
    assert len({s for s in statements if s.startswith("INSERT INTO batch")}) <= 2
    assert await store.get("shared") == bytes([63])
    assert len(await store.list("")) == 65


async def test_values_are_synced_before_the_commit_is_done(tmp_path: Path) -> None:
    """A copy of the files taken right after the acknowledgement, without closing, has it all."""
    async with opened(tmp_path / "a.db") as store:
        await store.commit({"k": b"v"})
        for suffix in ("", "-wal"):
            await asyncio.to_thread(shutil.copy, tmp_path / f"a.db{suffix}", tmp_path / f"b.db{suffix}")
    async with opened(tmp_path / "b.db") as copy:
        assert await copy.get("k") == b"v"


async def test_reads_and_commits_before_open_say_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreError, match="not open"):
        await store.get("k")
    with pytest.raises(StoreError, match="not open"):
        await store.list("")
    with pytest.raises(StoreError, match="not open"):
        await store.commit({"k": b""})


def test_settings() -> None:
    with pytest.raises(InvalidRequest, match="tabel"):
        SqliteStore.from_config({"path": "x", "tabel": "y"})
    with pytest.raises(InvalidRequest, match="needs path"):
        SqliteStore.from_config({})
