"""Where everything lives in the store. All of it is behind the barrier; keys themselves are readable.

core/...                               seal and keyring, outside namespaces
namespaces/<id>/core/mounts/<uuid>     mount table, an entry a mount
namespaces/<id>/core/auth/<uuid>       auth mount table
namespaces/<id>/logical/<uuid>/...     what an engine stores
namespaces/<id>/auth/<uuid>/...        what an auth method stores
namespaces/<id>/identity/...            entities, groups and what leads to them: server/identity/store.py
namespaces/<id>/sys/policy/<name>      ACL policies
namespaces/<id>/sys/password/<name>    password policies
namespaces/<id>/sys/token/...          tokens: id/, accessor/, parent/, role/
namespaces/<id>/sys/expire/<time>/...  what ends when
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT_NAMESPACE_ID = "root"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace: its id in storage keys and its path on the wire ("" for root)."""

    id: str = ROOT_NAMESPACE_ID
    path: str = ""

    @property
    def prefix(self) -> str:
        return f"namespaces/{self.id}/"


ROOT = Namespace()
