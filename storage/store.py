"""Transactions over a physical store: optimistic, pipelined, on one event loop, without locks.

A key can be in three places. The *physical store* has ciphertext. The *cache* has decrypted values
that are durable. *Pending* has what commits in flight (given to the physical store, not yet known
to be durable) change, old value beside new: the physical store may show either at any moment, so
nothing is read from it for a pending key.

Read-only requests see the old values until the loop step in which the commit is known to be
durable; of a key that was overwritten unread, where nobody knows the old one, they wait for that step.
A transaction reads the new values and may build on them: the physical store keeps the order of batches,
and one that fails takes down those behind it.

Every commit has a sequence number. A transaction sees the state of one of them, ``_start``: when it
meets a key changed later, it moves on to the present if all it has read still holds there, and else
raises Conflict. So handlers never see two states mixed, not even those that are going to run again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from time import perf_counter
from typing import Protocol, TypeVar, TypeVarTuple

from ..framework.errors import (
    CaveauError,
    Conflict,
    InvalidRequest,
    NeedsLeader,
    ReadOnlyStorage,
    Sealed,
    StoreError,
    Unavailable,
)
from ..framework.metrics import Metrics
from ..framework.storage import Batch, Physical, ReadsAhead
from .cache import MISSING, Cache, Cell
from .flight import Flight, Load, Pending, Scan
from .history import History
from .listing import child
from .transaction import Names, Transaction, check

__all__ = ["ATTEMPTS", "Cipher", "Store", "Transaction"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ATTEMPTS = 50
"""How often ``Store.run`` runs a transaction that keeps conflicting."""


Watch = list[tuple[Cell, bytes | None]]


def unchanged(watch: Watch) -> bool:
    """Whether all that is watched is as it was, for all that is known."""
    for cell, raw in watch:
        if cell[0] is not raw:
            return False
        cell[1] = True
    return True


class Cipher(Protocol):
    """The barrier, as a store sees it. The key is authenticated with the value."""

    def encrypt_batch(self, writes: Batch) -> dict[str, bytes | None]: ...

    def decrypt(self, key: str, ciphertext: bytes) -> bytes: ...


class Store:
    """The encrypted store. Itself the view of read-only requests: what is durable, nothing else."""

    def __init__(
        self,
        physical: Physical,
        cipher: Cipher,
        cache_bytes: int = 64 << 20,
        metrics: Metrics | None = None,
        *,
        follows: bool = False,
    ) -> None:
        """``physical``: opened and closed by the caller. ``cache_bytes``: bound of the cache of
        decrypted entries. ``follows``: another node writes, and tells what by ``invalidate``."""
        metrics = metrics or Metrics()
        self._gets, self._lists = metrics.timing("barrier.get"), metrics.timing("barrier.list")
        self._puts, self._deletes = metrics.timing("barrier.put"), metrics.timing("barrier.delete")
        self._physical = physical
        self._cipher = cipher
        self._key_limit: int = getattr(physical, "key_limit", 0)
        self.cache = Cache(cache_bytes)
        self._pending: dict[str, Pending] = {}
        self._flights: deque[Flight] = deque()
        self._loads: dict[str, Load] = {}
        self._scans: set[Scan] = set()
        self._sequence = 0
        self._follows = follows
        self._closed: type[Unavailable] | None = None
        self._active: dict[Transaction, None] = {}  # by _start, the oldest first
        self._history = History()  # of what changed after the oldest active _start

    # Reading

    async def get(self, key: str) -> bytes | None:
        """The durable value. Does not suspend when it is cached."""
        while True:
            value: bytes | None = self.cache.get(key)
            if value is not MISSING:
                return value
            entry = self._pending.get(key)
            if entry is not None:
                if entry.old is MISSING:
                    await entry.flight.landing()
                    continue
                old: bytes | None = entry.old
                return old
            load = self._loads.get(key)
            if load is None:
                load = self._loads[key] = Load()
            load.readers += 1
            began = perf_counter()
            try:
                sealed = await self._fetch(key)
            finally:
                load.readers -= 1
                if not load.readers and self._loads.get(key) is load:
                    del self._loads[key]
            if not load.stale:
                value = None if sealed is None else self._cipher.decrypt(key, sealed)
                self.cache.put(key, value)
                self._gets.observe(perf_counter() - began)
                return value

    def watch(self, stored: Iterable[tuple[str, bytes | None]]) -> Watch:
        """Of entries, as they were just read: where to see whether they still are what they were."""
        return [(self.cache.cell(key), raw) for key, raw in stored]

    async def read_ahead(self, keys: Iterable[str]) -> None:
        """Bring the values of some keys into the cache at once, if the physical store can without holding up
        the event loop."""
        if not isinstance(self._physical, ReadsAhead):
            return
        loads = {
            key: self._loads.setdefault(key, Load())
            for key in keys
            if key not in self.cache and key not in self._pending
        }
        if not loads:
            return
        for load in loads.values():
            load.readers += 1
        try:
            found = await self._physical.read_ahead(list(loads))
        finally:
            for key, load in loads.items():
                load.readers -= 1
                if not load.readers and self._loads.get(key) is load:
                    del self._loads[key]
        for key, load in loads.items():
            if key in found and not load.stale:
                self.cache.put(key, self._cipher.decrypt(key, found[key]))

    async def list(self, prefix: str = "", after: str = "", limit: int = 0) -> Names:
        """The durable children of ``prefix``, as ``ReadView.list``."""
        return await self._list(prefix, after, limit, None)

    def put(self, key: str, value: bytes, *, new: bool = False) -> None:
        """Raises ReadOnlyStorage: only transactions write."""
        raise ReadOnlyStorage("a request that is not marked as writing tried to write")

    def delete(self, key: str) -> None:
        """Raises ReadOnlyStorage: only transactions write."""
        raise ReadOnlyStorage("a request that is not marked as writing tried to delete")

    async def _fetch(self, key: str) -> bytes | None:
        if not key.isascii():
            check(key)
        return await self._physical.get(key)

    async def _list(self, prefix: str, after: str, limit: int, txn: Transaction | None) -> Names:
        if not prefix.isascii() or not after.isascii():
            check(prefix + after)
        while True:
            pending = {k: e for k, e in self._pending.items() if k.startswith(prefix)}
            unknown = next((e for e in pending.values() if e.old is MISSING), None) if txn is None else None
            if unknown is not None:
                await unknown.flight.landing()
                continue
            scan = Scan(prefix, {k: e.old is not None for k, e in pending.items()})
            own = {} if txn is None else {k: v for k, v in txn._writes.items() if k.startswith(prefix)}
            # Every overlaid key takes away one name at most: with that many more, enough remain.
            spare = len(scan.present) + len(own)
            self._scans.add(scan)
            began = perf_counter()
            try:
                names = await self._physical.list(prefix, after, limit + spare if limit else 0)
            finally:
                self._scans.discard(scan)
                self._lists.observe(perf_counter() - began)
            if not scan.stale and (not limit or len(scan.present) + len(own) <= spare):
                break
        present = scan.present
        if txn is not None:
            for key, entry in self._pending.items():
                if key.startswith(prefix):
                    present[key] = entry.new is not None
                    txn._rests_on(entry.flight)
            for key, value in own.items():
                present[key] = value is not None
        if not present:
            return names
        overlay: dict[str, bool] = {}
        for key, there in present.items():
            name = child(prefix, key)
            if name > after:
                overlay[name] = there or overlay.get(name, False)
        shown = set(names)
        for name, there in overlay.items():
            if there:
                shown.add(name)
            elif name in shown and not (name.endswith("/") and await self._list(prefix + name, "", 1, txn)):
                shown.discard(name)  # a folder may have other keys than those it is known to have lost
        merged = sorted(shown)
        return merged[:limit] if limit else merged

    # Transactions

    def begin(self) -> Transaction:
        """A new transaction. Give it back to ``commit``, or to ``end`` if it is not to be committed.

        Raises NeedsLeader on a node that follows."""
        if self._follows:
            raise NeedsLeader
        txn = Transaction(self, self._sequence)
        self._active[txn] = None
        return txn

    def end(self, txn: Transaction) -> None:
        """Forget ``txn``; nothing of it is stored unless it was committed. May be called twice."""
        self._active.pop(txn, None)
        if self._history:
            self._history.trim(next((old._start for old in self._active), None))

    async def run(self, handler: Callable[[Transaction, *Ts], Awaitable[T]], attempts: int = ATTEMPTS, *args: *Ts) -> T:
        """Run ``handler(txn, *args)`` in a transaction and commit it; again with a fresh one after a Conflict.

        An error of the handler stores nothing, and is raised once what the handler had read is
        durable. Raises Unavailable after ``attempts`` conflicts in a row.
        """
        for _ in range(attempts):
            txn = self.begin()
            try:
                try:
                    result = await handler(txn, *args)
                except Conflict:
                    raise
                except Exception:
                    txn.rollback()
                    await self.commit(txn)
                    raise
                await self.commit(txn)
                return result
            except Conflict:
                continue
            finally:
                self.end(txn)
        raise Unavailable(
            f"gave up after {attempts} attempts: other requests kept changing what this one reads; try again later"
        )

    async def commit(self, txn: Transaction) -> None:
        """Store the writes of ``txn`` at once, and return when they are durable and visible.

        Without writes (or after ``rollback``): return when all it has read is durable.

        Raises Conflict if something it has read was changed meanwhile (nothing is stored: run it
        again), and StoreError if the physical store failed. Cancelling the caller does not take
        back a batch that was already given to the physical store.
        """
        if txn not in self._active:
            raise RuntimeError("this transaction has already ended")
        if not txn.writes:
            self.end(txn)
            await self._confirm(txn)
            return
        try:
            if self._flights and self._flights[0].done.done():
                self._settle()
            # From here to the physical store's commit() nothing may suspend.
            if self._closed is not None:
                raise self._closed
            if not self._valid(txn):
                raise Conflict("another request changed what this one has read")
            if self._key_limit:
                self._measure(txn._writes)
            flight = self._launch(txn)
        finally:
            self.end(txn)
        if not flight.settled:
            await flight.landing()
        if flight.error is not None:
            raise _failure(flight.error)

    def close(self, reason: type[Unavailable] = Sealed) -> None:
        """Refuse what is committed from now on, which raises ``reason``. Another Store may soon work on the same
        physical one, which would not see what a request that outlived this one changes."""
        self._closed = self._closed or reason

    def invalidate(self, keys: Iterable[str] | None = None) -> None:
        """``keys`` (None: everything) were changed in the physical store by someone else, such as a
        Raft leader: forget what is cached, and let transactions that read them run again."""
        self._sequence += 1
        if keys is None:
            self.cache.clear()
            self._history.forget_all(self._sequence)
            stale = list(self._loads)
        else:
            stale = list(keys)
            for key in stale:
                self.cache.discard(key)
            self._record(stale, stale)
        for key in stale:
            self._spoil(key)
        for scan in self._scans:
            scan.stale = scan.stale or keys is None or any(key.startswith(scan.prefix) for key in stale)

    def _measure(self, keys: Iterable[str]) -> None:
        for key in keys:
            if len(key) * 4 > self._key_limit and len(key.encode()) > self._key_limit:
                raise InvalidRequest(f"the path is too long: the store takes {self._key_limit} bytes with what it adds")

    def _launch(self, txn: Transaction) -> Flight:
        writes = txn._writes
        batch = self._cipher.encrypt_batch(writes)
        if batch:
            done: asyncio.Future[None] = asyncio.ensure_future(self._physical.commit(batch))
        else:
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
        self._sequence += 1
        flight = Flight(self._sequence, writes, txn._callbacks, done)
        pending, scans, loads = self._pending, self._scans, self._loads
        del self._active[txn]
        members: list[str] | None = [] if self._active else None  # without others nobody will ask
        for key, value in writes.items():
            entry = pending.get(key)
            if entry is not None:
                before = entry.new
                entry.new, entry.flight = value, flight
            else:
                before = txn._reads.get(key, MISSING)
                if before is MISSING:
                    before = self.cache.get(key)
                pending[key] = Pending(before, value, flight)
                for scan in scans:
                    if key.startswith(scan.prefix):
                        scan.stale = scan.stale or before is MISSING
                        scan.present.setdefault(key, before is not None)
            if members is not None and (before is MISSING or (before is None) != (value is None)):
                members.append(key)
            if loads:
                self._spoil(key)
        if members is not None:
            self._history.record(self._sequence, writes, members)
        together = bool(self._flights) and self._flights[-1].done is done
        self._flights.append(flight)
        if done.done():
            self._settle()
        if not flight.settled and not together:
            done.add_done_callback(self._landed)
        return flight

    def _landed(self, done: asyncio.Future[None]) -> None:
        _error(done)  # retrieved even where an earlier failure has already decided
        self._settle()

    def _settle(self) -> None:
        """Make visible what has become durable, in commit order, up to the first still in flight."""
        pending, cache, scans = self._pending, self.cache, self._scans
        while self._flights and self._flights[0].done.done():
            flight = self._flights[0]
            error = _error(flight.done)
            if error is not None:
                self._abort(error)
                return
            self._flights.popleft()
            deleted = 0
            for key, value in flight.writes.items():
                entry = pending[key]
                if entry.flight is flight:
                    del pending[key]
                else:
                    entry.old = value
                if value is None:
                    deleted += 1
                    cache.discard(key)  # few ask for what was deleted, and many things are
                else:
                    cache.renew(key, value)  # what nobody has asked for yet may wait until somebody does
                for scan in scans:
                    if key.startswith(scan.prefix):
                        scan.present[key] = value is not None
            took = perf_counter() - flight.began
            self._puts.observe_equal(took, len(flight.writes) - deleted)
            if deleted:
                self._deletes.observe_equal(took, deleted)
            for callback in flight.callbacks:
                try:
                    callback()
                except Exception as problem:
                    asyncio.get_running_loop().call_exception_handler(
                        {"message": "a callback of a committed transaction failed", "exception": problem}
                    )
            flight.settle(None)

    def _abort(self, error: BaseException) -> None:
        """A batch failed, and by the physical store's contract all behind it: the durable state is
        the present again, and whoever has read what is now gone conflicts."""
        failed = list(self._flights)
        self._flights.clear()
        self._pending.clear()
        self._sequence += 1
        gone = {key: None for flight in failed for key in flight.writes}
        for scan in self._scans:
            scan.stale = True
        for key in gone:
            self.cache.discard(key)  # should the store not know whether it wrote, it will be asked
        self._record(gone, gone)
        for flight in failed:
            flight.settle(error)

    async def _confirm(self, txn: Transaction) -> None:
        """Return once what ``txn`` has read is durable; raises Conflict should it turn out not to be stored."""
        flight = txn._depends
        if flight is None:
            return
        if not flight.settled:
            await flight.landing()
        if flight.error is not None:
            raise Conflict("what this request has read was never stored") from flight.error

    def _spoil(self, key: str) -> None:
        load = self._loads.pop(key, None)
        if load is not None:
            load.stale = True

    # Conflicts

    def _valid(self, txn: Transaction) -> bool:
        """Whether all that ``txn`` has read holds in the present state."""
        history, start = self._history, txn._start
        return start == self._sequence or not (
            history.changed(txn._reads, start) or history.touched(txn._windows, start)
        )

    def _extend(self, txn: Transaction) -> None:
        """Move ``txn`` on to the present; raises Conflict if what it has read does not hold there."""
        if not self._valid(txn):
            raise Conflict("another request changed what this one has read")
        txn._start = self._sequence
        if txn in self._active:
            del self._active[txn]  # it is the youngest now
            self._active[txn] = None

    def _record(self, keys: Collection[str], members: Collection[str]) -> None:
        if self._active:  # else nobody will ask
            self._history.record(self._sequence, keys, members)


def _failure(error: BaseException) -> CaveauError:
    """Of a flight, for one of those who wait for it."""
    if isinstance(error, StoreError):
        return error.with_traceback(None)
    failure = StoreError(str(error))
    failure.__cause__ = error
    return failure


def _error(done: asyncio.Future[None]) -> BaseException | None:
    return StoreError("the commit was cancelled") if done.cancelled() else done.exception()
