"""Lockout: after so many failed logins in a row, one name of an auth mount is refused for a while.

Counted in memory; a lockout, once there is one, is stored too (``sys/lockout/<accessor>/<hash of the name>``), and is
known again after a start. Names that nobody has are treated alike, so that a lockout does not tell who exists, and are
counted apart, so that a flood of them cannot push out the counts of users that there are.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from ..framework.clock import Clock
from ..framework.errors import PermissionDenied, StoreError, Unavailable
from ..framework.storage import ReadView
from ..storage.store import Store, Transaction
from .config.model import UserLockoutConfig
from .layout import Namespace
from .mounts import Mount

if TYPE_CHECKING:
    from .node import Node

_log = logging.getLogger(__name__)
_KNOWN, _UNKNOWN = 100_000, 10_000  # names counted at most; the longest untouched are forgotten first
_LONGEST = 256  # bytes of a name that is kept as it is


@dataclass(slots=True)
class _Failures:
    """Failed logins of one name: how many in a row, and when the last was. ``key``: of its record, if there is one."""

    mount: Mount
    namespace: Namespace
    count: int = 0
    last: float = 0.0
    key: str = ""


class Lockout:
    """Failed logins of a server. ``config``: the server's rules for a type of auth method."""

    def __init__(self, config: Callable[[str], UserLockoutConfig], clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Failures] = OrderedDict()  # by accessor of the mount, and name
        self._unknown: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether there is anything to forget when a login succeeds."""
        return bool(self._known)

    def check(self, mount: Mount, name: str) -> None:
        """Raise PermissionDenied while ``name`` is locked out."""
        if not self._known and not self._unknown:
            return
        key = mount.entry.accessor, _short(name)
        failures = self._known.get(key) or self._unknown.get(key)
        if failures is not None and self._locks(failures, self._rules(mount)):
            raise PermissionDenied

    async def failed(self, node: Node, mount: Mount, name: str, *, known: bool) -> None:
        """Count a failed login of a name that the auth method knows, or does not; store it when that locks it out."""
        rules, key, now = self._rules(mount), (mount.entry.accessor, _short(name)), self._clock.time()
        if rules.disable_lockout:
            return
        table, limit = (self._known, _KNOWN) if known else (self._unknown, _UNKNOWN)
        failures = table.setdefault(key, _Failures(mount, node.namespace))
        table.move_to_end(key)
        doomed = [table.popitem(last=False)[1].key] if len(table) > limit else []
        if failures.last + rules.lockout_counter_reset <= now or failures.count >= rules.lockout_threshold:
            failures.count = 0  # long ago, or a lockout that is over
        failures.count += 1
        failures.last = now
        records = {}
        if self._locks(failures, rules):
            if known:
                _log.warning("%r of %s is locked out after %d failed logins", name, mount.point, failures.count)
            failures.key = _place(node.namespace, *key)
            record = {"name": key[1], "count": failures.count, "last": now, "known": known}
            records[failures.key] = orjson.dumps(record)
        await _store(node.store, records, doomed)

    async def succeeded(self, node: Node, mount: Mount, name: str) -> None:
        """Forget the failures of a name."""
        failures = self._known.pop((mount.entry.accessor, _short(name)), None)
        if failures is not None and failures.key:
            await _store(node.store, {}, [failures.key])

    async def load(self, node: Node) -> None:
        """Take up the lockouts of a namespace that is being opened; delete those that are over."""
        mounts = {mount.entry.accessor: mount for mount in node.router}
        over = []
        folder = _folder(node.namespace)
        for accessor in await node.store.list(folder):
            for name in await node.store.list(folder + accessor):
                key = folder + accessor + name
                raw, mount = await node.store.get(key), mounts.get(accessor.rstrip("/"))
                if raw is not None and mount is not None:
                    record = orjson.loads(raw)
                    failures = _Failures(mount, node.namespace, record["count"], record["last"], key)
                    if self._locks(failures, self._rules(mount)):
                        table = self._known if record["known"] else self._unknown
                        table.setdefault((mount.entry.accessor, record["name"]), failures)
                        continue
                over.append(key)
        await _store(node.store, {}, over)

    def locked(self, namespace: Namespace, accessor: str = "") -> list[tuple[Namespace, dict[str, list[str]]]]:
        """Names that are locked out by accessor of their mount, of this namespace and each below it."""
        found: dict[str, tuple[Namespace, dict[str, list[str]]]] = {}
        for (of, name), failures in sorted(self._known.items(), key=lambda item: item[0]):
            where = failures.namespace
            if accessor not in ("", of) or not where.path.startswith(namespace.path):
                continue
            if self._locks(failures, self._rules(failures.mount)):
                found.setdefault(where.path, (where, {}))[1].setdefault(of, []).append(name)
        return [found[path] for path in sorted(found)]

    @property
    def count(self) -> int:
        """How many names are locked out, of all namespaces in use."""
        return sum(self._locks(each, self._rules(each.mount)) for each in self._known.values())

    async def unlock(self, node: Node, accessor: str, name: str) -> None:
        """Forget the failures of a name of a mount in this namespace or below it."""
        name = _short(name)
        failures = self._known.get((accessor, name))
        if failures is not None and failures.namespace.path.startswith(node.namespace.path):
            del self._known[accessor, name]
            await _store(node.store, {}, [failures.key])

    def _locks(self, failures: _Failures, rules: UserLockoutConfig) -> bool:
        return (
            not rules.disable_lockout
            and 0 < rules.lockout_threshold <= failures.count
            and self._clock.time() < failures.last + rules.lockout_duration
        )

    def _rules(self, mount: Mount) -> UserLockoutConfig:
        """The server's rules, where the mount is not tuned to its own."""
        rules = self._config(mount.entry.type)
        tuned = mount.entry.config.user_lockout_config
        if not tuned:
            return rules
        return UserLockoutConfig(
            lockout_threshold=tuned.get("lockout_threshold") or rules.lockout_threshold,
            lockout_duration=tuned.get("lockout_duration") or rules.lockout_duration,
            lockout_counter_reset=tuned.get("lockout_counter_reset_duration") or rules.lockout_counter_reset,
            disable_lockout=tuned.get("lockout_disable", rules.disable_lockout),
        )


def _short(name: str) -> str:
    """A name as it is kept: hashed where anybody might fill memory with it, or UTF-8 has no form for it."""
    raw = name.encode("utf-8", "surrogatepass")
    return name if len(raw) <= _LONGEST and name.isprintable() else hashlib.sha256(raw).hexdigest()


def _folder(namespace: Namespace) -> str:
    return f"{namespace.prefix}sys/lockout/"


def _place(namespace: Namespace, accessor: str, name: str) -> str:
    return f"{_folder(namespace)}{accessor}/{hashlib.sha256(name.encode()).hexdigest()}"


async def _store(store: Store, put: Mapping[str, bytes], delete: Sequence[str]) -> None:
    """Change records; where that fails, what is in memory holds all the same."""

    gone = [key for key in delete if key]
    if not put and not gone:
        return

    async def change(txn: Transaction) -> None:
        for key in gone:
            txn.delete(key)
        for key, record in put.items():
            txn.put(key, record)

    try:
        await store.run(change)
    except (StoreError, Unavailable) as error:
        _log.error("lockouts are not stored, and a restart may forget them: %s", error)


async def stored(view: ReadView, namespaces: Iterable[Namespace]) -> list[Namespace]:
    """Those of the namespaces that have lockouts of before the last start, perhaps."""
    return [each for each in namespaces if await view.list(_folder(each), limit=1)]
