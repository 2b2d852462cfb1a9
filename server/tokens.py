"""Tokens: what is kept of them, how they are found, used, renewed and revoked.

A token's text is never stored. Its entry is at ``sys/token/id/<hash>``, the hash keyed with a salt of the
server; ``parent/`` and the expiry index point to it by that hash, which its accessor is made of. A batch token is
its own entry, encrypted by the barrier, and nothing of it is stored.

The text of a token, its accessor and their hashes end in ``.<id>`` of its namespace, below whose keys all of it
lies; those of the root namespace have no such end. A namespace that does not exist has no tokens.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import string
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import orjson

from ..framework.cidr import address_in
from ..framework.clock import Clock
from ..framework.errors import CaveauError, InvalidRequest
from ..framework.memo import Memo
from ..framework.messages import NOTHING
from ..framework.metrics import Metrics
from ..framework.storage import ReadView, View
from ..storage.store import Store, Transaction
from .accessors import KEY_SIZE, Accessors
from .agenda import Agenda, is_over
from .layout import ROOT, Namespace, prefix_of
from .lease_index import LeaseIndexes
from .token_trees import TokenTrees

SERVICE_PREFIX, BATCH_PREFIX = "hvs.", "hvb."
ROOT_POLICY = "root"
ROOT_PATH = "auth/token/root"
"""Path of root tokens that the server makes itself, when it is initialised and for holders of its key."""
EXPIRY_KIND = "token"
_LETTERS = (string.ascii_letters + string.digits).encode()
_BASE_62 = bytes(_LETTERS[byte % 62] for byte in range(256))
_BIASED = bytes(range(248, 256))  # of 256 bytes, 62 letters get four each, and these are left over
_ID_LENGTH = 24
_FEW = 8  # descendants that end with a token whose time is over, which is one of several in a transaction
_BATCH_KEY = "sys/token/batch"  # associated data of batch tokens
_SHORTEST = len(SERVICE_PREFIX)  # before the dot of a namespace's id


def random_id(length: int = _ID_LENGTH) -> str:
    """``length`` random base-62 characters (24 carry 142 bits)."""
    text = b""
    while len(text) < length:  # twice as many bytes as needed: one in 32 is dropped
        text += os.urandom(2 * length).translate(_BASE_62, _BIASED)
    return text[:length].decode()


class TokenEntry(NamedTuple):
    """A token, without its text. Times are seconds since the epoch, lifetimes seconds; 0 is none.

    Made at every login, which a frozen dataclass of so many fields takes thrice as long for. It is stored as the
    list of its fields but ``key``: new ones come before that, and have defaults.
    """

    accessor: str
    policies: tuple[str, ...]
    path: str
    creation_time: float
    parent: str = ""  # hash of the parent; empty for an orphan
    display_name: str = "token"
    meta: Mapping[str, str] = NOTHING
    num_uses: int = 0  # 0: no limit; -1: spent, and alive only for the request that took the last use
    creation_ttl: int = 0
    explicit_max_ttl: int = 0
    period: int = 0
    renewable: bool = False
    type: str = "service"
    bound_cidrs: tuple[str, ...] = ()
    role: str = ""
    entity_id: str = ""
    expire_time: float = 0.0
    last_renewal: float = 0.0
    namespace: str = ""  # id; empty for the root namespace
    internal: Mapping[str, Any] = NOTHING  # what the auth method that gave it has to know
    login_role: str = ""  # that of its login, where a quota for roles of the auth method had to know
    key: str = ""  # hash of the token's text; empty for a batch token

    @property
    def is_root(self) -> bool:
        return ROOT_POLICY in self.policies

    @property
    def cubbyhole(self) -> str:
        return self.key

    @property
    def granted(self) -> int:
        """Seconds it was given at its creation or last renewal."""
        return round(self.expire_time - (self.last_renewal or self.creation_time)) if self.expire_time else 0

    def ttl(self, now: float) -> int:
        """Seconds left; 0 for a token that does not expire."""
        return max(0, int(self.expire_time - now)) if self.expire_time else 0

    def dump(self) -> bytes:
        return orjson.dumps(self[:-1])

    @classmethod
    def load(cls, key: str, raw: bytes) -> TokenEntry:
        values: list[Any] = [tuple(each) if isinstance(each, list) else each for each in orjson.loads(raw)]
        return cls(*values)._replace(key=key)

    def allows_address(self, address: str) -> bool:
        """Whether a request from ``address`` may use the token."""
        return not self.bound_cidrs or address_in(address, self.bound_cidrs)


def lease_id(entry: TokenEntry) -> str:
    """Under which a token is among the leases; empty for those that are not: the server's own, and batch tokens.

    The time of its creation goes before its key: tokens that are made together lie together on the disk.
    """
    if entry.path == ROOT_PATH or not entry.key:
        return ""
    return f"{entry.path}/h{int(entry.creation_time * 1000):012x}{entry.key}"


def key_of_lease(id_: str) -> str:
    """The key of the token that is under ``id_`` among the leases."""
    return id_.rpartition("/")[2][13:]


class Cipher(Protocol):
    def encrypt(self, key: str, plaintext: bytes) -> bytes: ...
    def decrypt(self, key: str, ciphertext: bytes) -> bytes: ...


Cleanup = Callable[[View, Sequence[TokenEntry]], Awaitable[None]]
"""Removes what hangs on tokens that end, in the transaction that ends them; reads first, then writes."""


class TokenStore:
    """The tokens of all namespaces. ``namespaces``: those but the root one, by id; it changes as they do."""

    def __init__(
        self,
        salt: bytes,
        cipher: Cipher,
        clock: Clock,
        namespaces: Mapping[str, Namespace],
        leases: LeaseIndexes,
        agenda: Agenda,
        metrics: Metrics,
    ) -> None:
        self._root_id = _place(ROOT.prefix, "id")
        self._salt = salt
        self._accessors = Accessors(salt)
        self._cipher = cipher
        self._clock = clock
        self._namespaces = namespaces
        self._leases = leases
        self._agenda = agenda
        self._creations, self.revocations = metrics.timing("token.create"), metrics.timing("token.revoke-tree")
        self._decoded = Memo(TokenEntry.load)
        self.on_revoke: list[Cleanup] = []
        self.trees = TokenTrees(self)

    def hash(self, text: str) -> str:
        """The key of a token: keyed BLAKE2b (RFC 7693), 128 bits, hex; and ``.<id>`` of its namespace."""
        given = text.encode("utf-8", "surrogatepass")
        hashed = hashlib.blake2b(given, key=self._salt, digest_size=KEY_SIZE).hexdigest()
        return f"{hashed}.{id_}" if self._namespaces and (id_ := self.namespace_of(text)) else hashed

    def namespace_of(self, text: str) -> str:
        """Id of the namespace that a token's text names; ``""`` for the root one."""
        dot = text.rfind(".")
        return text[dot + 1 :] if dot >= _SHORTEST and text[dot + 1 :] in self._namespaces else ""

    def _at(self, kind: str, key: str) -> str:
        return _place(prefix_of(key), kind) + key

    def record(self, key: str) -> str:
        """Where in the store the token of this hash is."""
        return self._at("id", key)

    async def lookup(self, view: ReadView, text: str) -> TokenEntry | None:
        """The live token of this text; None when there is none, its time or its uses are over, or its end has begun."""
        if text.startswith(BATCH_PREFIX):
            return await self._open_batch(view, text)
        key = self.hash(text)
        raw = await view.get(self._at("id", key) if self._namespaces else self._root_id + key)
        entry = None if raw is None else self._live(self._decoded(key, raw))
        return await self.trees.outside(view, entry) if self.trees.frontier else entry

    async def by_key(self, view: ReadView, key: str) -> TokenEntry | None:
        """The token of this hash, expired or not."""
        raw = await view.get(self._at("id", key))
        return None if raw is None else self._decoded(key, raw)

    async def by_accessor(self, view: ReadView, accessor: str) -> TokenEntry | None:
        """The live token of this accessor."""
        key = self._accessors.key(accessor)
        _, dot, namespace = key.partition(".")
        if not key or (dot and namespace not in self._namespaces):
            return None
        entry = self._live(await self.by_key(view, key))
        return await self.trees.outside(view, entry) if self.trees.frontier else entry

    def _live(self, entry: TokenEntry | None) -> TokenEntry | None:
        if entry is None or entry.num_uses < 0 or (entry.expire_time and entry.expire_time <= self._clock.time()):
            return None
        return entry

    async def accessors(self, view: ReadView, namespace: Namespace) -> list[str]:
        """Accessors of every stored token of a namespace."""
        return [self._accessors.of(key) for key in await view.list(_place(namespace.prefix, "id"))]

    async def create(self, view: View, entry: TokenEntry, text: str = "", point: str = "") -> tuple[TokenEntry, str]:
        """Store a new token and give its text: ``text`` if given, else a random one. ``point``: of the mount that its
        path is in, where that is known.

        The expiry index is written here too. A batch token is only encoded. Raises InvalidRequest when
        the text is taken.
        """
        end = f".{entry.namespace}" if entry.namespace else ""
        if entry.type == "batch":
            return entry, self._seal_batch(entry) + end
        began = perf_counter()
        random = not text
        text = text or SERVICE_PREFIX + random_id() + end
        key = self.hash(text)
        prefix = prefix_of(key)
        place = _place(prefix, "id") + key
        if not random and await view.get(place) is not None:
            raise InvalidRequest("cannot create a token with a duplicate ID")
        entry = TokenEntry(self._accessors.of(key), *entry[1:-1], key)
        view.put(place, entry.dump(), new=True)
        if entry.parent:
            view.put(self.children(entry.parent) + key, b"", new=True)
        if entry.expire_time:
            self._agenda.add(view, prefix, entry.expire_time, EXPIRY_KIND, key)
        if id_ := lease_id(entry):
            self._leases.of(prefix).add(view, id_, role=entry.login_role, point=point)
        self._creations.observe(perf_counter() - began)
        return entry, text

    def put(self, view: View, entry: TokenEntry) -> None:
        """Store a token that is there already, changed."""
        view.put(self._at("id", entry.key), entry.dump())

    def extend(self, view: View, entry: TokenEntry, ttl: int, now: float) -> TokenEntry:
        """Give a token a new end, ``ttl`` seconds from ``now``."""
        prefix = prefix_of(entry.key)
        self._agenda.remove(view, prefix, entry.expire_time, EXPIRY_KIND, entry.key)
        renewed = entry._replace(expire_time=now + ttl, last_renewal=now)
        self._agenda.add(view, prefix, renewed.expire_time, EXPIRY_KIND, entry.key)
        self.put(view, renewed)
        return renewed

    async def use(self, view: View, key: str) -> TokenEntry | None:
        """Count one use of a token with a limit; None when no use is left."""
        entry = self._live(await self.by_key(view, key))
        if entry is None:
            return None
        if entry.num_uses > 0:
            left = entry.num_uses - 1
            entry = entry._replace(num_uses=left or -1)
            self.put(view, entry)
        return entry

    async def end_spent(self, view: View, key: str) -> None:
        """Revoke a token that has no uses left."""
        entry = await self.by_key(view, key)
        if entry is not None and entry.num_uses < 0:
            await self.revoke(view, key)

    async def revoke(self, view: View, key: str, *, spare_children: bool = False) -> bool:
        """Delete a token and everything that hangs on it; False when there is none.

        Its children die with it, or become orphans with ``spare_children``; many of them only after the commit, which
        ``trees`` tells of.
        """
        return await self.trees.revoke(view, key, spare_children=spare_children)

    def children(self, key: str) -> str:
        """Where it is noted which tokens are children of one."""
        return f"{self._at('parent', key)}/"

    def remove(self, view: View, entry: TokenEntry) -> None:
        """Delete what is stored of one token; its children and what its text opens are left."""
        view.delete(self._at("id", entry.key))
        if entry.parent:
            view.delete(self.children(entry.parent) + entry.key)
        if entry.expire_time:
            self._agenda.remove(view, prefix_of(entry.key), entry.expire_time, EXPIRY_KIND, entry.key)
        if id_ := lease_id(entry):
            self._leases.of(prefix_of(entry.key)).remove(view, id_, entry.login_role)

    async def expire(self, view: View, key: str) -> None:
        """End a token whose time has come; one that was renewed meanwhile lives on."""
        entry = await self.by_key(view, key)
        if entry is not None and entry.expire_time and is_over(entry.expire_time, self._clock.time()):
            await self.trees.revoke(view, key, spare_children=False, most=_FEW)

    async def tidy(self, store: Store, namespace: Namespace) -> int:
        """Remove a namespace's pointers to tokens that are gone, each in a transaction of its own; how many."""
        removed = 0
        parents = _place(namespace.prefix, "parent")
        for folder in await store.list(parents):
            for child in await store.list(parents + folder):
                removed += await self._forget(store, parents + folder + child, child)
        return removed

    async def _forget(self, store: Store, pointer: str, key: str) -> bool:
        """Delete ``pointer`` unless the token it is for is there."""

        async def forget(txn: Transaction) -> bool:
            if await self.by_key(txn, key) is not None:
                return False
            txn.delete(pointer)
            return True

        await asyncio.sleep(0)  # others want to be served too
        return await self.by_key(store, key) is None and await store.run(forget)

    def _seal_batch(self, entry: TokenEntry) -> str:
        sealed = self._cipher.encrypt(_BATCH_KEY, entry.dump())
        return BATCH_PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    async def _open_batch(self, view: ReadView, text: str) -> TokenEntry | None:
        body, _, namespace = text.removeprefix(BATCH_PREFIX).partition(".")
        try:
            sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            entry = TokenEntry.load("", self._cipher.decrypt(_BATCH_KEY, sealed))
        except (binascii.Error, ValueError, CaveauError):
            return None
        if entry.namespace != namespace or (namespace and namespace not in self._namespaces):
            return None
        if entry.parent and self._live(await self.by_key(view, entry.parent)) is None:
            return None
        return self._live(await self.trees.outside(view, entry) if self.trees.frontier else entry)


def _place(prefix: str, kind: str) -> str:
    return f"{prefix}sys/token/{kind}/"
