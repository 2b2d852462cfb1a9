"""What is measured: clusters, the links and disks below them, and the load on top."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Link:
    """Between any two nodes. ``delay``: seconds one way; ``jitter``: up to so much more or less, evenly; ``loss``:
    the part of packets, 0 to 1."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.jitter <= self.delay and 0 <= self.loss < 1):
            raise ValueError(f"no such link: {self}")

    @property
    def shaped(self) -> bool:
        return self != Link()


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster. ``disk_delay``: seconds that every sync takes longer."""

    nodes: int = 3
    link: Link = field(default_factory=Link)
    disk_delay: float = 0.0

    def __str__(self) -> str:
        link = self.link
        parts = [f"{self.nodes} node{'s' * (self.nodes > 1)}"]
        if self.nodes > 1:
            jitter = f"±{link.jitter * 1000:g}" if link.jitter else ""
            parts.append(f"link {link.delay * 1000:g}{jitter} ms" + (f" {link.loss:.1%} lost" if link.loss else ""))
        if self.disk_delay:
            parts.append(f"disk +{self.disk_delay * 1000:g} ms")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Load:
    """``size``: bytes of a value. ``concurrency``: writers, each of which waits for its answer."""

    size: int = 256
    concurrency: int = 1

    def __str__(self) -> str:
        return f"{self.size} bytes, {self.concurrency} writer{'s' * (self.concurrency > 1)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """``sites``: a cluster, and the loads that it gets one after the other. ``failovers``: how often the leader of
    such a cluster is killed."""

    sites: tuple[tuple[Site, tuple[Load, ...]], ...]
    failovers: tuple[tuple[Site, int], ...]
    seconds: float  # of one load
    probes: int  # round trips and syncs that are measured before it


BASE = Site(3, Link(0.0005))
FAR = Link(0.025)


def _varied(nodes: tuple[int, ...], links: tuple[Link, ...], disks: tuple[float, ...]) -> tuple[Site, ...]:
    """``BASE`` with one thing changed at a time."""
    return (
        *(replace(BASE, nodes=n) for n in nodes),
        *(replace(BASE, link=link) for link in links),
        *(replace(BASE, disk_delay=d) for d in disks),
    )


FULL = Plan(
    sites=(
        (BASE, (*(Load(concurrency=c) for c in (1, 4, 16, 64, 256)), *(Load(size=s) for s in (4096, 65536, 524288)))),
        *(
            (site, (Load(), Load(concurrency=64)))
            for site in _varied(
                (1, 5, 7),
                (Link(), Link(0.002), Link(0.01), FAR, Link(0.01, 0.005), Link(0.002, 0, 0.001), Link(0.002, 0, 0.01)),
                (0.001, 0.005, 0.02),
            )
        ),
    ),
    failovers=((BASE, 10), (replace(BASE, nodes=5), 5), (replace(BASE, link=FAR), 5)),
    seconds=5.0,
    probes=300,
)
QUICK = Plan(
    sites=(
        (BASE, (Load(), Load(concurrency=16), Load(size=65536))),
        *((site, (Load(),)) for site in _varied((1,), (Link(0.005, 0.001, 0.01),), (0.005,))),
    ),
    failovers=((BASE, 1),),
    seconds=1.0,
    probes=60,
)
