"""The namespaces of an unsealed server: which there are, which of them a request goes to, and their end.

All share one store and one token store. The records of all are in memory; the mounts and policies of one are
loaded when it is first used, so that a thousand namespaces start as fast as one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..framework import Response, View
from ..framework.errors import InvalidRequest, NotFound, PermissionDenied, Sealed, Unavailable
from ..framework.storage import ReadView
from ..storage.barrier import Barrier
from ..storage.store import Store, Transaction
from .agenda import Agenda
from .identity.mfa.enforced import Enforced
from .layout import NAMESPACES, ROOT, Namespace, cubbyhole, cubbyholes, visits
from .lease_index import LeaseIndexes
from .node import Node, OnCommit, leaves
from .pipeline import Pipeline
from .revocations import end_with_tokens
from .slices import Slices
from .tokens import TokenEntry, TokenStore, random_id
from .wrapping import ABOUT_ONE, CONTROL_POLICY, WRAPPING_POLICY

if TYPE_CHECKING:
    from .core import Core
    from .request import Incoming

_log = logging.getLogger(__name__)
_REAP_SECONDS = 1.0
_AT_ONCE = 500  # things that end in one namespace before the next has its turn
_PURGE_BATCH = 500
_ID_LENGTH = 6
_SALT = f"{ROOT.prefix}sys/token/salt"
_UNLOCK = "sys/namespaces/api-lock/unlock"
_UNAVAILABLE = tuple(
    f"sys/{name}"
    for name in (
        "generate-root", "health", "in-flight-req", "init", "key-status", "metrics", "pprof", "raw", "rekey",
        "rekey-recovery-key", "rotate", "seal", "step-down", "storage/raft", "unseal",
    )
)  # fmt: skip
_ROOT_ONLY = tuple(
    f"sys/{name}"
    for name in (
        "audit", "audit-hash", "config", "host-info", "internal/counters/activity", "internal/counters/config",
        "internal/inspect", "loggers", "monitor", "quotas",
    )
)  # fmt: skip


@dataclass(slots=True)
class _Open:
    """A namespace in use. ``idle`` is set whenever no request is under way in it."""

    node: Node
    pipeline: Pipeline
    idle: asyncio.Event
    requests: int = 0


class Namespaces:
    """The root namespace and those below it. ``live``: those that are not being deleted, by id, without the root."""

    def __init__(self, core: Core, barrier: Barrier, store: Store, *, active: bool = True) -> None:
        """``active``: whether this node writes; else it follows one that does."""
        self.core = core
        self.barrier = barrier
        self.store = store
        self.active = active
        self.live: dict[str, Namespace] = {}
        self.leases = LeaseIndexes(store)
        self.agenda = Agenda()
        self.tokens: TokenStore
        self.root: Node
        self.pipeline: Pipeline
        self.mfa = Enforced(self)
        self._by_path: dict[str, Namespace] = {}
        self._open: dict[str, _Open] = {}
        self._opening: dict[str, asyncio.Task[_Open]] = {}
        self._locked = 0
        self._reaper: asyncio.Task[None] | None = None
        self._revoker: asyncio.Task[None] | None = None
        self._deletions: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the root namespace, and on the active node go on with deletions that were cut off.

        Raises Unavailable on a node that follows and has nothing yet."""
        salt = await (self.store.run(self._salt) if self.active else self.store.get(_SALT))
        if salt is None:
            raise Unavailable("the data of the cluster is not here yet; try again")
        self.tokens = TokenStore(
            salt, self.barrier, self.core.clock, self.live, self.leases, self.agenda, self.core.metrics
        )
        self.tokens.on_revoke += [self._end_leases, self._clear_cubbyholes]
        for namespace in await _stored(self.store):
            self._know(namespace)
        self.root = Node(self.core, self, ROOT)
        await self.root.open()
        self.pipeline = Pipeline(self.root)
        await self.tokens.trees.open(self.store)
        if not self.active:
            return
        self._reaper = asyncio.create_task(self._reap_forever(), name="expiry")
        self._revoker = asyncio.create_task(self.tokens.trees.work(self.store), name="end token trees")
        for namespace in [each for each in self._by_path.values() if each.tainted]:
            self._begin_deletion(namespace)

    async def close(self, reason: type[Unavailable] = Sealed) -> None:
        """Stop background work and let the engines go; requests in flight can commit nothing any more, which raises
        ``reason``."""
        running = (self._reaper, self._revoker, *self._deletions, *self._opening.values())
        tasks = [task for task in running if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.tokens.trees.close()
        for node in reversed(self.nodes()):
            await node.close()
        self.store.close(reason)

    async def _salt(self, txn: Transaction) -> bytes:
        salt = await txn.get(_SALT)
        if salt is None:
            salt = secrets.token_bytes(32)
            txn.put(_SALT, salt)
        return salt

    async def follow(self) -> None:
        """Take up which namespaces there are, on a node that does not decide it."""
        stored = {each.id: each for each in await _stored(self.store)}
        for namespace in [each for each in self._by_path.values() if each.id not in stored]:
            self.live.pop(namespace.id, None)
            self._forget(namespace)
        for namespace in stored.values():
            self._know(namespace)
        for opened in [self._open.pop(id_) for id_ in list(self._open) if id_ not in self.live]:
            self.root.begin(_retire(opened), f"close namespace {opened.node.namespace.path}")

    async def follow_mounts(self, id_: str) -> None:
        """Take up the mounts of a namespace that is in use, on a node that does not decide them."""
        if id_ != ROOT.id and id_ in self._opening:
            await asyncio.wait([self._opening[id_]])
        for node in self.nodes():
            if node.namespace.id == id_:
                await node.follow()

    # What there is

    def __bool__(self) -> bool:
        """Whether there is one beside the root namespace."""
        return bool(self._by_path)

    def at(self, path: str) -> Namespace | None:
        """The namespace of this path (``/`` at its end; "" is the root one), one that is being deleted too."""
        return self._by_path.get(path) if path else ROOT

    def below(self, namespace: Namespace, *, deep: bool = False) -> list[Namespace]:
        """The namespaces right below one, or with ``deep`` all below it, in the order of their paths."""
        found = [self._by_path[path] for path in sorted(self._by_path) if path != namespace.path]
        return [each for each in found if (namespace.holds(each) if deep else each.parent == namespace.path)]

    async def in_the_way(self, view: View, namespace: Namespace, point: str) -> Namespace | None:
        """The namespace below ``namespace`` that would hide a mount at ``point``.

        Reads which there are in the caller's transaction, so that of two rivals one runs again.
        """
        path = f"{namespace.path}{point.partition('/')[0]}/"
        return self._by_path.get(path) or (await self._coming(view)).get(path)

    async def _coming(self, view: View) -> dict[str, Namespace]:
        """The namespaces, by path, of commits that a transaction builds on and that are not durable yet."""
        known = {each.id for each in self._by_path.values()}
        return {each.path: each for each in await _stored(view, known)}

    def of_token(self, token: TokenEntry) -> Namespace:
        """The namespace a token belongs to; raises PermissionDenied when that is no more."""
        namespace = self.live.get(token.namespace) if token.namespace else ROOT
        if namespace is None:
            raise PermissionDenied
        return namespace

    def _know(self, namespace: Namespace) -> None:
        old = self._by_path.get(namespace.path)
        self._locked += bool(namespace.unlock_key) - bool(old and old.unlock_key)
        self._by_path[namespace.path] = namespace
        if namespace.tainted:
            self.live.pop(namespace.id, None)
        else:
            self.live[namespace.id] = namespace

    def _forget(self, namespace: Namespace) -> None:
        self._locked -= bool(namespace.unlock_key)
        del self._by_path[namespace.path]

    # Requests

    async def answer(self, incoming: Incoming) -> Response:
        """Answer a request in the namespace it goes to, which its header and the beginning of its path name."""
        namespace, path = self.find(incoming.namespace, incoming.path)
        if path in ABOUT_ONE and incoming.token:
            token = await self.tokens.lookup(self.store, incoming.token)
            if token is not None and token.policies in ((WRAPPING_POLICY,), (CONTROL_POLICY,)):
                namespace = self.of_token(token)  # whoever is given a wrapping token need not know where it was made
        if self._locked:
            self.check_lock(namespace, path)
        incoming.namespace, incoming.path = namespace.path, path
        if namespace is ROOT:
            return await self.pipeline.answer(incoming)
        if path.startswith("sys/"):
            if _begins(path, _UNAVAILABLE) and path != "sys/seal-status":
                raise InvalidRequest("operation unavailable in namespaces")
            if _begins(path, _ROOT_ONLY):
                raise InvalidRequest("operation only available in root namespace")
        opened = await self._opened(namespace)
        opened.requests += 1
        opened.idle.clear()
        try:
            return await opened.pipeline.answer(incoming)
        finally:
            opened.requests -= 1
            if not opened.requests:
                opened.idle.set()

    def find(self, header: str, path: str) -> tuple[Namespace, str]:
        """The namespace of a request, and its path within it; raises NotFound."""
        namespace = self.at(header)
        if namespace is None or namespace.tainted:
            raise NotFound("namespace not found")
        while True:
            head, slash, rest = path.partition("/")
            child = self._by_path.get(f"{namespace.path}{head}/") if slash else None
            if child is None or child.tainted:
                return namespace, path
            namespace, path = child, rest

    def check_lock(self, namespace: Namespace, path: str = "") -> None:
        """Raise Unavailable where a lock keeps ``path`` of a namespace from being answered."""
        locked = self.lock_above(namespace)
        if locked is not None and not _begins(path, (_UNLOCK,)):
            raise Unavailable(
                f'API access to this namespace has been locked by an administrator - "{locked.path}" must be '
                "unlocked to gain access."
            )

    def lock_above(self, namespace: Namespace) -> Namespace | None:
        """The first namespace that is locked on the way from the root to ``namespace`` itself."""
        found = None
        at: Namespace | None = namespace
        while at is not None and at is not ROOT:
            if at.unlock_key:
                found = at
            at = self.at(at.parent)
        return found

    async def node(self, namespace: Namespace) -> Node:
        """The mounts and policies of a namespace, loaded now if nobody has used it yet; raises NotFound."""
        return self.root if namespace.id == ROOT.id else (await self._opened(namespace)).node

    def nodes(self) -> list[Node]:
        """The root namespace and those in use since the server was unsealed."""
        return [self.root, *(each.node for each in self._open.values())]

    async def _opened(self, namespace: Namespace) -> _Open:
        opened = self._open.get(namespace.id)
        if opened is not None:
            return opened
        task = self._opening.get(namespace.id)
        if task is None:
            task = self._opening[namespace.id] = asyncio.create_task(self._build(namespace), name="open namespace")
            task.add_done_callback(lambda _: self._opening.pop(namespace.id, None))
        return await asyncio.shield(task)

    async def _build(self, namespace: Namespace) -> _Open:
        if namespace.id not in self.live:
            raise NotFound("namespace not found")
        node = Node(self.core, self, namespace)
        await node.open()
        opened = _Open(node, Pipeline(node, self.pipeline.in_use), asyncio.Event())
        opened.idle.set()
        self._open[namespace.id] = opened
        return opened

    # Changes

    async def create(self, view: View, parent: Node, name: str, metadata: dict[str, str], on_commit: OnCommit,
                     uuid: str) -> Namespace:  # fmt: skip
        """A new namespace, or the one that another request has just made; raises InvalidRequest when a mount is in
        the way."""
        path = f"{parent.namespace.path}{name}/"
        taken = {id_.lower() for id_ in await view.list(NAMESPACES)}  # read: of two rivals one runs again
        if (made := (await self._coming(view)).get(path)) is not None:
            return made
        if (mount := await parent.in_the_way(view, f"{name}/")) is not None:
            raise InvalidRequest(f"new namespace conflicts with existing mount: {mount.point}")
        while (id_ := random_id(_ID_LENGTH)).lower() in taken:
            pass
        namespace = Namespace(id_, path, uuid, metadata)
        if parent.namespace is not ROOT:  # written, so that its deletion and this are rivals
            await self.change(view, parent.namespace, on_commit)
        view.put(namespace.key, namespace.dump(), new=True)
        await Node(self.core, self, namespace).ensure_defaults(view)
        on_commit(lambda: self._know(namespace))
        return namespace

    async def stored(self, view: View, namespace: Namespace) -> Namespace:
        """A namespace as stored now: read in the caller's transaction before it is changed; raises InvalidRequest."""
        raw = await view.get(namespace.key)
        now = None if raw is None else Namespace.load(raw)
        if now is None or now.tainted:
            raise InvalidRequest(f'namespace "{namespace.path}" is being deleted')
        return now

    async def change(self, view: View, namespace: Namespace, on_commit: OnCommit, **changes: Any) -> Namespace:
        """Store a namespace with some of its fields changed; raises InvalidRequest when it is being deleted."""
        changed = replace(await self.stored(view, namespace), **changes)
        view.put(changed.key, changed.dump())
        on_commit(lambda: self._know(changed))
        return changed

    async def delete(self, view: View, namespace: Namespace, on_commit: OnCommit) -> None:
        """Take a namespace out of service at commit, and begin to delete what is in it; raises InvalidRequest.

        The deletion goes on in the background, and at the next unseal if it is cut off.
        """
        if self.below(namespace, deep=True) or any(map(namespace.holds, (await self._coming(view)).values())):
            raise InvalidRequest("unable to delete namespace containing child namespaces")
        doomed = await self.change(view, namespace, on_commit, tainted=True)
        self.core.quotas.end_with(view, namespace.path, on_commit)
        on_commit(lambda: self._begin_deletion(doomed))

    def _begin_deletion(self, namespace: Namespace) -> None:
        task = asyncio.create_task(self._delete(namespace), name=f"delete namespace {namespace.path}")
        self._deletions.add(task)
        task.add_done_callback(self._deletions.discard)

    async def _delete(self, namespace: Namespace) -> None:
        try:
            await asyncio.gather(*filter(None, [self._opening.get(namespace.id)]), return_exceptions=True)
            opened = self._open.pop(namespace.id, None)
            if opened is not None:
                await opened.idle.wait()
            node = opened.node if opened is not None else Node(self.core, self, namespace)
            if opened is None:
                await node.open()
            await node.revocations.revoke_prefix("", force=True)
            await node.intents.forget_mount()
            await node.close()
            self.leases.forget(namespace.prefix)
            self.agenda.forget(namespace.prefix)
            self.mfa.forget(namespace)
            while await self.store.run(lambda txn: self._delete_some(txn, namespace)):
                pass
        except Exception:
            _log.exception("namespace %s is not all deleted; it is tried again at the next unseal", namespace.path)

    async def _delete_some(self, txn: Transaction, namespace: Namespace) -> bool:
        """Delete a bounded number of keys of a namespace; at last itself, and then there is no more to do."""
        keys = await leaves(txn, namespace.prefix, _PURGE_BATCH)
        for key in keys:
            txn.delete(key)
        if not keys:
            txn.delete(namespace.key)
            txn.on_commit(lambda: self._forget(namespace))
        return bool(keys)

    # Ends

    async def _reap_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REAP_SECONDS):
                    await self.agenda.soon.wait()
            self.agenda.soon.clear()
            while await self.reap(wait=False):
                pass

    async def reap(self, *, wait: bool = True) -> int:
        """End what is due, some hundreds of things in each namespace. Gives how many began to end; without ``wait``
        those that take long are left to themselves."""
        begun, now, slices = 0, self.core.clock.time(), Slices()
        for namespace in [ROOT, *(each for each in self.live.values() if self.agenda.may_have_due(each.prefix, now))]:
            await slices.next()
            try:
                if namespace is not ROOT and not await self.agenda.has_due(self.store, namespace.prefix, now):
                    continue
                node = await self.node(namespace)
                begun += await node.expiry.start(self.core.clock.time(), _AT_ONCE)
                if wait:
                    await node.expiry.idle()
            except NotFound:  # deleted meanwhile
                pass
            except Exception:
                _log.exception("expiry of tokens and leases failed; it is tried again")
        return begun

    async def _end_leases(self, view: View, tokens: Sequence[TokenEntry]) -> None:
        await end_with_tokens(view, tokens, self.agenda, self.core.clock.time())

    async def _clear_cubbyholes(self, view: View, tokens: Sequence[TokenEntry]) -> None:
        folders = [cubbyhole(token.key) for token in tokens]
        if self:
            for token in tokens:
                visited = visits(token.key)
                ids = await view.list(visited)
                folders += [visited, *(f"{cubbyholes(self.live[id_])}{token.key}/" for id_ in ids if id_ in self.live)]
        keys, slices = list[str](), Slices()
        for folder in folders:
            keys += await leaves(view, folder, 0)
            await slices.next()
        for key in keys:
            view.delete(key)


async def _stored(view: ReadView, known: Collection[str] = ()) -> list[Namespace]:
    """Those that are stored, but for those whose ids are ``known``."""
    found = [await view.get(NAMESPACES + id_) for id_ in await view.list(NAMESPACES) if id_ not in known]
    return [Namespace.load(raw) for raw in found if raw is not None]


async def _retire(opened: _Open) -> None:
    await opened.idle.wait()
    await opened.node.close()


def _begins(path: str, places: tuple[str, ...]) -> bool:
    """Whether ``path`` is one of ``places`` or below it."""
    return path.startswith(places) and any(path == place or path.startswith(f"{place}/") for place in places)
