"""Engines, auth methods, stores and seals are found by entry point and imported when first needed."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

from .. import __version__
from ..framework.errors import InvalidRequest

OWN_VERSION = f"v{__version__}+builtin.caveau"

_DISTRIBUTION = __name__.partition(".")[0]
GROUPS = {"secret": "caveau.engines", "auth": "caveau.auth", "storage": "caveau.storage", "seal": "caveau.seals",
          "audit": "caveau.audit"}  # fmt: skip


@lru_cache(maxsize=len(GROUPS))
def installed(kind: str) -> dict[str, EntryPoint]:
    """Name -> entry point of everything of one kind: secret, auth, storage, seal or audit."""
    found = {point.name: point for point in entry_points(group=GROUPS[kind])}
    return found | {name: point for (group, name), point in _own().items() if group == GROUPS[kind]}


@lru_cache(maxsize=1)
def _own() -> dict[tuple[str, str], EntryPoint]:
    """What came with Caveau, by group and name: found without a look at every distribution there is."""
    try:
        return {(point.group, point.name): point for point in distribution(_DISTRIBUTION).entry_points}
    except PackageNotFoundError:
        return {}


def find(kind: str, name: str) -> EntryPoint | None:
    """The entry point behind a name, if it is installed. Nothing takes the place of what came with Caveau."""
    return _own().get((GROUPS[kind], name)) or installed(kind).get(name)


def load(kind: str, name: str) -> Any:
    """The factory behind a name; raises InvalidRequest when it is not installed."""
    point = find(kind, name)
    if point is None:
        raise InvalidRequest(f"plugin not found in the catalog: {name}")
    try:
        return point.load()
    except ImportError as error:
        raise InvalidRequest(f"{kind} plugin {name!r} cannot be loaded: {error}") from error


def is_builtin(point: EntryPoint) -> bool:
    """Whether it came with Caveau itself."""
    return point.value.partition(".")[0] == _DISTRIBUTION


def version(point: EntryPoint) -> str:
    """Version of the distribution that brought it, as Vault prints versions of plugins."""
    if is_builtin(point):
        return OWN_VERSION
    return f"v{point.dist.version if point.dist else '0.0.0'}"
