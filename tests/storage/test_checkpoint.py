from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from caveau.storage.checkpoint import Checkpoints
from caveau.storage.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "caveau.db")
    await store.open()
    yield store
    await store.close()


def checkpoints(store: SqliteStore) -> Checkpoints:
    assert store._checkpoints is not None
    return store._checkpoints


async def test_commits_go_on_while_the_log_is_moved(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = asyncio.Event()
    done = asyncio.Event()
    real = checkpoints(store)._move

    async def move(connection: object) -> int:
        moving.set()
        await done.wait()
        return await real(connection)

    monkeypatch.setattr(checkpoints(store), "_move", move)
    await store.commit({"a": os.urandom(1 << 20)})
    await moving.wait()
    await store.commit({"b": b"1"})
    assert await store.get("b") == b"1"
    done.set()


async def test_log_that_cannot_be_moved_loses_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def broken(statement: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    caplog.set_level(logging.WARNING)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints(store)._mover, "execute_fetchall", broken)
        for _ in range(3):
            await store.commit({"a": os.urandom(1 << 20)})
        if (moving := checkpoints(store)._moving) is not None:
            await moving
    assert "disk I/O error" in caplog.text
    value = await store.get("a")
    await store.close()
    again = SqliteStore(tmp_path / "caveau.db")
    await again.open()
    assert await again.get("a") == value
    await again.close()
