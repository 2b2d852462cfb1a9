"""What other nodes wrote reaches the memory of one that follows.

What is read through the store follows by itself, because the store's cache is told which keys changed. What is kept
beside it, such as the table of mounts, is read again when a key changed that it was made of; requests wait for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from ...framework.errors import Unavailable
from ...storage.barrier import WrongRootKey
from ..token_trees import ENDING

if TYPE_CHECKING:
    from ...storage.store import Store
    from ..core import Core

_log = logging.getLogger(__name__)
_PATIENCE = 5.0  # seconds that a request waits
_AGAIN_SECONDS = 1.0
_ALL, _KEYRING, _SETTINGS, _AUDIT, _NAMESPACES, _ENDS = "all", "keyring", "settings", "audit", "namespaces", "ends"
_MOUNTS = "mounts/"
_OF_CORE: Final = {
    "keyring": _KEYRING, "root": _KEYRING, "cluster": _SETTINGS, "cors": _SETTINGS, "ui-headers": _SETTINGS,
    "quotas": _SETTINGS, "quotas-config": _SETTINGS, "audit": _AUDIT, "namespaces": _NAMESPACES,
}  # fmt: skip


class Following:
    """Tells the stores of this node what changed, and reads again what is made of it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stores: WeakSet[Store] = WeakSet()
        self._due: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def tell(self, store: Store) -> None:
        """Keep the cache of a store up to date, of which all is going to be read now."""
        self._due.clear()
        self._stores.add(store)

    def changed(self, keys: Collection[str] | None) -> None:
        """Other nodes wrote these keys (None: everything)."""
        for store in self._stores:
            store.invalidate(keys)
        if keys is None:
            self._due.add(_ALL)
        else:
            self._due.update(filter(None, map(_made_of, keys)))
        if self._due and self._task is None:
            self._task = asyncio.create_task(self._take_up(), name="follow the active node")

    @property
    def behind(self) -> bool:
        """Whether something is to be read again."""
        return self._task is not None

    async def settled(self) -> None:
        """Return once what was written before the call is taken up; raises Unavailable."""
        if (task := self._task) is not None:
            await asyncio.wait({task}, timeout=_PATIENCE)
            if not task.done():
                raise Unavailable("this node is catching up with the cluster; try again")

    async def _take_up(self) -> None:
        try:
            while self._due:
                async with self._core.seal.lock:
                    parts, self._due = self._due, set()
                    if (namespaces := self._core.namespaces) is None or namespaces.active:
                        return  # all is read when it is opened
                    try:
                        await self._read(parts)
                        continue
                    except WrongRootKey:
                        _log.error("the root key was replaced while this node could not see it: unseal it again")
                        await self._core.seal.close_barrier()
                        return
                    except Exception:
                        _log.exception("what other nodes wrote is not taken up; it is tried again")
                        self._due |= parts
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            self._task = None

    async def _read(self, parts: set[str]) -> None:
        core, namespaces = self._core, self._core.namespaces
        assert namespaces is not None
        if parts & {_KEYRING, _ALL}:
            await core.seal.barrier.reload()
        if _ALL in parts:
            await core.serve(active=False)
            return
        if _NAMESPACES in parts:
            await namespaces.follow()
        for part in parts:
            if part.startswith(_MOUNTS):
                await namespaces.follow_mounts(part.removeprefix(_MOUNTS))
        if _ENDS in parts:
            await namespaces.tokens.trees.follow(namespaces.store)
        if _SETTINGS in parts:
            await core.load_settings(namespaces)
        if _AUDIT in parts:
            await core.audit.follow(namespaces.root)


def _made_of(key: str) -> str:
    """What is made of the entry at ``key``, beside what is read through the store: empty for nearly all keys."""
    area, _, rest = key.partition("/")
    if area == "core":
        return _OF_CORE.get(rest.partition("/")[0], "")
    namespace, _, below = rest.partition("/")
    if key.startswith(ENDING):
        return _ENDS
    return _MOUNTS + namespace if below.startswith("core/") else ""
