"""An entity with what follows from it: its groups, its policies, and how templates see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .records import Alias, Entity, Group


@dataclass(frozen=True, slots=True)
class Profile:
    """What a request needs to know of the entity of its token; fills the templates of policies.

    ``groups`` are all it is in, by itself or through another group. ``compiled`` is for those who keep something
    that is true for as long as the profile is.
    """

    entity: Entity
    direct: tuple[Group, ...]
    inherited: tuple[Group, ...]
    policies: tuple[str, ...]
    aliases: Mapping[str, Alias]  # by accessor of the mount
    compiled: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, entity: Entity, groups: Mapping[str, Group], direct: Iterable[str]) -> Profile:
        """``groups``: every group of the entity by id; ``direct``: which of them it is in itself."""
        ids = set(direct)
        names = {*entity.policies, *(name for group in groups.values() for name in group.policies)}
        return cls(
            entity,
            tuple(group for group in groups.values() if group.id in ids),
            tuple(group for group in groups.values() if group.id not in ids),
            tuple(sorted(names)),
            {alias.mount_accessor: alias for alias in entity.aliases},
        )

    @property
    def id(self) -> str:
        return self.entity.id

    @property
    def name(self) -> str:
        return self.entity.name

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.entity.metadata

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.direct + self.inherited
