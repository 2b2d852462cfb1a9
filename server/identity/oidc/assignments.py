"""``identity/oidc/assignment``: who may log in to which applications."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

from ....framework import Field, NoParams, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ....framework.storage import ReadView
from ...policy.templating import Identity
from ...request import CoreRequest
from .base import Name, OidcEngine, changes
from .records import ANY, Assignment, Client


class AssignmentParams(Name):
    entity_ids: Annotated[list[str], Field("Ids of entities.")] = field(default_factory=list)
    group_ids: Annotated[list[str], Field("Ids of groups.")] = field(default_factory=list)


class AssignmentRoutes(OidcEngine):
    @read("oidc/assignment/{name}")
    async def read_oidc_assignment(self, req: CoreRequest, p: Name) -> dict[str, Any]:
        """Read an assignment."""
        assignment = await self.oidc.assignments.get(req.storage, p.name)
        if assignment is None:
            raise NotFound
        return {"entity_ids": assignment.entity_ids, "group_ids": assignment.group_ids}

    @update("oidc/assignment/{name}", exists="oidc_assignment_exists")
    async def write_oidc_assignment(self, req: CoreRequest, p: AssignmentParams) -> None:
        """Create or change an assignment: entities and groups that may log in where it is used."""
        if p.name in self.oidc.assignments.builtin:
            raise InvalidRequest(f'modification of assignment "{p.name}" not allowed')
        old = await self.oidc.assignments.get(req.storage, p.name) or Assignment()
        self.oidc.assignments.put(req.storage, p.name, replace(old, **changes(p)))

    @delete("oidc/assignment/{name}")
    async def delete_oidc_assignment(self, req: CoreRequest, p: Name) -> None:
        """Delete an assignment that no client uses."""
        if p.name in self.oidc.assignments.builtin:
            raise InvalidRequest(f'deletion of assignment "{p.name}" not allowed')
        clients = await self.oidc.clients.all(req.storage)
        if users := [name for name, client in clients.items() if p.name in client.assignments]:
            raise InvalidRequest(
                f'unable to delete assignment "{p.name}" because it is currently referenced by these clients: '
                + ", ".join(users)
            )
        self.oidc.assignments.delete(req.storage, p.name)

    @list_("oidc/assignment")
    async def list_oidc_assignments(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List assignments."""
        return {"keys": await self.oidc.assignments.names(req.storage)}

    async def oidc_assignment_exists(self, req: CoreRequest, p: AssignmentParams) -> bool:
        return await self.oidc.assignments.get(req.storage, p.name) is not None

    async def is_assigned(self, view: ReadView, client: Client, identity: Identity) -> bool:
        """Whether the entity may log in to the client: itself, or a group that it is in."""
        for name in client.assignments:
            assignment = await self.oidc.assignments.get(view, name)
            if assignment is None:
                continue
            if ANY in assignment.entity_ids or identity.id in assignment.entity_ids:
                return True
            if any(group.id in assignment.group_ids for group in identity.groups):
                return True
        return False
