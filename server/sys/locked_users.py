"""``sys/locked-users``: who is locked out after failed logins, and letting them in again."""

from __future__ import annotations

from typing import Annotated, Any

from ...framework import Field, Params, read, update
from ..lockout import stored
from ..request import CoreRequest
from .base import SystemRoutes


class LockedParams(Params):
    mount_accessor: Annotated[str, Field("Show those of this auth mount only.")] = ""


class LockedUser(Params):
    mount_accessor: Annotated[str, Field("Accessor of the auth mount.")]
    alias_identifier: Annotated[str, Field("Name that the user logs in by, or id of the role.")]


class LockedUserRoutes(SystemRoutes):
    """Users that are locked out."""

    @read("locked-users")
    async def list_locked_users(self, req: CoreRequest, p: LockedParams) -> dict[str, Any]:
        """Show who is locked out, by namespace and auth mount."""
        here, namespaces = req.node.namespace, req.node.namespaces
        for namespace in await stored(req.root, namespaces.below(here, deep=True)):
            await namespaces.node(namespace)  # to take them up
        locked = self.core.lockout.locked(here, p.mount_accessor) or [(here, {})]
        by_namespace: list[dict[str, Any]] = []
        for namespace, mounts in locked:
            if p.mount_accessor:
                mounts.setdefault(p.mount_accessor, [])
            by_namespace.append({
                "namespace_id": namespace.id,
                "namespace_path": namespace.path,
                "counts": sum(map(len, mounts.values())),
                "mount_accessors": [
                    {"mount_accessor": accessor, "counts": len(names), "alias_identifiers": names or None}
                    for accessor, names in mounts.items()
                ],
            })  # fmt: skip
        return {"by_namespace": by_namespace, "total": sum(each["counts"] for each in by_namespace)}

    @update("locked-users/{mount_accessor:segment}/unlock/{alias_identifier:some}", writes=False)
    async def unlock_user(self, req: CoreRequest, p: LockedUser) -> None:
        """Let a user log in again."""
        await self.core.lockout.unlock(req.node, p.mount_accessor, p.alias_identifier)
