"""Where snapshots that are taken by themselves go, and how many of them stay."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ...framework.clock import Clock
from ...framework.errors import InvalidRequest, StoreError
from ...storage.snapshots.scratch import create
from .s3 import Bucket, bucket

_TIME = r"\d{8}T\d{6}Z"


class Target(Protocol):
    def url(self, name: str) -> str: ...

    async def put(self, clock: Clock, name: str, file: Path) -> None:
        """Store a copy of ``file``, durably and as it is; raises StoreError."""
        ...

    async def prune(self, clock: Clock, file_prefix: str, retain: int) -> None:
        """Remove all but the newest ``retain``; raises StoreError."""
        ...


def target(options: Mapping[str, Any]) -> Target:
    """What the fields of a schedule name; raises InvalidRequest."""
    if options["storage_type"] == "aws-s3":
        return InBucket(bucket(options), options["path_prefix"].strip("/"))
    path = Path(options["path_prefix"])
    if not path.is_absolute():
        raise InvalidRequest("path_prefix of a local schedule is an absolute path")
    return InFolder(path, options["local_max_space"])


def file_name(file_prefix: str, time: float) -> str:
    return f"{file_prefix}-{datetime.fromtimestamp(time, UTC):%Y%m%dT%H%M%SZ}.snap"


def _superfluous(names: list[str], file_prefix: str, retain: int) -> list[str]:
    """The oldest; what has another name than ``file_name`` gives is none of ours."""
    ours = [name for name in names if re.fullmatch(rf"{re.escape(file_prefix)}-{_TIME}\.snap", name)]
    return sorted(ours)[:-retain]


@dataclass(frozen=True, slots=True)
class InFolder:
    """``most``: bytes that all of a prefix may take; 0 is no limit."""

    path: Path
    most: int = 0

    def url(self, name: str) -> str:
        return str(self.path / name)

    async def put(self, clock: Clock, name: str, file: Path) -> None:
        try:
            await asyncio.to_thread(self._put, name, file)
        except OSError as error:
            raise StoreError(f"{self.url(name)}: {error.strerror}") from error

    def _put(self, name: str, file: Path) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = file.stat().st_size
        if self.most:
            prefix = name[: -len("-20000101T000000Z.snap")]
            taken = sum(each.stat().st_size for each in self.path.glob("*.snap") if each.name.startswith(f"{prefix}-"))
            if taken + size > self.most:
                raise StoreError(f"{self.path}: {size} bytes more would be over local_max_space, {self.most}")
        part = self.path / f".{name}.part"
        part.unlink(missing_ok=True)
        try:
            with file.open("rb") as source, os.fdopen(create(part), "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            part.rename(self.path / name)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def prune(self, clock: Clock, file_prefix: str, retain: int) -> None:
        def remove() -> None:
            for name in _superfluous(os.listdir(self.path), file_prefix, retain):
                (self.path / name).unlink(missing_ok=True)

        try:
            await asyncio.to_thread(remove)
        except OSError as error:
            raise StoreError(f"{self.path}: an old snapshot cannot be removed: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class InBucket:
    bucket: Bucket
    folder: str

    def url(self, name: str) -> str:
        return self.bucket.url(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name

    async def put(self, clock: Clock, name: str, file: Path) -> None:
        await self.bucket.put(clock, self._key(name), file)
        if await self.bucket.size(clock, self._key(name)) != (await asyncio.to_thread(file.stat)).st_size:
            raise StoreError(f"{self.url(name)}: the bucket has it in another size")

    async def prune(self, clock: Clock, file_prefix: str, retain: int) -> None:
        folder = self._key("")
        keys = await self.bucket.names(clock, self._key(f"{file_prefix}-"))
        names = [key.removeprefix(folder) for key in keys]
        for name in _superfluous(names, file_prefix, retain):
            await self.bucket.delete(clock, self._key(name))
