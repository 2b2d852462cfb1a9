"""A disk in memory whose power can be cut: what was not synced is gone, or there, or there in part."""

from __future__ import annotations

import errno
import random


class Data:
    def __init__(self, size: int) -> None:
        self.durable = bytearray(size)
        self.unsynced: list[tuple[int, bytes]] = []

    def seen(self) -> bytearray:
        """With what only the page cache has."""
        data = bytearray(self.durable)
        for offset, piece in self.unsynced:
            data[offset : offset + len(piece)] = piece
        return data


class FakeFile:
    def __init__(self, disk: FakeDisk, data: Data) -> None:
        self._disk, self._data = disk, data

    @property
    def size(self) -> int:
        return len(self._data.durable)

    def write(self, data: bytes, offset: int) -> None:
        self._disk.act("write")
        assert offset + len(data) <= self.size, "written beyond the file"
        self._data.unsynced.append((offset, bytes(data)))

    def sync(self) -> None:
        self._disk.act("sync")
        for offset, piece in self._data.unsynced:
            self._data.durable[offset : offset + len(piece)] = piece
        self._data.unsynced.clear()

    def close(self) -> None: ...


class FakeDisk:
    """A ``Disk``. ``fail_after``: acts that succeed before all fail with ``error``."""

    def __init__(self) -> None:
        self.files: dict[str, Data] = {}
        self._durable: dict[str, Data] = {}
        self.fail_after: int | None = None
        self.error = errno.EIO
        self.syncs = 0

    def act(self, what: str) -> None:
        self.syncs += what == "sync"
        if self.fail_after is not None:
            if self.fail_after <= 0:
                raise OSError(self.error, "injected")
            self.fail_after -= 1

    def names(self) -> list[str]:
        return list(self.files)

    def read(self, name: str) -> bytes:
        return bytes(self.files[name].seen())

    def open(self, name: str) -> FakeFile:
        return FakeFile(self, self.files[name])

    def create(self, name: str, size: int) -> FakeFile:
        self.act("create")
        self.files[name] = Data(size)
        return FakeFile(self, self.files[name])

    def rename(self, old: str, new: str) -> None:
        self.act("rename")
        self.files[new] = self.files.pop(old)

    def remove(self, name: str) -> None:
        self.act("remove")
        del self.files[name]

    def sync(self) -> None:
        self.act("sync names")
        self._durable = dict(self.files)

    def close(self) -> None: ...

    def cut_power(self, rng: random.Random) -> None:
        """Each write that was not synced happens, or does not, or in part; names change all or not at all."""
        self.fail_after = None
        for data in {id(d): d for d in (*self.files.values(), *self._durable.values())}.values():
            for offset, piece in data.unsynced:
                fate = rng.random()
                if fate < 0.3:
                    continue
                start, end = 0, len(piece)
                if fate < 0.6:
                    start, end = sorted((rng.randint(0, len(piece)), rng.randint(0, len(piece))))
                data.durable[offset + start : offset + end] = piece[start:end]
            data.unsynced.clear()
        if rng.random() < 0.5:
            self.files = dict(self._durable)
        self._durable = dict(self.files)
