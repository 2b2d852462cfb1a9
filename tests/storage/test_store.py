from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from caveau.framework.errors import Conflict, InvalidRequest, ReadOnlyStorage, Sealed, StoreError, Unavailable
from caveau.framework.storage import Batch
from caveau.storage.cache import MISSING
from caveau.storage.inmem import InmemStore
from caveau.storage.prefix import PrefixView
from caveau.storage.store import Store, Transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

T = TypeVar("T")


class Rot:
    """A cipher that shows: it reverses, and refuses what was stored under another key."""

    def __init__(self) -> None:
        self.decrypted: list[str] = []

    def encrypt_batch(self, writes: Batch) -> dict[str, bytes | None]:
        return {key: None if value is None else key.encode() + b"\0" + value[::-1] for key, value in writes.items()}

    def decrypt(self, key: str, ciphertext: bytes) -> bytes:
        self.decrypted.append(key)
        head, _, tail = ciphertext.partition(b"\0")
        assert head == key.encode()
        return tail[::-1]


class Held(InmemStore):
    """A store whose commits stay in flight until told otherwise.

    ``early``: they can be read before they are durable, as where another thread writes them.
    ``slow``: reads suspend, as where a network is in between.
    """

    def __init__(self, early: bool = False, slow: bool = False) -> None:
        super().__init__()
        self.early, self.slow = early, slow
        self.held: deque[tuple[Batch, asyncio.Future[None]]] = deque()
        self.gates: dict[str, asyncio.Event] = {}  # reads of such a key or prefix arrive when it is set

    async def get(self, key: str) -> bytes | None:
        value = await super().get(key)
        if self.slow:
            await asyncio.sleep(0)
        if key in self.gates:
            await self.gates[key].wait()
        return value

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        names = await super().list(prefix, after, limit)
        if self.slow:
            await asyncio.sleep(0)
        if prefix in self.gates:
            await self.gates[prefix].wait()
        return names

    def commit(self, batch: Batch) -> Awaitable[None]:
        done = asyncio.get_running_loop().create_future()
        self.held.append((batch, done))
        if self.early:
            super().commit(batch)
        return done

    async def land(self, count: int = 1) -> None:
        """Make the oldest commits durable, and let those who wait for them run."""
        for _ in range(count):
            batch, done = self.held.popleft()
            if not self.early:
                super().commit(batch)
            done.set_result(None)
        await settle()

    async def fail(self) -> None:
        """Fail all commits in flight (only where they are not ``early``)."""
        assert not self.early
        while self.held:
            self.held.popleft()[1].set_exception(StoreError("the disk is full"))
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def write(store: Store, *, blindly: bool = False, **values: bytes | None) -> None:
    """Store ``values``; ``blindly``: without a look at what they replace."""
    txn = store.begin()
    for key, value in values.items():
        key = key.replace("__", "/")
        if not blindly:
            await txn.get(key)
        if value is None:
            txn.delete(key)
        else:
            txn.put(key, value)
    await store.commit(txn)


async def started(awaitable: Awaitable[T]) -> asyncio.Future[T]:
    """Run something up to where it waits for its commit."""
    task = asyncio.ensure_future(awaitable)
    await settle()
    return task


@pytest.fixture
def physical() -> InmemStore:
    return InmemStore()


@pytest.fixture
def store(physical: InmemStore) -> Store:
    return Store(physical, Rot())


@pytest.fixture(params=["late", "early", "slow", "early slow", "no cache"])
def held(request: pytest.FixtureRequest) -> Held:
    return Held("early" in request.param, "slow" in request.param)


@pytest.fixture
def flying(held: Held, request: pytest.FixtureRequest) -> Store:
    """A store on ``held``, with every way of reading that should make no difference."""
    return Store(held, Rot(), 0 if "no cache" in request.node.name else 1 << 20)


# What one transaction sees


async def test_values_are_encrypted_under_their_key(store: Store, physical: InmemStore) -> None:
    await write(store, a=b"secret")
    assert await physical.get("a") == b"a\0terces"
    assert await store.get("a") == b"secret"
    assert await Store(physical, Rot()).get("a") == b"secret"


