"""All audit devices of a server: enabled, restored, asked to record, and the rule that one of them must have.

A request is answered once at least one device has recorded its entries. The others get them too, and nobody
waits for them: a device that lags may miss entries, which is counted and logged.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from ...framework import Response
from ...framework.clock import Clock, rfc3339
from ...framework.errors import CaveauError, InvalidRequest, Sealed
from ...framework.metrics import Metrics, Timing
from ...framework.storage import ReadView, View
from .. import plugins
from .channel import Channel, Group
from .device import Device
from .entry import Formatter
from .options import Options
from .record import Record

if TYPE_CHECKING:
    from ...storage.store import Store, Transaction
    from ..config import AuditConfig, ServerConfig
    from ..node import Node
    from ..request import Incoming

_log = logging.getLogger(__name__)

_TABLE: Final = "core/audit/device/"
_HEADERS: Final = "core/audit/headers"
_SALT_BYTES: Final = 32


class AuditFailed(CaveauError):
    """No device could record the request. It names the devices, and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An audit device as stored. ``path`` ends in a slash; ``declared``: by the configuration file."""

    path: str
    type: str
    description: str = ""
    local: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    declared: bool = False
    salt: str = field(default_factory=lambda: secrets.token_hex(_SALT_BYTES), repr=False)

    @property
    def key(self) -> str:
        return _TABLE + quote(self.path.rstrip("/"), safe="")

    def shown(self) -> dict[str, Any]:
        return {
            "description": self.description,
            "local": self.local,
            "options": self.options,
            "path": self.path,
            "type": self.type,
        }

    def same_device(self, other: Entry) -> bool:
        return (self.type, dict(self.options), self.salt) == (other.type, dict(other.options), other.salt)


@dataclass(slots=True)
class Enabled:
    """A device in service."""

    entry: Entry
    formatter: Formatter
    channel: Channel


class Turn:
    """The requests that wait for entries which are written at the end of one turn of the event loop."""

    __slots__ = ("answered", "asked", "began", "records")

    def __init__(self) -> None:
        self.records: list[tuple[Record, asyncio.Future[None]]] = []
        self.began = 0.0  # when they were, by perf_counter, until that was observed
        self.asked = self.answered = 0  # how many entries of requests, and of responses

    def observe(self, requests: Timing, responses: Timing) -> None:
        spent, self.began = perf_counter() - self.began, 0.0
        requests.observe_equal(spent, self.asked)
        responses.observe_equal(spent, self.answered)


class _Unstored:
    """A view of the store that forgets what it is given."""

    def __init__(self, view: ReadView) -> None:
        self.get, self.list = view.get, view.list

    def put(self, key: str, value: bytes, *, new: bool = False) -> None:
        pass

    def delete(self, key: str) -> None:
        pass


class Broker:
    """The audit devices of an unsealed server; without any, requests do not come this way."""

    def __init__(self, config: ServerConfig, clock: Clock, metrics: Metrics) -> None:
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._requests = metrics.timing("audit.log_request")
        self._responses = metrics.timing("audit.log_response")
        self._turn: Turn | None = None
        self._loop: asyncio.AbstractEventLoop
        self.closed = True  # nothing is recorded any longer, and so nothing answered that was to be
        self.devices: dict[str, Enabled] = {}
        self.headers: Mapping[str, bool] = {}

    # A request

    async def answer(
        self, answer: Callable[[Incoming], Awaitable[Response]], node: Node, incoming: Incoming
    ) -> Response:
        """What ``answer`` gives, once it is recorded. Raises what that raises, or AuditFailed."""
        incoming.audit = record = Record(self, incoming, node)
        try:
            record.response = response = await answer(incoming)
        except AuditFailed:
            raise
        except CaveauError as error:
            if incoming.audit is not None:  # taken away: a refusal that is not to be recorded
                record.error = error
                await self.recorded(record)
            raise
        except BaseException:
            record.broken_off()
            raise
        await self.recorded(record)
        return response

    async def recorded(self, record: Record) -> None:
        """Return once the entries are recorded that a request is to have by now; raises AuditFailed.

        Raises Sealed when the devices were closed meanwhile, except to the one who had the server sealed.
        """
        if self.closed:
            if record.error is not None or record.incoming.path == "sys/seal":
                return
            raise Sealed
        turn = self.turn()
        waiter: asyncio.Future[None] = self._loop.create_future()
        turn.records.append((record, waiter))
        await waiter
        if turn.began:  # the first of them to hear of it
            turn.observe(self._requests, self._responses)
        try:
            while waiting := _waiting(record.asked) or (record.answered != record.asked and _waiting(record.answered)):
                waiter = self._loop.create_future()
                for group in waiting:
                    group.waiters.append(waiter)
                await waiter
        except AuditFailed:
            self._metrics.count(f"audit.log_{'response' if record.ended else 'request'}_failure")
            raise

    def passed_on(self, node: Node, incoming: Incoming) -> None:
        """Record that a request came here, which another node answers. Nobody waits for it: that node records both."""
        Record(self, incoming, node).broken_off()

    def turn(self) -> Turn:
        """What is to be written at the end of this turn of the event loop."""
        if self._turn is None:
            self._turn = Turn()
            self._loop.call_soon(self._end_turn)
        return self._turn

    def _end_turn(self) -> None:
        """Write what the requests of this turn of the event loop are to have written.

        To write all their entries at once takes half of the time that it takes to do so amid answering them.
        """
        if (turn := self._turn) is None:
            return
        self._turn = None
        turn.began = perf_counter()
        now = self._now()
        for record, waiter in turn.records:
            try:
                if record.asked is None:
                    record.asked = self.post_request(record, now)
                    turn.asked += 1
                groups = record.asked
                if record.ended:
                    record.answered = self.post_response(record, now)
                    turn.answered += 1
                    if groups != record.answered:
                        groups = groups + record.answered
            except Exception as error:
                if not waiter.done():
                    waiter.set_exception(error)
                continue
            waits = False
            for group in groups:
                if not group.done:
                    group.waiters.append(waiter)
                    waits = True
            if not waits and not waiter.done():
                waiter.set_result(None)
        for device in self.devices.values():
            device.channel.start()

    def _now(self) -> bytes:
        return rfc3339(self._clock.time()).encode()

    def post_request(self, record: Record, now: bytes = b"") -> list[Group]:
        """Hand the entry of a request to every device that wants it; the groups it went into."""
        time = rfc3339(record.began).encode() if record.began else now or self._now()
        record.place()
        return [
            device.channel.post(line, asked=True)
            for device in self.devices.values()
            if (line := device.formatter.request(record, time))
        ]

    def post_response(self, record: Record, now: bytes) -> list[Group]:
        """Hand the entry of an answer to every device that wants it; the groups it went into."""
        return [
            device.channel.post(line, asked=False)
            for device in self.devices.values()
            if (line := device.formatter.response(record, now))
        ]

    def failures(self) -> dict[str, str]:
        """Path and cause of every device that does not record now."""
        return {path: each.channel.failure for path, each in self.devices.items() if each.channel.failure}

    # The table

    async def open(self, node: Node) -> None:
        """Put into service what is stored and what the configuration declares.

        A device that cannot work now is in service too: requests are refused, if it is alone, until it can.
        """
        self.headers = await self.stored_headers(node.store)
        self._loop = asyncio.get_running_loop()
        self.closed = False
        for entry in await self._table(node):
            try:
                self._start(await self._opened(entry))
            except InvalidRequest as error:
                raise AuditFailed(f"audit device {entry.path}: {error}") from None

    async def _table(self, node: Node) -> list[Entry]:
        """The table as it is to be. A node that follows stores nothing of what its own configuration declares."""
        if node.namespaces.active:
            return await node.store.run(self._reconciled)
        return await self._reconciled(_Unstored(node.store))

    async def _reconciled(self, txn: View) -> list[Entry]:
        """The stored table, after what is declared was written into it and what no longer is was removed."""
        stored = {}
        for name in await txn.list(_TABLE):
            raw = await txn.get(_TABLE + name)
            if raw is not None:
                entry = Entry(**orjson.loads(raw))
                stored[entry.path] = entry
        wanted = {entry.path: entry for entry in map(_declared, self._config.audits)}
        for path, entry in list(stored.items()):
            if entry.declared and path not in wanted:
                txn.delete(entry.key)
                del stored[path]
        for path, entry in wanted.items():
            known = stored.get(path)
            if known is not None:
                entry = replace(entry, salt=known.salt)
            if known != entry:
                txn.put(entry.key, orjson.dumps(entry))
            stored[path] = entry
        return list(stored.values())

    async def reload(self, config: ServerConfig, node: Node | None) -> None:
        """SIGHUP: open files and connections again, and follow what the configuration declares now."""
        self._config = config
        if node is None:
            return
        await self.follow(node)
        for each in list(self.devices.values()):
            if why := await each.channel.perform(each.channel.device.reopen):
                each.channel.fail(why)

    async def follow(self, node: Node) -> None:
        """Bring what is in service in line with what is stored and declared."""
        before = list(self.devices.items())
        self.headers = await self.stored_headers(node.store)
        entries = await self._table(node)
        for entry in entries:
            known = self.devices.get(entry.path)
            if known is not None and known.entry.same_device(entry):
                known.entry = entry
                continue
            try:
                self._start(await self._opened(entry))
            except InvalidRequest as error:
                _log.error("audit device %s: %s", entry.path, error)
                continue
            if known is not None:
                await known.channel.close()
        there = {entry.path for entry in entries}
        for path, gone in before:
            if path not in there and self.devices.get(path) is gone:
                del self.devices[path]
                await gone.channel.close()

    async def close(self) -> None:
        """Write what waits and let the devices go."""
        self.closed = True
        self._end_turn()
        devices, self.devices = self.devices, {}
        await asyncio.gather(*(each.channel.close() for each in devices.values()))

    async def _opened(self, entry: Entry) -> Enabled:
        """A device to be put into service, even if it cannot work now; raises InvalidRequest."""
        formatter, device = await self._made(entry)
        channel = Channel(entry.path, device, self._metrics)
        if why := await channel.perform(device.open):
            channel.fail(why)
        return Enabled(entry, formatter, channel)

    async def _made(self, entry: Entry) -> tuple[Formatter, Device]:
        """What writes the entries of a device and what keeps them; raises InvalidRequest."""
        options = Options(entry.options)
        formatter = Formatter(options, bytes.fromhex(entry.salt), prefixes=self._config.allow_audit_log_prefixing)
        if plugins.find("audit", entry.type) is None:
            raise InvalidRequest(f'unknown backend type: "{entry.type[:64]}"')
        factory = await asyncio.to_thread(plugins.load, "audit", entry.type)
        device: Device = await asyncio.to_thread(factory, options)
        return formatter, device

    # The API

    async def enable(self, store: Store, entry: Entry) -> None:
        """Try a new device with a test entry, store it and put it into service; raises InvalidRequest."""
        self._check_free(entry.path)
        formatter, device = await self._made(entry)
        channel = Channel(entry.path, device, self._metrics)
        try:
            test = formatter.test(self._clock.time(), str(uuid.uuid4()))
            why = await channel.perform(device.open) or await channel.perform(lambda: device.write([test]))
            if why:
                raise InvalidRequest(f"audit backend failed test message: {why}")

            async def keep(txn: Transaction) -> None:
                self._check_free(entry.path)
                if await txn.get(entry.key) is not None:
                    raise InvalidRequest("path already in use")
                txn.put(entry.key, orjson.dumps(entry))
                txn.on_commit(lambda: self._start(Enabled(entry, formatter, channel)))

            await store.run(keep)
        except BaseException:
            await channel.close()
            raise

    def _check_free(self, path: str) -> None:
        if any(other.startswith(path) or path.startswith(other) for other in self.devices):
            raise InvalidRequest("path already in use")

    def _start(self, device: Enabled) -> None:
        self.devices[device.entry.path] = device

    def disable(self, view: View, path: str, on_commit: Callable[[Callable[[], None]], None]) -> Channel | None:
        """Take a device out of service at commit, to be closed after that; None if there is none.

        Raises InvalidRequest for one that the configuration declares.
        """
        found = self.devices.get(path)
        if found is None:
            return None
        if found.entry.declared:
            raise InvalidRequest("cannot disable configuration-managed audit device")
        view.delete(found.entry.key)

        def stop() -> None:
            self.devices.pop(path, None)

        on_commit(stop)
        return found.channel

    async def stored_headers(self, view: ReadView) -> dict[str, bool]:
        """Names of the request headers that entries show, lower case, each with whether its values are hashed."""
        raw = await view.get(_HEADERS)
        headers: dict[str, bool] = orjson.loads(raw) if raw else {}
        return headers

    def set_headers(
        self, view: View, headers: Mapping[str, bool], on_commit: Callable[[Callable[[], None]], None]
    ) -> None:
        view.put(_HEADERS, orjson.dumps(headers))

        def apply() -> None:
            self.headers = headers

        on_commit(apply)


def _waiting(groups: Sequence[Group] | None) -> list[Group]:
    """The groups of which one is still to be recorded; none if one is. Raises AuditFailed when all have failed."""
    waiting: list[Group] = []
    if not groups:
        return waiting
    for group in groups:
        if not group.done:
            waiting.append(group)
        elif not group.error:
            return []
    if not waiting:
        causes = ", ".join(f"{group.path} ({group.error})" for group in groups)
        raise AuditFailed(f"no audit device could record the request: {causes}")
    return waiting


def _declared(config: AuditConfig) -> Entry:
    path = config.path.strip("/") + "/"
    return Entry(path, config.type, config.description, config.local, dict(config.options), declared=True)
