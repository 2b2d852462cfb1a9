"""What a request does elsewhere and what is stored of it agree at last, wherever the server dies in between."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from caveau.framework import (
    Engine,
    Field,
    Intent,
    Lease,
    NoParams,
    Params,
    Request,
    Response,
    View,
    delete,
    read,
    recover,
    revoke,
    update,
)
from caveau.framework.errors import CaveauError, InvalidRequest, NotFound, PermissionDenied, Unavailable
from caveau.server import whole
from caveau.server.mounts import MountEntry
from caveau.storage.inmem import InmemStore
from caveau.tests.server.harness import Server
from hypothesis import given, settings
from hypothesis import strategies as st

MOMENT = 61.0  # after which it is looked whether a request has ended without a word


class Elsewhere:
    """Another system: its users and the password of its administrator. ``left``: steps, of it and of the store, until
    the server dies; it does not notice, but gets no further."""

    def __init__(self) -> None:
        self.users: set[str] = set()
        self.password = "first"
        self.down = False
        self.left: int | None = None
        self.dead = asyncio.Event()
        self.created = asyncio.Event()
        self.made = 0
        self.undone: list[str] = []

    async def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.dead.set()
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionError("the database is away")


class MortalStore(InmemStore):
    """A store whose commits are steps at which a server may die: before it is written, and before it is known."""

    def __init__(self, elsewhere: Elsewhere, other: InmemStore | None = None) -> None:
        super().__init__()
        self.elsewhere = elsewhere
        if other is not None:
            self._values, self._keys = dict(other._values), list(other._keys)

    def commit(self, batch: Any) -> Any:
        async def later() -> None:
            down, self.elsewhere.down = self.elsewhere.down, False
            await self.elsewhere.step()
            await super(MortalStore, self).commit(batch)
            await self.elsewhere.step()
            self.elsewhere.down = down

        return later() if self.elsewhere.left is not None else super().commit(batch)


class Name(Params):
    name: Annotated[str, Field("Name.")] = "web"


class Accounts(Engine):
    """Accounts of another system."""

    def __init__(self, context: Any, elsewhere: Elsewhere) -> None:
        super().__init__(context)
        self.elsewhere = elsewhere
        self.pause: asyncio.Event | None = None
        self.meddle: Any = None

    @read("creds/{name}", writes=True, external=True)
    async def creds(self, req: Request, p: Name) -> Response:
        """Make a user, with a lease."""
        self.elsewhere.made += 1
        details = {"user": f"u{self.elsewhere.made}"}
        await req.intend("user", details)
        await self._create(details["user"])
        return Response(data=details, lease=Lease("user", internal=details))

    @update("static/{name}", external=True)
    async def static(self, req: Request, p: Name) -> None:
        """Make a user for good, beside something of this engine's own."""
        await req.storage.get("shared")
        await req.intend("static", {"user": p.name})
        await self._create(p.name)
        req.storage.put(f"static/{p.name}", b"x")
        req.storage.put("shared", b"x")
        if self.meddle:
            await self.meddle()

    @update("rotate", external=True)
    async def rotate(self, req: Request, p: NoParams) -> None:
        """Give the administrator a new password."""
        old = await req.storage.get("password")
        new = f"{(old or b'first').decode()}+"
        await req.intend("password", {"new": new})
        await self.elsewhere.step()
        self.elsewhere.password = new
        await self.elsewhere.step()
        req.storage.put("password", new.encode())

    async def rotate_in_the_background(self) -> None:
        system = self.context.system
        assert system is not None
        old = await system.transact(lambda view: view.get("password"))
        new = f"{(old or b'first').decode()}+"
        async with system.intend("password", {"new": new}) as intent:
            await self.elsewhere.step()
            self.elsewhere.password = new
            await self.elsewhere.step()

            async def keep(view: View) -> None:
                view.put("password", new.encode())

            await system.transact(keep, settles=intent)

    @update("careless", external=True)
    async def careless(self, req: Request, p: NoParams) -> None:
        """Intend what nobody can undo."""
        await req.intend("nothing", {})

    @update("plain")
    async def plain(self, req: Request, p: NoParams) -> None:
        """Intend something in a handler that may run again."""
        await req.intend("user", {"user": "x"})

    @delete("static/{name}", external=True)
    async def drop_static(self, req: Request, p: Name) -> None:
        """Remove a user: should that be cut off, go on with it."""
        await req.intend("removal", {"user": p.name})
        await self._drop(p.name)
        req.storage.delete(f"static/{p.name}")

    async def _create(self, user: str) -> None:
        await self.elsewhere.step()
        self.elsewhere.users.add(user)
        self.elsewhere.created.set()
        if self.pause:
            await self.pause.wait()
        await self.elsewhere.step()

    async def _drop(self, user: str) -> None:
        await self.elsewhere.step()
        self.elsewhere.users.discard(user)
        self.elsewhere.undone.append(user)
        await self.elsewhere.step()

    @revoke("user", external=True)
    async def end(self, req: Request, lease: Lease) -> None:
        await self._drop(lease.internal["user"])

    @recover("static")
    async def undo_static(self, req: Request, intent: Intent) -> None:
        if await req.storage.get(f"static/{intent.details['user']}") is None:  # an older request may have made it
            await self._drop(intent.details["user"])

    @recover("removal")
    async def finish_removal(self, req: Request, intent: Intent) -> None:
        await self._drop(intent.details["user"])
        req.storage.delete(f"static/{intent.details['user']}")

    @recover("password")
    async def settle_password(self, req: Request, intent: Intent) -> None:
        await self.elsewhere.step()
        if self.elsewhere.password == intent.details["new"]:
            req.storage.put("password", intent.details["new"].encode())