@pytest.mark.parametrize("value", [b"1", None])
async def test_a_closed_store_stores_nothing_more(store: Store, physical: InmemStore, value: bytes | None) -> None:
    async def first(txn: Transaction) -> None:
        txn.put("a", b"0")

    async def second(txn: Transaction) -> None:
        store.close()
        if value is None:
            txn.delete("a")
        else:
            txn.put("a", value)

    await store.run(first)
    before = await physical.get("a")
    with pytest.raises(Sealed):
        await store.run(second)
    assert await physical.get("a") == before


async def test_reads_see_own_writes(store: Store) -> None:
    await write(store, a=b"1", f__x=b"", f__y=b"", g__x=b"")
    txn = store.begin()
    txn.put("b", b"2")
    txn.delete("a")
    txn.delete("g/x")
    txn.delete("f/x")
    txn.put("h/new/x", b"")
    assert await txn.get("a") is None
    assert await txn.get("b") == b"2"
    assert await txn.list() == ["b", "f/", "h/"]
    assert await txn.list("f/") == ["y"]
    assert await txn.list("h/") == ["new/"]
    assert await txn.list(after="b", limit=1) == ["f/"]
    assert await store.list() == ["a", "f/", "g/"]
    assert await store.get("a") == b"1"


async def test_page_is_full_despite_own_deletes(store: Store) -> None:
    await write(store, **{f"k{i}": b"" for i in range(9)})
    txn = store.begin()
    for i in range(5):
        txn.delete(f"k{i}")
    assert await txn.list(limit=3) == ["k5", "k6", "k7"]


async def test_reads_are_repeatable(store: Store) -> None:
    await write(store, a=b"1")
    txn = store.begin()
    assert await txn.get("a") == b"1"
    await write(store, a=b"2")
    assert await txn.get("a") == b"1"


async def test_two_states_are_never_mixed(store: Store) -> None:
    """A handler that would see half of another's commit is stopped at once."""
    await write(store, a=b"1", b=b"1")
    txn = store.begin()
    await txn.get("a")
    await write(store, a=b"2", b=b"2")
    with pytest.raises(Conflict):
        await txn.get("b")


async def test_listing_and_read_are_never_of_two_states(store: Store) -> None:
    txn = store.begin()
    await txn.get("a")
    await write(store, a=b"2", p__new=b"")
    with pytest.raises(Conflict):
        await txn.list("p/")


async def test_late_read_moves_on_where_nothing_read_has_changed(store: Store) -> None:
    await write(store, a=b"1", b=b"1")
    txn = store.begin()
    await txn.get("a")
    await write(store, b=b"2")
    assert await txn.get("b") == b"2"
    txn.put("c", b"")
    await store.commit(txn)


async def test_nothing_is_stored_without_commit(store: Store) -> None:
    txn = store.begin()
    txn.put("a", b"1")
    store.end(txn)
    assert await store.get("a") is None


async def test_transaction_commits_once(store: Store) -> None:
    txn = store.begin()
    txn.put("a", b"1")
    await store.commit(txn)
    with pytest.raises(RuntimeError, match="already ended"):
        await store.commit(txn)


async def test_store_itself_is_read_only(store: Store) -> None:
    with pytest.raises(ReadOnlyStorage):
        store.put("a", b"")
    with pytest.raises(ReadOnlyStorage):
        store.delete("a")


async def test_keys_must_be_text(store: Store) -> None:
    """A lone surrogate would fail the whole group it is written with."""
    txn = store.begin()
    for bad in (lambda: txn.put("\ud800", b""), lambda: txn.delete("\ud800")):
        with pytest.raises(InvalidRequest, match="UTF-8"):
            bad()
    with pytest.raises(InvalidRequest):
        await store.get("\ud800")
    with pytest.raises(InvalidRequest):
        await store.list("\ud800/")
    txn.put("é", b"1")
    await store.commit(txn)
    assert await store.get("é") == b"1"


