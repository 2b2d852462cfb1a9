"""Where everything lives in the store. All of it is behind the barrier; keys themselves are readable.

core/...                                seal and keyring, outside namespaces
core/audit/device/<path>                audit devices with their salts; core/audit/headers: what they show
core/namespaces/<id>                    the namespaces but the root one
namespaces/<id>/core/mounts/<uuid>      mount table, an entry a mount
namespaces/<id>/core/auth/<uuid>        auth mount table
namespaces/<id>/logical/<uuid>/...      what an engine stores
namespaces/<id>/auth/<uuid>/...         what an auth method stores
namespaces/<id>/identity/...            entities, groups and what leads to them: server/identity/store.py
namespaces/<id>/sys/policy/<name>       ACL policies
namespaces/<id>/sys/password/<name>     password policies
namespaces/<id>/sys/token/...           tokens: id/, parent/, role/, visited/; root's: ending/
namespaces/<id>/sys/cubbyhole/<token>/  what tokens keep for themselves
namespaces/<id>/sys/expire/<time>...    what ends when
namespaces/<id>/sys/lease/...           leases: id/, token/, irrevocable/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

ROOT_NAMESPACE_ID = "root"
NAMESPACES = "core/namespaces/"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace: its id in storage keys and its path on the wire ("" for root, else with a slash at its end).

    ``unlock_key`` is the hash of the key that opens it when it is locked. A ``tainted`` one is being deleted.
    """

    id: str = ROOT_NAMESPACE_ID
    path: str = ""
    uuid: str = ""
    custom_metadata: Mapping[str, str] = field(default_factory=dict)
    unlock_key: str = ""
    tainted: bool = False

    @property
    def prefix(self) -> str:
        return f"namespaces/{self.id}/"

    @property
    def token_id(self) -> str:
        """Its id as its tokens carry it: ``""`` for the root namespace."""
        return "" if self.id == ROOT_NAMESPACE_ID else self.id

    @property
    def key(self) -> str:
        """Where it is stored itself."""
        return NAMESPACES + self.id

    @property
    def parent(self) -> str:
        """Path of the namespace it is in."""
        head, slash, _ = self.path[:-1].rpartition("/")
        return head + slash

    @property
    def name(self) -> str:
        """Its path within its parent."""
        return self.path.removeprefix(self.parent)

    def holds(self, other: Namespace) -> bool:
        """Whether ``other`` is this one or below it."""
        return other.path.startswith(self.path)

    def dump(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def load(cls, raw: bytes) -> Namespace:
        values: dict[str, Any] = orjson.loads(raw)
        return cls(**values)


ROOT = Namespace()


def prefix_of(token_key: str) -> str:
    """Prefix of the storage keys of the namespace that a token, by its key, belongs to."""
    return f"namespaces/{token_key.partition('.')[2] or ROOT_NAMESPACE_ID}/"


def visits(token_key: str) -> str:
    """Where it is noted in which other namespaces a token has written into its cubbyhole: their ids."""
    return f"{prefix_of(token_key)}sys/token/visited/{token_key}/"


def cubbyholes(namespace: Namespace) -> str:
    """Where tokens keep, in a namespace, what is for themselves alone; a folder each, named by the token's key."""
    return f"{namespace.prefix}sys/cubbyhole/"


def cubbyhole(token_key: str) -> str:
    """A token's folder in its own namespace."""
    return f"{prefix_of(token_key)}sys/cubbyhole/{token_key}/"
