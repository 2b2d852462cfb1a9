"""An engine is a table of routes.

Subclass ``Engine`` and decorate methods: dispatch, path-help, OpenAPI and the lists of
unauthenticated and sudo paths follow from the declarations, and a wrong declaration fails at import.
An auth method is an engine too, whose login routes answer with ``Auth``.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from .clock import Clock, SystemClock
from .errors import InvalidRequest, UnsupportedOperation, UnsupportedPath
from .leases import LeaseKind, kinds
from .messages import Auth, Intent, Lease, Request
from .params import Params
from .routes import METHODS, Declaration, Route, captures
from .storage import View

T = TypeVar("T")

_MATCHES_KEPT, _LONGEST_KEPT = 4096, 256


class System(Protocol):
    """What the server offers an engine."""

    def default_ttl(self) -> int:
        """Seconds a lease or token of this mount lives when nothing else is said."""
        ...

    def max_ttl(self) -> int: ...

    def lease_ttl(self, lease: Lease, increment: int = 0) -> int:
        """Seconds that ``lease`` lives from now when it is given or renewed now: what to tell another system
        that ends things by itself."""
        ...

    async def generate_password(self, policy: str) -> str:
        """A password of the named password policy; raises InvalidRequest when there is none."""
        ...

    async def transact(self, work: Callable[[View], Awaitable[T]], *, settles: Intent | None = None) -> T:
        """Run ``work`` on the mount's storage in a transaction of its own, beside any request's. Others may
        change what it has read meanwhile: then it runs again. Raises Unavailable and StoreError."""
        ...

    def intend(self, kind: str, details: Mapping[str, Any]) -> AbstractAsyncContextManager[Intent]:
        """For what is done outside the store without a request, as ``Request.intend`` in one:

            async with system.intend("password", {"new": password}) as intent:
                await ...  # the other system changes it
                await system.transact(keep, settles=intent)

        What no transaction has settled at the end of the block, or when the server dies, is for ``@recover``."""
        ...


@dataclass(slots=True)
class Context:
    """Where an engine is mounted. ``options`` are the mount's (KV: ``version``)."""

    mount_point: str = ""
    accessor: str = ""
    uuid: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    system: System | None = None