async def test_prefix_view(store: Store) -> None:
    txn = store.begin()
    view = PrefixView(PrefixView(txn, "mounts/"), "kv/")
    view.put("x/y", b"1")
    view.put("z", b"1")
    view.delete("z")
    assert await view.get("x/y") == b"1"
    assert await view.list() == ["x/"]
    assert await view.list("x/") == ["y"]
    await store.commit(txn)
    assert await store.get("mounts/kv/x/y") == b"1"
    with pytest.raises(ReadOnlyStorage):
        PrefixView(store, "mounts/").put("x", b"")


# Conflicts


async def test_changed_read_conflicts(store: Store) -> None:
    await write(store, a=b"1")
    for change in ({"a": b"2"}, {"a": None}, {"a": b"3"}):
        txn = store.begin()
        await txn.get("a")
        await write(store, **change)
        txn.put("b", b"")
        with pytest.raises(Conflict):
            await store.commit(txn)
    assert await store.get("b") is None


async def test_absent_read_conflicts_once_created(store: Store) -> None:
    txn = store.begin()
    assert await txn.get("a") is None
    txn.put("a", b"mine")
    await write(store, a=b"theirs")
    with pytest.raises(Conflict):
        await store.commit(txn)
    assert await store.get("a") == b"theirs"


async def test_blind_writes_do_not_conflict(store: Store) -> None:
    txn = store.begin()
    txn.put("a", b"mine")
    await write(store, blindly=True, a=b"theirs")
    await store.commit(txn)
    assert await store.get("a") == b"mine"


@pytest.mark.parametrize(
    ("window", "change", "conflicts"),
    [
        (("p/",), {"p__new": b""}, True),
        (("p/",), {"p__new__deep": b""}, True),
        (("p/",), {"p__b": None}, True),
        (("p/",), {"p__b": b"updated"}, False),
        (("p/",), {"q__new": b""}, False),
        (("p/", "b"), {"p__a": b""}, False),
        (("p/", "b"), {"p__bb": b""}, True),
        (("p/", "", 2), {"p__c": b""}, True),
        (("p/", "", 2), {"p__e": b""}, False),
        (("p/", "", 9), {"p__e": b""}, True),
        (("none/",), {"none__x": b""}, True),
    ],
)
async def test_phantoms(store: Store, window: tuple[str], change: dict[str, bytes | None], conflicts: bool) -> None:
    await write(store, p__b=b"", p__d=b"", p__f=b"")
    txn = store.begin()
    await txn.list(*window)
    await write(store, **change)
    txn.put("out", b"")
    if conflicts:
        with pytest.raises(Conflict):
            await store.commit(txn)
    else:
        await store.commit(txn)


async def test_reader_does_not_conflict(store: Store) -> None:
    """What it saw was one state of the store; that is all a reader can ask."""
    txn = store.begin()
    await txn.get("a")
    await write(store, a=b"1")
    await store.commit(txn)


async def test_conflicts_are_forgotten_with_the_transactions_that_could_have_them(store: Store) -> None:
    old = store.begin()
    for i in range(100):
        await write(store, **{f"k{i}": b""})
    assert len(store._history) == 100
    young = store.begin()
    await write(store, k5=b"")
    store.end(old)
    assert len(store._history) == 1
    assert "k5" in store._history
    store.end(young)
    assert not store._history
    assert not store._active


async def test_transaction_that_moved_on_is_not_the_oldest_any_more(store: Store) -> None:
    moving, staying, other = store.begin(), store.begin(), store.begin()
    await staying.get("b")
    await write(store, b=b"", c=b"")
    await moving.get("c")
    store.end(other)
    staying.put("x", b"")
    with pytest.raises(Conflict):
        await store.commit(staying)


async def test_history_is_bounded_even_for_a_transaction_that_never_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caveau.storage.history.LIMIT", 10)
    stuck = store.begin()
    await stuck.get("other")
    for i in range(50):
        await write(store, **{f"k{i}": b""})
    assert len(store._history) == 10
    stuck.put("x", b"")
    with pytest.raises(Conflict):
        await store.commit(stuck)


# In flight


