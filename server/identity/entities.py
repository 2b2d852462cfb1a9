"""``entity`` and ``persona``, its older spelling: entities by id and by name."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, read, update
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, NotFound
from ..request import CoreRequest
from .base import METADATA, IdentityRoutes, Mounts, check_metadata, check_policies
from .records import Entity
from .store import new_id, random_name


class EntityId(Params):
    id: Annotated[str, Field("Id of the entity.")]


class EntityName(Params):
    name: Annotated[str, Field("Name of the entity; upper and lower case are the same.")]


class EntityParams(Params):
    id: Annotated[str, Field("Id of the entity to change.")] = ""
    name: Annotated[str, Field("Name of the entity; a random one is made up when a new entity has none.")] = ""
    metadata: Annotated[dict[str, str], METADATA] = field(default_factory=dict)
    policies: Annotated[list[str], Field("Policies that its tokens have on top of their own.")] = field(
        default_factory=list
    )
    disabled: Annotated[bool, Field("Whether its tokens are refused and it cannot log in.")] = False


class PersonaParams(EntityParams):
    entity_id: Annotated[str, Field("Accepted for older clients; means nothing.", deprecated=True)] = ""
    mount_accessor: Annotated[str, Field("Accepted for older clients; means nothing.", deprecated=True)] = ""


class BatchParams(Params):
    entity_ids: Annotated[list[str], Field("Ids of the entities.")] = field(default_factory=list)


class EntityRoutes(IdentityRoutes):
    @update("entity")
    async def write_entity(self, req: CoreRequest, p: EntityParams) -> dict[str, Any] | None:
        """Create an entity, or change the one of the given id or name."""
        return await self._save_entity(req, p)

    @update("entity/id/{id}")
    async def write_entity_by_id(self, req: CoreRequest, p: EntityParams) -> dict[str, Any] | None:
        """Change an entity; what is not given stays as it is."""
        return await self._save_entity(req, p)

    @update("entity/name/{name:some}")
    async def write_entity_by_name(self, req: CoreRequest, p: EntityParams) -> dict[str, Any] | None:
        """Create or change the entity of a name; what is not given stays as it is."""
        return await self._save_entity(req, p)

    @update("persona")
    async def write_persona(self, req: CoreRequest, p: PersonaParams) -> dict[str, Any] | None:
        """Create or change an entity, as entity does."""
        return await self._save_entity(req, p)

    @update("persona/id/{id}")
    async def write_persona_by_id(self, req: CoreRequest, p: PersonaParams) -> dict[str, Any] | None:
        """Change an entity, as entity/id does."""
        return await self._save_entity(req, p)

    async def _save_entity(self, req: CoreRequest, p: EntityParams) -> dict[str, Any] | None:
        identity, view, now = req.node.identity, req.root, self.clock.time()
        old = None
        if p.id:
            old = await identity.entity(view, p.id)
            if old is None:
                raise InvalidRequest("entity not found from id")
        if p.name:
            named = await identity.by_name(view, p.name)
            if old is not None and named is not None and named.id != old.id:
                raise InvalidRequest("entity name is already in use")
            old = old or named
        entity = old or Entity(new_id(), p.name or random_name("entity"), now, now)
        changes: dict[str, Any] = {"last_update_time": now}
        if p.name:
            changes["name"] = p.name
        if "metadata" in p.given:
            changes["metadata"] = check_metadata(p.metadata, "entity metadata")
        if "policies" in p.given:
            changes["policies"] = check_policies(p.policies)
        if "disabled" in p.given:
            changes["disabled"] = p.disabled
        entity = replace(entity, **changes)
        identity.save(view, entity, old)
        return None if old is not None else {"aliases": None, "id": entity.id, "name": entity.name}

    @read("entity/id/{id}")
    async def read_entity(self, req: CoreRequest, p: EntityId) -> dict[str, Any]:
        """Show an entity, its aliases and the groups it is in."""
        return await shown(req, await req.node.identity.entity(req.root, p.id))

    @read("entity/name/{name:some}")
    async def read_entity_by_name(self, req: CoreRequest, p: EntityName) -> dict[str, Any]:
        """Show an entity, its aliases and the groups it is in."""
        return await shown(req, await req.node.identity.by_name(req.root, p.name))

    @delete("entity/id/{id}")
    async def delete_entity(self, req: CoreRequest, p: EntityId) -> None:
        """Delete an entity and its aliases. Its tokens are refused from then on."""
        await _delete(req, await req.node.identity.entity(req.root, p.id))

    @delete("entity/name/{name:some}")
    async def delete_entity_by_name(self, req: CoreRequest, p: EntityName) -> None:
        """Delete an entity and its aliases. Its tokens are refused from then on."""
        await _delete(req, await req.node.identity.by_name(req.root, p.name))

    @update("entity/batch-delete")
    async def delete_entities(self, req: CoreRequest, p: BatchParams) -> None:
        """Delete several entities at once; ids of none are passed over."""
        if not p.entity_ids:
            raise InvalidRequest("missing entity ids to delete")
        for id_ in p.entity_ids:
            await _delete(req, await req.node.identity.entity(req.root, id_))

    @list_("entity/id")
    async def list_entities(self, req: CoreRequest, p: NoParams) -> Response:
        """List the ids of all entities, with names and aliases."""
        mounts = Mounts(req)
        info: dict[str, Any] = {}
        async for entity in req.node.identity.entities(req.root):
            info[entity.id] = {"name": entity.name}
            if entity.aliases:
                info[entity.id]["aliases"] = [
                    {"id": alias.id, "name": alias.name, **mounts.describe(alias)} for alias in entity.aliases
                ]
        return listing(info)

    @list_("entity/name")
    async def list_entity_names(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the names of all entities."""
        names = [entity.name async for entity in req.node.identity.entities(req.root)]
        if not names:
            raise NotFound
        return {"keys": names}


async def _delete(req: CoreRequest, entity: Entity | None) -> None:
    if entity is not None:
        await req.node.identity.delete(req.root, entity)


def listing(info: dict[str, Any]) -> Response:
    """A list of ids with what is known of each."""
    if not info:
        raise NotFound
    return Response(data={"keys": list(info), "key_info": info})


async def shown(req: CoreRequest, entity: Entity | None) -> dict[str, Any]:
    """An entity as answers show it; raises NotFound when there is none."""
    if entity is None:
        raise NotFound
    mounts = Mounts(req)
    direct, inherited = await req.node.identity.group_ids(req.root, entity.id)
    return {
        "aliases": [mounts.alias(alias, entity.id) for alias in entity.aliases],
        "creation_time": rfc3339(entity.creation_time),
        "direct_group_ids": direct,
        "disabled": entity.disabled,
        "group_ids": direct + inherited,
        "id": entity.id,
        "inherited_group_ids": inherited,
        "last_update_time": rfc3339(entity.last_update_time),
        "merged_entity_ids": entity.merged or None,
        "metadata": entity.metadata or None,
        "name": entity.name,
        "namespace_id": req.node.namespace.id,
        "policies": entity.policies,
    }
