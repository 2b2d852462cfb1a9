"""One lease as it is stored, and the rules of its life and of its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..framework import Lease
from ..framework.clock import rfc3339
from .ttl import Lifetime, grant

ATTEMPTS = 6
"""Revocations that may fail before a lease is irrevocable: left to an operator."""
_RETRY_SECONDS = 10
ERROR_LENGTH = 300
EXTERNAL_SECONDS = 60.0
"""After which an engine that waits for another system has failed."""


@dataclass(frozen=True, slots=True)
class LeaseEntry:
    """A lease. Times are seconds since the epoch, lifetimes seconds; 0 is none."""

    id: str
    kind: str
    issue_time: float
    expire_time: float
    due: float  # when its entry in the expiry index is: its end, or the next attempt to revoke it; 0: none
    ttl: int = 0  # what its engine wished for
    max_ttl: int = 0
    renewable: bool = True
    internal: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""  # key of the token that it ends with
    bound: float = 0.0  # end of the batch token it was given to: it lives no longer
    last_renewal: float = 0.0
    failures: int = 0  # revocations that failed in a row
    error: str = ""  # of the last one, once it is irrevocable

    @property
    def path(self) -> str:
        return self.id.rpartition("/")[0]

    @property
    def irrevocable(self) -> bool:
        return bool(self.error)

    def lease(self) -> Lease:
        """As its engine knows it."""
        return Lease(
            self.kind, self.ttl, self.max_ttl, self.renewable, self.internal, id=self.id, issue_time=self.issue_time
        )

    def describe(self, now: float) -> dict[str, Any]:
        """As ``sys/leases/lookup`` shows it."""
        shown = described(self.id, self.path, self.issue_time, self.expire_time, self.last_renewal, self.renewable, now)
        return shown | {"revoke_error": self.error} if self.error else shown

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, raw: bytes) -> LeaseEntry:
        return cls(**orjson.loads(raw))


def described(
    id_: str, path: str, issue: float, expire: float, renewal: float, renewable: bool, now: float
) -> dict[str, Any]:
    """A lease, or a token as one, on the wire. ``expire`` 0: it does not end."""
    return {
        "expire_time": rfc3339(expire) if expire else None,
        "id": id_,
        "issue_time": rfc3339(issue),
        "last_renewal": rfc3339(renewal) if renewal else None,
        "path": path,
        "renewable": renewable and (not expire or expire > now),
        "ttl": max(0, int(expire - now)) if expire else 0,
    }


def lifetime(lease: Lease, ttls: tuple[int, int], increment: int, now: float, bound: float = 0.0) -> Lifetime:
    """How long a lease lives from ``now``, given now or renewed. ``ttls``: default and maximum of its mount;
    ``bound``: a moment that it never outlives (0: none)."""
    default, maximum = ttls
    life = grant(
        wanted=increment or lease.ttl,
        default=default,
        system_max=maximum,
        max_ttl=lease.max_ttl,
        start=lease.issue_time or now,
        now=now,
    )
    if bound and now + life.ttl > bound:
        return Lifetime(max(0, int(bound - now)), life.warnings)
    return life


def retry_delay(failures: int, luck: float) -> float:
    """Seconds until the next attempt after so many failures: doubling, and spread by a quarter either way so
    that a hundred leases of a database that was away do not all come at once. ``luck``: from [0, 1)."""
    return float(_RETRY_SECONDS * 2 ** (failures - 1) * (0.75 + luck / 2))


def reason(error: Exception) -> str:
    """What an engine's error says of a failed attempt."""
    if isinstance(error, TimeoutError):
        return f"no answer within {EXTERNAL_SECONDS:.0f} seconds"
    return str(error) or type(error).__name__
