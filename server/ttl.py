"""Lease and token lifetimes as arithmetic: seconds in, seconds out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A granted lifetime in seconds (0: unlimited) and what had to be cut."""

    ttl: int
    warnings: list[str] = field(default_factory=list)


def effective_max(system_max: int, *limits: int) -> int:
    """The tightest of the limits that are set, never over the system's (0: no limit of its own)."""
    for limit in limits:
        if 0 < limit < system_max:
            system_max = limit
    return system_max


def grant(
    *,
    wanted: int,
    default: int,
    system_max: int,
    max_ttl: int = 0,
    explicit_max: int = 0,
    period: int = 0,
    start: float,
    now: float,
) -> Lifetime:
    """How long a lease may live from ``now`` on, at its creation (``start == now``) or renewal; 0: no longer.

    ``wanted`` is what the client asks, ``default`` what it gets otherwise. A periodic lease lives
    ``period`` from each renewal, whatever its age; only ``explicit_max`` bounds it.
    """
    warnings: list[str] = []
    limit = effective_max(system_max, max_ttl, explicit_max)
    if period > 0:
        if period > limit:
            warnings.append(_capped("period", "period value", period, limit))
        ttl = min(period, limit)
        remaining = _remaining(start, explicit_max, now) if explicit_max > 0 else ttl
    else:
        ttl = wanted or default
        remaining = _remaining(start, limit, now)
    if ttl > remaining:
        warnings.append(_capped("TTL", "TTL value", ttl, remaining))
        ttl = remaining
    return Lifetime(ttl, warnings)


def _remaining(start: float, limit: int, now: float) -> int:
    return max(0, round(start + limit - now))


def _capped(what: str, value: str, asked: int, limit: int) -> str:
    return (
        f'{what} of "{duration_text(asked)}" exceeded the effective max_ttl of "{duration_text(limit)}"; '
        f"{value} is capped accordingly"
    )


def duration_text(seconds: int) -> str:
    """Seconds as people write them: ``1h30m``, ``45s``, ``0s``."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, secs = divmod(rest, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (secs, "s")) if n) or "0s"