async def test_only_durable_data_is_visible(flying: Store, held: Held) -> None:
    first = await started(write(flying, a=b"1", gone=b"1", f__x=b""))
    await held.land()
    await first
    second = await started(write(flying, a=b"2", b=b"2", gone=None, f__x=None, g__y=b""))
    third = await started(write(flying, a=b"3"))
    assert [await flying.get(k) for k in ("a", "b", "gone", "f/x", "g/y")] == [b"1", None, b"1", b"", None]
    assert await flying.list() == ["a", "f/", "gone"]
    assert await flying.list("f/") == ["x"]
    assert await flying.list("g/") == []
    await held.land()
    assert second.done()
    assert not third.done()
    assert [await flying.get(k) for k in ("a", "b", "gone", "f/x", "g/y")] == [b"2", b"2", None, None, b""]
    assert await flying.list() == ["a", "b", "g/"]
    await held.land()
    await third
    assert await flying.get("a") == b"3"


async def test_transactions_build_on_what_is_in_flight(flying: Store, held: Held) -> None:
    async def increment(txn: Transaction) -> None:
        txn.put("n", b"%d" % (int(await txn.get("n") or b"0") + 1))
        txn.put(f"seen/{(await txn.get('n') or b'').decode()}", b"")

    waits = [await started(flying.run(increment)) for _ in range(3)]
    assert len(held.held) == 3
    listed = flying.begin()
    assert await listed.list("seen/") == ["1", "2", "3"]
    await held.land(3)
    await asyncio.gather(*waits)
    assert await flying.get("n") == b"3"
    assert await flying.list("seen/") == ["1", "2", "3"]


async def test_conflict_with_a_commit_in_flight(flying: Store, held: Held) -> None:
    txn = flying.begin()
    await txn.get("a")
    wait = await started(write(flying, a=b"1"))
    txn.put("b", b"")
    with pytest.raises(Conflict):
        await flying.commit(txn)
    await held.land()
    await wait


async def test_reading_transaction_waits_for_what_it_read(flying: Store, held: Held) -> None:
    wait = await started(write(flying, a=b"1"))
    reader, lister, other = flying.begin(), flying.begin(), flying.begin()
    assert await reader.get("a") == b"1"
    assert await lister.list() == ["a"]
    assert await other.get("b") is None
    answers = [await started(flying.commit(reader)), await started(flying.commit(lister))]
    await flying.commit(other)
    assert not any(answer.done() for answer in answers)
    await held.land()
    await asyncio.gather(wait, *answers)


async def test_error_of_a_handler_waits_for_what_it_read(flying: Store, held: Held) -> None:
    """ "Already exists" must not be answered because of something that may never have existed."""

    async def create(txn: Transaction) -> None:
        if await txn.get("a"):
            raise InvalidRequest("exists")
        txn.put("a", b"1")

    first = await started(flying.run(create))
    second = await started(flying.run(create))
    assert not second.done()
    await held.land()
    await first
    with pytest.raises(InvalidRequest, match="exists"):
        await second


async def test_abandoned_commit_is_still_stored(flying: Store, held: Held) -> None:
    seen: list[bytes | None] = []
    txn = flying.begin()
    txn.put("a", b"1")
    txn.on_commit(lambda: seen.append(b"called"))
    task = await started(flying.commit(txn))
    task.cancel()
    await settle()
    assert task.cancelled()
    await held.land()
    assert await flying.get("a") == b"1"
    assert seen == [b"called"]


# Failure


@pytest.mark.parametrize("slow", [False, True])
async def test_failed_commit_takes_down_what_was_built_on_it(slow: bool) -> None:
    held = Held(slow=slow)
    store = Store(held, Rot())
    wait = await started(write(store, a=b"0", gone=b"0"))
    await held.land()
    await wait
    called: list[str] = []

    async def append(txn: Transaction) -> None:
        txn.put("a", (await txn.get("a") or b"") + b"+")
        txn.delete("gone")
        txn.on_commit(lambda: called.append("no"))

    waits = [await started(store.run(append)) for _ in range(2)]
    open_txn, reader = store.begin(), store.begin()
    assert await open_txn.get("a") == b"0++"
    assert await reader.get("a") == b"0++"
    answer = await started(store.commit(reader))
    await held.fail()
    for failed in waits:
        with pytest.raises(StoreError, match="disk is full"):
            await failed
    with pytest.raises(Conflict):
        await answer
    open_txn.put("b", b"")
    with pytest.raises(Conflict):
        await store.commit(open_txn)
    assert called == []
    assert await store.get("a") == b"0"
    assert await store.list() == ["a", "gone"]
    assert not store._pending
    again = await started(store.run(append))
    await held.land()
    await again
    assert await store.get("a") == b"0+"
    assert await store.list() == ["a"]


