"""Quotas: how many requests a client may make in a while, and how many leases there may be.

Of the quotas of one kind that fit a request, the most specific alone applies: for a login role, for one
path, for paths with a prefix, for a mount, for a namespace; the longest first among those alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar, Final, Generic, TypeVar

import orjson

from ..framework import View

FOLDER: Final = "core/quotas/"
CONFIG_KEY: Final = "core/quotas-config"
EXEMPT: Final = (
    "sys/generate-recovery-token/attempt", "sys/generate-recovery-token/update", "sys/generate-root/attempt",
    "sys/generate-root/update", "sys/health", "sys/seal-status", "sys/unseal",
)  # fmt: skip
"""Paths that no rate limits until the configuration says otherwise: those that bring a server up again."""
_MAX_CLIENTS = 32_768  # of one quota that are remembered at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a quota applies to. ``namespace`` is its path (``""`` is root), ``mount`` a mount point of it,
    ``suffix`` a path below that, perhaps ending in ``*``."""

    kind: ClassVar[str]
    name: str
    namespace: str = ""
    mount: str = ""
    suffix: str = ""
    role: str = ""
    inheritable: bool = False  # by namespaces below

    @property
    def path(self) -> str:
        return self.namespace + self.mount + self.suffix

    @property
    def scope(self) -> tuple[str, str, str, str]:
        """What no two quotas of a kind may have in common."""
        return self.namespace, self.mount, self.suffix, self.role

    @property
    def key(self) -> str:
        return f"{FOLDER}{self.kind}/{self.name}"

    def dump(self) -> bytes:
        return orjson.dumps({each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit(Quota):
    """``rate`` requests in ``interval`` seconds; who makes more is refused for ``block_interval`` seconds.

    ``group_by``: whose requests are counted together, one of GROUPS; ``secondary_rate`` is the rate of those
    that have no entity, where entities are what is grouped by (0: the same rate).
    """

    kind = "rate-limit"
    rate: float
    interval: int = 1
    block_interval: int = 0
    group_by: str = "ip"
    secondary_rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCount(Quota):
    """``max_leases`` leases and tokens at a time."""

    kind = "lease-count"
    max_leases: int

    @property
    def is_watched(self) -> bool:
        """Whether its leases are counted for it alone; else there is a count of its mount."""
        return bool(self.suffix or self.role)


GROUPS: Final = ("ip", "none", "entity_then_ip", "entity_then_none")
KINDS: Final[Mapping[str, type[Quota]]] = {each.kind: each for each in (RateLimit, LeaseCount)}
Q = TypeVar("Q", bound=Quota)
OnCommit = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class QuotaConfig:
    exempt_paths: tuple[str, ...] = EXEMPT
    audit_logging: bool = False  # of requests refused for their rate
    response_headers: bool = False

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, raw: bytes) -> QuotaConfig:
        values = orjson.loads(raw)
        return cls(tuple(values.pop("exempt_paths")), **values)

    def exemptions(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Paths that nothing limits, and what such paths begin with."""
        paths = [each.lstrip("/") for each in self.exempt_paths]
        exact = frozenset(each for each in paths if not each.endswith("*"))
        return exact, tuple(each[:-1] for each in paths if each.endswith("*"))


class Rules(Generic[Q]):
    """The quotas of one kind, and which of them applies."""

    def __init__(self) -> None:
        self._by_name: dict[str, Q] = {}
        self._by_scope: dict[tuple[str, str, str, str], Q] = {}
        self._globs: list[Q] = []
        self._with_roles: frozenset[tuple[str, str]] = frozenset()

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Q]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Q | None:
        return self._by_name.get(name)

    def put(self, quota: Q) -> None:
        self._rebuild([*(each for name, each in self._by_name.items() if name != quota.name), quota])

    def remove(self, name: str) -> None:
        self._rebuild(each for each in self._by_name.values() if each.name != name)

    def _rebuild(self, quotas: Iterable[Q]) -> None:
        self._by_name = {each.name: each for each in quotas}
        self._by_scope = {each.scope: each for each in self._by_name.values()}
        globs = [each for each in self._by_name.values() if each.suffix.endswith("*")]
        self._globs = sorted(globs, key=lambda each: -len(each.suffix))
        self._with_roles = frozenset((each.namespace, each.mount) for each in self._by_name.values() if each.role)

    def for_roles(self, namespace: str, mount: str) -> bool:
        """Whether some quota is for a role of this auth method."""
        return (namespace, mount) in self._with_roles

    def find(self, namespace: str, mount: str, path: str, role: str = "") -> Q | None:
        """The quota of a request to ``path`` below ``mount`` (both empty where nothing is mounted)."""
        known = self._by_scope
        if role and (found := known.get((namespace, mount, "", role))) is not None:
            return found
        if mount:
            if path and (found := known.get((namespace, mount, path.rstrip("/"), ""))) is not None:
                return found
            for each in self._globs:
                if (each.namespace, each.mount) == (namespace, mount) and path.startswith(each.suffix[:-1]):
                    return each
            if (found := known.get((namespace, mount, "", ""))) is not None:
                return found
        if (found := known.get((namespace, "", "", ""))) is not None:
            return found
        while namespace:
            namespace = namespace[: namespace.rstrip("/").rfind("/") + 1]
            found = known.get((namespace, "", "", ""))
            if found is not None and found.inheritable:
                return found
        return None


@dataclass(slots=True)
class _Window:
    ends: float  # seconds since the epoch
    left: int  # requests
    blocked_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one request. ``reset``: seconds until more are admitted."""

    admitted: bool
    limit: int
    left: int
    reset: float

    def headers(self) -> dict[str, str]:
        """As the client is told, in whole seconds (RFC 9110, section 10.2.3)."""
        told = {
            "X-Ratelimit-Limit": str(self.limit),
            "X-Ratelimit-Remaining": str(self.left),
            "X-Ratelimit-Reset": str(int(self.reset)),
        }
        if not self.admitted:
            told["Retry-After"] = str(max(1, math.ceil(self.reset)))
        return told


class Meter:
    """Counts the requests of one quota, each client's for itself, in memory that is bounded.

    A client has a window of ``interval`` from its first request on. When more clients come than are remembered,
    those that came first are forgotten.
    """

    def __init__(self, quota: RateLimit) -> None:
        self._quota = quota
        self._windows: dict[str, _Window] = {}
        self._swept = 0.0
        self.refused = 0  # requests, since it is in force

    def take(self, client: str, now: float, *, secondary: bool = False) -> Verdict:
        """Count a request of ``client`` at ``now``; ``secondary``: at the secondary rate."""
        quota = self._quota
        limit = math.ceil(quota.secondary_rate if secondary and quota.secondary_rate else quota.rate)
        window = self._windows.get(client)
        if window is not None and now < window.blocked_until:
            self.refused += 1
            return Verdict(False, limit, 0, window.blocked_until - now)
        if window is None or now >= window.ends:
            self._windows.pop(client, None)  # to come last among them again
            self._make_room(now)
            window = self._windows[client] = _Window(now + quota.interval, limit)
        if not window.left:
            self.refused += 1
            window.blocked_until = now + quota.block_interval
            return Verdict(False, limit, 0, max(window.ends, window.blocked_until) - now)
        window.left -= 1
        return Verdict(True, limit, window.left, window.ends - now)

    def _make_room(self, now: float) -> None:
        if len(self._windows) < _MAX_CLIENTS:
            return
        if now - self._swept >= self._quota.interval:
            self._swept = now
            self._windows = {
                client: window
                for client, window in self._windows.items()
                if now < max(window.ends, window.blocked_until)
            }
        if len(self._windows) >= _MAX_CLIENTS:
            del self._windows[next(iter(self._windows))]


class Quotas:
    """The quotas in force, of every namespace: what is stored, and the counts of the moment."""

    def __init__(self) -> None:
        self.rates: Rules[RateLimit] = Rules()
        self.leases: Rules[LeaseCount] = Rules()
        self.configure(QuotaConfig())
        self.limits_rates = False  # whether there is any rate limit: what every request asks
        self.limits_leases = False
        self.refused_leases: Counter[str] = Counter()  # by quota, since the server is open
        self.on_end: Callable[[LeaseCount], None] = lambda quota: None
        self._meters: dict[str, Meter] = {}

    @classmethod
    async def load(cls, view: View) -> Quotas:
        quotas = cls()
        if raw := await view.get(CONFIG_KEY):
            quotas.configure(QuotaConfig.load(raw))
        for kind in KINDS:
            for quota in await stored(view, kind):
                quotas.put(quota)
        return quotas

    def configure(self, config: QuotaConfig) -> None:
        self.config = config
        self._exempt, self._exempt_below = config.exemptions()

    def exempts(self, path: str) -> bool:
        """Whether no rate limits a path; namespaces are part of it."""
        return path in self._exempt or path.startswith(self._exempt_below)

    def put(self, quota: Quota) -> None:
        """Put a new or changed quota into force; what had been counted is forgotten."""
        if isinstance(quota, RateLimit):
            self.rates.put(quota)
            self._meters[quota.name] = Meter(quota)
            self.limits_rates = True
        elif isinstance(quota, LeaseCount):
            if (old := self.leases.get(quota.name)) is not None:
                self.on_end(old)
            self.leases.put(quota)
            self.limits_leases = True

    def remove(self, kind: str, name: str) -> None:
        if kind == RateLimit.kind:
            self.rates.remove(name)
            self._meters.pop(name, None)
            self.limits_rates = len(self.rates) > 0
        else:
            if (old := self.leases.get(name)) is not None:
                self.on_end(old)
            self.leases.remove(name)
            self.limits_leases = len(self.leases) > 0

    def follow(self, view: View, namespace: str, mount: str, to: str, on_commit: OnCommit) -> None:
        """Let the quotas of a mount go where it goes: to the mount point ``to``, or with it, when that is empty."""
        for quota in [*self.rates, *self.leases]:
            if (quota.namespace, quota.mount) == (namespace, mount):
                if to:
                    moved = replace(quota, mount=to)
                    view.put(moved.key, moved.dump())
                    on_commit(partial(self.put, moved))
                else:
                    self._end(view, quota, on_commit)

    def end_with(self, view: View, namespace: str, on_commit: OnCommit) -> None:
        """Remove the quotas of a namespace that is being deleted."""
        for quota in [*self.rates, *self.leases]:
            if quota.namespace == namespace:
                self._end(view, quota, on_commit)

    def _end(self, view: View, quota: Quota, on_commit: OnCommit) -> None:
        view.delete(quota.key)
        on_commit(partial(self.remove, quota.kind, quota.name))

    def meter(self, quota: RateLimit) -> Meter:
        return self._meters[quota.name]


async def stored(view: View, kind: str) -> list[Quota]:
    """The quotas of a kind as stored, by name."""
    found: list[Quota] = []
    for name in await view.list(f"{FOLDER}{kind}/"):
        if (raw := await view.get(f"{FOLDER}{kind}/{name}")) is not None:
            values: dict[str, Any] = orjson.loads(raw)
            found.append(KINDS[kind](**values))
    return found
