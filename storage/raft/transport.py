"""How messages reach other nodes, and from whom they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .engine import Server
from .messages import Message


class Receiver(Protocol):
    """Told on the event loop. ``node`` is who the transport has made sure it is."""

    def received(self, node: str, message: Message) -> None: ...

    def connected(self, node: str, is_there: bool) -> None: ...


class Transport(Protocol):
    """Messages to one node arrive in order, whole, and at most once, or its connection is said to have ended."""

    async def start(self, receiver: Receiver) -> None: ...

    def reach(self, others: Sequence[Server]) -> None:
        """Keep connections to these, and to no others."""
        ...

    def send(self, node: str, message: Message) -> None:
        """Without a connection it is dropped."""
        ...

    def room(self, node: str) -> bool:
        """Whether more may be sent at once, or too much waits already."""
        ...

    async def close(self) -> None: ...


class Alone:
    """A ``Transport`` of a node without others."""

    async def start(self, receiver: Receiver) -> None: ...

    def reach(self, others: Sequence[Server]) -> None: ...

    def send(self, node: str, message: Message) -> None: ...

    def room(self, node: str) -> bool:
        return False

    async def close(self) -> None: ...
