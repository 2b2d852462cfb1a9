"""What requests said they would do outside the store, until they are committed.

An intent is ``sys/intent/<id>`` with an entry in the expiry index: both are durable before the handler acts, and
deleted in the transaction of its request. Where that commits nothing, since it failed or the server died, the engine is
asked to undo or finish what was begun: at once after a failure and after an unseal, later and later while it cannot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from ..framework import Intent, Request, View
from ..framework.clock import rfc3339
from ..framework.errors import CaveauError, InvalidRequest, Sealed, StoreError
from ..framework.storage import ReadView
from ..storage.prefix import PrefixView
from ..storage.store import Transaction
from .expiry import Due
from .lease import ERROR_LENGTH, EXTERNAL_SECONDS, reason, retry_delay
from .mounts import Mount, MountEntry
from .tokens import random_id

if TYPE_CHECKING:
    from .node import Node

_log = logging.getLogger(__name__)
_INTENT = "intent"  # kind in the expiry index
_LOOK_SECONDS = 60.0  # after which it is looked whether a request has ended without a word
_LONGEST_WAIT = 9  # failures after which the time between attempts no longer doubles: about 43 minutes


class RecoveryFailed(InvalidRequest):
    """What a request began outside the store could not be undone or finished."""


@dataclass(frozen=True, slots=True)
class IntentEntry:
    """An intent as stored. ``mount`` is the uuid of its mount, ``path`` that of its request; times are seconds since
    the epoch. ``error``: of the last of ``failures`` attempts to settle it."""

    id: str
    mount: str
    path: str
    kind: str
    time: float
    due: float
    details: Mapping[str, Any] = field(default_factory=dict)
    failures: int = 0
    error: str = ""

    @property
    def intent(self) -> Intent:
        """As its engine knows it."""
        return Intent(self.kind, self.details, self.id, self.time)

    def describe(self) -> dict[str, Any]:
        """For an operator: without the details, which may be secret."""
        return {
            "path": self.path,
            "kind": self.kind,
            "time": rfc3339(self.time),
            "next_attempt": rfc3339(self.due),
            "failures": self.failures,
            "error": self.error,
        }

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, raw: bytes) -> IntentEntry:
        return cls(**orjson.loads(raw))


class Intents:
    """Those of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.store
        self._root = f"{node.namespace.prefix}sys/intent/"
        self._trying: set[str] = set()
        node.expiry.jobs = {**node.expiry.jobs, _INTENT: self._expire}

    # Of what is under way

    async def note(self, mount: Mount, path: str, kind: str, details: Mapping[str, Any], ids: list[str]) -> Intent:
        """Store what is about to be done at ``path`` of a mount. Its id is among ``ids`` before anything else is done:
        these are to be released, whatever comes."""
        known = mount.engine.lease_kinds.get(kind)
        if known is None or not (known.recover or known.revoke):
            raise TypeError(f"the engine at {mount.point} can neither recover nor revoke {kind!r}")
        now = self._node.clock.time()
        entry = IntentEntry(random_id(), mount.entry.uuid, path, kind, now, now + _LOOK_SECONDS, details)
        self._node.core.intents.add(entry.id)
        ids.append(entry.id)
        await self._store.run(partial(self._put, entry=entry))
        return entry.intent

    def settle(self, view: View, intent: Intent) -> None:
        """Forget an intent in the transaction that stores what came of it. Nothing is read for it: that its time was
        put off meanwhile is no conflict."""
        view.delete(self._root + intent.id)
        self._node.expiry.remove(view, intent.time + _LOOK_SECONDS, _INTENT, intent.id)

    def release(self, ids: Sequence[str], *, failed: bool) -> None:
        """What noted these has ended; where it ``failed``, settle what it may have left, in the background."""
        self._node.core.intents.difference_update(ids)
        if failed and self._node.core.namespaces is self._node.namespaces:  # else it is due after the next unseal
            for id_ in ids:
                self._node.begin(self._settle_now(id_), f"recover {id_}")

    async def _settle_now(self, id_: str) -> None:
        try:
            await self._try(id_)
        except Exception as error:
            _log.error("what a request began at another system is not settled; it is tried again: %s", reason(error))

    # For operators

    async def all(self) -> list[IntentEntry]:
        """What requests have left, the oldest first. Those of requests under way are not among them."""
        left = [entry async for entry in self._walk() if entry.id not in self._node.core.intents]
        return sorted(left, key=lambda entry: entry.time)

    async def recover(self, id_: str) -> None:
        """Settle one now. Raises RecoveryFailed, and InvalidRequest when there is none that could be."""
        if await self._get(self._store, id_) is None or id_ in self._node.core.intents:
            raise InvalidRequest(f"no request has left an intent {id_[:64]!r}")
        await self._try(id_, fail=True)

    async def forget(self, view: View, id_: str) -> None:
        """Delete one; what its request began stays as it is. Nothing happens when there is none."""
        entry = await self._get(view, id_)
        if entry is not None and id_ not in self._node.core.intents:
            _log.warning("the intent of %s is forgotten, and what it stands for may remain", entry.path)
            self._forget(view, entry)

    # Of mounts

    async def recover_mount(self, point: str) -> None:
        """Settle what is left of a mount that is to go, while there is an engine that can; raises RecoveryFailed."""
        mount = self._node.router.get(point)
        async for entry in self._walk():
            if mount is not None and entry.mount == mount.entry.uuid and entry.id not in self._node.core.intents:
                await self._try(entry.id, fail=True)

    async def forget_mount(self, mount: MountEntry | None = None) -> None:
        """Delete what is left of a mount that is gone (None: of all)."""
        async for entry in self._walk():
            if mount is None or entry.mount == mount.uuid:
                await self._store.run(partial(self.forget, id_=entry.id))

    # Settling

    async def resume(self) -> None:
        """Make due what was left when the server was sealed or died."""
        now = self._node.clock.time()
        async for entry in self._walk():
            if entry.due > now:
                await self._store.run(partial(self._postpone, id_=entry.id, until=now))

    async def _expire(self, due: Due) -> None:
        entry = await self._get(self._store, due.id)
        if entry is None or self._node.expiry.key(entry.due, _INTENT, due.id) != due.key:

            async def drop(txn: Transaction) -> None:
                txn.delete(due.key)

            await self._store.run(drop)
        elif due.id in self._node.core.intents or due.id in self._trying:
            await self._store.run(partial(self._postpone, id_=due.id, until=self._node.clock.time() + _LOOK_SECONDS))
        else:
            await self._try(due.id)

    async def _try(self, id_: str, *, fail: bool = False) -> None:
        """Settle an intent; one that cannot be settled now is due again later. Raises RecoveryFailed if ``fail``."""
        if id_ in self._trying:
            if fail:
                raise RecoveryFailed("it is being recovered already")
            return
        self._trying.add(id_)
        try:
            await self._store.run(partial(self._settle, id_=id_), 1)
        except (Sealed, StoreError):
            raise
        except CaveauError as error:
            text = str(error)[:ERROR_LENGTH]
            await self._store.run(partial(self._note_failure, id_=id_, error=text))
            if fail:
                raise RecoveryFailed(f"failed to recover: {text}") from error
        finally:
            self._trying.discard(id_)

    async def _settle(self, txn: Transaction, id_: str) -> None:
        entry = await self._get(txn, id_)
        if entry is None:  # its request was committed after all
            return
        try:
            mount = self._mount(entry)
            path = entry.path.removeprefix(mount.point)
            request = Request("recover", path, PrefixView(txn, mount.prefix), id=id_, mount_point=mount.point)
            began = perf_counter()
            async with asyncio.timeout(EXTERNAL_SECONDS):
                await mount.engine.recover(request, entry.intent)
            name = f"rollback.attempt.{mount.point.replace('/', '-')}"
            self._node.core.metrics.observe(name, perf_counter() - began)
        except CaveauError:
            raise
        except Exception as error:
            raise RecoveryFailed(reason(error)) from error
        self._forget(txn, entry)
        txn.on_commit(lambda: _log.info("what %s began is settled", entry.path))

    def _mount(self, entry: IntentEntry) -> Mount:
        for mount in self._node.router:
            if mount.entry.uuid == entry.mount:
                if entry.kind not in mount.engine.lease_kinds:
                    raise InvalidRequest(f"the engine at {mount.point} knows of no {entry.kind!r}")
                return mount
        raise InvalidRequest(f"there is no engine for {entry.path}")

    async def _note_failure(self, txn: Transaction, id_: str, error: str) -> None:
        entry = await self._get(txn, id_)
        if entry is None:
            return
        failures = entry.failures + 1
        delay = retry_delay(min(failures, _LONGEST_WAIT), self._node.revocations.luck())
        _log.warning("what %s began at another system is not settled, attempt %d; again in %.0f s: %s",
                     entry.path, failures, delay, error)  # fmt: skip
        self._forget(txn, entry)
        due = self._node.clock.time() + delay
        await self._put(txn, replace(entry, failures=failures, error=error, due=due))

    async def _postpone(self, txn: Transaction, id_: str, until: float) -> None:
        entry = await self._get(txn, id_)
        if entry is not None:
            self._forget(txn, entry)
            await self._put(txn, replace(entry, due=until))

    # Parts

    async def _walk(self) -> AsyncIterator[IntentEntry]:
        for id_ in await self._store.list(self._root):
            if (entry := await self._get(self._store, id_)) is not None:
                yield entry

    async def _get(self, view: ReadView, id_: str) -> IntentEntry | None:
        raw = await view.get(self._root + id_)
        return None if raw is None else IntentEntry.load(raw)

    async def _put(self, txn: Transaction, entry: IntentEntry) -> None:
        txn.put(self._root + entry.id, entry.dump())
        self._node.expiry.add(txn, entry.due, _INTENT, entry.id)

    def _forget(self, view: View, entry: IntentEntry) -> None:
        view.delete(self._root + entry.id)
        self._node.expiry.remove(view, entry.due, _INTENT, entry.id)
