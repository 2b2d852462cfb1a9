"""The leases of one namespace: which there are, how they are given and renewed. ``revocations`` ends them.

Everything about a lease is on disk and changes in one transaction: its record (``lease_index``), a pointer from the
token it ends with (``sys/lease/token/<token>/<id>``), and its entry in the expiry index, or, once it is
irrevocable, in ``sys/lease/irrevocable/<id>``.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..framework import Lease, Request
from ..framework.errors import CaveauError, InvalidRequest
from ..framework.storage import ReadView, View
from ..storage.prefix import PrefixView
from ..storage.store import ATTEMPTS as RERUNS
from ..storage.store import Transaction
from .layout import prefix_of
from .lease import LeaseEntry, described, lifetime
from .lease_index import escape
from .mounts import Mount
from .tokens import TokenEntry, key_of_lease, random_id
from .ttl import Lifetime

if TYPE_CHECKING:
    from .node import Node

_log = logging.getLogger(__name__)
LEASE = "lease"
"""The kind of the entries of leases in the expiry index."""
_ONE_USE = "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked."


class Leases:
    """The leases of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.store
        self.index = node.namespaces.leases.of(node.namespace.prefix)
        self.index.mount_of = self._point
        self.index.role_of = self._role

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
        self._node.expiry.add(view, end, LEASE, escape(entry.id))
        return life

    async def give_back(self, mount: Mount, lease: Lease) -> None:
        """Undo a lease whose request failed after its engine had made something elsewhere."""
        now = self._node.clock.time()
        entry = LeaseEntry(lease.id, lease.kind, now, now, now, renewable=False, internal=lease.internal)

        async def store(txn: Transaction) -> None:
            if await txn.get(self.index.key(entry.id)) is None:
                self.index.add(txn, entry.id, entry.dump())
                self._node.expiry.add(txn, now, LEASE, escape(entry.id))

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
        external = isinstance(found, LeaseEntry) and self.is_external(found)
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
        mount, request = self.request(txn, entry, "renew")
        lease = await mount.engine.renew(request, entry.lease(), increment)
        life = self.lifetime(mount.point, lease, increment, entry.bound)
        if life.ttl <= 0:
            raise InvalidRequest("past the max TTL, cannot renew")
        end = now + life.ttl
        return self.change(txn, entry, expire_time=end, due=end, ttl=lease.ttl, max_ttl=lease.max_ttl,
                           last_renewal=now, renewable=lease.renewable, internal=lease.internal), life  # fmt: skip

    # For those who give, renew and end them

    def is_external(self, entry: LeaseEntry) -> bool:
        """Whether what it gave is in another system."""
        found = self._node.router.match(entry.id)
        kind = found[0].engine.lease_kinds.get(entry.kind) if found else None
        return kind is not None and kind.external

    def request(self, txn: Transaction, entry: LeaseEntry, op: str) -> tuple[Mount, Request]:
        """What its engine is asked to renew or revoke it with; raises InvalidRequest when there is none."""
        found = self._node.router.match(entry.id)
        if found is None:
            raise InvalidRequest(f"there is no engine at {entry.path}")
        mount, rest = found
        return mount, Request(
            op, rest.rpartition("/")[0], PrefixView(txn, mount.prefix), id=entry.id, mount_point=mount.point
        )

    def change(self, txn: Transaction, entry: LeaseEntry, **changes: Any) -> LeaseEntry:
        """Store a lease with some of its fields changed, and where it is due or is irrevocable from now on."""
        self._unschedule(txn, entry)
        changed = replace(entry, **changes)
        txn.put(self.index.key(changed.id), changed.dump())
        if changed.due:
            self._node.expiry.add(txn, changed.due, LEASE, escape(changed.id))
        if changed.irrevocable:
            self.index.give_up(txn, changed.id)
        return changed

    def forget(self, txn: Transaction, entry: LeaseEntry) -> None:
        """Delete all that is stored of a lease."""
        self.index.remove(txn, entry.id)
        self._unschedule(txn, entry)
        if entry.token:
            txn.delete(self._pointer(entry))

    def _pointer(self, entry: LeaseEntry) -> str:
        return f"{of_token(entry.token)}{self._node.namespace.id}.{escape(entry.id)}"

    def _unschedule(self, txn: Transaction, entry: LeaseEntry) -> None:
        if entry.due:
            self._node.expiry.remove(txn, entry.due, LEASE, escape(entry.id))
        if entry.irrevocable:
            self.index.resume(txn, entry.id)


def of_token(token_key: str) -> str:
    """Where the pointers to the leases of a token are, ``<namespace id>.<lease id>`` each."""
    return f"{prefix_of(token_key)}sys/lease/token/{token_key}/"
