"""Kinds of leases, as engines declare them."""

from __future__ import annotations

import pytest
from caveau.framework import Context, Engine, Intent, Lease, Request, recover, renew, revoke
from caveau.framework.errors import UnsupportedOperation
from caveau.framework.leases import LeaseKind


class Pair(Engine):
    """An engine of two kinds."""

    @renew("user")
    async def extend(self, req: Request, lease: Lease, increment: int) -> Lease:
        return Lease(lease.kind, lease.ttl + increment)

    @revoke("user", external=True)
    async def drop(self, req: Request, lease: Lease) -> None:
        lease.internal["log"].append("drop")

    @revoke("file")
    @revoke("link")
    async def unlink(self, req: Request, lease: Lease) -> None:
        lease.internal["log"].append("unlink")


class Recovering(Pair):
    """One that finishes some of what was cut off, and undoes the rest."""

    @recover("password")
    @recover("link")
    async def finish(self, req: Request, intent: Intent) -> None:
        intent.details["log"].append(f"finish {intent.kind}")


REQUEST = Request("revoke", "", None)


def test_kinds_are_what_is_declared():
    assert Pair.lease_kinds == {
        "user": LeaseKind("extend", "drop", external=True),
        "file": LeaseKind("", "unlink"),
        "link": LeaseKind("", "unlink"),
    }


async def test_each_kind_has_its_methods():
    engine, log = Pair(Context()), []
    for kind in ("user", "file", "none"):
        await engine.revoke(REQUEST, Lease(kind, internal={"log": log}))
    assert log == ["drop", "unlink"]
    assert (await engine.renew(REQUEST, Lease("user", 5), 10)).ttl == 15
    assert (await engine.renew(REQUEST, Lease("file", 5), 10)).ttl == 5  # the core knows what to grant
    with pytest.raises(UnsupportedOperation, match="not renewable"):
        await engine.renew(REQUEST, Lease("none"), 0)


async def test_what_was_intended_is_recovered_or_else_revoked():
    engine, log = Recovering(Context()), []
    for kind in ("user", "link", "password"):
        await engine.recover(REQUEST, Intent(kind, {"log": log}))
    assert log == ["drop", "finish link", "finish password"]
    assert Recovering.lease_kinds["link"] == LeaseKind("", "unlink", recover="finish")


def test_a_subclass_has_the_kinds_of_its_base():
    class More(Pair):
        """One more."""

        @revoke("more")
        async def end(self, req: Request, lease: Lease) -> None: ...

    assert set(More.lease_kinds) == {"user", "file", "link", "more"}


def test_wrong_declarations_fail_at_import():
    with pytest.raises(TypeError, match="both revoke leases of kind 'user'"):

        class Twice(Pair):
            """Two for one."""

            @revoke("user")
            async def another(self, req: Request, lease: Lease) -> None: ...

    with pytest.raises(TypeError, match="async function"):

        @revoke("x")
        def plain(self, req, lease): ...
