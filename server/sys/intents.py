"""``sys/intents``: what requests began at other systems and neither finished nor undid."""

from __future__ import annotations

from typing import Annotated, Any

from ...framework import Field, NoParams, Params, delete, list_, update
from ...framework.errors import NotFound
from ..request import CoreRequest
from .base import SystemRoutes


class IntentId(Params):
    id: Annotated[str, Field("Id of the intent.")]


class IntentRoutes(SystemRoutes):
    """What failed requests, or a server that died, have left at other systems. Engines settle it by themselves; what
    stands here for long has an error that says why they cannot."""

    @list_("intents", sudo=True)
    async def list_intents(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List what is not settled, with the error of the last attempt."""
        left = await req.node.intents.all()
        if not left:
            raise NotFound
        return {"keys": [each.id for each in left], "key_info": {each.id: each.describe() for each in left}}

    @update("intents/{id}/recover", sudo=True, writes=False)
    async def recover_intent(self, req: CoreRequest, p: IntentId) -> None:
        """Have it undone or finished now."""
        await req.node.intents.recover(p.id)

    @delete("intents/{id}", sudo=True)
    async def forget_intent(self, req: CoreRequest, p: IntentId) -> None:
        """Forget it: what it stands for may remain at the other system, and is yours to remove."""
        await req.node.intents.forget(req.root, p.id)
