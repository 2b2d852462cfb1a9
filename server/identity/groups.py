"""``group``: groups by id and by name, who and which groups are in them."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, read, update
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound
from ..request import CoreRequest
from .base import METADATA, IdentityRoutes, Mounts, check_metadata, check_policies
from .entities import listing
from .records import EXTERNAL, INTERNAL, Group
from .store import new_id, random_name


class GroupId(Params):
    id: Annotated[str, Field("Id of the group.")]


class GroupName(Params):
    name: Annotated[str, Field("Name of the group; upper and lower case are the same.")]


class GroupParams(Params):
    id: Annotated[str, Field("Id of the group to change.")] = ""
    name: Annotated[str, Field("Name of the group; a random one is made up when a new group has none.")] = ""
    type: Annotated[str, Field("internal, or external: filled by an auth method at login. It cannot be changed.")] = ""
    metadata: Annotated[dict[str, str], METADATA] = field(default_factory=dict)
    policies: Annotated[list[str], Field("Policies that tokens of its members have on top of their own.")] = field(
        default_factory=list
    )
    member_entity_ids: Annotated[list[str], Field("Entities in it.")] = field(default_factory=list)
    member_group_ids: Annotated[list[str], Field("Groups in it, whose members get its policies too.")] = field(
        default_factory=list
    )


class GroupRoutes(IdentityRoutes):
    @update("group")
    async def write_group(self, req: CoreRequest, p: GroupParams) -> dict[str, Any] | None:
        """Create a group, or change the one of the given id or name."""
        return await self._save_group(req, p)

    @update("group/id/{id}")
    async def write_group_by_id(self, req: CoreRequest, p: GroupParams) -> dict[str, Any] | None:
        """Change a group; what is not given stays as it is."""
        return await self._save_group(req, p)

    @update("group/name/{name:some}")
    async def write_group_by_name(self, req: CoreRequest, p: GroupParams) -> dict[str, Any] | None:
        """Create or change the group of a name; what is not given stays as it is."""
        return await self._save_group(req, p)

    async def _save_group(self, req: CoreRequest, p: GroupParams) -> dict[str, Any] | None:
        identity, view, now = req.node.identity, req.root, self.clock.time()
        old = None
        if p.id:
            old = await identity.group(view, p.id)
            if old is None:
                raise InvalidRequest("invalid group ID")
        if p.name:
            named = await identity.group_by_name(view, p.name)
            if old is not None and named is not None and named.id != old.id:
                raise InvalidRequest("group name is already in use")
            old = old or named
        kind = p.type or (INTERNAL if old is None else old.type)
        if kind not in (INTERNAL, EXTERNAL):
            raise InvalidRequest(f'invalid group type "{kind[:64]}"')
        if old is not None and kind != old.type:
            raise InvalidRequest("group type cannot be changed")
        if kind == EXTERNAL and p.member_entity_ids:
            raise InvalidRequest("member entities can't be set manually for external groups")
        if kind == EXTERNAL and p.member_group_ids:
            raise InvalidRequest("member groups can't be set for external groups")
        group = old or Group(new_id(), p.name or random_name("group"), now, now, kind)
        changes: dict[str, Any] = {"last_update_time": now, "modify_index": group.modify_index + 1}
        if p.name:
            changes["name"] = p.name
        if "metadata" in p.given:
            changes["metadata"] = check_metadata(p.metadata, "group metadata")
        if "policies" in p.given:
            changes["policies"] = check_policies(p.policies)
        group = replace(group, **changes)
        if "member_group_ids" in p.given:
            group = await _nest(req, group, tuple(sorted(set(p.member_group_ids))))
        if "member_entity_ids" in p.given:
            wanted = set(p.member_entity_ids)
            for id_ in sorted(wanted.difference(await identity.members(view, group.id))):
                if await identity.entity(view, id_) is None:
                    raise MultipleErrors(f'invalid entity ID "{id_[:64]}"')
            await identity.fill(view, group.id, wanted)
        identity.save_group(view, group, old)
        return None if old is not None else {"id": group.id, "name": group.name}

    @read("group/id/{id}")
    async def read_group(self, req: CoreRequest, p: GroupId) -> dict[str, Any]:
        """Show a group and who is in it."""
        return await shown(req, await req.node.identity.group(req.root, p.id))

    @read("group/name/{name:some}")
    async def read_group_by_name(self, req: CoreRequest, p: GroupName) -> dict[str, Any]:
        """Show a group and who is in it."""
        return await shown(req, await req.node.identity.group_by_name(req.root, p.name))

    @delete("group/id/{id}")
    async def delete_group(self, req: CoreRequest, p: GroupId) -> None:
        """Delete a group; who was in it loses its policies at once."""
        await _delete(req, await req.node.identity.group(req.root, p.id))

    @delete("group/name/{name:some}")
    async def delete_group_by_name(self, req: CoreRequest, p: GroupName) -> None:
        """Delete a group; who was in it loses its policies at once."""
        await _delete(req, await req.node.identity.group_by_name(req.root, p.name))

    @list_("group/id")
    async def list_groups(self, req: CoreRequest, p: NoParams) -> Response:
        """List the ids of all groups, with names and how many are in them."""
        identity = req.node.identity
        info = {
            group.id: {
                "name": group.name,
                "num_member_entities": len(await identity.members(req.root, group.id)),
                "num_parent_groups": len(group.parents),
            }
            async for group in identity.groups(req.root)
        }
        return listing(info)

    @list_("group/name")
    async def list_group_names(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the names of all groups."""
        names = [group.name async for group in req.node.identity.groups(req.root)]
        if not names:
            raise NotFound
        return {"keys": names}


async def _nest(req: CoreRequest, group: Group, member_groups: tuple[str, ...]) -> Group:
    identity, view = req.node.identity, req.root
    for id_ in member_groups:
        if id_ == group.id:
            raise MultipleErrors(f'member group ID "{id_[:64]}" is same as the ID of the group')
        if await identity.group(view, id_) is None:
            raise MultipleErrors(f'invalid member group ID "{id_[:64]}"')
        if await identity.is_above(view, group.id, id_):
            raise InvalidRequest(f'cyclic relationship detected for member group ID "{id_}"')
    return await identity.nest(view, group, member_groups)


async def _delete(req: CoreRequest, group: Group | None) -> None:
    if group is not None:
        await req.node.identity.delete_group(req.root, group)


async def shown(req: CoreRequest, group: Group | None) -> dict[str, Any]:
    """A group as answers show it; raises NotFound when there is none."""
    if group is None:
        raise NotFound
    alias: dict[str, Any] = {}
    if group.alias is not None:
        alias = Mounts(req).alias(group.alias, group.id)
        del alias["custom_metadata"], alias["local"]
    return {
        "alias": alias,
        "creation_time": rfc3339(group.creation_time),
        "id": group.id,
        "last_update_time": rfc3339(group.last_update_time),
        "member_entity_ids": await req.node.identity.members(req.root, group.id) or None,
        "member_group_ids": group.member_groups or None,
        "metadata": group.metadata or None,
        "modify_index": group.modify_index,
        "name": group.name,
        "namespace_id": req.node.namespace.id,
        "parent_group_ids": group.parents or None,
        "policies": group.policies or None,
        "type": group.type,
    }
