"""A namespace of the unsealed server: its mounts and policies, built at first use and dropped at seal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..framework import Context, Engine, View
from ..framework.clock import Clock
from ..framework.errors import CaveauError, InvalidRequest, PermissionDenied
from ..framework.storage import ReadView
from ..storage.prefix import PrefixView
from ..storage.store import Transaction
from . import plugins
from .expiry import Expiry
from .identity import IdentityStore, oidc
from .intents import Intents
from .layout import ROOT, Namespace, cubbyholes
from .leases import Leases
from .mount_system import MountSystem
from .mounts import SINGLETONS, Mount, MountConfig, MountEntry, Router
from .passwords import PasswordPolicies
from .policies import POLICY_KIND, PolicyStore
from .policy import ACL, builtin
from .revocations import Revocations
from .telemetry.sources import entity_created
from .tokens import EXPIRY_KIND, ROOT_PATH, TokenEntry

if TYPE_CHECKING:
    from .core import Core
    from .namespaces import Namespaces

T = TypeVar("T")

_log = logging.getLogger(__name__)
OnCommit = Callable[[Callable[[], None]], None]
_PURGE_BATCH = 500
_TIDY, _TIDY_LEASES = "tidy tokens", "tidy leases"
_COUNT_AFTER = 1.0  # seconds: there is enough to do when a namespace has just been opened

ALIASES = {"generic": ("kv", {}), "kv-v1": ("kv", {"version": "1"}), "kv-v2": ("kv", {"version": "2"})}
"""Mount types that are another type with options."""


class Node:
    """Mounts and policies of one namespace, and the store and tokens that all namespaces share."""

    def __init__(self, core: Core, namespaces: Namespaces, namespace: Namespace) -> None:
        self.core = core
        self.clock: Clock = core.clock
        self.namespaces = namespaces
        self.namespace = namespace
        self._active = namespaces.active
        self.store = namespaces.store
        self.barrier = namespaces.barrier
        self.tokens = namespaces.tokens
        self.router = Router()
        prefix = namespace.prefix
        self.policies = PolicyStore(prefix, self.clock, core.metrics.timing("policy.get_policy"), namespaces.agenda)
        enders = {EXPIRY_KIND: self._expire_token, POLICY_KIND: self.policies.expire, **oidc.enders(self)}
        self.expiry = Expiry(self.store, prefix, enders, namespaces.agenda)
        self.expiry.records[EXPIRY_KIND] = self.tokens.record
        self.leases = Leases(self)
        self.revocations = Revocations(self)
        self.intents = Intents(self)
        self.passwords = PasswordPolicies(prefix)
        self.identity = IdentityStore(prefix, self.clock)
        self.identity.on_creation = partial(entity_created, self)
        self.enforced = namespaces.mfa.enforced  # what logins need a second factor for, of all namespaces
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Load what is stored, and on the active node put in place what a new store, or an older one, lacks."""
        if self._active:
            await self.store.run(self.ensure_defaults)
        await self.namespaces.mfa.load(self.namespace)
        for entry in await self._entries(self.store):
            await self._restore(entry)
        if not self._active:
            return
        await self.intents.resume()
        await self.core.lockout.load(self)
        self.begin(self._count_leases(), "count leases")

    async def close(self) -> None:
        """Stop background work and let the engines go; requests in flight can commit nothing any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.expiry.close()
        for mount in self.router:
            await _cleanup(mount)

    async def ensure_defaults(self, txn: View) -> None:
        """Put in place the policy and the mounts that every namespace has."""
        prefix = self.namespace.prefix
        if await txn.get(f"{prefix}sys/policy/default") is None:
            await self.policies.put(txn, "default", builtin.DEFAULT)
        kind = "" if self.namespace.id == ROOT.id else "ns_"
        present = {entry.point for entry in await self._entries(txn)}
        for entry in (
            MountEntry.new(
                "cubbyhole/", f"{kind}cubbyhole", local=True, description="per-token private secret storage"
            ),
            MountEntry.new(
                "identity/",
                f"{kind}identity",
                description="identity store",
                config=MountConfig(passthrough_request_headers=("Authorization",)),
            ),
            MountEntry.new(
                "sys/",
                f"{kind}system",
                seal_wrap=True,
                description="system endpoints used for control, policy and debugging",
                config=MountConfig(passthrough_request_headers=("Accept",)),
            ),
            MountEntry.new(
                "token/",
                f"{kind}token",
                table="auth",
                description="token based credentials",
                config=MountConfig(token_type="default" if kind else "default-service"),
            ),
        ):
            if entry.point not in present:
                txn.put(prefix + entry.key, entry.dump())

    # Mounts

    def storage_prefix(self, entry: MountEntry) -> str:
        return self.namespace.prefix + entry.storage_prefix

    async def build(self, entry: MountEntry) -> Mount:
        """The mount of an entry, its engine made but not set up; raises InvalidRequest."""
        system = MountSystem(self, entry.point, self.storage_prefix(entry))
        context = Context(entry.point, entry.accessor, entry.uuid, entry.options or {}, self.clock, system)
        type_ = entry.type.removeprefix("ns_")
        if type_ in self.core.own_engines:
            engine: Engine = self.core.own_engines[type_](context)
            version = plugins.OWN_VERSION
        else:
            kind = "auth" if entry.table == "auth" else "secret"
            factory, version = await asyncio.to_thread(_plugin, kind, type_)
            engine = factory(context)
        return Mount(entry, engine, self.storage_prefix(entry), version=version)

    async def _restore(self, entry: MountEntry) -> None:
        if entry.tainted:  # a disable that was cut off
            if self._active:
                self.begin(self._finish_purge(entry), f"purge {entry.point}")
        elif (mount := await self._ready(entry)) is not None:
            self.router.add(mount)

    async def _ready(self, entry: MountEntry) -> Mount | None:
        """The mount of a stored entry, to be routed to; None, and logged, when it cannot work."""
        try:
            mount = await self.build(entry)
            if self._active:
                await self.store.run(lambda txn: mount.engine.setup(PrefixView(txn, mount.prefix)))
            else:
                await mount.engine.setup(PrefixView(self.store, mount.prefix))
        except CaveauError as error:
            _log.error("mount %s of type %s is out of service: %s", entry.point, entry.type, error)
            return None
        return mount

    async def follow(self) -> None:
        """Take up the mounts that are stored, on a node that does not decide them."""
        stored = {entry.uuid: entry for entry in await self._entries(self.store) if not entry.tainted}
        gone, fresh = [], []
        for mount in self.router:
            if (entry := stored.pop(mount.entry.uuid, None)) == mount.entry:
                continue
            gone.append(mount)
            if entry is not None and (entry.options, entry.point) == (mount.entry.options, mount.point):
                fresh.append(Mount(entry, mount.engine, mount.prefix, version=mount.version))
            elif entry is not None:
                stored[entry.uuid] = entry
        fresh += filter(None, [await self._ready(entry) for entry in stored.values()])
        for mount in gone:
            self.router.remove(mount.point)
        for mount in fresh:
            self.router.add(mount)
        kept = {id(mount.engine) for mount in fresh}
        for mount in gone:
            if id(mount.engine) not in kept:
                self.begin(_cleanup(mount), f"cleanup {mount.point}")

    async def in_the_way(self, view: View, point: str) -> MountEntry | None:
        """The mount at, above or below ``point``, one that is being purged too.

        Reads the tables in the caller's transaction, so that of two rivals one runs again.
        """
        for existing in await self._entries(view):
            if existing.point.startswith(point) or point.startswith(existing.point):
                return existing
        return None

    async def _entries(self, view: ReadView) -> list[MountEntry]:
        """Every row of the mount tables."""
        entries: list[MountEntry] = []
        for table in ("mounts", "auth"):
            folder = f"{self.namespace.prefix}core/{table}/"
            found = [await view.get(folder + name) for name in await view.list(folder)]
            entries += [MountEntry.load(raw) for raw in found if raw is not None]
        return entries

    async def enable(self, view: View, entry: MountEntry, on_commit: OnCommit) -> Mount:
        """Add a mount; it is routed to once the transaction has committed. Raises InvalidRequest."""
        if (taken := await self.in_the_way(view, entry.point)) is not None:
            raise InvalidRequest(f"path is already in use at {taken.path}")
        if (below := await self.namespaces.in_the_way(view, self.namespace, entry.point)) is not None:
            raise InvalidRequest(f"path is already in use by the namespace {below.path}")
        mount = await self.build(entry)
        view.put(self.namespace.prefix + entry.key, entry.dump())
        await mount.engine.setup(PrefixView(view, mount.prefix))
        on_commit(lambda: self.router.add(mount))
        return mount

    async def stored_entry(self, view: View, mount: Mount) -> MountEntry:
        """The entry of a mount as stored now: read in the caller's transaction before it is changed."""
        raw = await view.get(self.namespace.prefix + mount.entry.key)
        entry = None if raw is None else MountEntry.load(raw)
        if entry is None or entry.tainted:
            raise InvalidRequest(f"the mount at {mount.point} has just been disabled")
        return entry

    async def replace(self, view: View, old: Mount, entry: MountEntry, on_commit: OnCommit) -> None:
        """Store the changed entry of a mount (tuned, or moved) and put it into service at commit.

        ``entry`` is to come of ``stored_entry``, read in the same transaction.
        """
        view.put(self.namespace.prefix + entry.key, entry.dump())
        if entry.options != old.entry.options or entry.point != old.point:
            mount = await self.build(entry)
            await mount.engine.setup(PrefixView(view, mount.prefix))
        else:
            mount = Mount(entry, old.engine, old.prefix, version=old.version)
        on_commit(lambda: self._swap(old, mount))

    async def rebuild(self, view: View, mount: Mount, on_commit: OnCommit) -> None:
        """Put a fresh engine into service in place of a mount's present one."""
        fresh = await self.build(await self.stored_entry(view, mount))
        await fresh.engine.setup(PrefixView(view, fresh.prefix))
        on_commit(lambda: self._swap(mount, fresh))

    def _swap(self, old: Mount, new: Mount) -> None:
        self.router.remove(old.point)
        self.router.add(new)
        if new.engine is not old.engine:
            self.begin(_cleanup(old), f"cleanup {old.point}")

    async def disable(self, view: View, point: str, on_commit: OnCommit) -> Callable[[], asyncio.Task[None]] | None:
        """Take a mount out of service; what is returned starts to delete what it stored. None: there is no mount.

        Its path is free once that has ended. A purge that is cut off goes on at the next unseal.
        """
        if point in SINGLETONS or point == "auth/token/":
            raise InvalidRequest(f'cannot unmount "{point}"')
        entry = await self.in_the_way(view, point)  # not of the router, which lacks what is out of service
        if entry is None or entry.point != point or entry.tainted:
            return None
        mount = self.router.get(point)
        view.put(self.namespace.prefix + entry.key, replace(entry, tainted=True).dump())
        on_commit(lambda: self.router.remove(point))
        return lambda: self.begin(self._purge(entry, mount), f"purge {point}")

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run ``work`` in the background, until the namespace is closed."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _purge(self, entry: MountEntry, mount: Mount | None = None) -> None:
        """Delete all that a mount stored, in bounded steps, and last its entry."""
        if mount is not None:
            await _cleanup(mount)
        await self.revocations.revoke_prefix(
            entry.point.rstrip("/"), force=True
        )  # given while it was taken out of service
        await self.intents.forget_mount(entry)
        await self.clear(self.storage_prefix(entry))
        if entry.table == "auth":
            await self.identity.forget_mount(self.store, entry.accessor)
        key = self.namespace.prefix + entry.key

        async def forget(txn: Transaction) -> None:
            txn.delete(key)

        await self.store.run(forget)

    async def _finish_purge(self, entry: MountEntry) -> None:
        try:
            await self._purge(entry)
        except Exception:
            _log.exception("the data of %s is not all deleted; it is tried again at the next unseal", entry.point)

    async def clear(self, prefix: str) -> None:
        """Delete every key under ``prefix``, a bounded number in a transaction."""
        while True:

            async def step(txn: Transaction) -> int:
                keys = await leaves(txn, prefix, _PURGE_BATCH)
                for key in keys:
                    txn.delete(key)
                return len(keys)

            if not await self.store.run(step):
                return

    def storage(self, view: View, point: str) -> View:
        """What the mount at exactly this point has stored."""
        mount = self.router.get(point)
        assert mount is not None
        return PrefixView(view, mount.prefix)

    def ttls(self, point: str) -> tuple[int, int]:
        """Default and maximum lease TTL of a mount, in seconds."""
        mount = self.router.get(point)
        config = mount.entry.config if mount else None
        maximum = (config.max_lease_ttl if config else 0) or int(self.core.config.max_lease_ttl)
        default = (config.default_lease_ttl if config else 0) or int(self.core.config.default_lease_ttl)
        return min(default, maximum), maximum

    async def acl(self, token: TokenEntry) -> ACL:
        """What a token may do, by its own policies and by those of its entity, both of its namespace.

        Paths are to be asked for as `below` gives them. Raises PermissionDenied when its entity is disabled or gone.
        """
        if token.namespace != self.namespace.token_id:
            return await (await self.home(token)).acl(token)
        if not token.entity_id:
            return await self.policies.acl(self.store, token.policies)
        profile = await self.identity.profile(self.store, token.entity_id)
        if profile is None or profile.entity.disabled:
            raise PermissionDenied
        return await self.policies.acl(self.store, token.policies, profile)

    # Tokens

    async def home(self, token: TokenEntry) -> Node:
        """The node of the token's namespace; raises PermissionDenied or NotFound when that is gone."""
        return await self.namespaces.node(self.namespaces.of_token(token))

    def below(self, token: TokenEntry, path: str) -> str:
        """A path of this namespace as policies of the token's namespace name it."""
        if token.namespace == self.namespace.token_id:
            return path
        return self.namespace.path.removeprefix(self.namespaces.of_token(token).path) + path

    def reaches(self, token: TokenEntry) -> bool:
        """Whether the token is of this namespace or of one above."""
        return token.namespace in ("", self.namespace.token_id) or self.namespaces.of_token(token).holds(self.namespace)

    def holds(self, token: TokenEntry) -> bool:
        """Whether the token is of this namespace or of one below."""
        return token.namespace == self.namespace.token_id or self.namespace.holds(self.namespaces.of_token(token))

    async def _expire_token(self, txn: Transaction, key: str) -> None:
        await self.tokens.expire(txn, key)

    def tidy_tokens(self) -> bool:
        """Remove in the background what is left of tokens that are gone; False when that is under way already."""
        if any(task.get_name() == _TIDY for task in self._tasks):
            return False
        self.begin(self._tidy_tokens(), _TIDY)
        return True

    async def _tidy_tokens(self) -> None:
        try:
            pointers = await self.tokens.tidy(self.store, self.namespace)
            cubbyholes = await self._tidy_cubbyholes()
        except Exception:
            _log.exception("tidying tokens failed")
        else:
            _log.info("tidied tokens: %d pointers and %d cubbyholes led to none", pointers, cubbyholes)

    async def _tidy_cubbyholes(self) -> int:
        removed = 0
        folder = cubbyholes(self.namespace)
        for area in await self.store.list(folder):
            if await self.tokens.by_key(self.store, area.rstrip("/")) is None:
                await self.clear(folder + area)
                removed += 1
            await asyncio.sleep(0)
        return removed

    async def create_root_token(self, text: str = "") -> str:
        """A new token with the root policy that never expires. With a chosen ``text`` it is like one that
        a root token has created, as on every development server."""
        entry = TokenEntry(
            accessor="",
            policies=("root",),
            path="auth/token/create" if text else ROOT_PATH,
            display_name="token" if text else "root",
            creation_time=self.clock.time(),
        )
        _, text = await self.store.run(lambda txn: self.tokens.create(txn, entry, text))
        return text

    # Leases

    def tidy_leases(self) -> bool:
        """Repair in the background what is wrong with leases; False when that is under way already."""
        if any(task.get_name() == _TIDY_LEASES for task in self._tasks):
            return False
        self.begin(self._tidy_leases(), _TIDY_LEASES)
        return True

    async def _tidy_leases(self) -> None:
        try:
            found = await self.revocations.tidy()
        except Exception:
            _log.exception("tidying leases failed")
        else:
            _log.info("tidied leases: %d were without their token", found)

    async def _count_leases(self) -> None:
        await asyncio.sleep(_COUNT_AFTER)
        try:
            await self.leases.index.count_all()
        except Exception:
            _log.exception("the leases are not all counted")


def _plugin(kind: str, name: str) -> tuple[Callable[[Context], Engine], str]:
    """The factory of an engine and the version it has. The first time, that imports it."""
    factory: Callable[[Context], Engine] = plugins.load(kind, name)
    point = plugins.find(kind, name)
    assert point is not None  # else there would be no factory
    return factory, plugins.version(point)


async def _cleanup(mount: Mount) -> None:
    try:
        await mount.engine.cleanup()
    except Exception:
        _log.exception("the engine at %s did not end cleanly", mount.point)


async def leaves(view: View, prefix: str, limit: int) -> list[str]:
    """Keys under ``prefix`` at any depth, at most ``limit`` (0: all)."""
    found: list[str] = []
    folders = [prefix]
    while folders:
        folder = folders.pop()
        for name in await view.list(folder, "", limit):
            if name.endswith("/"):
                folders.append(folder + name)
            else:
                found.append(folder + name)
                if limit and len(found) >= limit:
                    return found
    return found