class World:
    """A server with the engine at ``db/``, and what it works on."""

    def __init__(self) -> None:
        self.elsewhere = Elsewhere()
        self.server = self._server(MortalStore(self.elsewhere))

    def _server(self, store: InmemStore) -> Server:
        server = Server(store)
        server.core.own_engines["accounts"] = lambda context: Accounts(context, self.elsewhere)
        return server

    async def start(self) -> World:
        await self.server.start()
        node = self.server.node
        await node.store.run(lambda txn: node.enable(txn, MountEntry.new("db/", "accounts"), txn.on_commit))
        return self

    @property
    def engine(self) -> Accounts:
        mount = self.server.node.router.get("db/")
        assert mount is not None
        assert isinstance(mount.engine, Accounts)
        return mount.engine

    async def until_death(self, work: Any, steps: int) -> bool:
        """Do ``work`` on a server that dies after so many steps; whether it did. The next one is not unsealed yet."""
        before = asyncio.all_tasks()
        self.elsewhere.left, self.elsewhere.dead = steps, asyncio.Event()
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self.elsewhere.dead.wait())
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        died = self.elsewhere.dead.is_set()
        old = self.server
        if died:
            self.server = self._server(MortalStore(self.elsewhere, old.store))
            self.server.keys, self.server.root, self.server.clock = old.keys, old.root, old.clock
            self.server.core.clock = old.clock
        rest = asyncio.all_tasks() - before - {task}
        for each in rest | {task}:
            each.cancel()
        results = await asyncio.gather(task, *rest, return_exceptions=True)
        self.elsewhere.left = None
        if died:
            await old.core.stop()
        elif isinstance(results[0], BaseException) and not isinstance(results[0], CaveauError):
            raise results[0]
        return died

    async def again(self) -> None:
        """Unseal after a death, and do what is due."""
        await self.server.unseal()
        await self.server.reap()

    async def check(self) -> None:
        """Nothing is left behind elsewhere, and nothing undone that was stored."""
        plain = await self.server.plain()
        prefix = self.server.node.router.get("db/").prefix  # type: ignore[union-attr]
        static = {key.rpartition("/")[2] for key in plain if key.startswith(f"{prefix}static/")}
        leases = [await self.server.node.leases.get(self.server.node.store, id_)
                  async for id_ in self.server.node.leases.index.below("db/")]  # fmt: skip
        leased = {lease.internal["user"] for lease in leases}  # type: ignore[union-attr]
        assert self.elsewhere.users == static | leased
        assert self.elsewhere.password == plain.get(f"{prefix}password", b"first").decode()
        assert not [key for key in plain if "sys/intent/" in key or ".intent." in key]


