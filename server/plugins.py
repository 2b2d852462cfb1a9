"""Engines, auth methods, stores and seals are found by entry point and imported when first needed."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .. import __version__
from ..framework.errors import InvalidRequest

OWN_VERSION = f"v{__version__}+builtin.caveau"

GROUPS = {"secret": "caveau.engines", "auth": "caveau.auth", "storage": "caveau.storage", "seal": "caveau.seals"}


@lru_cache(maxsize=len(GROUPS))
def installed(kind: str) -> dict[str, EntryPoint]:
    """Name -> entry point of everything of one kind: secret, auth, storage or seal."""
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def load(kind: str, name: str) -> Any:
    """The factory behind a name; raises InvalidRequest when it is not installed."""
    point = installed(kind).get(name)
    if point is None:
        raise InvalidRequest(f"plugin not found in the catalog: {name}")
    try:
        return point.load()
    except ImportError as error:
        raise InvalidRequest(f"{kind} plugin {name!r} cannot be loaded: {error}") from error


def is_builtin(point: EntryPoint) -> bool:
    """Whether it came with Caveau itself."""
    return point.value.partition(".")[0] == __name__.partition(".")[0]


def version(point: EntryPoint) -> str:
    """Version of the distribution that brought it, as Vault prints versions of plugins."""
    if is_builtin(point):
        return OWN_VERSION
    return f"v{point.dist.version if point.dist else '0.0.0'}"