class Engine:
    """Base of secrets engines and auth methods."""

    routes: ClassVar[tuple[Route, ...]] = ()
    lease_kinds: ClassVar[Mapping[str, LeaseKind]] = {}
    help: ClassVar[str] = ""  # what path-help says of the mount itself
    _index: ClassVar[dict[tuple[str, str], tuple[Route, ...]]] = {}  # by operation and literal first segment
    _matches: ClassVar[dict[tuple[str, str], tuple[Route, dict[str, str]]]] = {}  # those asked for lately

    def __init__(self, context: Context) -> None:
        self.context = context
        self.clock = context.clock

    async def setup(self, storage: View) -> None:
        """Called in a transaction once the mount exists, and again after every unseal."""

    async def cleanup(self) -> None:
        """Called before the mount goes away or the server seals."""

    async def renew(self, req: Request, lease: Lease, increment: int) -> Lease:
        """The lease as it is to be after its renewal: what the ``@renew`` method of its kind makes of it."""
        kind = self.lease_kinds.get(lease.kind)
        if kind is None:
            raise UnsupportedOperation("lease is not renewable")
        if not kind.renew:
            return lease
        renewed: Lease = await getattr(self, kind.renew)(req, lease, increment)
        return renewed

    async def revoke(self, req: Request, lease: Lease) -> None:
        """Undo what a lease stands for, by the ``@revoke`` method of its kind; without one nothing is left to undo."""
        kind = self.lease_kinds.get(lease.kind)
        if kind is not None and kind.revoke:
            await getattr(self, kind.revoke)(req, lease)

    async def recover(self, req: Request, intent: Intent) -> None:
        """Settle what a request intended and has not stored, by the ``@recover`` method of its kind, or else by the
        ``@revoke`` method."""
        kind = self.lease_kinds[intent.kind]
        if kind.recover:
            await getattr(self, kind.recover)(req, intent)
        else:
            lease = Lease(intent.kind, internal=intent.details, id=intent.id, issue_time=intent.time)
            await getattr(self, kind.revoke)(req, lease)

    async def login_role(self, req: Request, p: Any) -> str:
        """The role that a login with the parameters ``p`` asks for, empty without one; override where logins have
        roles, so that they can be limited role by role. No credential is to be verified for it."""
        return ""

    async def renew_login(self, req: Request, auth: Auth) -> Auth:
        """What a token of this auth method is worth at its renewal, from what it was at its login (with the
        policies that the token has); override where logins are answered. Raises InvalidRequest to refuse."""
        raise InvalidRequest("lease is not renewable")

    def __init_subclass__(cls) -> None:
        cls.lease_kinds = kinds(_members(cls), cls.__name__)
        cls.help = inspect.cleandoc(cls.__dict__.get("help") or cls.__doc__ or "")
        routes = [
            _build(name, function, declaration)
            for name, function in _handlers(cls)
            for declaration in function.__dict__["_routes"]
        ]
        for route in routes:
            if route.exists and not inspect.iscoroutinefunction(getattr(cls, route.exists, None)):
                raise TypeError(f"{cls.__name__}.{route.handler}: {route.exists} is not a coroutine method")
        _refuse_twins(cls, routes)
        routes.sort(key=lambda r: r.specificity)
        cls.routes = tuple(routes)
        cls._matches = {}
        cls._index = {}
        for op in METHODS:
            firsts = [(route, _literal(route)) for route in routes if route.op == op]
            for first in {own for _, own in firsts}:
                cls._index[op, first] = tuple(route for route, own in firsts if own in (first, ""))

    @classmethod
    def match(cls, op: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route that answers ``op`` on ``path`` and what it captures from the path.

        Raises UnsupportedPath, or UnsupportedOperation when only other operations have the path.
        """
        known = cls._matches.get((op, path))
        if known is not None:
            return known
        first = path.partition("/")[0]
        for route in cls._candidates(op, first):
            if found := route.regex.fullmatch(path):
                match = route, {k: v for k, v in found.groupdict().items() if v is not None}
                if len(cls._matches) >= _MATCHES_KEPT:
                    cls._matches.clear()
                if len(path) <= _LONGEST_KEPT:
                    cls._matches[op, path] = match
                return match
        exists = any(route.regex.fullmatch(path) for other in METHODS for route in cls._candidates(other, first))
        raise UnsupportedOperation if exists else UnsupportedPath

    @classmethod
    def _candidates(cls, op: str, first: str) -> tuple[Route, ...]:
        """The routes of an operation that may match a path with this first segment."""
        return cls._index.get((op, first)) or cls._index.get((op, ""), ())

    def load(self, route: Route, captures: Mapping[str, str], data: Mapping[str, Any]) -> tuple[Params, list[str]]:
        """The parameters of a request to ``route`` and its warnings."""
        return route.params.load(data, captures)

    async def handle(self, req: Request) -> Any:
        """Match, parse and call in one step; for tests and for callers without a pipeline."""
        op = "update" if req.op == "create" else req.op
        route, captures = self.match(op, req.path)
        params, _ = route.params.load(req.data, captures)
        return await getattr(self, route.handler)(req, params)

    @classmethod
    def templates(cls, keep: Callable[[Route], bool]) -> list[str]:
        """Templates of the routes that ``keep`` chooses, each once."""
        return sorted({r.template for r in cls.routes if keep(r)})


def _literal(route: Route) -> str:
    """The first segment of its paths where that is always the same, else empty."""
    found = re.match(r"([^/\[{]*)(?=$|/|\[/)", route.template)
    return found[1] if found else ""


def _members(cls: type) -> dict[str, Any]:
    """What a class has of its own and of its bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(base.__dict__)
    return found


def _handlers(cls: type) -> list[tuple[str, Callable[..., Any]]]:
    """The methods that are routes, inherited ones too, by name."""
    return sorted((name, value) for name, value in _members(cls).items() if "_routes" in getattr(value, "__dict__", ()))


@functools.cache  # an engine that is put together of several classes has the routes of each
def _build(name: str, function: Callable[..., Any], d: Declaration) -> Route:
    where = f"{function.__qualname__}: {d.op} {d.template!r}"
    params = function.__annotations__.get("p")
    if isinstance(params, str):  # mostly a plain name; resolving the whole signature takes far longer
        names = inspect.unwrap(function).__globals__
        params = names.get(params) or typing.get_type_hints(function).get("p")
    if not (isinstance(params, type) and issubclass(params, Params)):
        raise TypeError(f"{where}: annotate the parameter p with a Params class")
    if undeclared := sorted(set(captures(d.template)) - set(params.specs)):
        raise TypeError(f"{where}: captures undeclared {undeclared}")
    if d.login and d.login not in params.specs:
        raise TypeError(f"{where}: the parameters have no {d.login}")
    summary, _, description = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    if not summary:
        raise TypeError(f"{where}: a route needs a docstring; it is the help text")
    return Route(
        d.op, d.template, name, params, " ".join(summary.split()), description.strip(),
        d.auth, d.sudo, d.writes, d.external, d.sealed, d.exists, d.hidden, d.login,
    )  # fmt: skip


def _refuse_twins(cls: type, routes: list[Route]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for route in routes:
        for path in route.shapes():
            other = seen.setdefault((route.op, path), route.handler)
            if other != route.handler:
                raise TypeError(f"{cls.__name__}: {route.handler} and {other} both answer {route.op} {path}")
