"""``sys/storage/raft/snapshot``: the whole store as one file, saved and restored.

The path is Raft's, as in Vault; it serves every store that can be copied while it works.
"""

from __future__ import annotations

from ...framework import NoParams, Response, read, update
from ...framework.errors import InvalidRequest
from ..request import CoreRequest
from .base import SystemRoutes


class SnapshotRoutes(SystemRoutes):
    """Snapshots of all that is stored."""

    @read("storage/raft/snapshot")
    async def save_snapshot(self, req: CoreRequest, p: NoParams) -> Response:
        """Save a snapshot: the answer is its file.

        All secrets in it are encrypted. It is checked and restored with a POST to the same path.
        """
        meta, content = await self.core.whole.save()
        name = f"caveau-{meta['time'].replace(':', '').partition('.')[0].rstrip('Z')}Z.snap"
        headers = {"Content-Type": "application/gzip", "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(stream=content, headers=headers)

    @update("storage/raft/snapshot", writes=False)
    async def restore_snapshot(self, req: CoreRequest, p: NoParams) -> None:
        """Restore a snapshot of this cluster, which is the body: everything stored is as it was then.

        It is checked whole before anything is touched. The server must have the keys of the one that saved it.
        """
        await self._restore(req, force=False)

    @update("storage/raft/snapshot-force", writes=False, sealed=True)
    async def force_snapshot(self, req: CoreRequest, p: NoParams) -> None:
        """Restore a snapshot of another cluster, whose unseal keys are those of this one from then on.

        A server that was never initialized takes one from anybody, as it would be initialized by anybody.
        """
        await self.core.whole.check_open()
        await self._restore(req, force=True)

    async def _restore(self, req: CoreRequest, *, force: bool) -> None:
        if req.incoming.content is None:
            raise InvalidRequest("the body has to be the snapshot")
        await self.core.whole.restore(req.incoming.content, force=force)
