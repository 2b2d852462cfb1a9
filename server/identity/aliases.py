"""``entity-alias`` and ``alias``, its older spelling: by which names mounts know an entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, read, update
from ...framework.errors import InvalidRequest, NotFound
from ..request import CoreRequest
from .base import METADATA, IdentityRoutes, Mounts, check_metadata
from .entities import listing
from .records import Alias, Entity
from .store import new_id, random_name


class AliasId(Params):
    id: Annotated[str, Field("Id of the alias.")]


class AliasParams(Params):
    id: Annotated[str, Field("Id of the alias to change.")] = ""
    name: Annotated[str, Field("What the mount calls the entity: a user name, the id of a role, ...")] = ""
    mount_accessor: Annotated[str, Field("Accessor of the mount.")] = ""
    canonical_id: Annotated[
        str, Field("Id of the entity; a new alias without one gets a new entity.", aliases=("entity_id",))
    ] = ""
    custom_metadata: Annotated[dict[str, str], METADATA] = field(default_factory=dict)


class AliasRoutes(IdentityRoutes):
    @update("entity-alias")
    @update("alias")
    async def write_alias(self, req: CoreRequest, p: AliasParams) -> dict[str, Any] | None:
        """Create an alias, or change the one of the given id, or of the mount and name.

        An entity has one alias on a mount at most.
        """
        return await self._save_alias(req, p)

    @update("entity-alias/id/{id}")
    @update("alias/id/{id}")
    async def write_alias_by_id(self, req: CoreRequest, p: AliasParams) -> dict[str, Any] | None:
        """Change an alias; what is not given stays as it is."""
        return await self._save_alias(req, p)

    async def _save_alias(self, req: CoreRequest, p: AliasParams) -> dict[str, Any] | None:
        identity, view = req.node.identity, req.root
        custom = check_metadata(p.custom_metadata, "custom metadata") if "custom_metadata" in p.given else None
        if p.id:
            owner = await identity.by_alias_id(view, p.id)
            if owner is None:
                raise InvalidRequest("invalid alias ID provided")
            alias = owner.alias(p.id)
        elif not p.name or not p.mount_accessor:
            raise InvalidRequest("'id' or 'mount_accessor' and 'name' must be provided")
        else:
            owner = await identity.by_alias(view, p.mount_accessor, p.name)
            alias = None if owner is None else owner.alias_on(p.mount_accessor)
        if p.mount_accessor:
            Mounts(req).require(p.mount_accessor)
        if owner is None or alias is None:
            return await self._create_alias(req, p, custom or {})
        return await self._change_alias(req, p, owner, alias, custom)

    async def _create_alias(self, req: CoreRequest, p: AliasParams, custom: Mapping[str, str]) -> dict[str, Any]:
        identity, view, now = req.node.identity, req.root, self.clock.time()
        if p.canonical_id:
            found = await identity.entity(view, p.canonical_id)
            if found is None:
                raise InvalidRequest("invalid canonical ID")
            owner = found
            if owner.alias_on(p.mount_accessor) is not None:
                raise InvalidRequest("Alias already exists for requested entity and mount accessor")
        else:
            owner = Entity(new_id(), random_name("entity"), now, now)
            identity.save(view, owner)
        alias = Alias(new_id(), p.name, p.mount_accessor, now, now, custom_metadata=custom)
        identity.attach(view, owner, alias)
        return {"canonical_id": owner.id, "id": alias.id}

    async def _change_alias(
        self, req: CoreRequest, p: AliasParams, owner: Entity, old: Alias, custom: Mapping[str, str] | None
    ) -> dict[str, Any] | None:
        identity, view = req.node.identity, req.root
        alias = replace(
            old,
            name=p.name or old.name,
            mount_accessor=p.mount_accessor or old.mount_accessor,
            custom_metadata=old.custom_metadata if custom is None else custom,
        )
        target = owner
        if p.canonical_id not in ("", owner.id):
            found = await identity.entity(view, p.canonical_id)
            if found is None:
                raise InvalidRequest("given 'canonical_id' is not associated with an entity")
            target = found
        if alias == old and target.id == owner.id:
            return None
        there = target.alias_on(alias.mount_accessor)
        if there is not None and there.id != alias.id:
            raise InvalidRequest(
                "Alias cannot be updated as the entity already has an alias for the given 'mount_accessor' "
                if target is owner
                else "Alias cannot be updated as the given entity already has an alias for this mount "
            )
        taken = await identity.by_alias(view, alias.mount_accessor, alias.name)
        if taken is not None and taken.id != owner.id:
            raise InvalidRequest("alias with combination of mount accessor and name already exists")
        alias = replace(alias, last_update_time=self.clock.time())
        if target.id != owner.id:
            identity.detach(view, owner, old)
            identity.attach(view, target, alias)
        else:
            identity.attach(view, target, alias, old)
        return {"canonical_id": target.id, "id": alias.id}

    @read("entity-alias/id/{id}")
    @read("alias/id/{id}")
    @read("persona/id/{id}")
    async def read_alias(self, req: CoreRequest, p: AliasId) -> dict[str, Any]:
        """Show an alias."""
        owner = await req.node.identity.by_alias_id(req.root, p.id)
        alias = None if owner is None else owner.alias(p.id)
        if owner is None or alias is None:
            raise NotFound
        return Mounts(req).alias(alias, owner.id) | {"namespace_id": req.node.namespace.id}

    @delete("entity-alias/id/{id}")
    @delete("alias/id/{id}")
    @delete("persona/id/{id}")
    async def delete_alias(self, req: CoreRequest, p: AliasId) -> None:
        """Delete an alias: the next login under its name begins a new entity."""
        owner = await req.node.identity.by_alias_id(req.root, p.id)
        alias = None if owner is None else owner.alias(p.id)
        if owner is not None and alias is not None:
            req.node.identity.detach(req.root, owner, alias)

    @list_("entity-alias/id")
    @list_("alias/id")
    @list_("persona/id")
    async def list_aliases(self, req: CoreRequest, p: NoParams) -> Response:
        """List the ids of all aliases of entities, with what they are."""
        mounts = Mounts(req)
        info = {
            alias.id: mounts.listed(alias, entity.id)
            async for entity in req.node.identity.entities(req.root)
            for alias in entity.aliases
        }
        return listing(dict(sorted(info.items())))
