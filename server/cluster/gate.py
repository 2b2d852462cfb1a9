"""The log's transport behind a gate: nodes talk to each other while this one has a certificate."""

from __future__ import annotations

from collections.abc import Sequence

from ...storage.raft.engine import Server
from ...storage.raft.messages import Message
from ...storage.raft.transport import Receiver, Transport


class Gate:
    """A ``Transport`` that is shut at first, and says nothing then."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._receiver: Receiver | None = None
        self._others: Sequence[Server] = ()
        self._unlocked = self._running = False

    async def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        await self._settle()

    async def close(self) -> None:
        self._receiver = None
        await self._settle()

    async def unlock(self) -> None:
        """Let messages through, from now on whenever this is started."""
        self._unlocked = True
        await self._settle()

    async def lock(self) -> None:
        """Close every connection."""
        self._unlocked = False
        await self._settle()

    async def _settle(self) -> None:
        wanted = self._unlocked and self._receiver is not None
        if wanted == self._running:
            return
        self._running = wanted
        if self._receiver is not None and wanted:
            await self._inner.start(self._receiver)
            self._inner.reach(self._others)
        else:
            await self._inner.close()

    def reach(self, others: Sequence[Server]) -> None:
        self._others = others
        if self._running:
            self._inner.reach(others)

    def send(self, node: str, message: Message) -> None:
        self._inner.send(node, message)

    def room(self, node: str) -> bool:
        return self._inner.room(node)
