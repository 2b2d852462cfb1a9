"""``lookup``: an entity or a group by whatever is known of it."""

from __future__ import annotations

from typing import Annotated, Any

from ...framework import Field, Params, update
from ...framework.errors import InvalidRequest
from ..request import CoreRequest
from . import entities, groups
from .base import IdentityRoutes, exclusive


class LookupParams(Params):
    id: Annotated[str, Field("Its id.")] = ""
    name: Annotated[str, Field("Its name.")] = ""
    alias_id: Annotated[str, Field("Id of an alias of it.")] = ""
    alias_name: Annotated[str, Field("Name of an alias of it, together with alias_mount_accessor.")] = ""
    alias_mount_accessor: Annotated[str, Field("Accessor of the mount of that alias.")] = ""

    @property
    def by_alias(self) -> bool:
        """Whether mount and name of an alias are given; raises InvalidRequest for one without the other."""
        if bool(self.alias_name) != bool(self.alias_mount_accessor):
            raise InvalidRequest("both 'alias_name' and 'alias_mount_accessor' needs to be set")
        return bool(self.alias_name)


class LookupRoutes(IdentityRoutes):
    @update("lookup/entity", writes=False)
    async def lookup_entity(self, req: CoreRequest, p: LookupParams) -> dict[str, Any] | None:
        """Find an entity by its id or name, or by an alias."""
        identity, view = req.node.identity, req.root
        entity = await exclusive(
            (bool(p.id), lambda: identity.entity(view, p.id)),
            (bool(p.name), lambda: identity.by_name(view, p.name)),
            (bool(p.alias_id), lambda: identity.by_alias_id(view, p.alias_id)),
            (p.by_alias, lambda: identity.by_alias(view, p.alias_mount_accessor, p.alias_name)),
        )
        return None if entity is None else await entities.shown(req, entity)

    @update("lookup/group", writes=False)
    async def lookup_group(self, req: CoreRequest, p: LookupParams) -> dict[str, Any] | None:
        """Find a group by its id or name, or by its alias."""
        identity, view = req.node.identity, req.root
        group = await exclusive(
            (bool(p.id), lambda: identity.group(view, p.id)),
            (bool(p.name), lambda: identity.group_by_name(view, p.name)),
            (bool(p.alias_id), lambda: identity.group_by_alias_id(view, p.alias_id)),
            (p.by_alias, lambda: identity.group_by_alias(view, p.alias_mount_accessor, p.alias_name)),
        )
        return None if group is None else await groups.shown(req, group)
