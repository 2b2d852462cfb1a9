"""An HTTP request as the edge takes it: what aiohttp's parser gives, without aiohttp's ``BaseRequest`` around it.

That one is made to be asked anything, and takes a twentieth of the time of a small request for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

if TYPE_CHECKING:
    import asyncio

    from .connection import Connection


class HttpRequest:
    """``content``: its body as it arrives; ``body``: what was read of it. ``begun``: whether an answer is on its way:
    no other may follow."""

    __slots__ = ("begun", "body", "content", "headers", "keep_alive", "method", "protocol", "raw_path", "version")

    def __init__(self, message: RawRequestMessage, content: StreamReader, protocol: Connection) -> None:
        self.method = message.method
        self.raw_path = message.path
        self.headers = message.headers
        self.version = message.version
        self.keep_alive = not message.should_close
        self.content = content
        self.protocol = protocol
        self.begun = False
        self.body = b""

    @property
    def transport(self) -> asyncio.Transport | None:
        """None once the client has gone."""
        return self.protocol.transport

    def has_body(self) -> bool:
        """Whether there is something of a body to read, or may be."""
        return not self.content.at_eof()

    # What aiohttp's connection asks of a request.

    def _cancel(self, error: BaseException) -> None:
        self.content.set_exception(error)

    def _finish(self) -> None:
        pass
