"""The physical store on Raft: what is committed is on the disks of a majority, and here."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import cast

from ...framework.storage import Batch
from .driver import Driver


class RaftStore:
    """A ``Physical`` store. Only the leader's commits succeed; reads are of what this node has applied."""

    def __init__(self, engine: Driver) -> None:
        """``engine``: opened and closed with this."""
        self.engine = engine

    async def open(self) -> None:
        await self.engine.open()

    async def close(self) -> None:
        await self.engine.close()

    async def get(self, key: str) -> bytes | None:
        return self.engine.table.get(key)

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        """As ``Physical.list``. A long listing lets others run between; what they commit may show."""
        return await self.engine.table.list(prefix, after, limit)

    def commit(self, batch: Batch) -> Awaitable[None]:
        """As ``Physical.commit``. Fails with NotLeader, or OutcomeUnknown: then it may have been written."""
        return cast("Awaitable[None]", self.engine.propose(batch))  # nobody asks for the index that it gives

    @property
    def scratch(self) -> Path:
        return self.engine.path / "scratch"

    async def snapshot(self, path: str) -> int:
        return await self.engine.snapshot(path)

    async def restore(self, path: str) -> int:
        return await self.engine.restore(path)