async def test_commit_between_a_failure_and_its_notice() -> None:
    """The physical store has failed a batch, and its callback has not run yet: what was read from
    that batch must not be built on."""
    held = Held()
    store = Store(held, Rot())
    doomed = await started(write(store, a=b"1"))
    txn = store.begin()
    assert await txn.get("a") == b"1"
    txn.put("b", b"built on a")
    held.held.popleft()[1].set_exception(StoreError("failed"))
    with pytest.raises(Conflict):
        await store.commit(txn)
    with pytest.raises(StoreError):
        await doomed
    assert not held.held


async def test_reader_of_failed_data_runs_again() -> None:
    held = Held()
    store = Store(held, Rot())
    doomed = await started(write(store, a=b"1"))
    answer = await started(store.run(lambda txn: txn.get("a")))  # type: ignore[arg-type]
    await held.fail()
    assert await answer is None
    with pytest.raises(StoreError):
        await doomed


async def test_cipher_error_stores_nothing(physical: InmemStore) -> None:
    class Sealed(Rot):
        def encrypt_batch(self, writes: Batch) -> dict[str, bytes | None]:
            raise Unavailable("sealed")

    store = Store(physical, Sealed())
    with pytest.raises(Unavailable):
        await write(store, a=b"1")
    assert await store.get("a") is None
    assert not store._active
    assert not store._pending


async def test_undecryptable_entry_can_be_deleted(physical: InmemStore) -> None:
    await physical.commit({"a": b"b\0moved here from another key"})
    store = Store(physical, Rot())
    with pytest.raises(AssertionError):
        await store.get("a")
    await write(store, blindly=True, a=None)
    assert await store.get("a") is None


# Callbacks


async def test_callbacks_run_with_visibility_and_in_order(flying: Store, held: Held) -> None:
    seen: list[str] = []

    async def change(txn: Transaction, name: str, store_it: bool) -> None:
        if store_it:
            txn.put(name, b"")
        txn.on_commit(lambda: seen.append(f"{name} {name in flying._pending}"))

    waits = []
    for name, store_it in (("a", True), ("nothing", False), ("b", True)):
        waits.append(await started(flying.run(lambda t, n=name, s=store_it: change(t, n, s))))  # type: ignore[misc]
    assert seen == []
    await held.land()
    assert seen == ["a False", "nothing False"]
    await held.land()
    await asyncio.gather(*waits)
    assert seen == ["a False", "nothing False", "b False"]


