"""An engine that gives leases, for tests and for the benchmark, and a server with it at ``db/``."""

from __future__ import annotations

from typing import Annotated, Any

from caveau.framework import Engine, Field, Lease, Params, Request, Response, read, renew, revoke, update
from caveau.framework.errors import InvalidRequest
from caveau.server.mounts import MountConfig, MountEntry
from caveau.server.node import Node
from caveau.tests.server.harness import Server


class Name(Params):
    name: Annotated[str, Field("Name of the role.")]
    ttl: Annotated[int, Field("Seconds a lease of it is to last.")] = 0
    max_ttl: Annotated[int, Field("Seconds it may last at most.")] = 0
    renewable: Annotated[bool, Field("Whether it can be renewed.")] = True


class Users(Engine):
    """Users of a database that is a dictionary."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.users: dict[str, int] = {}  # how often each was revoked, while it is there or not
        self.present: set[str] = set()
        self.broken = ""  # the error of the next revocations
        self.renewals: list[int] = []
        self.made = 0

    def _lease(self, kind: str, p: Name) -> tuple[str, Lease]:
        self.made += 1
        user = f"u{self.made}"
        self.present.add(user)
        return user, Lease(kind, p.ttl, p.max_ttl, p.renewable, {"user": user})

    @read("creds/{name}", writes=True, external=True)
    async def creds(self, req: Request, p: Name) -> Response:
        """Make a user elsewhere."""
        user, lease = self._lease("user", p)
        return Response(data={"user": user}, lease=lease)

    @read("clash/{name}", writes=True, external=True)
    async def clash(self, req: Request, p: Name) -> Response:
        """Make a user, and meet another request in the store."""
        user, lease = self._lease("user", p)
        await req.storage.get("clash")
        await self.meddle()
        req.storage.put("clash", b"mine")
        return Response(data={"user": user}, lease=lease)

    @update("inner/{name}", writes=True)
    async def inner(self, req: Request, p: Name) -> Response:
        """Make a user in the store."""
        user, lease = self._lease("inner", p)
        req.storage.put(f"inner/{user}", b"x")
        return Response(data={"user": user}, lease=lease)

    async def meddle(self) -> None:
        """Replaced by tests."""

    @renew("user")
    async def extend(self, req: Request, lease: Lease, increment: int) -> Lease:
        assert self.context.system is not None
        self.renewals.append(self.context.system.lease_ttl(lease, increment))
        await self.meddle()
        return lease

    @renew("inner")
    async def extend_inner(self, req: Request, lease: Lease, increment: int) -> Lease:
        self.renewals.append(increment)
        await self.meddle()
        return lease

    @revoke("user", external=True)
    async def drop(self, req: Request, lease: Lease) -> None:
        user = lease.internal["user"]
        self.users[user] = self.users.get(user, 0) + 1
        if self.broken:
            raise RuntimeError(self.broken)
        self.present.discard(user)

    @revoke("inner")
    async def drop_inner(self, req: Request, lease: Lease) -> None:
        req.storage.delete(f"inner/{lease.internal['user']}")
        self.present.discard(lease.internal["user"])


class Codes(Engine):
    """Numbers that are in the store alone, and end with their lease; ``broken`` is one that cannot."""

    broken = ""

    @update("code/{name}", writes=True)
    async def code(self, req: Request, p: Name) -> Response:
        """Give the next number."""
        number = str(len(await req.storage.list("code/")) + 1)
        req.storage.put(f"code/{number}", b"x")
        return Response(data={"code": number}, lease=Lease("code", 60, internal={"code": number}))

    @renew("code")
    async def extend(self, req: Request, lease: Lease, increment: int) -> Lease:
        return lease

    @revoke("code")
    async def end(self, req: Request, lease: Lease) -> None:
        req.storage.delete(f"code/{lease.internal['code']}")
        if lease.internal["code"] == self.broken:
            raise RuntimeError("it cannot end")


async def serve(store: Any = None, **config: Any) -> tuple[Server, Users]:
    """A server with the engine at ``db/``: default lease 1 h, at most 10 h."""
    server = await Server(store).start()
    return server, await mount(server, **config)


async def mount(
    server: Server, path: str = "db/", default: int = 3600, maximum: int = 36000, node: Node | None = None
) -> Users:
    """Mount the engine, in the root namespace unless told otherwise."""
    server.core.own_engines["users"] = Users
    at = node or server.node
    entry = MountEntry.new(path, "users", config=MountConfig(default_lease_ttl=default, max_lease_ttl=maximum))
    made = await at.store.run(lambda txn: at.enable(txn, entry, txn.on_commit))
    assert isinstance(made.engine, Users)
    return made.engine


async def give(db: Server, path: str = "db/creds/web", token: str | None = None, **params: Any) -> str:
    """Ask for a secret: the id of its lease."""
    return (await db.call("read", path, params, token)).lease_id


async def lookup(db: Server, id_: str) -> dict[str, Any]:
    return (await db.call("update", "sys/leases/lookup", {"lease_id": id_})).data


async def alive(db: Server, id_: str) -> bool:
    try:
        await lookup(db, id_)
    except InvalidRequest:
        return False
    return True
