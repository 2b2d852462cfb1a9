"""``operator migrate``: all entries of one store into another, as they are: ciphertext.

Both stores are held while it goes on, so no server uses them. Each has a note of it until the end: no server starts
on either before (a server on the source would change what was already copied), and the destination's note, written
with every group of entries, says where to go on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..framework.errors import InvalidRequest, StoreError
from ..framework.storage import Physical, ReadsAhead
from .config import ConfigError, StorageConfig, variable
from .config.values import OPTIONS
from .hcl import HclError, parse
from .process import make_store

NOTE = "core/migration"
"""Key of the note of an unfinished migration: JSON with ``id``, and in the destination ``after``."""
_PAGE = 1000  # names of a listing
_GROUP = 200  # entries read at once
_GROUP_BYTES = 4 << 20
_BLOCKS = ("storage_source", "storage_destination")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the file of a migration says. ``cluster_addr``: where a new node on ``raft`` will be reached."""

    source: StorageConfig
    destination: StorageConfig
    cluster_addr: str = ""


def load(path: str, environ: Mapping[str, str]) -> Plan:
    """The plan in a file. Raises ConfigError."""
    try:
        root = parse(Path(path).read_text("utf-8"))
        blocks = {name: list(root.blocks(name, 1)) for name in _BLOCKS}
        unknown = [item for item in root.items if item.key not in (*_BLOCKS, "cluster_addr")]
        address = [item.value for item in root.all("cluster_addr")]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # HclError, UnicodeDecodeError
        raise ConfigError(f"{path}: {error if isinstance(error, HclError) else 'is not UTF-8 text'}") from None
    problems = [f"{path}:{item.line}: {item.key} has no place in a migration" for item in unknown]
    problems += [
        f'{path}: needs one {name} block: {name} "TYPE" {{ ... }}' for name in _BLOCKS if len(blocks[name]) != 1
    ]
    if problems:
        raise ConfigError(*problems)
    stores = {}
    for name, [((type_,), block, line)] in blocks.items():
        options = dict(OPTIONS.parse(block))
        if type_ == "inmem":
            raise ConfigError(f'{path}:{line}: "inmem" keeps nothing')
        if type_ == "postgresql" and "connection_url" not in options:
            options["connection_url"] = variable("PG_CONNECTION_URL", environ)
        stores[name] = StorageConfig(type=type_, options=options, origin=f"{path}:{line}")
    return Plan(stores[_BLOCKS[0]], stores[_BLOCKS[1]], str(address[-1]) if address else "")


async def check(physical: Physical) -> None:
    """Raise StoreError if a migration from or to this store was not finished."""
    if await physical.get(NOTE) is not None:
        raise StoreError(
            "a migration from or to this store was not finished: "
            "finish it with `caveau operator migrate`, or give it up with its -reset"
        )


async def run(
    plan: Plan, *, start: str | None = None, parallel: int = 10, told: Callable[[int, str], None] = lambda *_: None
) -> int:
    """Copy, and return how many entries were copied now. ``start``: leave out keys before it. ``parallel``: reads at a
    time. ``told``: how many were copied, and the last of them, after each group. Raises StoreError."""
    async with AsyncExitStack() as stack:
        source, destination = await _open(plan, stack)
        here, there = await _note(source), await _note(destination)
        if there is None:
            if here is not None:
                raise StoreError("the source is part of another migration: finish that, or give it up with -reset")
            if await destination.list("", limit=1):
                raise StoreError("the destination holds data: migrate into an empty store")
            there = {"id": secrets.token_hex(16), "after": ""}
            await destination.commit({NOTE: orjson.dumps(there)})
            await source.commit({NOTE: orjson.dumps({"id": there["id"]})})
        elif here is None and not there["after"]:  # it ended between the two notes
            await source.commit({NOTE: orjson.dumps({"id": there["id"]})})
        elif here is None or here["id"] != there["id"]:
            raise StoreError("the destination is part of another migration: finish that, or give it up with -reset")
        copied = 0
        async for keys in _groups(source, start or "", there["after"]):
            entries = await _read(source, keys, parallel)
            for batch in _batches(entries):
                last = next(reversed(batch))
                copied += len(batch)
                await destination.commit({**batch, NOTE: orjson.dumps(there | {"after": last})})
                told(copied, last)
        await destination.commit({NOTE: None})
        await source.commit({NOTE: None})
        return copied


