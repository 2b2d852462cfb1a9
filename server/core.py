"""The server without its HTTP, from start to stop: sealed, active, or following the active node of its cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

import orjson

from .. import VAULT_VERSION
from ..framework import Context, Engine, Response
from ..framework.clock import Clock, SystemClock
from ..framework.errors import NotActive, Sealed, StoreError, Unavailable, UnsupportedOperation
from ..framework.metrics import Metrics
from ..framework.storage import Physical
from ..storage.barrier import Barrier
from ..storage.seals import Seal
from ..storage.store import Store, Transaction
from .audit import Broker
from .cors import Cors
from .identity.engine import IdentityEngine
from .lockout import Lockout
from .mounts import MountEntry
from .namespaces import Namespaces
from .node import Node
from .pipeline import Pipeline
from .quotas import Quotas
from .request import CoreRequest, Incoming, UnderWay
from .seal import GenerateRoot, Hooks, Rekey, SealCore, initialize, maintain
from .snapshots.schedule import Schedules
from .snapshots.whole import Whole
from .sys import System
from .sys.cors import CORS_KEY
from .sys.host import VERSIONS_KEY, record_version
from .sys.ui_headers import as_sent, load_ui_headers
from .telemetry import sources
from .token_auth import TokenAuth
from .whole import to_its_end

if TYPE_CHECKING:
    from .cluster import Cluster
    from .cluster.leadership import Leadership
    from .config import ServerConfig
    from .telemetry.tracing import Tracing

_log = logging.getLogger(__name__)

BUILD_DATE = "2026-11-24T00:00:00Z"
_CLUSTER_KEY = "core/cluster"
_MAINTENANCE_SECONDS = 60.0
_FOLDED = 500  # requests between two times that what they took is put together


class Core:
    """One server on one physical store, which the caller has opened and will close."""

    def __init__(
        self,
        config: ServerConfig,
        physical: Physical,
        seal: Seal,
        *,
        clock: Clock | None = None,
        raft: Cluster | None = None,
    ) -> None:
        """``raft``: this node's cluster, where ``physical`` is its store."""
        self.config = config
        self.raft = raft
        self.clock: Clock = clock or SystemClock()
        self.physical = physical
        self.storage_type = config.storage.type if config.storage else "inmem"
        self.started = self.clock.time()
        self.metrics = Metrics()
        self._requests = self.metrics.timing("core.handle_request")
        self._logins = self.metrics.timing("core.handle_login_request")
        self._observed = 0  # requests
        self.node: Node | None = None  # of the root namespace
        self.namespaces: Namespaces | None = None
        self.cors = Cors()
        self.lockout = Lockout(config.user_lockout, self.clock)
        self.quotas = Quotas()
        self.audit = Broker(config, self.clock, self.metrics)
        self.ui_headers: Mapping[str, str] = {}
        self.cluster = {"cluster_name": "", "cluster_id": ""}
        hooks = Hooks(
            on_unseal=self._open,
            on_seal=self._close,
            create_root_token=self._create_root_token,
            revoke_root_token=self._revoke_root_token,
            cluster=lambda: self.cluster,
            on_initialize=None if raft is None else raft.bootstrap,
        )
        self.seal = SealCore(
            physical,
            seal,
            hooks,
            clock=self.clock,
            version=VAULT_VERSION,
            build_date=BUILD_DATE,
            storage_type=self.storage_type,
        )
        if raft is not None:
            raft.attach(self.seal, self.metrics)
        self.rekey = Rekey(self.seal, "barrier")
        self.rekey_recovery = Rekey(self.seal, "recovery")
        self.generate_root = GenerateRoot(self.seal)
        self.whole = Whole(self)
        self.schedules = Schedules(self)
        self.own_engines: dict[str, Callable[[Context], Engine]] = {
            "identity": IdentityEngine,
            "system": lambda context: System(context, self),
            "token": TokenAuth,
        }
        self._pipeline: Pipeline | None = None
        self._system = System(Context("sys/", clock=self.clock), self)
        self._always_open: dict[str, set[str]] = {}  # path -> the operations it has
        for route in System.routes:
            if route.sealed:
                self._always_open.setdefault(f"sys/{route.template}", set()).add(route.op)
        self._maintenance: asyncio.Task[None] | None = None
        self.leadership: Leadership | None = None
        if (engine := getattr(physical, "engine", None)) is not None:  # one that several nodes share
            from .cluster.leadership import Leadership

            self.leadership = Leadership(self, engine)
            if raft is not None:
                self.leadership.join(raft)
        self.tracing: Tracing | None = None
        self.intents: set[str] = set()  # ids of those whose requests are under way; they may outlive a sealing
        self.stopping = False  # whether answers that have no end are to come to one
        self.under_way: Callable[[], Iterable[UnderWay]] = tuple  # requests; whoever has the listeners knows
        sources.register(self)

    async def start(self) -> None:
        """Open by itself, if the seal can."""
        if self.raft is not None:
            await self.raft.begin()
        await self.seal.auto_unseal()

    async def stop(self) -> None:
        """Seal. Requests in flight have ended by now, but for those that other nodes pass on."""
        if self.leadership is not None:
            await self.leadership.leave()
        await self.seal.seal()

    @property
    def sealed(self) -> bool:
        return self.node is None

    def check_open(self, op: str, path: str) -> None:
        """Raise Sealed unless ``path`` can be answered now.

        A path that can be answered always has its operations and no others: raises UnsupportedOperation,
        whoever asks, because no policy is consulted for it.
        """
        ops = self._always_open.get(path.rstrip("/") if op in ("list", "scan") else path)
        if ops is not None and op not in ops and op != "help":
            raise UnsupportedOperation("")
        if self.node is None and (ops is None or op == "help"):
            raise Sealed

    async def handle(self, incoming: Incoming) -> Response:
        """Answer a request; raises CaveauError."""
        if self.tracing is not None and incoming.span is None:
            return await self._traced(self.tracing, incoming)
        if self._pipeline is not None:
            began = perf_counter()
            try:
                answer = self._pipeline.answer
                if incoming.namespace or self.namespaces:
                    answer = self.unsealed().namespaces.answer
                if self.audit.devices and self._is_audited(incoming):
                    return await self.audit.answer(answer, self.unsealed(), incoming)
                response = await answer(incoming)
                if incoming.audit is not None:  # it has enabled the first device
                    incoming.audit.response = response
                    await incoming.audit.recorded()
                return response
            finally:
                (self._logins if incoming.login else self._requests).observe(perf_counter() - began)
                self._observed += 1
                if self._observed == _FOLDED:
                    self._observed = 0
                    self.metrics.fold()
        self.check_open(incoming.op, incoming.path)
        return await self.handle_openly(incoming)

    async def _traced(self, tracing: Tracing, incoming: Incoming) -> Response:
        span = incoming.span = tracing.begin(incoming)
        failure: BaseException | None = None
        try:
            return await self.handle(incoming)
        except BaseException as error:
            failure = error
            raise
        finally:
            span.end(failure)

    async def handle_openly(self, incoming: Incoming) -> Response:
        """Answer what ``sys/`` answers to anyone, sealed or not: nothing is asked of a policy or of the store."""
        op = "update" if incoming.op == "create" else incoming.op
        path = incoming.path.removeprefix("sys/")
        route, captures = System.match(op, path)
        params, _ = route.params.load(incoming.data, captures)
        request = CoreRequest(op, path, _NoStorage(), incoming.data, incoming.id, "sys/", incoming=incoming)
        work = getattr(self._system, route.handler)(request, params)
        answer = await (work if route.op == "read" else to_its_end(work))
        return answer if isinstance(answer, Response) else Response(data=answer)

    def _is_audited(self, incoming: Incoming) -> bool:
        """Everything is, except what monitors read all the time, and what a sealed server answers as well."""
        return incoming.op != "read" or incoming.path not in self._always_open

    async def dev_init(self, root_token: str = "") -> tuple[str, str]:
        """Initialize with one key, unseal, and mount KV v2 at ``secret/``: ``server -dev``.

        Gives the unseal key (base64) and the root token.
        """
        made = await initialize(self.seal, secret_shares=1, secret_threshold=1)
        key: str = made["keys_base64"][0]
        await self.seal.unseal(key)
        node = self.unsealed()
        token: str = made["root_token"]
        if root_token:
            await node.create_root_token(root_token)
            await self._revoke_root_token(token)
            token = root_token
        entry = MountEntry.new("secret/", "kv", options={"version": "2"}, description="key/value secret storage")
        await node.store.run(lambda txn: node.enable(txn, entry, txn.on_commit))
        return key, token

    def unsealed(self) -> Node:
        """The node; raises Sealed."""
        if self.node is None:
            raise Sealed
        return self.node

    # Hooks of the seal

    async def _open(self, barrier: Barrier) -> None:
        began = perf_counter()
        if self.raft is not None:
            await self.raft.unsealed(barrier)
        await self.serve(active=self.leadership is None or self.leadership.leads)
        self.metrics.observe("core.post_unseal", perf_counter() - began)
        _log.info("unsealed; cluster %s", self.cluster["cluster_name"])

    async def serve(self, *, active: bool) -> None:
        """Load what is stored, and answer with that from now on. Whatever served before is closed.

        ``active``: as the node that writes; else nothing is written. With the seal's lock held.
        """
        cache = 0 if self.config.disable_cache else self.config.cache_size * 128  # 16 MiB by default
        store = Store(self.physical, self.seal.barrier, cache, self.metrics, follows=not active)
        namespaces = Namespaces(self, self.seal.barrier, store, active=active)
        if self.leadership is not None:
            self.leadership.tell(store)
            self.lockout = Lockout(self.config.user_lockout, self.clock)
        try:
            await namespaces.open()
            if active:
                await store.run(self._identify)
                await store.run(self._record_version)
            await self.load_settings(namespaces)
            await (self.audit.open if self.namespaces is None else self.audit.follow)(namespaces.root)
        except BaseException:
            await namespaces.close()
            raise
        old, self.namespaces = self.namespaces, namespaces
        self.node, self._pipeline = namespaces.root, namespaces.pipeline
        if old is not None:
            await self.schedules.close()
            await self._stop_maintenance()
            await old.close(NotActive)
        if active:
            await self.schedules.open(store)
            self._maintenance = asyncio.create_task(self._maintain(), name="barrier maintenance")

    async def load_settings(self, namespaces: Namespaces) -> None:
        """Take up what is stored of the cluster's name, of other origins, of the web page and of quotas."""
        store = namespaces.store
        self.cluster = _named(await store.get(_CLUSTER_KEY))
        raw = await store.get(CORS_KEY)
        self.cors = Cors.load(raw) if raw else Cors()
        self.ui_headers = as_sent(await load_ui_headers(store))
        self.quotas = await Quotas.load(store)
        self.quotas.on_end = namespaces.leases.unwatch

    async def _close(self) -> None:
        was_open = self.namespaces is not None
        await self.suspend()
        if was_open:
            _log.info("sealed")
        if self.raft is not None:
            await self.raft.sealing()

    async def suspend(self) -> None:
        """Answer no more, as if sealed, and let go of all that was loaded. With the seal's lock held."""
        namespaces, self.node, self.namespaces, self._pipeline = self.namespaces, None, None, None
        self.cors, self.quotas, self.ui_headers = Cors(), Quotas(), {}
        await self.schedules.close()
        await self._stop_maintenance()
        if namespaces is not None:
            began = perf_counter()
            await namespaces.close()
            await self.audit.close()
            if namespaces.active:
                with contextlib.suppress(Unavailable, StoreError):
                    await self.seal.barrier.store_encryptions()
            self.metrics.observe("core.pre_seal", perf_counter() - began)

    async def _stop_maintenance(self) -> None:
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
            self._maintenance = None

    async def _identify(self, txn: Transaction) -> None:
        if not await txn.get(_CLUSTER_KEY):
            name = self.config.cluster_name or f"vault-cluster-{secrets.token_hex(4)}"
            txn.put(_CLUSTER_KEY, orjson.dumps({"cluster_name": name, "cluster_id": str(uuid.uuid4())}))

    async def _record_version(self, txn: Transaction) -> None:
        history = record_version(await txn.get(VERSIONS_KEY), BUILD_DATE, self.clock.time())
        if history is not None:
            txn.put(VERSIONS_KEY, history)

    async def _create_root_token(self) -> str:
        return await self.unsealed().create_root_token()

    async def _revoke_root_token(self, token: str) -> None:
        node = self.unsealed()
        await node.store.run(lambda txn: node.tokens.revoke(txn, node.tokens.hash(token)))

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(_MAINTENANCE_SECONDS)
            try:
                await maintain(self.seal)
            except Exception:
                _log.exception("rotation of the barrier key failed; it is tried again")


def _named(raw: bytes | None) -> dict[str, str]:
    known: dict[str, str] = orjson.loads(raw) if raw else {"cluster_name": "", "cluster_id": ""}
    return known


class _NoStorage:
    """The storage of a sealed server: there is none."""

    async def get(self, key: str) -> bytes | None:
        raise Sealed

    async def list(self, prefix: str = "", after: str = "", limit: int = 0) -> list[str]:
        raise Sealed

    def put(self, key: str, value: bytes, *, new: bool = False) -> None:
        raise Sealed

    def delete(self, key: str) -> None:
        raise Sealed
