"""Log lines in Vault's two shapes, to standard error and, if configured, a file.

Any module logs with ``logging.getLogger(__name__)``; values go into the line as
``_log.info("mounted", extra=values(path="secret/", type="kv"))``. A secret never belongs in a line;
should a token still get into one, it is masked.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from . import log_levels
from .log_levels import LEVELS, SHOWN, shown_name

_TOKEN = re.compile(r"\b(hv[sbr]\.)[A-Za-z0-9_-]{8,}")


def values(**pairs: Any) -> Mapping[str, Mapping[str, Any]]:
    """Named values of a log line, for ``extra``."""
    return {"values": pairs}


def _level(record: logging.LogRecord) -> str:
    return SHOWN.get(record.levelno) or record.levelname.lower()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _masked(text: str) -> str:
    return _TOKEN.sub(r"\1(masked)", text)


def _pairs(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    yield from getattr(record, "values", {}).items()
    if record.exc_info and record.exc_info[1] is not None:
        yield "error", f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"


class StandardFormat(logging.Formatter):
    """``2026-01-31T12:00:00.000Z [INFO]  core: unsealed: shares=1``; a line break in a value cannot begin a line."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"[{_level(record).upper()}]"
        text = f"{_time(record)} {level:<7} {shown_name(record.name)}: {record.getMessage()}"
        if pairs := list(_pairs(record)):
            text += ": " + " ".join(f"{name}={_quoted(value)}" for name, value in pairs)
        text = _masked(text).replace("\r", "\\r").replace("\n", "\\n")
        if record.exc_info:
            text += "\n" + _masked("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return text


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if re.fullmatch(r"[^\s\"=]+", text) else orjson.dumps(text).decode()


class JsonFormat(logging.Formatter):
    """One object a line, with hclog's keys ``@level``, ``@message``, ``@module`` and ``@timestamp``."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "@level": _level(record),
            "@message": record.getMessage(),
            "@module": shown_name(record.name),
            "@timestamp": _time(record),
        }
        entry.update(_pairs(record))
        if record.exc_info:
            entry["stacktrace"] = "".join(traceback.format_exception(*record.exc_info))
        return _masked(orjson.dumps(entry, default=str).decode())


FORMATS: Final[Mapping[str, type[logging.Formatter]]] = {"standard": StandardFormat, "json": JsonFormat}


class RotatingFile(logging.FileHandler):
    """A log file that is set aside when it is too big or too old.

    ``name.log`` becomes ``name-<nanoseconds>.log``. ``keep`` is how many of those stay: 0 = all,
    below zero = none. Readable by the server's user and group only.
    """

    def __init__(self, path: Path, *, max_bytes: int = 0, max_seconds: float = 0, keep: int = 0) -> None:
        self.max_bytes, self.max_seconds, self.keep = max_bytes, max_seconds, keep
        super().__init__(path, "a", encoding="utf-8", errors="backslashreplace", delay=False)

    def _open(self) -> Any:
        self.opened = time.time()
        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace",
                    opener=lambda path, flags: os.open(path, flags, 0o640))  # fmt: skip

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.is_full(record):
                self.set_aside()
        except Exception:
            self.handleError(record)
        else:
            super().emit(record)

    def is_full(self, record: logging.LogRecord) -> bool:
        if self.max_seconds and time.time() - self.opened >= self.max_seconds:
            return True
        size = self.stream.tell() if self.stream else 0
        return bool(self.max_bytes and size and size + len(self.format(record)) >= self.max_bytes)

    def set_aside(self) -> None:
        self._close_stream()
        path = Path(self.baseFilename)
        path.rename(path.with_name(f"{path.stem}-{time.time_ns()}{path.suffix}"))
        self.stream = self._open()
        if self.keep:
            for old in self.archives()[: -self.keep if self.keep > 0 else None]:
                old.unlink(missing_ok=True)

    def _close_stream(self) -> None:
        if self.stream:
            self.stream.close()

    def archives(self) -> list[Path]:
        return archives(Path(self.baseFilename))

    def reopen(self) -> None:
        """Go on in the file that has the configured name now, after a tool has moved the old one."""
        self.acquire()
        try:
            self._close_stream()
            self.stream = self._open()
        finally:
            self.release()


def archives(path: Path) -> list[Path]:
    """The files set aside for ``path``, oldest first."""
    form = re.compile(rf"{re.escape(path.stem)}-(\d+){re.escape(path.suffix)}")
    found = [(int(match[1]), each) for each in path.parent.iterdir() if (match := form.fullmatch(each.name))]
    return [each for _, each in sorted(found)]


def configure(
    *,
    level: str = "info",
    format: str = "standard",
    file: str = "",
    rotate_bytes: int = 0,
    rotate_seconds: float = 0,
    rotate_max_files: int = 0,
) -> None:
    """Set up the process's logging. ``file`` may be a directory (ending in ``/``); raises OSError."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        path = Path(file)
        if file.endswith("/") or path.is_dir():
            path /= "caveau.log"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        handlers.append(RotatingFile(path, max_bytes=rotate_bytes, max_seconds=rotate_seconds, keep=rotate_max_files))
    formatter = FORMATS[format]()
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "ours", False):
            root.removeHandler(old)
            old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(log_levels.OfServer())
        handler.ours = True  # type: ignore[attr-defined]
        root.addHandler(handler)
    logging.raiseExceptions = False  # a full disk must not fill standard error as well
    set_level(level)


def set_level(level: str) -> None:
    """Change what is logged from now on. Libraries only ever add their warnings."""
    log_levels.set_server(LEVELS[level])


def level() -> str:
    """The level in force."""
    return SHOWN.get(log_levels.of_server(), "info")


def reopen() -> None:
    """Open log files again, for tools that move them and send SIGHUP."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RotatingFile):
            handler.reopen()
