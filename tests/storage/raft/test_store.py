from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from caveau.framework.errors import StoreError
from caveau.storage.raft.driver import Driver
from caveau.storage.raft.store import RaftStore

from ..conformance import Conformance


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RaftStore]:
    engine = Driver("a", tmp_path / "raft")
    await engine.bootstrap("127.0.0.1:8201")
    store = RaftStore(engine)
    await store.open()
    yield store
    await store.close()


class TestConformance(Conformance):
    @pytest.fixture
    def store(self, store: RaftStore) -> RaftStore:
        return store


async def test_survives_reopening(tmp_path: Path) -> None:
    engine = Driver("a", tmp_path / "raft")
    await engine.bootstrap("127.0.0.1:8201")
    store = RaftStore(engine)
    for i in range(3):
        await store.open()
        assert await store.list("") == [f"k{n}" for n in range(i)]
        await store.commit({f"k{i}": b"v"})
        await store.close()


async def test_a_second_beginning_is_refused(store: RaftStore, tmp_path: Path) -> None:
    await store.commit({"k": b""})
    await store.close()
    with pytest.raises(StoreError, match="member of a cluster already"):
        await Driver("a", tmp_path / "raft").bootstrap("127.0.0.1:8201")
