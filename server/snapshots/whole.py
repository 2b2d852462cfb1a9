"""Saving the whole store as a snapshot's file, and putting one in its place."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ... import __version__
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, Sealed, UnsupportedPath
from ...framework.storage import Physical, Snapshots
from ...storage.barrier import CorruptEntry, WrongRootKey
from ...storage.snapshots import Archive, Scratch, State, pieces, unpack
from ...storage.snapshots.archive import SUMS_KEY
from ...storage.snapshots.scratch import check_room, create

if TYPE_CHECKING:
    from ..core import Core

_log = logging.getLogger(__name__)

OF_NODES = "core/raft/"
_CHECKED = 32 << 20  # bytes that arrive between two looks at how full the disk is


class Whole:
    """All that a server has stored."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._scratch: Scratch | None = None

    @property
    def store(self) -> Snapshots:
        """Raises UnsupportedPath for one that cannot be copied."""
        store = self._core.physical
        if not isinstance(store, Snapshots):
            raise UnsupportedPath(f'storage "{self._core.storage_type}" has no snapshots: "raft" and "sqlite" have')
        return store

    @property
    def scratch(self) -> Scratch:
        if self._scratch is None:
            self._scratch = Scratch(self.store.scratch)
        return self._scratch

    async def save(self) -> tuple[dict[str, Any], AsyncIterator[bytes]]:
        """What the snapshot says of itself, and its file piece by piece. The state is that of the moment of this call:
        what is committed later is not in it. Raises StoreError, InvalidRequest and Sealed."""
        core, store = self._core, self.store
        core.unsealed()
        barrier = core.seal.barrier
        async with self.scratch.folder() as folder:
            path = folder / "state.sqlite3"
            index = await store.snapshot(str(path))
            state = await asyncio.to_thread(path.open, "rb")  # its name goes; it itself when it is closed
        meta = {
            "time": rfc3339(core.clock.time()),
            "index": index,
            "storage": core.storage_type,
            "caveau": __version__,
            "cluster_id": core.cluster["cluster_id"],
        }
        return meta, _sent(state, meta, lambda sums: barrier.encrypt(SUMS_KEY, sums))

    async def restore(self, content: AsyncIterator[bytes], *, force: bool) -> None:
        """Make the whole store that of the snapshot which arrives as ``content``, after it was checked whole.

        Without ``force`` it must have been written by a server with the same keys. For a moment the server answers as a
        sealed one, and it is sealed if its keys do not open what was restored. Raises InvalidRequest, RequestTooLarge
        and StoreError: then all is as before.
        """
        seal = self._core.seal
        async with self.scratch.folder() as folder:
            archive = await receive(content, folder / "snapshot")
            unpacked = await asyncio.to_thread(unpack, archive, folder)
            if not force:
                self._check_keys(unpacked)
            await (await asyncio.to_thread(State, unpacked.state)).close()
            async with seal.lock:
                await self._replace(str(unpacked.state))
            _log.warning("all that is stored is that of the snapshot of %r now", unpacked.meta.get("time"))
        if seal.sealed:
            await seal.auto_unseal()

    async def _replace(self, path: str) -> None:
        core, seal = self._core, self._core.seal
        if seal.sealed:
            if seal.hooks.on_initialize is not None:
                await seal.hooks.on_initialize()
            await self.store.restore(path)
            return
        nodes = await self._of_nodes()
        await core.suspend()
        try:
            await self.store.restore(path)
        finally:
            try:
                await seal.barrier.reload()
                gone = dict.fromkeys(await keys_below(core.physical, OF_NODES))
                kept = {key: seal.barrier.encrypt(key, value) for key, value in nodes.items()}
                active = core.leadership is None or core.leadership.leads  # it may have lost leadership meanwhile
                if active and (gone or kept):
                    await core.physical.commit({**gone, **kept})
                await core.serve(active=active)
            except WrongRootKey:
                _log.warning("what was restored has other keys: unseal with those that it had")
                await seal.close_barrier()
            except BaseException:
                await seal.close_barrier()
                raise

    async def _of_nodes(self) -> dict[str, bytes]:
        """What a cluster knows of its nodes. It is not of the time of a snapshot, but stays as it is."""
        store, barrier = self._core.physical, self._core.seal.barrier
        found = {key: await store.get(key) for key in await keys_below(store, OF_NODES)}
        return {key: barrier.decrypt(key, entry) for key, entry in found.items() if entry is not None}

    def _check_keys(self, archive: Archive) -> None:
        try:
            right = self._core.seal.barrier.decrypt(SUMS_KEY, archive.sealed) == archive.sums
        except CorruptEntry:
            right = False
        if not right:
            raise InvalidRequest(
                "could not verify hash file, possibly the snapshot is using a different set of unseal keys; "
                "use the snapshot-force API to bypass this check"
            )

    async def check_open(self) -> None:
        """Raise Sealed unless whoever asks may restore: with a token on an open server, and anyone where there is
        nothing yet, as anyone may initialize it then."""
        if self._core.sealed and await self._core.seal.barrier.initialized():
            raise Sealed


async def keys_below(store: Physical, folder: str) -> list[str]:
    """Every key that begins with ``folder``."""
    found: list[str] = []
    for name in await store.list(folder):
        found += await keys_below(store, folder + name) if name.endswith("/") else [folder + name]
    return found


async def receive(content: AsyncIterator[bytes], path: Path) -> Path:
    """Put what arrives into a new file; raises RequestTooLarge when the disk has no room for it."""
    with os.fdopen(await asyncio.to_thread(create, path), "wb") as file:
        unchecked = _CHECKED
        async for chunk in content:
            unchecked += len(chunk)
            if unchecked >= _CHECKED:
                await asyncio.to_thread(check_room, path.parent, unchecked)
                unchecked = 0
            await asyncio.to_thread(file.write, chunk)
    return path


async def _sent(state: IO[bytes], meta: dict[str, Any], seal: Callable[[bytes], bytes]) -> AsyncIterator[bytes]:
    with closing(state):
        parts = pieces(state, meta, seal)
        while part := await asyncio.to_thread(next, parts, b""):
            yield part