@pytest.fixture
async def world():
    made = await World().start()
    yield made
    await made.server.core.stop()


async def half_way(world: World) -> tuple[asyncio.Future[Response], asyncio.Event]:
    """A request that has made a user and waits for the event."""
    pause = world.engine.pause = asyncio.Event()
    request = asyncio.ensure_future(world.server.call("update", "db/static/web"))
    await world.elsewhere.created.wait()
    return request, pause


async def _error(world: World, op: str, path: str) -> str:
    with pytest.raises(CaveauError) as caught:
        await world.server.call(op, path)
    return str(caught.value)


CALLS = {
    "creds": ("read", "db/creds/web"),
    "static": ("update", "db/static/web"),
    "rotate": ("update", "db/rotate"),
    "drop": ("delete", "db/static/old"),
}


@pytest.mark.parametrize("what", [*CALLS, "background"])
async def test_a_server_may_die_at_every_step(what):
    died, steps = True, 0
    while died:
        world = await World().start()
        await world.server.call("update", "db/static/old")
        background = what == "background"
        work = world.engine.rotate_in_the_background() if background else world.server.call(*CALLS[what])
        died = await world.until_death(work, steps)
        if died:
            await world.again()
        await world.check()
        steps += 1
        await world.server.core.stop()
    assert steps > 6  # before and after two commits, and around what is done elsewhere


async def test_what_was_answered_stays():
    world = await World().start()
    await world.server.call(*CALLS["creds"])
    await world.server.call(*CALLS["static"])
    await world.server.call(*CALLS["rotate"])
    world.server.clock.advance(MOMENT)
    await world.server.reap()
    assert world.elsewhere.users == {"u1", "web"}
    assert world.elsewhere.password == "first+"
    await world.check()
    await world.server.core.stop()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(st.sampled_from(sorted(CALLS)), min_size=1, max_size=4), st.integers(0, 60)),
                min_size=1, max_size=5))  # fmt: skip
def test_whatever_happens_both_agree_at_last(lives):
    """Many requests at a time, on servers that die one after the other, in the middle of recovering too."""

    async def scenario() -> None:
        world = await World().start()
        for calls, steps in lives:

            async def life(calls=calls) -> None:
                if world.server.core.sealed:
                    await world.server.unseal()
                    await world.server.reap()
                await asyncio.gather(*(world.server.call(*CALLS[call]) for call in calls), return_exceptions=True)

            await world.until_death(life(), steps)
        if world.server.core.sealed:
            await world.again()
        world.server.clock.advance(3600)
        await world.server.reap()
        await world.check()
        await world.server.core.stop()

    asyncio.run(scenario())


async def test_a_request_that_fails_leaves_nothing(world):
    async def meddle() -> None:
        async def change(txn: Any) -> None:
            txn.put(world.server.node.router.get("db/").prefix + "shared", b"theirs")

        await world.server.node.store.run(change)

    world.engine.meddle = meddle
    with pytest.raises(Unavailable):
        await world.server.call("update", "db/static/web")
    await asyncio.gather(*world.server.node._tasks)
    assert world.elsewhere.undone == ["web"]
    await world.check()


async def test_what_cannot_be_settled_is_tried_later_and_shown(world):
    async def fail() -> None:
        world.elsewhere.down = True
        raise InvalidRequest("no")

    world.engine.meddle = fail
    assert await _error(world, "update", "db/static/web") == "no"
    await asyncio.gather(*world.server.node._tasks)
    found = (await world.server.call("list", "sys/intents")).data
    [info] = found["key_info"].values()
    assert (info["path"], info["kind"], info["failures"]) == ("db/static/web", "static", 1)
    assert info["error"] == "the database is away"
    assert "details" not in info
    for failures in range(2, 14):
        world.server.clock.advance(3600)
        await world.server.reap()
        [info] = (await world.server.call("list", "sys/intents")).data["key_info"].values()
        assert info["failures"] == failures
    [id_] = found["keys"]
    assert "the database is away" in await _error(world, "update", f"sys/intents/{id_}/recover")
    assert world.elsewhere.users == {"web"}
    world.elsewhere.down = False
    await world.server.call("update", f"sys/intents/{id_}/recover")
    await world.check()
    with pytest.raises(NotFound):
        await world.server.call("list", "sys/intents")
    assert "no request has left" in await _error(world, "update", f"sys/intents/{id_}/recover")
    metrics = world.server.core.metrics
    assert any("rollback.attempt.db-" in timing.key.name for timing in metrics._timings.values())