async def reset(plan: Plan) -> int:
    """Give up an unfinished migration: the destination is emptied, and the source can be used again. How many entries
    were removed. A destination without a note keeps what it has. Raises StoreError."""
    async with AsyncExitStack() as stack:
        source, destination = await _open(plan, stack)
        removed = 0
        if await _note(destination) is not None:
            async for keys in _groups(destination, "", ""):
                await destination.commit(dict.fromkeys(keys))
                removed += len(keys)
            await destination.commit({NOTE: None})
        await source.commit({NOTE: None})
        return removed


async def _open(plan: Plan, stack: AsyncExitStack) -> tuple[Physical, Physical]:
    """Source and destination, which are held until the end."""
    opened = []
    for config in (plan.source, plan.destination):
        store = await asyncio.to_thread(make_store, config, waits=False)
        await store.open()
        stack.push_async_callback(store.close)
        opened.append(store)
    bootstrap: Callable[[str], Awaitable[None]] | None = getattr(opened[1], "bootstrap", None)
    if bootstrap is not None:
        if not plan.cluster_addr:
            raise InvalidRequest(f'storage "{plan.destination.type}" as a destination needs cluster_addr')
        await bootstrap(plan.cluster_addr.removeprefix("https://"))
    return opened[0], opened[1]


async def _note(store: Physical) -> dict[str, Any] | None:
    raw = await store.get(NOTE)
    return None if raw is None else orjson.loads(raw)


async def _groups(store: Physical, start: str, after: str) -> AsyncIterator[list[str]]:
    """All keys but the note's, in order: those not before ``start`` and behind ``after``."""
    group: list[str] = []
    async for key in _walk(store, "", max(start, after)):
        if key >= start and key > after and key != NOTE:
            group.append(key)
            if len(group) == _GROUP:
                yield group
                group = []
    if group:
        yield group


async def _walk(store: Physical, folder: str, low: str) -> AsyncIterator[str]:
    """The keys below ``folder`` in order, from about ``low`` on."""
    name = ""
    while True:
        names = await store.list(folder, name, _PAGE)
        for name in names:
            path = folder + name
            if path < low and not low.startswith(path):
                continue
            if name.endswith("/"):
                async for key in _walk(store, path, low):
                    yield key
            else:
                yield path
        if len(names) < _PAGE:
            return


async def _read(store: Physical, keys: Sequence[str], parallel: int) -> dict[str, bytes]:
    """Their entries, in order."""

    async def part(keys: Sequence[str]) -> Mapping[str, bytes | None]:
        if isinstance(store, ReadsAhead):
            return await store.read_ahead(keys)
        return {key: await store.get(key) for key in keys}

    size = -(-len(keys) // parallel)
    parts = await asyncio.gather(*(part(keys[at : at + size]) for at in range(0, len(keys), size)))
    found = {key: value for entries in parts for key, value in entries.items()}
    entries = {key: value for key in keys if (value := found.get(key)) is not None}
    if len(entries) != len(keys):
        raise StoreError("an entry of the source was listed and cannot be read: is the store damaged?")
    return entries


def _batches(entries: Mapping[str, bytes]) -> Iterator[dict[str, bytes | None]]:
    """Of bounded size, in order."""
    batch: dict[str, bytes | None] = {}
    size = 0
    for key, value in entries.items():
        batch[key] = value
        size += len(value)
        if size >= _GROUP_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch
