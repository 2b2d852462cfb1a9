"""Room beside a store for files that are worked on, and that go when that is done."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from threading import Lock

from ...framework.errors import RequestTooLarge, StoreError

MARGIN = 64 << 20
"""Bytes of the disk that are left to the store."""


class Scratch:
    """Folders below ``root``, for the owner only. What a crash has left there goes at the first use."""

    def __init__(self, root: Path) -> None:
        """``root``: a folder that only the process with the store uses."""
        self._root = root
        self._cleared = False
        self._clearing = Lock()

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """A new one, for as long as the block lasts. Raises StoreError."""
        folder = self._root / token_hex(8)
        making = asyncio.ensure_future(asyncio.to_thread(self._make, folder))
        try:
            await asyncio.shield(making)
            yield folder
        except OSError as error:
            raise StoreError(f"{self._root}: {error.strerror}") from error
        finally:
            await asyncio.wait([making])  # it goes on when this is cancelled
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _make(self, folder: Path) -> None:
        with self._clearing:
            if not self._cleared:
                shutil.rmtree(self._root, ignore_errors=True)
                self._cleared = True
        folder.mkdir(mode=0o700, parents=True)


def check_room(folder: Path, size: int) -> None:
    """Raises RequestTooLarge when the disk has no room for ``size`` bytes more."""
    free = shutil.disk_usage(folder).free
    if size + MARGIN > free:
        raise RequestTooLarge(f"the snapshot does not fit on the disk of {folder}: {free >> 20} MiB are free")


def create(path: Path) -> int:
    """A descriptor of a new file for the owner only, whatever the umask lets. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
