"""``sys/leases``: look up, list, renew and revoke leases; the same under their older paths."""

from __future__ import annotations

from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, list_, read, update
from ...framework.errors import InvalidRequest, NotFound
from ...framework.messages import tidying
from ...framework.wire import SECONDS
from ..request import CoreRequest
from .base import SystemRoutes, measured

_SHOWN = 10_000  # irrevocable leases in one answer, unless more are asked for


class LeaseParams(Params):
    lease_id: Annotated[str, Field("Id of the lease.")] = ""
    url_lease_id: Annotated[str, Field("Id of the lease, as part of the path.")] = ""

    def id(self) -> str:
        if not (self.lease_id or self.url_lease_id):
            raise InvalidRequest("lease_id must be specified")
        return self.lease_id or self.url_lease_id


class LookupParams(Params):
    lease_id: Annotated[str, Field("Id of the lease.")] = ""


class RenewParams(LeaseParams):
    increment: Annotated[int, Field("How long it is to last from now; 0 gives what it was given first.", SECONDS)] = 0


class RevokeParams(LeaseParams):
    sync: Annotated[bool, Field("Answer when it is revoked; otherwise that goes on in the background.")] = True


class PrefixParams(Params):
    prefix: Annotated[str, Field("Path that the leases are under.")]
    sync: Annotated[bool, Field("Answer when all are revoked; otherwise that goes on in the background.")] = True


class ForcedParams(Params):
    prefix: Annotated[str, Field("Path that the leases are under.")]


class ListParams(Params):
    prefix: Annotated[str, Field("Path to list.")] = ""


class CountParams(Params):
    type: Annotated[str, Field("Which leases: irrevocable.")] = ""
    include_child_namespaces: Annotated[bool, Field("Those of the namespaces below, too.")] = False


class IrrevocableParams(CountParams):
    limit: Annotated[str, Field(f'At most so many; "none" for all. {_SHOWN} when it is not given.')] = ""


class LeaseRoutes(SystemRoutes):
    """Leases. Those that change some run no transaction of their own: every lease ends in one for itself."""

    @update("leases/lookup", writes=False)
    @measured("expire.fetch-lease-times")
    async def lookup_lease(self, req: CoreRequest, p: LookupParams) -> dict[str, Any]:
        """Show a lease."""
        if not p.lease_id:
            raise InvalidRequest("lease_id must be specified")
        shown = await req.node.leases.describe(req.root, p.lease_id)
        if shown is None:
            raise InvalidRequest("invalid lease")
        return shown

    @list_("leases/lookup[/{prefix:path}]", sudo=True)
    async def list_leases(self, req: CoreRequest, p: ListParams) -> dict[str, Any]:
        """List the ids of leases under a path."""
        keys = await req.node.leases.index.children(p.prefix.strip("/"))
        if not keys:
            raise NotFound
        return {"keys": keys}

    @update("leases/renew[/{url_lease_id:some}]", writes=False)
    @update("renew[/{url_lease_id:some}]", writes=False)
    @measured("expire.renew")
    async def renew_lease(self, req: CoreRequest, p: RenewParams) -> Response:
        """Renew a lease: give it a new end."""
        entry, life = await req.node.leases.renew(p.id(), p.increment)
        return Response(lease_id=entry.id, renewable=entry.renewable, lease_duration=life.ttl, warnings=life.warnings)

    @update("leases/revoke[/{url_lease_id:some}]", writes=False)
    @update("revoke[/{url_lease_id:some}]", writes=False)
    async def revoke_lease(self, req: CoreRequest, p: RevokeParams) -> Response | None:
        """Revoke a lease: take back what it gave."""
        if p.sync:
            await req.node.revocations.revoke(p.id())
            return None
        await req.node.revocations.revoke_later(p.id())
        return Response(status=202, body=b"")

    @update("leases/revoke-prefix/{prefix:some}", sudo=True, writes=False)
    @update("revoke-prefix/{prefix:some}", sudo=True, writes=False)
    @measured("expire.revoke-prefix")
    async def revoke_prefix(self, req: CoreRequest, p: PrefixParams) -> Response | None:
        """Revoke all leases under a path."""
        if p.sync:
            await req.node.revocations.revoke_prefix(p.prefix)
            return None
        await req.node.revocations.revoke_prefix_later(p.prefix)
        return Response(status=202, body=b"")

    @update("leases/revoke-force/{prefix:some}", sudo=True, writes=False)
    @update("revoke-force/{prefix:some}", sudo=True, writes=False)
    @measured("expire.revoke-force")
    async def revoke_force(self, req: CoreRequest, p: ForcedParams) -> None:
        """Forget all leases under a path, whether or not what they gave can be taken back."""
        await req.node.revocations.revoke_prefix(p.prefix, force=True)

    @update("leases/tidy", writes=False)
    async def tidy_leases(self, req: CoreRequest, p: NoParams) -> Response:
        """Revoke leases that have outlived their token, in the background."""
        return tidying(req.node.tidy_leases())

    @read("leases", sudo=True)
    async def irrevocable_leases(self, req: CoreRequest, p: IrrevocableParams) -> Response:
        """List the leases whose revocation was given up, and why."""
        if p.type != "irrevocable":
            raise NotFound
        limit = _limit(p.limit)
        leases = req.node.leases
        found = await leases.irrevocable(limit + 1 if limit else 0)
        shown = found[:limit] if limit else found
        warnings = []
        if len(found) > len(shown):
            warnings.append(f'There are more than {limit} irrevocable leases; ask with limit "none" for all of them.')
        return Response(
            data={
                "lease_count": len(shown),
                "leases": [
                    {"lease_id": entry.id, "mount_id": leases.accessor(entry.id), "error": entry.error}
                    for entry in shown
                ],
            },
            warnings=warnings,
        )

    @read("leases/count")
    async def count_leases(self, req: CoreRequest, p: CountParams) -> dict[str, Any]:
        """Count the leases whose revocation was given up, by the accessor of their mount."""
        if p.type != "irrevocable":
            raise NotFound
        counts = await req.node.leases.count_irrevocable()
        return {"lease_count": sum(counts.values()), "counts": counts}


def _limit(text: str) -> int:
    """How many to show at most; 0: all."""
    if not text:
        return _SHOWN
    if text == "none":
        return 0
    if not text.isascii() or not text.isdigit() or not int(text[:9]):
        raise InvalidRequest("limit must be 'none' or a positive integer")
    return int(text[:9])
