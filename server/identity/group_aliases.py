"""``group-alias``: by which name an auth mount knows an external group."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, read, update
from ...framework.errors import InvalidRequest, NotFound
from ..request import CoreRequest
from .aliases import AliasId
from .base import IdentityRoutes, Mounts
from .entities import listing
from .records import EXTERNAL, Alias, Group
from .store import new_id, random_name


class GroupAliasParams(Params):
    id: Annotated[str, Field("Id of the alias to change.")] = ""
    name: Annotated[str, Field("What the mount calls the group.")] = ""
    mount_accessor: Annotated[str, Field("Accessor of the mount.")] = ""
    canonical_id: Annotated[str, Field("Id of the external group; a new alias without one gets a new group.")] = ""


class GroupAliasRoutes(IdentityRoutes):
    @update("group-alias")
    async def write_group_alias(self, req: CoreRequest, p: GroupAliasParams) -> dict[str, Any]:
        """Give an external group an alias, in place of the one it had, or change the alias of the given id.

        Whoever logs in through the mount as a member of a group of that name is in the group from then on.
        """
        return await self._save_group_alias(req, p)

    @update("group-alias/id/{id}")
    async def write_group_alias_by_id(self, req: CoreRequest, p: GroupAliasParams) -> dict[str, Any]:
        """Change the alias of an external group."""
        return await self._save_group_alias(req, p)

    async def _save_group_alias(self, req: CoreRequest, p: GroupAliasParams) -> dict[str, Any]:
        identity, view, now = req.node.identity, req.root, self.clock.time()
        holder = alias = None
        if p.id:
            holder = await identity.group_by_alias_id(view, p.id)
            if holder is None or holder.alias is None:
                raise InvalidRequest("invalid group alias ID")
            alias = holder.alias
        if not p.name:
            raise InvalidRequest("missing alias name")
        if not p.mount_accessor:
            raise InvalidRequest("missing mount_accessor")
        Mounts(req).require(p.mount_accessor)
        target = holder
        if p.canonical_id:
            target = await identity.group(view, p.canonical_id)
            if target is None:
                raise InvalidRequest("invalid group ID given in 'canonical_id'")
            if target.type != EXTERNAL:
                raise InvalidRequest("alias can't be set on an internal group")
        named = await identity.group_by_alias(view, p.mount_accessor, p.name)
        if named is not None and named.alias is not None and (alias is None or named.alias.id != alias.id):
            raise InvalidRequest("combination of mount and group alias name is already in use")
        alias = replace(
            alias or Alias(new_id(), "", "", now, now),
            name=p.name,
            mount_accessor=p.mount_accessor,
            last_update_time=now,
        )
        if holder is not None and target is not None and holder.id != target.id:
            identity.save_group(view, _changed(holder, None, now), holder)
        if target is None:
            new = Group(new_id(), random_name("group"), now, now, EXTERNAL)
            identity.save_group(view, group := _changed(new, alias, now))
        else:
            identity.save_group(view, group := _changed(target, alias, now), target)
        return {"canonical_id": group.id, "id": alias.id}

    @read("group-alias/id/{id}")
    async def read_group_alias(self, req: CoreRequest, p: AliasId) -> dict[str, Any]:
        """Show the alias of a group."""
        group = await req.node.identity.group_by_alias_id(req.root, p.id)
        if group is None or group.alias is None:
            raise NotFound
        described = Mounts(req).alias(group.alias, group.id)
        return described | {"custom_metadata": None, "namespace_id": req.node.namespace.id}

    @delete("group-alias/id/{id}")
    async def delete_group_alias(self, req: CoreRequest, p: AliasId) -> None:
        """Delete the alias of a group: logins change nothing about who is in it then."""
        group = await req.node.identity.group_by_alias_id(req.root, p.id)
        if group is not None:
            req.node.identity.save_group(req.root, _changed(group, None, self.clock.time()), group)

    @list_("group-alias/id")
    async def list_group_aliases(self, req: CoreRequest, p: NoParams) -> Response:
        """List the ids of all aliases of groups, with what they are."""
        mounts = Mounts(req)
        info = {
            group.alias.id: mounts.listed(group.alias, group.id)
            async for group in req.node.identity.groups(req.root)
            if group.alias is not None
        }
        return listing(dict(sorted(info.items())))


def _changed(group: Group, alias: Alias | None, now: float) -> Group:
    return replace(group, alias=alias, last_update_time=now, modify_index=group.modify_index + 1)
