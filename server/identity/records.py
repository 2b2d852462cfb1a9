"""What is stored of identity: entities with their aliases, and groups. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

INTERNAL, EXTERNAL = "internal", "external"
"""Kinds of groups: members are put into the one by hand, into the other by auth methods at login."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that an auth mount knows an entity by; of a group, one that the mount knows the group by."""

    id: str
    name: str
    mount_accessor: str
    creation_time: float
    last_update_time: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    custom_metadata: Mapping[str, str] = field(default_factory=dict)
    merged_from: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: dict[str, Any]) -> Alias:
        values["merged_from"] = tuple(values["merged_from"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody, whichever way they log in."""

    id: str
    name: str
    creation_time: float
    last_update_time: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ()
    disabled: bool = False
    aliases: tuple[Alias, ...] = ()
    merged: tuple[str, ...] = ()  # ids of entities that went into this one

    def alias(self, id_: str) -> Alias | None:
        return next((alias for alias in self.aliases if alias.id == id_), None)

    def alias_on(self, accessor: str) -> Alias | None:
        return next((alias for alias in self.aliases if alias.mount_accessor == accessor), None)

    def without(self, id_: str) -> Entity:
        return replace(self, aliases=tuple(alias for alias in self.aliases if alias.id != id_))

    def holding(self, alias: Alias) -> Entity:
        """The entity with ``alias`` in the place of the one of its id, or added to the others."""
        if self.alias(alias.id) is None:
            return replace(self, aliases=(*self.aliases, alias))
        return replace(self, aliases=tuple(alias if each.id == alias.id else each for each in self.aliases))

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, _: str, raw: bytes) -> Entity:
        values: dict[str, Any] = orjson.loads(raw)
        for name in ("policies", "merged"):
            values[name] = tuple(values[name])
        values["aliases"] = tuple(map(Alias.of, values["aliases"]))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Group:
    """Entities with something in common. Who they are is kept apart, so that many may join at once."""

    id: str
    name: str
    creation_time: float
    last_update_time: float
    type: str = INTERNAL
    metadata: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ()
    member_groups: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    alias: Alias | None = None
    modify_index: int = 0

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, _: str, raw: bytes) -> Group:
        values: dict[str, Any] = orjson.loads(raw)
        for name in ("policies", "member_groups", "parents"):
            values[name] = tuple(values[name])
        values["alias"] = values["alias"] and Alias.of(values["alias"])
        return cls(**values)
