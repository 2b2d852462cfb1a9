"""One request through the unsealed server.

token -> route -> policy -> engine -> commit. A writing request runs in a transaction, from the look-up
of its token on, and runs again when what it read was changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..framework import Params, Response, View
from ..framework.errors import (
    CaveauError,
    InvalidRequest,
    MultipleErrors,
    PermissionDenied,
    UnsupportedOperation,
    UnsupportedPath,
)
from ..framework.pathhelp import mount_help, path_help
from ..framework.routes import Route
from ..storage.store import PrefixView, Transaction
from .mounts import Mount
from .node import Node
from .request import CoreRequest, Incoming
from .tokens import TokenEntry

_DENIED = MultipleErrors("permission denied").args[0]


class Pipeline:
    """Answers requests against one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def answer(self, incoming: Incoming) -> Response:
        """The response to a request; raises CaveauError."""
        if incoming.op == "help":
            return self._help(incoming)
        node = self._node
        found = node.router.match(incoming.path)
        route: Route | None = None
        captures: Mapping[str, str] = {}
        if found is None:
            mount, path, op = None, incoming.path, incoming.op
            problem: CaveauError | None = UnsupportedPath(
                f'no handler for route "{incoming.path}". route entry not found.'
            )
        else:
            (mount, path), op, problem = found, incoming.op, None
            try:
                route, captures = mount.engine.match(op, path)
            except (UnsupportedPath, UnsupportedOperation) as error:
                problem = error
        limited = await self._use(incoming) if incoming.token else None
        try:
            if route is None or mount is None:
                assert problem is not None
                await self._refuse(incoming, mount, problem)
            elif not route.writes:
                return await self._perform(node.store, incoming, mount, path, route, captures, limited)
            else:
                return await self._write(incoming, mount, path, route, captures, limited)
        finally:
            if limited is not None and limited.num_uses < 0:
                key = limited.key
                await node.store.run(lambda txn: node.tokens.revoke(txn, key))
        raise AssertionError("unreachable")

    async def _write(
        self,
        incoming: Incoming,
        mount: Mount,
        path: str,
        route: Route,
        captures: Mapping[str, str],
        limited: TokenEntry | None,
    ) -> Response:
        hooks: list[Any] = []

        async def run(txn: Transaction) -> Response:
            hooks.clear()
            return await self._perform(txn, incoming, mount, path, route, captures, limited, txn, hooks)

        response = await self._node.store.run(run, 1) if route.external else await self._node.store.run(run)
        for hook in hooks:
            await hook()
        return response

    async def _perform(
        self,
        view: View,
        incoming: Incoming,
        mount: Mount,
        path: str,
        route: Route,
        captures: Mapping[str, str],
        limited: TokenEntry | None,
        txn: Transaction | None = None,
        hooks: list[Any] | None = None,
    ) -> Response:
        node = self._node
        engine = mount.engine
        req = CoreRequest(
            incoming.op,
            path,
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
        if mount.entry.config.passthrough_request_headers:
            req.headers = {
                name: value
                for header in mount.entry.config.passthrough_request_headers
                if (value := incoming.headers.get(name := header.lower())) is not None
            }
        params: Params | None = None
        warnings: list[str] = []
        if incoming.token:
            req.client = req.token = limited or await self._token(view, incoming)
        if route.auth:
            if req.token is None:
                raise PermissionDenied
            req.acl = await node.policies.acl(node.store, req.token.policies)
            if route.exists:
                params, warnings = engine.load(route, captures, incoming.data)
                req.op = "update" if await getattr(engine, route.exists)(req, params) else "create"
            decision = req.acl.allow(req.op, incoming.path, data=incoming.data, wrap_ttl=incoming.wrap_ttl)
            if not decision.allowed or (route.sudo and not decision.sudo):
                raise PermissionDenied(_DENIED)
        if params is None:
            params, warnings = engine.load(route, captures, incoming.data)
        answer = await getattr(engine, route.handler)(req, params)
        response = answer if isinstance(answer, Response) else Response(data=answer)
        response.mount_type = mount.entry.type
        if warnings:
            response.warnings = [*warnings, *response.warnings]
        return response

    async def _token(self, view: View, incoming: Incoming) -> TokenEntry | None:
        token = await self._node.tokens.lookup(view, incoming.token)
        if token is not None and not token.allows_address(incoming.remote_address):
            return None
        return token

    async def _use(self, incoming: Incoming) -> TokenEntry | None:
        """Count a use of a token with limited uses; None for any other token."""
        node = self._node
        token = await self._token(node.store, incoming)
        if token is None or token.num_uses == 0:
            return None
        key = token.key
        used = await node.store.run(lambda txn: node.tokens.use(txn, key))
        if used is None:
            raise PermissionDenied
        return used

    async def _refuse(self, incoming: Incoming, mount: Mount | None, problem: CaveauError) -> None:
        """Raise what a request without a route deserves: it learns that only if its policies reach there."""
        node = self._node
        token = await self._token(node.store, incoming) if incoming.token else None
        if token is None:
            raise PermissionDenied
        acl = await node.policies.acl(node.store, token.policies)
        if not acl.is_root:
            if incoming.op == "header":
                raise PermissionDenied(_DENIED)
            decision = acl.allow(incoming.op, incoming.path, data=incoming.data, wrap_ttl=incoming.wrap_ttl)
            if not decision.allowed:
                raise PermissionDenied(_DENIED)
        if mount is None:
            raise problem
        raise type(problem)(MultipleErrors(str(problem)).args[0])

    def _help(self, incoming: Incoming) -> Response:
        found = self._node.router.match(incoming.path)
        if found is None:
            raise UnsupportedPath(f'no handler for route "{incoming.path}". route entry not found.')
        mount, path = found
        engine = type(mount.engine)
        text = mount_help(engine) if not path else path_help(engine, path)
        if text is None:
            raise InvalidRequest(f"no help is known for {incoming.path!r}: the mount has no such path")
        return Response(data={"help": text, "see_also": None}, bare=True)
