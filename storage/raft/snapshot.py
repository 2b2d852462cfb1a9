"""Sending a whole state to a node that needs more than the log still has, part by part, checked by its SHA-256.

The sender waits for the answer to a part before it sends the next, so a slow disk there slows this down and nothing
else. What arrives is put beside the state, synced as it comes, and takes its place at once when it is whole and what
it should be. A transfer that is given up leaves the state as it was, and begins anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .engine import Configuration
from .messages import Message

PART = 1 << 20
"""Bytes of a part."""
RESEND = 5.0
"""Seconds without an answer, after which a part is sent again."""


class Source(Protocol):
    """A state at one index, that does not change any more."""

    index: int
    term: int
    members: Configuration
    size: int

    def read(self, offset: int, size: int) -> bytes: ...

    def close(self) -> None: ...


class Sink(Protocol):
    """Beside a state, one that arrives. All of it is called off the event loop."""

    def write(self, data: bytes) -> None:
        """Append, and sync. Raises OSError."""
        ...

    def install(self, index: int, term: int, members: Configuration) -> None:
        """It is the state now, durably. Raises OSError if it is not the one that it was said to be."""
        ...

    def close(self) -> None:
        """Let go of it; what has arrived is of no use any more, or installed."""
        ...


@dataclass(slots=True)
class Sending:
    """To one node, on the leader."""

    source: Source
    term: int
    number: int  # of the transfers of this leader
    offset: int = 0
    sent: float = 0.0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    hashed: int = 0

    def part(self, members: bytes, now: float) -> Message:
        source = self.source
        data = source.read(self.offset, PART)
        if self.offset == self.hashed:
            self.digest.update(data)
            self.hashed += len(data)
        self.sent = now
        whole = self.offset + len(data) == source.size
        return {
            "type": "snapshot",
            "term": self.term,
            "number": self.number,
            "index": source.index,
            "last_term": source.term,
            "members": members,
            "members_index": source.members.index,
            "size": source.size,
            "offset": self.offset,
            "data": data,
            "sha256": self.digest.digest() if whole else b"",
        }


class Receiving:
    """From the leader, on a node that lags."""

    def __init__(self, node: str, message: Message, sink: Sink) -> None:
        self.key = _key(node, message)
        self.sink = sink
        self.offset = 0
        self._digest = hashlib.sha256()

    def is_of(self, node: str, message: Message) -> bool:
        return self.key == _key(node, message)

    def take(self, message: Message) -> Callable[[], None] | None:
        """The work to do off the event loop if it is the next part; else None."""
        data = message["data"]
        if message["offset"] != self.offset or self.offset + len(data) > message["size"]:
            return None
        self._digest.update(data)
        self.offset += len(data)
        return lambda: self.sink.write(data)

    def whole(self, message: Message) -> bool:
        return bool(self.offset == message["size"])

    def right(self, message: Message) -> bool:
        """Whether all of it is what the sender had."""
        return bool(self._digest.digest() == message["sha256"])


def _key(node: str, message: Message) -> tuple[str, int, int]:
    return node, message["term"], message["number"]
