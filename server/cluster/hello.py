"""What a node says of itself to another that connects and asks: a line of JSON, and the connection ends."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import cast

import orjson

_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Description:
    """``active_since``: when it began to lead, seconds since the epoch; 0: it does not."""

    id: str
    hostname: str
    api_addr: str
    cluster_addr: str
    version: str
    active_since: float = 0.0


class Said(asyncio.Protocol):
    """The side that tells."""

    def __init__(self, about: Description) -> None:
        self._about = about

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        made.write(orjson.dumps(asdict(self._about)))
        made.close()


class Heard(asyncio.Protocol):
    """The side that asks. ``about`` is done with what it was told, or fails with ConnectionError."""

    def __init__(self) -> None:
        self.about: asyncio.Future[Description] = asyncio.get_running_loop().create_future()
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > _LONGEST and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self.about.done():
            return
        try:
            self.about.set_result(Description(**orjson.loads(self._data)))
        except (ValueError, TypeError):
            self.about.set_exception(ConnectionError("it does not say who it is"))
