"""What an engine does with the leases it gave, and with what it began and never stored: methods by kind.

    @renew("creds")
    async def extend_user(self, req: Request, lease: Lease, increment: int) -> Lease: ...

    @revoke("creds", external=True)
    async def drop_user(self, req: Request, lease: Lease) -> None: ...

    @recover("password")
    async def settle_password(self, req: Request, intent: Intent) -> None: ...

``kind`` is that of the `Lease` a handler answered with, or that it named to ``Request.intend``. Without ``@renew`` a
kind is renewed within its own bounds and those of its mount, and the engine is not asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .routes import Handler


@dataclass(frozen=True, slots=True)
class LeaseKind:
    """The names of the methods for one kind of lease ("": none), and whether they reach outside the store."""

    renew: str = ""
    revoke: str = ""
    external: bool = False
    recover: str = ""


def renew(kind: str, *, external: bool = False) -> Callable[[Handler], Handler]:
    """Declare the method that renews leases of ``kind``.

    It gets the lease and the seconds that were asked for (0: nothing special), and gives the lease back, with
    ``ttl``, ``max_ttl`` or ``internal`` changed if they are to change; the core bounds what comes of it.
    """
    return _mark("renew", kind, external)


def revoke(kind: str, *, external: bool = False) -> Callable[[Handler], Handler]:
    """Declare the method that takes back what a lease of ``kind`` gave; returning means that it is gone.

    ``external``: it reaches outside the store. It is then not run again at once when its transaction conflicts
    but later, as after an error. It may run twice for one lease (after a crash), so what is gone already is no error.
    """
    return _mark("revoke", kind, external)


def recover(kind: str) -> Callable[[Handler], Handler]:
    """Declare the method that undoes, or finishes, what a request intended under ``kind`` and has not stored.

    The request failed, or the server died in the middle of it: what was intended may have happened outside the store,
    or not, or in part. Returning means that it is settled; what the method wrote is committed with that. After an
    error it is called again, later and later, so that what is settled already is no error.
    """
    return _mark("recover", kind, external=False)


def _mark(what: str, kind: str, external: bool) -> Callable[[Handler], Handler]:
    def mark(handler: Handler) -> Handler:
        is_async = inspect.iscoroutinefunction(handler)
        if not is_async:
            raise TypeError(f"{getattr(handler, '__qualname__', handler)}: a {what} method is an async function")
        handler.__dict__.setdefault("_leases", []).append((what, kind, external))
        return handler

    return mark


def kinds(methods: Mapping[str, Any], owner: str) -> dict[str, LeaseKind]:
    """The kinds that marked methods declare; raises TypeError where two claim the same."""
    found: dict[str, LeaseKind] = {}
    for name, method in methods.items():
        for what, kind, external in getattr(method, "__dict__", {}).get("_leases", ()):
            known = found.get(kind, LeaseKind())
            if getattr(known, what):
                raise TypeError(f"{owner}: {name} and {getattr(known, what)} both {what} leases of kind {kind!r}")
            names = {"renew": known.renew, "revoke": known.revoke, "recover": known.recover, what: name}
            found[kind] = LeaseKind(**names, external=known.external or external)
    return found
