"""The store: is it there, is it ours, and how fast is it?"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import time
from pathlib import Path

from ...framework.errors import CaveauError, StoreInUse
from ...framework.storage import Physical
from ..config import ConfigError, ServerConfig
from ..process import make_store
from .report import ERROR, OK, WARNING, Check

_PROBE = "diagnose/probe"
_SLOW_SECONDS = 0.1
_ROUNDS = 5


def check(found: Check, config: ServerConfig) -> None:
    """Fill ``found``."""
    try:
        physical = make_store(config.storage, waits=False)
    except (ConfigError, CaveauError) as error:
        found.add("Create Storage Backend", ERROR, str(error))
        return
    assert config.storage is not None
    found.add("Create Storage Backend", message=f"The store is {config.storage.type}.")
    path = config.storage.options.get("path")
    if path and not _place(found, Path(path)):
        return
    try:
        seconds = asyncio.run(_try(physical))
    except CaveauError as error:
        advice = "The server is running: stop it, or use -skip=storage." if isinstance(error, StoreInUse) else ""
        found.add("Check Storage Access", ERROR, str(error), advice)
    else:
        found.add("Check Storage Access", *_rated(seconds, "A commit"))


def _place(found: Check, path: Path) -> bool:
    """Look at the directory of a store that is a file; whether the store itself may be opened.

    Opening one that is not there yet would create it, and one of another user would leave files there that this
    user owns: the server could not use them.
    """
    from .checks import disk_usage

    folder = path if path.is_dir() else path.parent if path.suffix else path
    if not folder.is_dir():
        found.add(
            "Check Storage Directory",
            WARNING,
            f"{folder} does not exist yet.",
            "The server makes it, if it is allowed.",
        )
        return False
    mode, owner = folder.stat().st_mode, folder.stat().st_uid
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        message = f"too many permissions: perms are {stat.filemode(mode)}"
        found.add("Check Storage Directory", WARNING, message, f"Run: chmod 700 {folder}")
    else:
        found.add("Check Storage Directory", message=f"perms are {stat.filemode(mode)}")
    disk_usage(found, "Check Storage Disk Usage", folder)
    try:
        found.add("Check Storage Latency", *_rated(_sync(folder), "Writing to disk"))
    except OSError as error:
        found.add("Check Storage Latency", ERROR, f"{folder} cannot be written: {error.strerror}")
        return False
    if owner != os.geteuid():
        message = f"{folder} belongs to user {owner}: the store itself is not opened."
        found.add("Check Storage Access", WARNING, message, "Run this as the user that the server runs as.")
        return False
    if any(folder.glob("state-*.sqlite3")):
        found.add("Check Storage Access", message="A node of a cluster is there: only the server opens its log.")
        return False
    store = path if path.suffix else folder / "caveau.sqlite3"
    if not store.exists():
        found.add("Check Storage Access", message="There is no store yet: the server makes one.")
    return store.exists()


def _sync(folder: Path) -> float:
    """Seconds that a small write takes until it is on the disk, at worst."""
    worst = 0.0
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            worst = max(worst, time.perf_counter() - began)
    return worst


async def _try(physical: Physical) -> float:
    """Seconds that a commit takes, at worst. Raises StoreError."""
    worst = 0.0
    await physical.open()
    try:
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            await physical.commit({_PROBE: b"\0" * 64})
            worst = max(worst, time.perf_counter() - began)
        await physical.get(_PROBE)
        await physical.commit({_PROBE: None})
    finally:
        await physical.close()
    return worst


def _rated(seconds: float, what: str) -> tuple[str, str, str]:
    message = f"{what} took {seconds * 1000:.1f} ms at most."
    if seconds > _SLOW_SECONDS:
        return WARNING, message, "Every write of the server waits for this: use a faster disk."
    return OK, message, ""
