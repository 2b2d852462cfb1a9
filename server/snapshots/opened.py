"""A snapshot's file away from its server: what is in it, and, with the unseal keys, one secret of it."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ... import VAULT_VERSION
from ...framework import Context, Engine, Request, Response
from ...framework.clock import SystemClock
from ...framework.errors import InvalidRequest, NotFound
from ...storage.barrier import Barrier
from ...storage.prefix import PrefixView
from ...storage.seals import Seal
from ...storage.seals.shamir import ShamirSeal
from ...storage.snapshots import State, unpack
from ...storage.store import Store
from .. import plugins
from ..layout import NAMESPACES, ROOT, Namespace
from ..mounts import MountEntry
from ..seal import Hooks, SealCore
from ..seal.unseal import SEAL_CONFIG

_FOLDER = re.compile(r"namespaces/[^/]+/(?:(?:logical|auth|sys)/)?[^/]+/|[^/]+/")


@dataclass(frozen=True, slots=True)
class Area:
    """Entries that belong together, and the bytes of their ciphertext."""

    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Entries of an area that are only in the newer snapshot, only in the older one, or were written again."""

    added: int
    removed: int
    changed: int


class Opened:
    """``meta``: what the snapshot says of itself. Names of areas are prefixes of keys; those of mounts once
    ``unseal`` has shown which they are."""

    def __init__(self, meta: Mapping[str, Any], state: State) -> None:
        self.meta = meta
        self.state = state
        self._barrier: Barrier | None = None
        self._mounts: list[tuple[Namespace, MountEntry]] = []
        self._names: dict[str, str] = {}

    async def threshold(self) -> int:
        """How many key shares open it; 0 where the seal does so by itself."""
        config = orjson.loads(await self.state.get(SEAL_CONFIG) or b"{}")
        return int(config.get("threshold", 0)) if config.get("type") == ShamirSeal.type else 0

    async def unseal(self, seal: Seal, shares: Sequence[str]) -> None:
        """Open it with key shares, or with none if the seal opens by itself. Raises InvalidRequest."""
        core = SealCore(
            self.state, seal, _HOOKS,
            clock=SystemClock(), version=VAULT_VERSION, build_date="", storage_type="",
        )  # fmt: skip
        if not await core.auto_unseal():
            for share in shares:
                await core.unseal(share)
        if core.sealed:
            config = await core.share_config()
            needed = config.threshold if config else 0
            raise InvalidRequest(f"{needed} unseal keys are needed to read the snapshot, and {len(shares)} were given")
        self._barrier = core.barrier
        await self._read_mounts(Store(self.state, core.barrier))

    async def _read_mounts(self, store: Store) -> None:
        stored = [await store.get(NAMESPACES + id_) for id_ in await store.list(NAMESPACES)]
        for namespace in (ROOT, *(Namespace.load(raw) for raw in stored if raw)):
            for table in ("mounts", "auth"):
                folder = f"{namespace.prefix}core/{table}/"
                for name in await store.list(folder):
                    if raw := await store.get(folder + name):
                        entry = MountEntry.load(raw)
                        self._mounts.append((namespace, entry))
                        if entry.storage_prefix.startswith(("logical/", "auth/")):
                            self._names[namespace.prefix + entry.storage_prefix] = namespace.path + entry.point
            if namespace.path:
                self._names[namespace.prefix] = namespace.path

    def area(self, key: str) -> str:
        """To which one a key belongs."""
        found = _FOLDER.match(key)
        return found[0] if found else key

    def name(self, area: str) -> str:
        """Of an area: the path of a mount where that is known."""
        return self._names.get(area, area)

    def areas(self) -> dict[str, Area]:
        """What there is of each, by name."""
        entries, sizes = Counter[str](), Counter[str]()
        for key, size in self.state.sizes():
            area = self.name(self.area(key))
            entries[area] += 1
            sizes[area] += size
        return {area: Area(entries[area], sizes[area]) for area in sorted(entries)}

    async def read(self, namespace: str, path: str) -> tuple[str, str, dict[str, Any]]:
        """A key-value secret: version of its engine, its path in the API, and its data. ``path`` is as ``kv get`` takes
        it. Raises InvalidRequest and NotFound."""
        assert self._barrier is not None
        full = namespace + path.strip("/")
        within = [(each, entry) for each, entry in self._mounts if full.startswith(each.path + entry.point)]
        if not within:
            raise NotFound(f"nothing was mounted at {full} when the snapshot was taken")
        home, entry = max(within, key=lambda found: len(found[0].path + found[1].point))
        if entry.type != "kv":
            raise InvalidRequest(f"{home.path}{entry.point} has secrets of {entry.type}: only those of kv are read")
        version = (entry.options or {}).get("version") or "1"
        below = full[len(home.path + entry.point) :]
        if version == "2" and not below.startswith("data/"):
            below = f"data/{below}"
        factory = await asyncio.to_thread(plugins.load, "secret", entry.type)
        engine: Engine = factory(Context(entry.point, options=entry.options or {}))
        store = Store(self.state, self._barrier)
        view = PrefixView(store, home.prefix + entry.storage_prefix)
        answer = await engine.handle(Request("read", below, view, mount_point=entry.point))
        data = answer.data if isinstance(answer, Response) else answer
        found: dict[str, Any] = orjson.loads(orjson.dumps(data))
        where = (home.path + entry.point + below).removeprefix(namespace)
        return version, where, found["data"] if version == "2" else found


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Opened]:
    """Unpack and check a snapshot's file in a folder of its own for the time of the block. Raises InvalidRequest."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="caveau-snapshot-"))
    try:
        archive = await asyncio.to_thread(unpack, file, folder)
        state = await asyncio.to_thread(State, archive.state)
        try:
            yield Opened(archive.meta, state)
        finally:
            await state.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)


def difference(older: Opened, newer: Opened) -> dict[str, Changes]:
    """What became of the entries from one snapshot to another, by area; none where nothing did."""
    added, removed, changed = Counter[str](), Counter[str](), Counter[str]()
    for before, after in _side_by_side(older.state.entries(), newer.state.entries()):
        if before is None and after is not None:
            added[newer.name(newer.area(after[0]))] += 1
        elif after is None and before is not None:
            removed[older.name(older.area(before[0]))] += 1
        elif before is not None and before != after:
            changed[newer.name(newer.area(before[0]))] += 1
    areas = sorted(added | removed | changed)
    return {area: Changes(added[area], removed[area], changed[area]) for area in areas}


def _side_by_side(
    older: Iterator[tuple[str, bytes]], newer: Iterator[tuple[str, bytes]]
) -> Iterator[tuple[tuple[str, bytes] | None, tuple[str, bytes] | None]]:
    """Entries of the same key together, None where there is none. Both come in the order of their keys' bytes."""
    before, after = next(older, None), next(newer, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before[0] < after[0]):
            yield before, None
            before = next(older, None)
        elif before is None or after[0] < before[0]:
            yield None, after
            after = next(newer, None)
        else:
            yield before, after
            before, after = next(older, None), next(newer, None)


async def _opened(barrier: Barrier) -> None:
    """Nothing is set up behind the barrier of a snapshot."""


async def _closed() -> None:
    """Nor taken down."""


async def _no_token() -> str:
    raise InvalidRequest("a snapshot has no new tokens")


async def _no_revocation(token: str) -> None:
    raise InvalidRequest("a snapshot has no new tokens")


_HOOKS = Hooks(
    on_unseal=_opened, on_seal=_closed, create_root_token=_no_token, revoke_root_token=_no_revocation, cluster=dict
)