async def test_callback_that_fails_does_not_stop_the_others(store: Store) -> None:
    problems: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: problems.append(str(c["exception"])))
    seen: list[int] = []
    txn = store.begin()
    txn.on_commit(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    txn.on_commit(lambda: seen.append(1))
    await store.commit(txn)
    assert seen == [1]
    assert problems == ["division by zero"]


# Running again


async def test_run_repeats_until_it_fits(store: Store) -> None:
    async def increment(txn: Transaction) -> int:
        value = int(await txn.get("n") or b"0") + 1
        await asyncio.sleep(0)
        txn.put("n", b"%d" % value)
        return value

    results = await asyncio.gather(*(store.run(increment) for _ in range(30)))
    assert sorted(results) == list(range(1, 31))


async def test_run_gives_up(store: Store) -> None:
    runs = 0

    async def unlucky(txn: Transaction) -> None:
        nonlocal runs
        runs += 1
        await txn.get("a")
        await write(store, a=b"%d" % runs)
        txn.put("b", b"")

    with pytest.raises(Unavailable, match="after 7 attempts"):
        await store.run(unlucky, attempts=7)
    assert runs == 7
    assert not store._active


async def test_run_stores_nothing_of_a_handler_that_fails(store: Store) -> None:
    async def broken(txn: Transaction) -> None:
        txn.put("a", b"")
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await store.run(broken)
    assert await store.get("a") is None
    assert not store._active


# The cache


async def test_warm_read_does_not_suspend(store: Store) -> None:
    await write(store, a=b"1")
    await store.get("absent")
    for key, value in (("a", b"1"), ("absent", None)):
        with pytest.raises(StopIteration) as stop:
            store.get(key).send(None)
        assert stop.value.value == value


async def test_overwriting_blindly_reads_nothing(physical: InmemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    cipher = Rot()
    await write(Store(physical, cipher), a=b"1")
    monkeypatch.setattr(physical, "get", None)
    await write(Store(physical, cipher), blindly=True, a=b"2")
    assert cipher.decrypted == []


async def test_what_is_new_is_not_looked_for(physical: InmemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(physical, Rot())
    looked: list[str] = []
    real = physical.get

    async def get(key: str) -> bytes | None:
        looked.append(key)
        return await real(key)

    monkeypatch.setattr(physical, "get", get)
    txn = store.begin()
    txn.put("a", b"1", new=True)
    await store.commit(txn)
    assert looked == []
    assert await store.get("a") == b"1"


async def test_of_two_that_take_a_key_for_new_one_runs_again(store: Store) -> None:
    first, second = store.begin(), store.begin()
    first.put("a", b"1", new=True)
    second.put("a", b"2", new=True)
    await store.commit(first)
    with pytest.raises(Conflict):
        await store.commit(second)
    assert await store.get("a") == b"1"


async def test_invalidate(store: Store, physical: InmemStore) -> None:
    await write(store, a=b"1", b=b"1")
    readers = [store.begin() for _ in range(3)]
    await readers[0].get("a")
    await readers[1].get("b")
    await readers[2].list()
    await physical.commit({"a": b"a\0002", "c": b"c\0002"})
    assert await store.get("a") == b"1"
    store.invalidate(["a", "c"])
    assert await store.get("a") == b"2"
    outcomes = []
    for txn in readers:
        txn.put("x", b"")
        outcomes += await asyncio.gather(store.commit(txn), return_exceptions=True)
    assert [type(o) for o in outcomes] == [Conflict, type(None), Conflict]


async def test_invalidate_everything(store: Store, physical: InmemStore) -> None:
    await write(store, a=b"1")
    txn, lister, fresh = store.begin(), store.begin(), store.begin()
    await txn.get("a")
    await lister.list("p/")
    await physical.commit({"a": b"a\0002"})
    store.invalidate()
    assert await store.get("a") == b"2"
    assert await fresh.get("a") == b"2"
    for stale in (txn, lister):
        stale.put("x", b"")
        with pytest.raises(Conflict):
            await store.commit(stale)


async def test_invalidate_while_reading() -> None:
    held = Held(slow=True)
    store = Store(held, Rot())
    await InmemStore.commit(held, {"a": b"a\0001"})
    read, names = asyncio.ensure_future(store.get("a")), asyncio.ensure_future(store.list())
    await asyncio.sleep(0)
    await InmemStore.commit(held, {"a": b"a\0002", "b": b"b\0"})
    store.invalidate(["a", "b"])
    assert await read == b"2"
    assert await names == ["a", "b"]
    assert await store.get("a") == b"2"


async def test_read_that_a_commit_overtakes_is_not_cached() -> None:
    held = Held(slow=True)
    store = Store(held, Rot())
    reads = [asyncio.ensure_future(store.get("a")), asyncio.ensure_future(store.list())]
    await asyncio.sleep(0)
    txn = store.begin()
    txn.put("a", b"1")
    commit = asyncio.ensure_future(store.commit(txn))
    await settle()
    await held.land()
    await asyncio.gather(commit, *reads)
    assert await store.get("a") == b"1"
    assert await store.list() == ["a"]


async def test_read_that_arrives_after_a_commit_is_not_believed() -> None:
    held = Held()
    store = Store(held, Rot(), cache_bytes=0)
    txn = store.begin()
    await txn.get("a")
    held.gates["a"] = asyncio.Event()
    read = await started(store.get("a"))
    txn.put("a", b"1")
    commit = await started(store.commit(txn))
    await held.land()
    await commit
    held.gates["a"].set()
    assert await read == b"1"


async def test_of_what_is_overwritten_blindly_readers_wait_for_the_new_value(flying: Store, held: Held) -> None:
    await InmemStore.commit(held, {"a": b"a\0001", "f/gone": b"f/gone\0"})
    first = await started(write(flying, blindly=True, a=b"2", f__gone=None, f__new=b""))
    read, names = await started(flying.get("a")), await started(flying.list("f/"))
    inside = flying.begin()
    assert await inside.get("a") == b"2"
    assert await inside.list("f/") == ["new"]
    second = await started(write(flying, blindly=True, a=b"3"))
    assert not read.done()
    assert not names.done()
    await held.land()
    assert await read == b"2"
    assert await names == ["new"]
    assert await flying.get("a") == b"2"
    await held.land()
    await asyncio.gather(first, second)
    assert await flying.get("a") == b"3"


async def test_readers_who_wait_see_the_old_value_when_the_commit_fails() -> None:
    held = Held(slow=True)
    store = Store(held, Rot())
    await InmemStore.commit(held, {"a": b"a\0001", "f/x": b"f/x\0"})
    lost = await started(write(store, blindly=True, a=b"2", f__x=None, f__new=b""))
    reads = [await started(store.get("a")), await started(store.list("f/"))]
    held.gates["f/"] = asyncio.Event()
    inside = await started(store.begin().list("f/"))
    await held.fail()
    held.gates["f/"].set()
    assert await asyncio.gather(*reads, inside) == [b"1", ["x"], ["x"]]
    with pytest.raises(StoreError):
        await lost


async def test_listing_on_its_way_does_not_show_what_is_deleted_blindly_before_it_is_durable() -> None:
    held = Held(early=True)
    store = Store(held, Rot())
    await InmemStore.commit(held, {"f/x": b"f/x\0"})
    held.gates["f/"] = asyncio.Event()
    names = await started(store.list("f/"))
    gone = await started(write(store, blindly=True, f__x=None))
    held.gates["f/"].set()
    await settle()
    assert not names.done()
    await held.land()
    await gone
    assert await names == []


# Serializability

KEYS = ["a", "b", "d/x", "d/y"]
STEP = st.one_of(
    st.tuples(st.just("get"), st.sampled_from(KEYS)),
    st.tuples(st.just("list"), st.sampled_from(["", "d/"]), st.sampled_from(["", "a"]), st.sampled_from([0, 1])),
    st.tuples(st.just("put"), st.sampled_from(KEYS)),
    st.tuples(st.just("delete"), st.sampled_from(KEYS)),
    st.tuples(st.just("pause"), st.integers(0, 2)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    programs=st.lists(st.lists(STEP, min_size=1, max_size=6), min_size=2, max_size=5),
    physical=st.sampled_from(["", "early", "slow", "early slow"]),
    cache=st.sampled_from([0, 1 << 20]),
    weather=st.lists(st.sampled_from(["land", "wait", "fail"]), max_size=30),
)
def test_serializable(programs: list[list[tuple[str, ...]]], physical: str, cache: int, weather: list[str]) -> None:
    """Interleaved transactions with failing commits give what some sequential run of them gives:
    that of the order in which they committed. Each writes values that depend on all it has read.
    Read-only views at any moment see exactly the transactions acknowledged or landed so far."""
    asyncio.run(_serializable(programs, physical, cache, weather))


def at_once(read: Coroutine[Any, Any, object]) -> object:
    """What is read, or MISSING where a read waits for a commit that overwrites something blindly."""
    try:
        read.send(None)
    except StopIteration as end:
        return end.value
    read.close()
    return MISSING


async def _serializable(programs: list[list[tuple[str, ...]]], physical: str, cache: int, weather: list[str]) -> None:
    held = Held("early" in physical, "slow" in physical)
    store = Store(held, Rot(), cache)
    order: list[tuple[int, list[object]]] = []  # transactions as they became visible, what they read

    async def step(txn: Transaction | InmemStore, op: tuple[object, ...], seen: list[object], n: int) -> None:
        kind, *args = op
        if kind == "get":
            seen.append(await txn.get(*args))  # type: ignore[arg-type]
        elif kind == "list":
            seen.append(await txn.list(*args))  # type: ignore[arg-type]

    async def program(n: int) -> None:
        async def handler(txn: Transaction) -> None:
            seen: list[object] = []
            for op in programs[n]:
                if op[0] == "put":
                    txn.put(op[1], f"{n} {seen}".encode())
                elif op[0] == "delete":
                    txn.delete(op[1])
                elif op[0] == "pause":
                    for _ in range(int(op[1])):
                        await asyncio.sleep(0)
                else:
                    await step(txn, op, seen, n)
            txn.on_commit(lambda: order.append((n, seen)))

        await store.run(handler)

    async def replay() -> InmemStore:
        model = InmemStore()
        for n, seen in order:
            again: list[object] = []
            for op in programs[n]:
                if op[0] == "put":
                    await model.commit({op[1]: f"{n} {again}".encode()})
                elif op[0] == "delete":
                    await model.commit({op[1]: None})
                else:
                    await step(model, op, again, n)
            assert again == seen
        return model

    tasks = [asyncio.ensure_future(program(n)) for n in range(len(programs))]
    forecast = iter(weather)
    for _ in range(3000):
        if all(task.done() for task in tasks):
            break
        now = next(forecast, "land")
        if now == "land" and held.held:
            batch, done = held.held.popleft()
            if not held.early:
                InmemStore.commit(held, batch)
            done.set_result(None)
        elif now == "fail" and not held.early:
            while held.held:
                held.held.popleft()[1].set_exception(StoreError("failed"))
        await asyncio.sleep(0)
        if not held.slow:
            visible = await replay()
            for key in KEYS:
                if (value := at_once(store.get(key))) is not MISSING:
                    assert value == await visible.get(key)
            for prefix in ("", "d/"):
                if (names := at_once(store.list(prefix))) is not MISSING:
                    assert names == await visible.list(prefix)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for n, outcome in enumerate(outcomes):
        assert outcome is None or isinstance(outcome, StoreError), outcome
        assert (outcome is None) == (n in [n for n, _ in order])
    final = await replay()
    for key in KEYS:
        assert await store.get(key) == await final.get(key)
    assert await store.list() == await final.list("")
    assert not store._pending
    assert not store._loads
    assert not store._scans
    assert not store._active
    assert not store._history


class Ahead(InmemStore):
    """Reads ahead once ``gate`` is open; what it has been asked for is in ``asked``."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def read_ahead(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.asked += keys
        found = {key: value for key in keys if (value := await self.get(key)) is not None}
        await self.gate.wait()
        return found


async def test_what_is_read_ahead_need_not_be_read_again() -> None:
    physical = Ahead()
    await write(Store(physical, Rot()), a=b"1", b=b"2")
    store = Store(physical, Rot())
    await store.read_ahead(["a", "none"])
    assert "a" in store.cache
    assert "none" not in store.cache
    assert await store.get("a") == b"1"
    await store.read_ahead(["a", "b"])
    assert physical.asked == ["a", "none", "b"]


async def test_what_changes_while_it_is_read_ahead_is_not_taken_for_what_it_was() -> None:
    physical = Ahead()
    await write(Store(physical, Rot()), a=b"1", b=b"2")
    store = Store(physical, Rot())
    physical.gate.clear()
    reading = await started(store.read_ahead(["a", "b"]))
    await write(store, blindly=True, a=b"3", b=None)
    physical.gate.set()
    await reading
    assert await store.get("a") == b"3"
    assert await store.get("b") is None
