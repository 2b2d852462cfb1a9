"""The end of the leases of one namespace: what they gave is taken back when their time or their token ends, or by hand.

What goes over many leases (all of a token, all under a prefix) is itself an entry of the expiry index, so that it goes
on after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from ..framework.errors import CaveauError, Conflict, InvalidRequest, Sealed, StoreError, Unavailable
from ..framework.storage import View
from ..storage.store import Transaction
from .agenda import Agenda, is_over
from .expiry import Due, Lane
from .layout import prefix_of
from .lease import ATTEMPTS, ERROR_LENGTH, EXTERNAL_SECONDS, LeaseEntry, reason, retry_delay
from .lease_index import PAGE, escape, unescape
from .leases import LEASE, of_token
from .slices import Slices
from .tokens import TokenEntry, key_of_lease

if TYPE_CHECKING:
    from .node import Node

_log = logging.getLogger(__name__)
_OF_TOKEN, _UNDER_PREFIX = "leases-of", "leases-under"  # kinds in the expiry index
_SIDE_BY_SIDE = 8  # revocations at the same time by one request


class RevocationFailed(InvalidRequest):
    """What a lease gave could not be taken back."""


class Revocations:
    """Of the leases of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.store
        self._leases = node.leases
        self._timing = node.core.metrics.timing("expire.revoke")
        self._ending: dict[str, asyncio.Future[None]] = {}
        self.luck: Callable[[], float] = secrets.SystemRandom().random
        node.expiry.jobs = {
            LEASE: self._expire,
            _OF_TOKEN: self._expire_of_token,
            _UNDER_PREFIX: self._expire_under_prefix,
        }
        node.expiry.enders[LEASE] = self._end
        node.expiry.records[LEASE] = lambda name: self._leases.index.key(unescape(name))
        node.expiry.lane = self._lane

    # By hand

    async def revoke(self, id_: str, *, force: bool = False) -> None:
        """Take back what a lease gave and forget it; nothing happens when there is none.

        Raises RevocationFailed when its engine cannot; with ``force`` it is forgotten even so.
        """
        while (other := self._ending.get(id_)) is not None:
            await asyncio.wait([other])
        began = perf_counter()
        ended = self._ending[id_] = asyncio.get_running_loop().create_future()
        try:
            found = await self._leases.get(self._store, id_)
            external = isinstance(found, LeaseEntry) and self._leases.is_external(found)
            if external:
                await self._revoke_outside(id_, force)
            else:
                await self._store.run(partial(self._take_back, id_=id_, force=force))
                if isinstance(found, TokenEntry):
                    await self._node.tokens.trees.ended(found.key)
        finally:
            del self._ending[id_]
            ended.set_result(None)
            self._timing.observe(perf_counter() - began)

    async def _revoke_outside(self, id_: str, force: bool) -> None:
        try:
            await self._store.run(partial(self._take_back, id_=id_, force=force), 1)
        except Sealed:
            raise
        except Unavailable as error:  # its transaction met another: later again, like what failed elsewhere
            raise RevocationFailed(f"failed to revoke entry: {error}") from error

    async def _take_back(self, txn: Transaction, id_: str, force: bool) -> None:
        entry = await self._leases.get(txn, id_)
        if isinstance(entry, TokenEntry):
            await self._node.tokens.revoke(txn, entry.key)
        elif entry is None:
            if await txn.get(self._leases.index.key(id_)) is not None:  # that of a token which is gone
                self._leases.index.remove(txn, id_)
        else:
            try:
                mount, request = self._leases.request(txn, entry, "revoke")
                async with asyncio.timeout(EXTERNAL_SECONDS if self._leases.is_external(entry) else None):
                    await mount.engine.revoke(request, entry.lease())
            except (Conflict, Sealed, StoreError):
                raise
            except Exception as error:
                if not force:
                    raise RevocationFailed(f"failed to revoke entry: {reason(error)}") from error
                _log.warning("lease %s is forgotten, and what it gave may remain: %s", id_, reason(error))
            self._leases.forget(txn, entry)

    async def revoke_later(self, id_: str) -> None:
        """Make a lease due now, as if its time were over; one that is irrevocable is tried anew."""
        await self._store.run(partial(self._make_due, id_=id_))
        self._node.expiry.wake()

    async def _make_due(self, txn: Transaction, id_: str) -> None:
        entry, now = await self._leases.get(txn, id_), self._node.clock.time()
        if isinstance(entry, TokenEntry):
            await self._node.tokens.revoke(txn, entry.key)
        elif entry is not None:
            end = min(entry.expire_time, now)
            self._leases.change(txn, entry, expire_time=end, due=now, failures=0, error="")

    async def revoke_prefix(self, prefix: str, *, force: bool = False) -> None:
        """Revoke every lease under a path, or the one of that id. All are tried.

        Raises RevocationFailed, which tells of the first that failed and how many there were.
        """
        failures: list[tuple[str, CaveauError]] = []
        tried = 0

        async def take(id_: str) -> None:
            nonlocal tried
            tried += 1
            try:
                await self.revoke(id_, force=force)
            except RevocationFailed as error:
                failures.append((id_, error))

        if prefix and await self._store.get(self._leases.index.key(prefix)) is not None:
            await take(prefix)
        else:
            await _side_by_side(self._leases.index.below(_folder(prefix)), take)
        if failures:
            id_, error = failures[0]
            raise RevocationFailed(f'failed to revoke "{id_}" ({len(failures)} / {tried}): {error}')

    async def revoke_prefix_later(self, prefix: str) -> None:
        """Revoke in the background every lease under a path that was given until now."""

        async def note(txn: Transaction) -> None:
            self._node.expiry.add(txn, self._node.clock.time(), _UNDER_PREFIX, escape(prefix))

        if prefix and await self._store.get(self._leases.index.key(prefix)) is not None:
            await self.revoke_later(prefix)
        else:
            await self._store.run(note)
            self._node.expiry.wake()

    # What the expiry index asks for

    def _lane(self, due: Due) -> Lane:
        """Leases wait for what their mount waits for; if that is the store alone, they end together."""
        if due.kind != LEASE:
            return Lane(due.kind, due.kind not in self._node.expiry.jobs)
        found = self._node.router.match(unescape(due.id))
        if found is None:
            return Lane(LEASE, shared=False)
        kinds = found[0].engine.lease_kinds
        return Lane(found[0].point, not any(kind.external for kind in kinds.values()))

    async def _end(self, txn: Transaction, name: str) -> None:
        """End a lease that is in the store alone."""
        entry = await self._leases.get(txn, unescape(name))
        if isinstance(entry, LeaseEntry) and entry.due and is_over(entry.due, self._node.clock.time()):
            mount, request = self._leases.request(txn, entry, "revoke")
            await mount.engine.revoke(request, entry.lease())
            self._leases.forget(txn, entry)

    async def _expire(self, due: Due) -> None:
        id_ = unescape(due.id)
        entry = await self._leases.get(self._store, id_)
        if isinstance(entry, LeaseEntry) and self._node.expiry.key(entry.due, LEASE, due.id) == due.key:
            await self._try(id_)
        else:  # it is gone, or was renewed
            await self._store.run(partial(_delete, key=due.key))

    async def _expire_of_token(self, due: Due) -> None:
        await _side_by_side(self._of_token(due.id), partial(self._try_anywhere, token=due.id))
        await self._store.run(partial(_delete, key=due.key))

    async def _of_token(self, key: str) -> AsyncIterator[str]:
        after = ""
        while names := await self._store.list(of_token(key), after, PAGE):
            for name in names:
                yield name
            after = names[-1]

    async def _try_anywhere(self, name: str, token: str) -> None:
        """Revoke the lease that a pointer of a token names: it may be of a namespace below the token's."""
        namespace, _, id_ = name.partition(".")
        those: Revocations | None = self
        if namespace != self._node.namespace.id:
            found = self._node.namespaces.live.get(namespace)
            those = (await self._node.namespaces.node(found)).revocations if found else None
        if those is None:  # all of it went with its namespace
            await self._store.run(partial(_delete, key=of_token(token) + name))
        else:
            await those._try(unescape(id_))

    async def _expire_under_prefix(self, due: Due) -> None:
        async def take(id_: str) -> None:
            entry = await self._leases.get(self._store, id_)
            given = 0.0 if entry is None else entry.issue_time if isinstance(entry, LeaseEntry) else entry.creation_time
            if int(given * 1000) <= round(due.when * 1000):
                await self._try(id_)

        await _side_by_side(self._leases.index.below(_folder(unescape(due.id))), take)
        await self._store.run(partial(_delete, key=due.key))

    async def _try(self, id_: str) -> None:
        """Revoke a lease; one that cannot be revoked now is due again later, and at last irrevocable."""
        try:
            await self.revoke(id_)
        except RevocationFailed as error:
            await self._store.run(partial(self._note_failure, id_=id_, error=str(error)))

    async def _note_failure(self, txn: Transaction, id_: str, error: str) -> None:
        entry, now = await self._leases.get(txn, id_), self._node.clock.time()
        if not isinstance(entry, LeaseEntry):
            return
        failures, end = entry.failures + 1, min(entry.expire_time, now)
        if failures < ATTEMPTS and not entry.irrevocable:
            delay = retry_delay(failures, self.luck())
            _log.warning("lease %s was not revoked, attempt %d of %d; again in %.0f s: %s",
                         id_, failures, ATTEMPTS, delay, error[:ERROR_LENGTH])  # fmt: skip
            self._leases.change(txn, entry, expire_time=end, due=now + delay, failures=failures)
            return
        _log.error("lease %s is irrevocable: %s", id_, error[:ERROR_LENGTH])
        error = f"out of retries: {error}"[:ERROR_LENGTH]
        self._leases.change(txn, entry, expire_time=end, due=0.0, failures=failures, error=error)

    # Left-overs

    async def tidy(self) -> int:
        """Repair what should not be: leases whose token is gone are made due, ids of tokens that are gone deleted.

        Each in a transaction of its own; how many there were.
        """
        found = 0
        async for id_ in self._leases.index.below():
            raw = await self._store.get(self._leases.index.key(id_))
            if raw:
                token = LeaseEntry.load(raw).token
                orphan = bool(token) and await self._node.tokens.by_key(self._store, token) is None
            else:
                orphan = raw is not None and await self._node.tokens.by_key(self._store, key_of_lease(id_)) is None
            if orphan:
                found += 1
                await (self.revoke_later(id_) if raw else self.revoke(id_))
        return found


async def end_with_tokens(view: View, tokens: Sequence[TokenEntry], agenda: Agenda, now: float) -> None:
    """Make the leases of tokens due, in the transaction that ends them."""
    owners, slices = list[str](), Slices()
    for token in tokens:
        if await view.list(of_token(token.key), limit=1):
            owners.append(token.key)
        await slices.next()
    for key in owners:
        agenda.add(view, prefix_of(key), now, _OF_TOKEN, key)
    if owners and isinstance(view, Transaction):
        view.on_commit(agenda.soon.set)


def _folder(prefix: str) -> str:
    return prefix and prefix.rstrip("/") + "/"


async def _delete(txn: Transaction, key: str) -> None:
    txn.delete(key)


async def _side_by_side(ids: AsyncIterator[str], work: Callable[[str], Awaitable[None]]) -> None:
    """Do ``work`` for every id, a few at a time; the first error other than of a lease ends it."""
    lock = asyncio.Lock()  # an iterator is asked by one at a time

    async def worker() -> None:
        while True:
            async with lock:
                id_ = await anext(ids, None)
            if id_ is None:
                return
            await work(id_)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(_SIDE_BY_SIDE):
                workers.create_task(worker())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
