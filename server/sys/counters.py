"""``sys/internal/counters`` and ``sys/internal/inspect``: how many there are of what, and what is mounted where."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, read
from ...framework.errors import MultipleErrors, NotFound, UnsupportedPath
from ...framework.storage import ReadView
from ..request import CoreRequest
from .base import SystemRoutes

_PAGE = 5000


class InspectTag(Params):
    tag: Annotated[str, Field("root, uuid, accessor or storage: by what the mounts are found.")]


class CounterRoutes(SystemRoutes):
    """Numbers."""

    @read("internal/counters/tokens")
    async def count_tokens(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Count the service tokens; batch tokens are not stored, and so not counted."""
        total = await count(req.node.store, f"{req.node.namespace.prefix}sys/token/id/")
        return {"counters": {"service_tokens": {"total": total}}}

    @read("internal/counters/entities")
    async def count_entities(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Count the entities."""
        total = await count(req.node.store, f"{req.node.namespace.prefix}identity/entity/")
        return {"counters": {"entities": {"total": total}}}

    @read("internal/counters/requests")
    async def count_requests(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Gone: Vault counts no requests here any more. The metrics do."""
        raise NotFound("The functionality has been removed on this path")

    @read("internal/inspect/router/{tag}", sudo=True)
    async def inspect_router(self, req: CoreRequest, p: InspectTag) -> dict[str, Any]:
        """Show the mounts as the router knows them."""
        if not self.core.config.introspection_endpoint or p.tag not in ("root", "uuid", "accessor", "storage"):
            raise UnsupportedPath(MultipleErrors("unsupported path").args[0])
        stored = p.tag in ("root", "storage")
        found = []
        for mount in req.node.router:
            entry = mount.entry
            shown: dict[str, Any] = {
                "accessor": entry.accessor,
                "mount_namespace": req.node.namespace.path,
                "mount_path": entry.path,
                "mount_type": entry.type,
                "uuid": entry.uuid,
            }
            found.append(shown | {"storage_prefix": mount.prefix, "tainted": entry.tainted} if stored else shown)
        return {p.tag: found}


async def count(view: ReadView, folder: str) -> int:
    """How many entries a folder has; other requests run meanwhile, and memory stays small."""
    total, after = 0, ""
    while names := await view.list(folder, after, _PAGE):
        total, after = total + len(names), names[-1]
        await asyncio.sleep(0)
    return total
