"""``sys/control-group``: approvals of requests that wait for them."""

from __future__ import annotations

from typing import Annotated, Any

from ...framework import Field, Params, update
from ...framework.errors import MultipleErrors
from .. import control_group
from ..request import CoreRequest
from ..tokens import TokenEntry
from .base import SystemRoutes


class WaitingRequest(Params):
    accessor: Annotated[str, Field("Accessor of the token that was the answer to the request.")] = ""


class ControlGroupRoutes(SystemRoutes):
    """Approvals that policies ask for."""

    @update("control-group/authorize")
    async def authorize(self, req: CoreRequest, p: WaitingRequest) -> dict[str, Any]:
        """Approve of a request, as a member of a group that its policy names."""
        waiting = await control_group.approve(req, await _entry(req, p.accessor))
        return {"approved": waiting.approved(req.node.clock.time())}

    @update("control-group/request", writes=False)
    async def show_request(self, req: CoreRequest, p: WaitingRequest) -> dict[str, Any]:
        """Show a request that waits, who made it, and who has approved of it."""
        waiting = await control_group.waiting_of(req.root, await _entry(req, p.accessor))
        home = req.node.namespaces.live.get(waiting.home)
        node = await req.node.namespaces.node(home) if home is not None else req.node.namespaces.root
        requester = await node.identity.entity(req.root, waiting.entity_id) if waiting.entity_id else None
        return {
            "approved": waiting.approved(req.node.clock.time()),
            "request_operation": waiting.operation,
            "request_path": waiting.path,
            "request_data": waiting.data or None,
            "request_entity": {"id": waiting.entity_id, "name": requester.name if requester else ""},
            "authorizations": [
                {"entity_id": each.entity_id, "entity_name": each.entity_name} for each in waiting.approvals
            ],
        }


async def _entry(req: CoreRequest, accessor: str) -> TokenEntry:
    if not accessor:
        raise MultipleErrors("missing accessor")
    entry = await req.node.tokens.by_accessor(req.root, accessor)
    if entry is None or not req.node.holds(entry):
        raise MultipleErrors("invalid accessor")
    return entry
