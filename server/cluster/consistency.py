"""How current an answer is: at least as its client asks, and without a wish as current as any node's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...framework.errors import PreconditionFailed, Unavailable
from ..replication_state import INCONSISTENT, INDEX, Index

if TYPE_CHECKING:
    from ...storage.raft.engine import RaftEngine

_WAIT_SECONDS = 1.0


class Consistency:
    """What has to be here before a request is answered."""

    def __init__(self, engine: RaftEngine) -> None:
        self._engine = engine
        self._asked: asyncio.Future[None] | None = None  # for the requests of this turn of the event loop

    async def current(self) -> None:
        """Return once all is here that any node had acknowledged before the call; raises Unavailable.

        Requests of one turn of the event loop ask together. Those that come later ask again: what they may have seen
        acknowledged could be newer than what was asked for.
        """
        if self._engine.leader is None and not self._engine.leading:
            raise Unavailable("the cluster has no active node at the moment; try again")
        if self._asked is None:
            loop = asyncio.get_running_loop()
            self._asked = loop.create_future()
            loop.call_soon(self._ask)
        await asyncio.shield(self._asked)

    def _ask(self) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None

        def answer(task: asyncio.Task[int]) -> None:
            if task.cancelled() or task.exception() is not None:
                asked.set_exception(Unavailable("the active node of the cluster cannot be reached; try again"))
                asked.exception()  # whoever waited may have gone
            else:
                asked.set_result(None)

        asyncio.ensure_future(self._engine.read_index()).add_done_callback(answer)

    async def satisfied(self, headers: Mapping[str, str], cluster: str) -> bool:
        """Return once this node has what a request asks for; False when another is to answer it.

        Raises Unavailable, and PreconditionFailed when it has not and its client prefers to be told.
        """
        wanted = Index.parse(text) if (text := headers.get(INDEX)) else None
        if wanted is None or wanted.cluster not in ("", cluster):
            await self.current()
            return True
        if wanted.value <= self._engine.status.applied:
            return True
        if headers.get(INCONSISTENT) == "forward-active-node":
            return False
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._engine.applied(wanted.value)
        except TimeoutError:
            raise PreconditionFailed("required index state not present") from None
        return True
