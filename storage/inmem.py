"""A store that lives and dies with the process, for ``-dev`` servers and tests."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Awaitable, Mapping
from typing import Self

from ..framework.errors import InvalidRequest, StoreError
from ..framework.storage import Batch
from .listing import bounds, child, past


class InmemStore:
    """Physical store in memory. Commits take effect in the call and are done at once; not durable."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._keys: list[str] = []  # sorted
        self._closed = False

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Takes no settings; raises InvalidRequest naming the ones it got."""
        if config:
            raise InvalidRequest(f'storage "inmem" has no setting {", ".join(sorted(config))}')
        return cls()

    async def open(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True

    async def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        keys = self._keys
        low, high = bounds(prefix, after)
        at = bisect_left(keys, low)
        end = len(keys) if high is None else bisect_left(keys, high, at)
        names: list[str] = []
        while at < end and (not limit or len(names) < limit):
            name = child(prefix, keys[at])
            names.append(name)
            at = bisect_left(keys, past(prefix + name), at) if name.endswith("/") else at + 1
        return names

    def commit(self, batch: Batch) -> Awaitable[None]:
        done = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(StoreError("the in-memory store is closed"))
            return done
        for key, value in batch.items():
            if value is not None:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value
            elif self._values.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
        done.set_result(None)
        return done
