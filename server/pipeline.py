"""One request through the unsealed server.

token -> route -> policy -> engine -> commit. A writing request runs in a transaction, from the look-up
of its token on, and runs again when what it read was changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from .. import VAULT_VERSION
from ..framework import Auth, Lease, Params, Response, View, openapi
from ..framework.errors import (
    CaveauError,
    InvalidRequest,
    MultipleErrors,
    PermissionDenied,
    Sealed,
    Unavailable,
    UnsupportedOperation,
    UnsupportedPath,
)
from ..framework.metrics import Timing
from ..framework.pathhelp import mount_help, path_help
from ..framework.routes import Route
from ..framework.wire import INT
from ..storage.prefix import PrefixView
from ..storage.store import ATTEMPTS, Transaction
from . import control_group
from .control_group import NeedsApproval
from .layout import visits
from .limiting import admit, admit_lease
from .logins import attempt, log_in
from .mounts import Mount
from .node import Node
from .policy import ACL, Decision, without_sudo
from .request import AfterCommit, CoreRequest, Incoming
from .tokens import TokenEntry
from .whole import to_its_end
from .wrapping import ABOUT_ONE, can_wrap, check, wrap

_DENIED = MultipleErrors("permission denied").args[0]
_WRITES = frozenset({"create", "update", "patch"})
_CHANGES = _WRITES | {"delete"}
_CREATE_OR_UPDATE = ("create", "update")


class _LimitedToken(Exception):
    """The token has limited uses: one is to be counted before anything else."""


@dataclass(slots=True)
class _Call:
    """A request that has found its route."""

    incoming: Incoming
    mount: Mount
    path: str  # below the mount
    route: Route
    captures: Mapping[str, str]
    limited: TokenEntry | None = None  # its token, after a use was counted
    made: Lease | None = None  # what its engine has made elsewhere, and is to undo should nothing be stored of it
    intents: list[str] | None = None  # of an external handler: ids of what it said it would do elsewhere


class Pipeline:
    """Answers requests against one node. ``in_use``: requests under way by tokens with limited uses."""

    def __init__(self, node: Node, in_use: Counter[str] | None = None) -> None:
        self._node = node
        self._home = node.namespace.token_id
        self.in_use = Counter[str]() if in_use is None else in_use
        metrics = node.core.metrics
        self._looked_up = metrics.timing("token.lookup")
        self._fetched = metrics.timing("core.fetch_acl_and_token")
        self._checked = metrics.timing("core.check_token")

    async def answer(self, incoming: Incoming) -> Response:
        """The response to a request; raises CaveauError."""
        if self._node.core.quotas.limits_rates:
            await admit(self._node.core.quotas, self._node, incoming)
        if incoming.op == "help":
            return await self._help(incoming)
        if incoming.op in _WRITES and incoming.path.endswith("/"):  # a folder, or a forgotten name?
            raise InvalidRequest("cannot write to a path ending in '/'")
        found = self._node.router.match(incoming.path)
        if found is None:
            where = f'no handler for route "{incoming.path}". route entry not found.'
            raise await self._refusal(incoming, UnsupportedPath(where))
        mount, path = found
        try:
            route, captures = mount.engine.match(incoming.op, path)
        except (UnsupportedPath, UnsupportedOperation) as error:
            if _is_public(mount, path):
                raise
            problem = type(error)(MultipleErrors(str(error)).args[0])
            raise await self._refusal(incoming, problem) from None
        if incoming.path in ABOUT_ONE:
            waiting = await check(self._node, incoming)
            if waiting is not None:
                await control_group.check(self._node.store, waiting, self._node.clock.time())
        call = _Call(incoming, mount, path, route, captures)
        try:
            if not route.writes and not incoming.wrap_ttl and route.op not in _CHANGES:
                return await self._perform(self._node.store, call)
            return await self._start(call)
        except _LimitedToken:
            async with self._one_use(incoming) as call.limited:
                try:
                    return await self._start(call)
                except NeedsApproval as held:
                    return await self._hold(incoming, held)
        except NeedsApproval as held:
            return await self._hold(incoming, held)

    async def _hold(self, incoming: Incoming, held: NeedsApproval) -> Response:
        return await self._node.store.run(lambda txn: control_group.hold(self._node, txn, incoming, held))

    def _start(self, call: _Call) -> Awaitable[Response]:
        work = self._run(call)
        if call.route.external or (call.route.op in _CHANGES and call.mount.point == "sys/"):
            return to_its_end(work)  # it changes another system, or the running server, not only the store
        return work

    async def _run(self, call: _Call) -> Response:
        if not call.route.writes and not call.incoming.wrap_ttl:
            return await self._perform(self._node.store, call)
        hooks: list[AfterCommit] = []
        if call.route.external:
            response = await self._act(call, hooks)
        else:
            response = await self._node.store.run(self._attempt, ATTEMPTS, call, hooks)
        if (span := call.incoming.span) is not None:
            span.committed()
        for hook in hooks:
            try:
                await hook()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise Sealed from None  # what the hook waited for was cancelled, and not this request
        return response

    async def _act(self, call: _Call, hooks: list[AfterCommit]) -> Response:
        """Run a handler with an effect elsewhere, once; see to that effect should nothing be stored of it."""
        call.intents = []
        failed = True
        try:
            response = await self._node.store.run(self._attempt, 1, call, hooks)
            failed = False
        except Exception:
            if call.made is not None and not call.intents:
                await self._node.leases.give_back(call.mount, call.made)
            raise
        finally:
            self._node.intents.release(call.intents, failed=failed)
        return response

    def _attempt(self, txn: Transaction, call: _Call, hooks: list[AfterCommit]) -> Awaitable[Response]:
        hooks.clear()
        return self._perform(txn, call, txn, hooks)

    @contextlib.asynccontextmanager
    async def _one_use(self, incoming: Incoming) -> AsyncIterator[TokenEntry]:
        """Take one of a token's limited uses, whatever comes of the request.

        Once the last is taken and every request that took one has ended, the token is revoked.
        """
        node, key = self._node, self._node.tokens.hash(incoming.token)
        self.in_use[key] += 1
        try:
            token = await node.store.run(lambda txn: node.tokens.use(txn, key))
            if token is None:
                raise PermissionDenied
            yield token
        finally:
            self.in_use[key] -= 1
            if not self.in_use[key]:
                del self.in_use[key]
                with contextlib.suppress(Unavailable):  # spent it stays; the request is answered all the same
                    await node.store.run(lambda txn: node.tokens.end_spent(txn, key))

    async def _perform(
        self, view: View, call: _Call, txn: Transaction | None = None, hooks: list[AfterCommit] | None = None
    ) -> Response:
        node, incoming, mount, route = self._node, call.incoming, call.mount, call.route
        engine = mount.engine
        req = CoreRequest(
            incoming.op,
            call.path,
            PrefixView(view, mount.prefix),
            incoming.data,
            incoming.id,
            mount.point,
            remote_address=incoming.remote_address,
            peer_certificate=incoming.peer_certificate,
            incoming=incoming,
            node=node,
            mount=mount,
            root=view,
        )
        if hooks is not None and txn is not None:
            req.after_commit = hooks
            req.on_commit = txn.on_commit
            req.intents = call.intents
        record = incoming.audit
        if passed := mount.entry.config.passthrough_request_headers:
            req.headers = {
                name: value for header in passed if (value := incoming.headers.get(name := header.lower())) is not None
            }
        params: Params | None = None
        decision: Decision | None = None
        warnings: list[str] = []
        began = looked_up = perf_counter()
        if incoming.token:
            token = call.limited
            if token is None:
                token = await self._token(view, incoming)
                looked_up = perf_counter()
            elif await node.tokens.by_key(view, token.key) is None:  # revoked after its use was counted
                raise PermissionDenied
            if token is not None and token.num_uses and call.limited is None and route.auth:
                raise _LimitedToken
            req.client = req.token = token
        if route.auth:
            if req.token is None:
                raise PermissionDenied
            where = incoming.path
            if req.token.entity_id or req.token.namespace != self._home:
                req.acl = await node.acl(req.token)
                where = node.below(req.token, where)
                if txn is not None and mount.point == "cubbyhole/" and where != incoming.path:
                    txn.put(visits(req.token.key) + node.namespace.id, b"")  # what it leaves here is to end with it
            else:
                policies = req.token.policies
                req.acl = node.policies.at_hand(policies) or await node.policies.acl(node.store, policies)
            known = perf_counter()
            req.acl_path = where
            if route.exists:
                try:
                    params, warnings = engine.load(route, call.captures, req.data)
                    req.existing = await getattr(engine, route.exists)(req, params)
                    req.op = "update" if req.existing else "create"
                except InvalidRequest:  # for those to know who might have done it right
                    if any(req.acl.allow(op, where, data=incoming.data).allowed for op in _CREATE_OR_UPDATE):
                        raise
                    raise PermissionDenied(_DENIED) from None
            decision = req.acl.allow(req.op, where, data=incoming.data, wrap_ttl=incoming.wrap_ttl)
            if not decision.allowed or (route.sudo and not decision.sudo):
                if record is not None:
                    record.found(req, decision if not decision.allowed else without_sudo(decision))
                raise PermissionDenied(_DENIED)
            if decision.control is not None:
                factors = decision.control.of(sudo=route.sudo)
                if factors and factors != incoming.approved:
                    if record is not None:
                        record.found(req, decision)
                    raise NeedsApproval(req.token, factors, decision.control.ttl)
            if decision.pagination_limit and _unlimited(incoming.data.get("limit")):
                req.data = {**incoming.data, "limit": decision.pagination_limit}
            checked = perf_counter()
            self._looked_up.observe(looked_up - began)
            self._fetched.observe(known - began)
            self._checked.observe(checked - began)
        else:
            incoming.login, checked = mount.entry.table == "auth", began
        if params is None:
            params, warnings = engine.load(route, call.captures, req.data)
        if record is not None and record.begins(req, decision, changes=txn is not None or route.external):
            await record.recorded()
            checked = perf_counter()  # how long a device takes says nothing of the engine
        timing = mount.timings.get(req.op) or self._timing(mount, req.op)
        try:
            handler = getattr(engine, route.handler)
            if route.login and (name := getattr(params, route.login)):
                answer = await attempt(req, name, handler, params)
            else:
                answer = await handler(req, params)
        finally:
            timing.observe(perf_counter() - checked)
            if incoming.span is not None:
                incoming.span.handled(mount, route, checked)
        response = answer if isinstance(answer, Response) else Response(data=answer)
        response.mount_type = mount.entry.type
        if type(response.auth) is Auth:
            await log_in(req, response)
        if response.lease is not None:
            await self._give(req, call, response.lease, response)
        if decision is not None and decision.filter_path:
            _filter_keys(req.permissions, decision.filter_path, req.acl_path, response)
        if warnings and answer is not None:
            response.warnings = [*warnings, *response.warnings]
        if incoming.wrap_ttl and can_wrap(response):
            return await wrap(node, view, response, incoming.path, incoming.wrap_ttl, incoming.id)
        return response

    def _timing(self, mount: Mount, op: str) -> Timing:
        """Of the requests of one operation to a mount."""
        name = f"route.{op}.{mount.point.replace('/', '-')}"
        return mount.timings.setdefault(op, self._node.core.metrics.timing(name))

    async def _give(self, req: CoreRequest, call: _Call, lease: Lease, response: Response) -> None:
        """Store the lease that an engine answers with, and tell of it in the envelope."""
        leases = self._node.leases
        leases.identify(call.mount, call.path, lease)
        if call.route.external:
            call.made = lease
        if self._node.core.quotas.limits_leases:
            await admit_lease(req)
        life = await leases.give(req.root, call.mount, lease, req.token)
        response.lease_id, response.renewable, response.lease_duration = lease.id, lease.renewable, life.ttl
        response.warnings = [*response.warnings, *life.warnings]

    async def _token(self, view: View, incoming: Incoming) -> TokenEntry | None:
        token = await self._node.tokens.lookup(view, incoming.token)
        if token is None:
            return None
        if token.bound_cidrs and not token.allows_address(incoming.remote_address):
            return None
        if token.namespace != self._home and not self._node.reaches(token):
            return None
        return token

    async def _refusal(self, incoming: Incoming, problem: CaveauError) -> CaveauError:
        """What a request without a route deserves: the caller learns that only where its policies reach."""
        node = self._node
        token = await self._spend(incoming)
        if token is None:
            return PermissionDenied()
        acl = await node.acl(token)
        decision = acl.allow(
            incoming.op, node.below(token, incoming.path), data=incoming.data, wrap_ttl=incoming.wrap_ttl
        )
        if incoming.audit is not None:
            incoming.audit.decision = decision
        return problem if decision.allowed else PermissionDenied(_DENIED)

    async def _spend(self, incoming: Incoming) -> TokenEntry | None:
        """The token of a request that reaches no engine, a use of it counted; None without a usable one."""
        token = await self._token(self._node.store, incoming) if incoming.token else None
        if incoming.audit is not None:
            incoming.audit.token = token
        if token is not None and token.num_uses:
            async with self._one_use(incoming):
                pass
        return token

    async def _help(self, incoming: Incoming) -> Response:
        """Help on a path, for every valid token: no policy is consulted."""
        found = self._node.router.match(incoming.path)
        if (found is None or not _is_public(*found)) and await self._spend(incoming) is None:
            raise PermissionDenied
        if found is None:
            raise UnsupportedPath(f'no handler for route "{incoming.path}". route entry not found.')
        mount, path = found
        engine = type(mount.engine)
        text = mount_help(engine) if not path else path_help(engine, path)
        if text is None:
            raise UnsupportedPath(MultipleErrors("unsupported path").args[0])
        described = openapi.paths(engine, "", mount.entry.tag, only=path or None)
        document = openapi.document(described, VAULT_VERSION)
        return Response(data={"help": text, "see_also": None, "openapi": document}, bare=True)


def _is_public(mount: Mount, path: str) -> bool:
    """Whether some operation on a path needs no token: what the path is, is no secret then."""
    return any(not route.auth and route.regex.fullmatch(path) for route in mount.engine.routes)


def _unlimited(limit: Any) -> bool:
    """Whether a list request asks for all there is; what is no number is for its route to refuse."""
    try:
        return not INT.parse(limit or 0)
    except ValueError:
        return False


def _filter_keys(acl: ACL, filter_path: str, path: str, response: Response) -> None:
    """Leave in a list only what the policy's filter lets the caller see."""
    data = response.data
    if not isinstance(data, Mapping) or "keys" not in data:
        return
    keys = acl.visible(filter_path, path, data["keys"])
    response.data = {**data, "keys": keys}
    if "key_info" in data:
        response.data["key_info"] = {key: data["key_info"][key] for key in keys if key in data["key_info"]}
