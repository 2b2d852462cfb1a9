"""Lockout: after so many failed logins in a row, one name of an auth mount is refused for a while.

Counted in memory. Names that nobody has are treated alike, so that a lockout does not tell who exists, and are
counted apart, so that a flood of them cannot push out the counts of users that there are.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..framework.clock import Clock
from ..framework.errors import PermissionDenied
from .config.model import UserLockoutConfig
from .layout import Namespace
from .mounts import Mount

_log = logging.getLogger(__name__)
_KNOWN, _UNKNOWN = 100_000, 10_000  # names counted at most; the longest untouched are forgotten first


@dataclass(slots=True)
class _Failures:
    """Failed logins of one name: how many in a row, and when the last was."""

    mount: Mount
    namespace: Namespace
    count: int = 0
    last: float = 0.0


class Lockout:
    """Failed logins of a server. ``config``: the server's rules for a type of auth method."""

    def __init__(self, config: Callable[[str], UserLockoutConfig], clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Failures] = OrderedDict()  # by accessor of the mount, and name
        self._unknown: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def check(self, mount: Mount, name: str) -> None:
        """Raise PermissionDenied while ``name`` is locked out."""
        if not self._known and not self._unknown:
            return
        key = mount.entry.accessor, name
        failures = self._known.get(key) or self._unknown.get(key)
        if failures is not None and self._locks(failures, self._rules(mount)):
            raise PermissionDenied

    def failed(self, namespace: Namespace, mount: Mount, name: str, *, known: bool) -> None:
        """Count a failed login of a name that the auth method knows, or does not."""
        rules, key, now = self._rules(mount), (mount.entry.accessor, name), self._clock.time()
        if rules.disable_lockout:
            return
        table, limit = (self._known, _KNOWN) if known else (self._unknown, _UNKNOWN)
        failures = table.setdefault(key, _Failures(mount, namespace))
        table.move_to_end(key)
        if len(table) > limit:
            table.popitem(last=False)
        if failures.last + rules.lockout_counter_reset <= now or failures.count >= rules.lockout_threshold:
            failures.count = 0  # long ago, or a lockout that is over
        failures.count += 1
        failures.last = now
        if known and self._locks(failures, rules):
            _log.warning("%r of %s is locked out after %d failed logins", name, mount.point, failures.count)

    def succeeded(self, mount: Mount, name: str) -> None:
        """Forget the failures of a name."""
        if self._known:
            self._known.pop((mount.entry.accessor, name), None)

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

    def unlock(self, namespace: Namespace, accessor: str, name: str) -> None:
        """Forget the failures of a name of a mount in this namespace or below it."""
        failures = self._known.get((accessor, name))
        if failures is not None and failures.namespace.path.startswith(namespace.path):
            del self._known[accessor, name]

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
