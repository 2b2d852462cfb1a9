"""``sys/wrapping``: keeping answers for one pick-up."""

from __future__ import annotations

from typing import Annotated, Any

from ...framework import Field, Params, Response, read, update
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest
from .. import control_group, wrapping
from ..request import CoreRequest
from .base import SystemRoutes


class WrapParams(Params):
    open = True


class WrappedToken(Params):
    token: Annotated[str, Field("The wrapping token; that of the request when left out.", sensitive=True)] = ""


class WrappingRoutes(SystemRoutes):
    """Response wrapping."""

    @update("wrapping/wrap")
    async def wrap(self, req: CoreRequest, p: WrapParams) -> dict[str, Any]:
        """Wrap what is sent: answer with a token that fetches it once."""
        if not req.incoming.wrap_ttl:
            raise InvalidRequest("endpoint requires response wrapping to be used")
        return dict(p.extra)

    @read("wrapping/lookup", auth=False)
    @update("wrapping/lookup", auth=False, writes=False)
    async def lookup(self, req: CoreRequest, p: WrappedToken) -> dict[str, Any]:
        """Tell when and by what a wrapping token was made; this does not use it up."""
        token = wrapping.token_of(req.incoming)
        entry = await req.node.tokens.lookup(req.root, token)
        if entry is not None and entry.policies == (wrapping.CONTROL_POLICY,):
            made, ttl = rfc3339(entry.creation_time), entry.creation_ttl
            return {"creation_path": entry.path, "creation_time": made, "creation_ttl": ttl}
        _, kept = await wrapping.look_up(req.node, req.root, token)
        return {
            "creation_path": kept.creation_path,
            "creation_time": rfc3339(kept.creation_time),
            "creation_ttl": kept.creation_ttl,
        }

    @update("wrapping/unwrap")
    async def unwrap(self, req: CoreRequest, p: WrappedToken) -> Response:
        """Give the answer that a wrapping token stands for, and spend the token."""
        token = wrapping.token_of(req.incoming)
        is_caller = token == req.incoming.token
        waiting = req.caller if is_caller else await req.node.tokens.lookup(req.root, token)
        if waiting is not None and waiting.policies == (wrapping.CONTROL_POLICY,):
            return await control_group.release(req, waiting)
        if is_caller:  # its one use has been counted; it is revoked after this request
            if req.caller.policies != (wrapping.WRAPPING_POLICY,):
                raise InvalidRequest("wrapping token is not valid or does not exist")
            return await wrapping.unwrapped(req, await wrapping.contents(req.root, req.caller))
        entry, kept = await wrapping.look_up(req.node, req.root, token)
        await req.node.tokens.revoke(req.root, entry.key)
        return await wrapping.unwrapped(req, kept)

    @update("wrapping/rewrap")
    async def rewrap(self, req: CoreRequest, p: WrappedToken) -> Response:
        """Exchange a wrapping token for a fresh one with the same lifetime."""
        return await wrapping.rewrap(req.node, req.root, wrapping.token_of(req.incoming))
