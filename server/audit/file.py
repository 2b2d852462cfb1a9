"""``file``: entries as lines of a file, which is set aside when it is too big or too old."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from ...framework.errors import InvalidRequest
from ..logs import archives
from .options import Options

_log = logging.getLogger(__name__)

_KEEP_MODE: Final = 0
"""``mode = "0000"``: the permissions of a file that is there stay."""


class FileDevice:
    """Appends to ``path``. A group is one write, and either all of it is in the file or none.

    The file is opened again when it is no longer the one of that name: deleted, or moved by a log rotator.
    ``rotate_bytes`` and ``rotate_seconds`` (0: never) set it aside as ``name-<nanoseconds>.log``, of which the
    newest ``keep`` stay (0: all).
    """

    def __init__(
        self, path: Path, *, mode: int = 0o600, rotate_bytes: int = 0, rotate_seconds: float = 0.0, keep: int = 0
    ) -> None:
        self._path, self._mode = path, mode
        self._name = str(path)  # which takes time, and is needed for every group
        self._rotate_bytes, self._rotate_seconds, self._keep = rotate_bytes, rotate_seconds, keep
        self._fd = -1
        self._identity = (0, 0)
        self._size = 0
        self._since = 0.0
        self._torn = False  # the last line in the file has no end

    @classmethod
    def from_options(cls, options: Options) -> Self | StandardOutput | Discard:
        path = options.text("file_path", None, "path")
        mode = options.natural("mode", 0o600, base=8)
        rotation = (
            options.natural("rotate_bytes", 0),
            options.seconds("rotate_duration", 0.0),
            options.natural("rotate_max_files", 0),
        )
        options.finish()
        if mode & 0o111 or mode > 0o666:
            raise InvalidRequest("mode: an audit log is not to be executable")
        if path == "stdout":
            return StandardOutput()
        if path == "discard":
            return Discard()
        if "\0" in path:
            raise InvalidRequest("file_path has a zero byte in it")
        bytes_, seconds, keep = rotation
        return cls(Path(path), mode=mode, rotate_bytes=bytes_, rotate_seconds=seconds, keep=keep)

    def open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, self._mode or 0o600)
        try:
            if self._mode != _KEEP_MODE:
                os.fchmod(fd, self._mode)
            found = os.fstat(fd)
        except OSError:
            os.close(fd)
            raise
        identity = (found.st_dev, found.st_ino)
        if identity != self._identity:
            self._since = time.time()
        self._fd, self._identity, self._size = fd, identity, found.st_size
        self._torn = False

    def write(self, entries: Sequence[bytes]) -> None:
        text = entries[0] if len(entries) == 1 else b"".join(entries)
        if self._fd < 0 or not self._in_place():
            self.open()
        if self._is_full(len(text)):
            self._set_aside()
        self._append(b"\n" + text if self._torn else text)

    def _append(self, text: bytes) -> None:
        written = 0
        try:
            while written < len(text):
                written += os.write(self._fd, text[written:] if written else text)
        except OSError:
            if written:
                self._take_back(written)
            raise
        self._size += written
        self._torn = False

    def _take_back(self, written: int) -> None:
        """Remove the part of a group that was written before the disk was full."""
        try:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:
            self._torn = True

    def _in_place(self) -> bool:
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _is_full(self, more: int) -> bool:
        if self._rotate_bytes and self._size and self._size + more > self._rotate_bytes:
            return True
        return bool(self._rotate_seconds and self._size and time.time() - self._since >= self._rotate_seconds)

    def _set_aside(self) -> None:
        path = self._path
        try:
            path.rename(path.with_name(f"{path.stem}-{time.time_ns()}{path.suffix}"))
        except OSError as error:  # better a file too large than requests refused
            _log.error("audit log %s cannot be set aside: %s; it grows on", path, error.strerror)
            self._size, self._since = 0, time.time()
            return
        self.open()
        if self._keep:
            for old in archives(path)[: -self._keep]:
                old.unlink(missing_ok=True)

    def reopen(self) -> None:
        self.open()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:  # a device that was made and never put to work
        self.close()


class StandardOutput:
    """``file_path = "stdout"``: for containers, whose output is collected."""

    def open(self) -> None: ...

    def write(self, entries: Sequence[bytes]) -> None:
        sys.stdout.buffer.write(b"".join(entries))
        sys.stdout.buffer.flush()

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Discard:
    """``file_path = "discard"``: keeps nothing; for finding out what auditing costs."""

    def open(self) -> None: ...

    def write(self, entries: Sequence[bytes]) -> None: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...
