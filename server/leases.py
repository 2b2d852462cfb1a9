"""The leases of one namespace: given, renewed, and taken back when their time or their token ends.

Everything about a lease is on disk and changes in one transaction: its record (``lease_index``), a pointer from the
token it ends with (``sys/lease/token/<token>/<id>``), and its entry in the expiry index, or, once it is
irrevocable, in ``sys/lease/irrevocable/<id>``. What goes over many leases (all of a token, all under a prefix) is
itself an entry of the expiry index, so that it goes on after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..framework import Lease, Request
from ..framework.errors import CaveauError, Conflict, InvalidRequest, Sealed, StoreError, Unavailable
from ..framework.storage import ReadView, View
from ..storage.store import ATTEMPTS as RERUNS
from ..storage.store import PrefixView, Transaction
from .agenda import Agenda, is_over
from .expiry import Due, Lane
from .layout import prefix_of
from .lease import ATTEMPTS, ERROR_LENGTH, EXTERNAL_SECONDS, LeaseEntry, described, lifetime, reason, retry_delay
from .lease_index import PAGE, escape, unescape
from .mounts import Mount
from .slices import Slices
from .tokens import TokenEntry, key_of_lease, random_id
from .ttl import Lifetime

if TYPE_CHECKING:
    from .node import Node

_log = logging.getLogger(__name__)
_LEASE, _OF_TOKEN, _UNDER_PREFIX = "lease", "leases-of", "leases-under"  # kinds in the expiry index
_SIDE_BY_SIDE = 8  # revocations at the same time by one request
_ONE_USE = "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked."


class RevocationFailed(InvalidRequest):
    """What a lease gave could not be taken back."""


class Leases:
    """The leases of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.store
        self.index = node.namespaces.leases.of(node.namespace.prefix)
        self.index.mount_of = self._point
        self.index.role_of = self._role
        self._revocations = node.core.metrics.timing("expire.revoke")
        self._ending: dict[str, asyncio.Future[None]] = {}
        self.luck: Callable[[], float] = secrets.SystemRandom().random
        node.expiry.jobs = {
            _LEASE: self._expire,
            _OF_TOKEN: self._expire_of_token,
            _UNDER_PREFIX: self._expire_under_prefix,
        }
        node.expiry.enders[_LEASE] = self._end
        node.expiry.records[_LEASE] = lambda name: self.index.key(unescape(name))
        node.expiry.lane = self._lane

    # What there is

    def count(self, point: str) -> int:
        """How many leases, those of tokens too, there are under a mount point. From memory."""
        return self.index.count(point)

    @property
    def total(self) -> int:
        """How many leases there are in all, those of tokens too. From memory."""
        return self.index.total

    async def get(self, view: ReadView, id_: str) -> LeaseEntry | TokenEntry | None:
        """A lease by its id, or the token that has this one."""
        raw = await view.get(self.index.key(id_))
        if raw is None:
            return None
        return LeaseEntry.load(raw) if raw else await self._node.tokens.by_key(view, key_of_lease(id_))

    async def describe(self, view: ReadView, id_: str) -> dict[str, Any] | None:
        """A lease as ``sys/leases/lookup`` shows it; None when there is none."""
        found, now = await self.get(view, id_), self._node.clock.time()
        if isinstance(found, TokenEntry):
            return described(
                id_, found.path, found.creation_time, found.expire_time, found.last_renewal, found.renewable, now
            )
        return None if found is None else found.describe(now)

    async def irrevocable(self, limit: int = 0) -> list[LeaseEntry]:
        """Leases whose revocation was given up, at most ``limit`` (0: all)."""
        found = [await self.get(self._store, id_) for id_ in await self.index.given_up(limit)]
        return [entry for entry in found if isinstance(entry, LeaseEntry)]

    async def count_irrevocable(self) -> dict[str, int]:
        """How many of these there are, by the accessor of their mount."""
        return dict(Counter(map(self.accessor, await self.index.given_up())))

    def accessor(self, id_: str) -> str:
        """Of the mount that a lease id is under."""
        found = self._node.router.match(id_)
        return found[0].entry.accessor if found else "mount-accessor-not-found"

    def _point(self, id_: str) -> str:
        found = self._node.router.match(id_)
        return found[0].point if found else id_.partition("/")[0] + "/"

    async def _role(self, id_: str) -> str:
        token = await self._node.tokens.by_key(self._store, key_of_lease(id_))
        return token.login_role if token else ""

    # Giving and renewing

    def lifetime(self, point: str, lease: Lease, increment: int = 0, bound: float = 0.0) -> Lifetime:
        """How long a lease of the mount at ``point`` lives when it is given or renewed now."""
        return lifetime(lease, self._node.ttls(point), increment, self._node.clock.time(), bound)

    def identify(self, mount: Mount, path: str, lease: Lease) -> None:
        """Give a new lease its id; ``path``: that of the request, below the mount."""
        lease.id = f"{mount.point}{path}".rstrip("/") + "/" + random_id()

    async def give(self, view: View, mount: Mount, lease: Lease, token: TokenEntry | None) -> Lifetime:
        """Store a new lease, which ends with ``token`` at the latest; raises InvalidRequest.

        A batch token is stored nowhere: its leases end when it does, and with its parent.
        """
        if token is not None and token.num_uses < 0:
            raise InvalidRequest(_ONE_USE)
        batch = token is not None and token.type == "batch"
        bound = token.expire_time if token is not None and batch else 0.0
        life = self.lifetime(mount.point, lease, bound=bound)
        now = self._node.clock.time()
        end = now + life.ttl
        entry = LeaseEntry(
            id=lease.id,
            kind=lease.kind,
            issue_time=now,
            expire_time=end,
            due=end,
            ttl=lease.ttl,
            max_ttl=lease.max_ttl,
            renewable=lease.renewable,
            internal=lease.internal,
            token="" if token is None else token.parent if batch else token.key,
            bound=bound,
        )
        self.index.add(view, entry.id, entry.dump())
        if entry.token:
            view.put(self._pointer(entry), b"", new=True)
        self._node.expiry.add(view, end, _LEASE, escape(entry.id))
        return life

    async def give_back(self, mount: Mount, lease: Lease) -> None:
        """Undo a lease whose request failed after its engine had made something elsewhere."""
        now = self._node.clock.time()
        entry = LeaseEntry(lease.id, lease.kind, now, now, now, renewable=False, internal=lease.internal)

        async def store(txn: Transaction) -> None:
            if await txn.get(self.index.key(entry.id)) is None:
                self.index.add(txn, entry.id, entry.dump())
                self._node.expiry.add(txn, now, _LEASE, escape(entry.id))

        try:
            await self._store.run(store)
        except CaveauError as error:
            _log.error("lease %s was not stored, and what it stands for may remain at %s: %s",
                       lease.id, mount.point, error)  # fmt: skip
        self._node.expiry.wake()

    async def renew(self, id_: str, increment: int) -> tuple[LeaseEntry, Lifetime]:
        """Give a lease a new end, ``increment`` seconds from now (0: as at first); raises InvalidRequest."""
        found = await self.get(self._store, id_)
        if isinstance(found, TokenEntry):
            raise InvalidRequest(
                "tokens cannot be renewed through this endpoint" if found.renewable else "lease is not renewable"
            )
        external = isinstance(found, LeaseEntry) and self._is_external(found)
        return await self._store.run(partial(self._renew, id_=id_, increment=increment), 1 if external else RERUNS)

    async def _renew(self, txn: Transaction, id_: str, increment: int) -> tuple[LeaseEntry, Lifetime]:
        entry, now = await self.get(txn, id_), self._node.clock.time()
        if not isinstance(entry, LeaseEntry):
            raise InvalidRequest("lease not found")
        if entry.irrevocable:
            raise InvalidRequest("lease is expired and has failed previous revocation attempts")
        if entry.expire_time <= now:
            raise InvalidRequest("lease expired")
        if not entry.renewable:
            raise InvalidRequest("lease is not renewable")
        mount, request = self._request(txn, entry, "renew")
        lease = await mount.engine.renew(request, entry.lease(), increment)
        life = self.lifetime(mount.point, lease, increment, entry.bound)
        if life.ttl <= 0:
            raise InvalidRequest("past the max TTL, cannot renew")
        self._unschedule(txn, entry)
        end = now + life.ttl
        entry = replace(entry, expire_time=end, due=end, ttl=lease.ttl, max_ttl=lease.max_ttl, last_renewal=now,
                        renewable=lease.renewable, internal=lease.internal)  # fmt: skip
        self._put(txn, entry)
        self._node.expiry.add(txn, end, _LEASE, escape(id_))
        return entry, life

    # Taking back

    async def revoke(self, id_: str, *, force: bool = False) -> None:
        """Take back what a lease gave and forget it; nothing happens when there is none.

        Raises RevocationFailed when its engine cannot; with ``force`` it is forgotten even so.
        """
        while (other := self._ending.get(id_)) is not None:
            await asyncio.wait([other])
        began = perf_counter()
        ended = self._ending[id_] = asyncio.get_running_loop().create_future()
        try:
            found = await self.get(self._store, id_)
            external = isinstance(found, LeaseEntry) and self._is_external(found)
            if external:
                await self._revoke_outside(id_, force)
            else:
                await self._store.run(partial(self._take_back, id_=id_, force=force))
                if isinstance(found, TokenEntry):
                    await self._node.tokens.trees.ended(found.key)
        finally:
            del self._ending[id_]
            ended.set_result(None)
            self._revocations.observe(perf_counter() - began)

    async def _revoke_outside(self, id_: str, force: bool) -> None:
        try:
            await self._store.run(partial(self._take_back, id_=id_, force=force), 1)
        except Sealed:
            raise
        except Unavailable as error:  # its transaction met another: later again, like what failed elsewhere
            raise RevocationFailed(f"failed to revoke entry: {error}") from error

    async def _take_back(self, txn: Transaction, id_: str, force: bool) -> None:
        entry = await self.get(txn, id_)
        if isinstance(entry, TokenEntry):
            await self._node.tokens.revoke(txn, entry.key)
        elif entry is None:
            if await txn.get(self.index.key(id_)) is not None:  # that of a token which is gone
                self.index.remove(txn, id_)
        else:
            try:
                mount, request = self._request(txn, entry, "revoke")
                async with asyncio.timeout(EXTERNAL_SECONDS if self._is_external(entry) else None):
                    await mount.engine.revoke(request, entry.lease())
            except (Conflict, Sealed, StoreError):
                raise
            except Exception as error:
                if not force:
                    raise RevocationFailed(f"failed to revoke entry: {reason(error)}") from error
                _log.warning("lease %s is forgotten, and what it gave may remain: %s", id_, reason(error))
            self._forget(txn, entry)

    def _forget(self, txn: Transaction, entry: LeaseEntry) -> None:
        self.index.remove(txn, entry.id)
        self._unschedule(txn, entry)
        if entry.token:
            txn.delete(self._pointer(entry))

    async def revoke_later(self, id_: str) -> None:
        """Make a lease due now, as if its time were over; one that is irrevocable is tried anew."""
        await self._store.run(partial(self._make_due, id_=id_))
        self._node.expiry.wake()

    async def _make_due(self, txn: Transaction, id_: str) -> None:
        entry, now = await self.get(txn, id_), self._node.clock.time()
        if isinstance(entry, TokenEntry):
            await self._node.tokens.revoke(txn, entry.key)
        elif entry is not None:
            self._unschedule(txn, entry)
            end = min(entry.expire_time, now)
            self._put(txn, replace(entry, expire_time=end, due=now, failures=0, error=""))
            self._node.expiry.add(txn, now, _LEASE, escape(id_))

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

        if prefix and await self._store.get(self.index.key(prefix)) is not None:
            await take(prefix)
        else:
            await _side_by_side(self.index.below(_folder(prefix)), take)
        if failures:
            id_, error = failures[0]
            raise RevocationFailed(f'failed to revoke "{id_}" ({len(failures)} / {tried}): {error}')

    async def revoke_prefix_later(self, prefix: str) -> None:
        """Revoke in the background every lease under a path that was given until now."""

        async def note(txn: Transaction) -> None:
            self._node.expiry.add(txn, self._node.clock.time(), _UNDER_PREFIX, escape(prefix))

        if prefix and await self._store.get(self.index.key(prefix)) is not None:
            await self.revoke_later(prefix)
        else:
            await self._store.run(note)
            self._node.expiry.wake()

    # What the expiry index asks for

    def _lane(self, due: Due) -> Lane:
        """Leases wait for what their mount waits for; if that is the store alone, they end together."""
        if due.kind != _LEASE:
            return Lane(due.kind, due.kind not in self._node.expiry.jobs)
        found = self._node.router.match(unescape(due.id))
        if found is None:
            return Lane(_LEASE, shared=False)
        kinds = found[0].engine.lease_kinds
        return Lane(found[0].point, not any(kind.external for kind in kinds.values()))

    async def _end(self, txn: Transaction, name: str) -> None:
        """End a lease that is in the store alone."""
        entry = await self.get(txn, unescape(name))
        if isinstance(entry, LeaseEntry) and entry.due and is_over(entry.due, self._node.clock.time()):
            mount, request = self._request(txn, entry, "revoke")
            await mount.engine.revoke(request, entry.lease())
            self._forget(txn, entry)

    async def _expire(self, due: Due) -> None:
        id_ = unescape(due.id)
        entry = await self.get(self._store, id_)
        if isinstance(entry, LeaseEntry) and self._node.expiry.key(entry.due, _LEASE, due.id) == due.key:
            await self._try(id_)
        else:  # it is gone, or was renewed
            await self._store.run(partial(_delete, key=due.key))

    async def _expire_of_token(self, due: Due) -> None:
        await _side_by_side(self._of_token(due.id), partial(self._try_anywhere, token=due.id))
        await self._store.run(partial(_delete, key=due.key))

    async def _of_token(self, key: str) -> AsyncIterator[str]:
        after = ""
        while names := await self._store.list(_of(key), after, PAGE):
            for name in names:
                yield name
            after = names[-1]

    async def _try_anywhere(self, name: str, token: str) -> None:
        """Revoke the lease that a pointer of a token names: it may be of a namespace below the token's."""
        namespace, _, id_ = name.partition(".")
        leases: Leases | None = self
        if namespace != self._node.namespace.id:
            found = self._node.namespaces.live.get(namespace)
            leases = (await self._node.namespaces.node(found)).leases if found else None
        if leases is None:  # all of it went with its namespace
            await self._store.run(partial(_delete, key=_of(token) + name))
        else:
            await leases._try(unescape(id_))

    async def _expire_under_prefix(self, due: Due) -> None:
        async def take(id_: str) -> None:
            entry = await self.get(self._store, id_)
            given = 0.0 if entry is None else entry.issue_time if isinstance(entry, LeaseEntry) else entry.creation_time
            if int(given * 1000) <= round(due.when * 1000):
                await self._try(id_)

        await _side_by_side(self.index.below(_folder(unescape(due.id))), take)
        await self._store.run(partial(_delete, key=due.key))

    async def _try(self, id_: str) -> None:
        """Revoke a lease; one that cannot be revoked now is due again later, and at last irrevocable."""
        try:
            await self.revoke(id_)
        except RevocationFailed as error:
            await self._store.run(partial(self._note_failure, id_=id_, error=str(error)))

    async def _note_failure(self, txn: Transaction, id_: str, error: str) -> None:
        entry, now = await self.get(txn, id_), self._node.clock.time()
        if not isinstance(entry, LeaseEntry):
            return
        self._unschedule(txn, entry)
        failures, end = entry.failures + 1, min(entry.expire_time, now)
        if failures < ATTEMPTS and not entry.irrevocable:
            delay = retry_delay(failures, self.luck())
            _log.warning("lease %s was not revoked, attempt %d of %d; again in %.0f s: %s",
                         id_, failures, ATTEMPTS, delay, error[:ERROR_LENGTH])  # fmt: skip
            self._put(txn, replace(entry, expire_time=end, due=now + delay, failures=failures))
            self._node.expiry.add(txn, now + delay, _LEASE, escape(id_))
            return
        _log.error("lease %s is irrevocable: %s", id_, error[:ERROR_LENGTH])
        error = f"out of retries: {error}"[:ERROR_LENGTH]
        self._put(txn, replace(entry, expire_time=end, due=0.0, failures=failures, error=error))
        self.index.give_up(txn, id_)

    # Left-overs

    async def tidy(self) -> int:
        """Repair what should not be: leases whose token is gone are made due, ids of tokens that are gone deleted.

        Each in a transaction of its own; how many there were.
        """
        found = 0
        async for id_ in self.index.below():
            raw = await self._store.get(self.index.key(id_))
            if raw:
                token = LeaseEntry.load(raw).token
                orphan = bool(token) and await self._node.tokens.by_key(self._store, token) is None
            else:
                orphan = raw is not None and await self._node.tokens.by_key(self._store, key_of_lease(id_)) is None
            if orphan:
                found += 1
                await (self.revoke_later(id_) if raw else self.revoke(id_))
        return found

    # Parts

    def _is_external(self, entry: LeaseEntry) -> bool:
        found = self._node.router.match(entry.id)
        kind = found[0].engine.lease_kinds.get(entry.kind) if found else None
        return kind is not None and kind.external

    def _request(self, txn: Transaction, entry: LeaseEntry, op: str) -> tuple[Mount, Request]:
        found = self._node.router.match(entry.id)
        if found is None:
            raise InvalidRequest(f"there is no engine at {entry.path}")
        mount, rest = found
        return mount, Request(
            op, rest.rpartition("/")[0], PrefixView(txn, mount.prefix), id=entry.id, mount_point=mount.point
        )

    def _put(self, txn: Transaction, entry: LeaseEntry) -> None:
        txn.put(self.index.key(entry.id), entry.dump())

    def _pointer(self, entry: LeaseEntry) -> str:
        return f"{_of(entry.token)}{self._node.namespace.id}.{escape(entry.id)}"

    def _unschedule(self, txn: Transaction, entry: LeaseEntry) -> None:
        if entry.due:
            self._node.expiry.remove(txn, entry.due, _LEASE, escape(entry.id))
        if entry.irrevocable:
            self.index.resume(txn, entry.id)


async def end_with_tokens(view: View, tokens: Sequence[TokenEntry], agenda: Agenda, now: float) -> None:
    """Make the leases of tokens due, in the transaction that ends them."""
    owners, slices = list[str](), Slices()
    for token in tokens:
        if await view.list(_of(token.key), limit=1):
            owners.append(token.key)
        await slices.next()
    for key in owners:
        agenda.add(view, prefix_of(key), now, _OF_TOKEN, key)
    if owners and isinstance(view, Transaction):
        view.on_commit(agenda.soon.set)


def _of(token_key: str) -> str:
    """Where the pointers to the leases of a token are, ``<namespace id>.<lease id>`` each."""
    return f"{prefix_of(token_key)}sys/lease/token/{token_key}/"


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
