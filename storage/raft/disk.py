"""The few things a write-ahead log does with files, so that tests can take the power away between any two."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from ...framework.errors import StoreError

_ZEROS = bytes(1 << 20)


class File(Protocol):
    """A file of fixed size. Durable is what was written before the last ``sync``."""

    @property
    def size(self) -> int: ...

    def write(self, data: bytes, offset: int) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """One directory. Which names there are is durable after ``sync``. All may raise OSError."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def open(self, name: str) -> File: ...

    def create(self, name: str, size: int) -> File:
        """A file of zeros, written and not only promised: a sync of it never has to change its extents."""
        ...

    def rename(self, old: str, new: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Handle:
    """A ``File`` of the file system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class Directory:
    """A ``Disk``: a directory, made if need be, that is this process's alone while open."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError if another process has it, and OSError."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreError(f"{path} is in use by another process: stop that one first") from None

    def names(self) -> list[str]:
        return os.listdir(self._path)

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def open(self, name: str) -> Handle:
        return Handle(os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._descriptor))

    def create(self, name: str, size: int) -> Handle:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        file = Handle(os.open(name, flags, 0o600, dir_fd=self._descriptor))
        try:
            for offset in range(0, size, len(_ZEROS)):
                file.write(_ZEROS[: size - offset], offset)
            file.sync()
        except BaseException:
            file.close()
            self.remove(name)  # half a file would hold on to the room that was too little
            raise
        file.size = size
        return file

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