async def test_work_without_a_request_leaves_nothing_either(world):
    system = world.engine.context.system

    async def fail():
        async with system.intend("static", {"user": "web"}):
            world.elsewhere.users.add("web")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await fail()
    await asyncio.gather(*world.server.node._tasks)
    await world.engine.rotate_in_the_background()
    assert (world.elsewhere.undone, world.elsewhere.password) == (["web"], "first+")
    await world.check()
    with pytest.raises(TypeError):
        async with system.intend("nothing", {}):
            pass
    await world.server.call("delete", "sys/mounts/db")
    with pytest.raises(InvalidRequest, match="out of service"):
        async with system.intend("static", {}):
            pass


async def test_an_operator_may_forget_one(world):
    async def fail() -> None:
        world.elsewhere.down = True
        raise InvalidRequest("no")

    world.engine.meddle = fail
    await _error(world, "update", "db/static/web")
    await asyncio.gather(*world.server.node._tasks)
    [id_] = (await world.server.call("list", "sys/intents")).data["keys"]
    with pytest.raises(PermissionDenied):
        await world.server.call("delete", f"sys/intents/{id_}", token=await world.server.token(["default"]))
    assert "the database is away" in await _error(world, "delete", "sys/mounts/db")  # the mount waits for it
    await world.server.call("delete", f"sys/intents/{id_}")
    await world.server.call("delete", f"sys/intents/{id_}")
    world.elsewhere.down = False
    world.server.clock.advance(7200)
    await world.server.reap()
    assert world.elsewhere.users == {"web"}
    await world.server.call("delete", "sys/mounts/db")


async def test_nothing_is_undone_of_a_request_under_way(world):
    request, pause = await half_way(world)
    for _ in range(3):
        world.server.clock.advance(MOMENT)
        await world.server.reap()
    with pytest.raises(NotFound):
        await world.server.call("list", "sys/intents")
    assert not world.elsewhere.undone
    pause.set()
    await request
    world.server.clock.advance(MOMENT)
    await world.server.reap()
    await world.check()


async def test_a_request_that_outlives_a_sealing_is_waited_for(world):
    request, pause = await half_way(world)
    await world.server.seal()
    await world.server.unseal()
    world.server.clock.advance(MOMENT)
    await world.server.reap()
    assert world.elsewhere.users == {"web"}
    pause.set()
    with pytest.raises(CaveauError):
        await request
    world.server.clock.advance(MOMENT)
    await world.server.reap()
    await world.check()


async def test_a_client_that_goes_away_changes_nothing(world):
    request, pause = await half_way(world)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    pause.set()
    await asyncio.gather(*whole._under_way)
    await world.check()


async def test_intents_are_declared(world):
    with pytest.raises(TypeError, match="neither recover nor revoke 'nothing'"):
        await world.server.call("update", "db/careless")
    with pytest.raises(TypeError, match="not marked as external"):
        await world.server.call("update", "db/plain")
    await Request("update", "x", None).intend("user", {})  # type: ignore[arg-type]  # without a server


async def test_a_deleted_namespace_takes_its_intents_along(world):
    server = world.server
    await server.call("update", "sys/namespaces/ns")
    namespace = server.core.namespaces.at("ns/")
    node = await server.core.namespaces.node(namespace)
    await node.store.run(lambda txn: node.enable(txn, MountEntry.new("db/", "accounts"), txn.on_commit))

    async def fail() -> None:
        world.elsewhere.down = True
        raise InvalidRequest("no")

    node.router.get("db/").engine.meddle = fail
    await _error(world, "update", "ns/db/static/web")
    await asyncio.gather(*node._tasks)
    assert len((await server.call("list", "ns/sys/intents")).data["keys"]) == 1
    with pytest.raises(NotFound):
        await server.call("list", "sys/intents")
    await server.call("delete", "sys/namespaces/ns")
    await asyncio.gather(*server.core.namespaces._deletions)
    assert not [key for key in await server.plain() if "intent" in key]
