"""One HTTP connection, with limits that aiohttp does not set: time for headers, for a body, for a slow reader.

No timer is set for a request. A connection notes when it began to wait; its server looks at all
of them about once a second.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web_server
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from .answer import Answer, Outbox, errors
from .config import ListenerConfig
from .verbs import disguise

_log = logging.getLogger(__name__)

Handler = Callable[[BaseRequest], Awaitable[Answer]]

MAX_FIELD = 32 << 10
"""Longest request line and longest header, in bytes. Tokens and JWTs are the long ones."""
MAX_HEADERS = 128
_UNKNOWN_VERB = re.compile(r"^ *b['\"][-!#$%&'*+.^`|~\w]+ ", re.ASCII | re.MULTILINE)
"""In the parser's message, which shows the request line: a verb (RFC 9110, section 9.1) that it does not know."""


class Connection(RequestHandler):
    """``_since`` is when the request being read began to arrive (0: none is), ``_body`` its unfinished body.

    ``overdue``: over how many seconds the request being answered is, which was cancelled for it; 0: it is not.
    """

    __slots__ = (
        "_answering",
        "_begun",
        "_between",
        "_body",
        "_chunked",
        "_parsed",
        "_since",
        "_stalled",
        "_taken",
        "outbox",
        "overdue",
    )

    def __init__(self, server: Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self.outbox = server.outbox
        self._since = 0.0
        self._stalled = 0.0  # since when the client does not take what we write
        self._parsed = 0
        self._between = True  # whether the next byte begins a request
        self._begun = b""  # what has arrived of a verb
        self._body: StreamReader | None = None
        self._chunked = False  # whether that comes in chunks
        self._answering: asyncio.Task[Any] | None = None
        self._taken = 0.0  # when it was taken up
        self.overdue = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._manager
        assert isinstance(server, Server)
        super().connection_made(transport)
        self._since = self._loop.time()
        if server.full:
            _log.warning("connection refused: the listener has its %d connections", server.limit)
            self.force_close()

    def data_received(self, data: bytes) -> None:
        if self._between:
            verb = disguise(self._begun + data)
            if verb is None:
                self._begun += data
                return
            data, self._begun = verb, b""
        before = 0 if self._body is None else self._body.total_bytes
        super().data_received(data)
        if new := self._request_count - self._parsed:  # a request's headers are complete
            self._parsed = self._request_count
            message, self._body = self._messages[-1] if self._messages else (None, None)
            self._chunked = bool(getattr(message, "chunked", False))
        if self._body is not None:
            if self._body.is_eof():
                ended = data.endswith(b"\r\n\r\n") or (
                    self._all(data, new) if new else self._chunked or self._body.total_bytes - before == len(data)
                )
                self._body = None
                self._since = 0.0 if ended else self._loop.time()
        elif data and self._since == 0.0:  # aiohttp calls with nothing, to go on with what it has buffered
            self._since = self._loop.time()
        self._between = self._since == 0.0

    def _all(self, data: bytes, new: int) -> bool:
        """Whether the ``new`` requests, the last of them whole, are all that ``data`` holds.

        False only when the headers of one more request have begun to arrive: a clock runs for them.
        """
        if not self._between or self._buffer_paused or new > len(self._messages):
            return True  # where each begins in the data, or what the parser holds back, is not known
        *earlier, (last, body) = list(self._messages)[-new:]
        if getattr(last, "chunked", False):
            return False  # chunks end in an empty line, and the data does not
        at = 0
        for message, payload in earlier:
            if getattr(message, "chunked", False):
                return True  # how long it is, is not known
            at = data.find(b"\r\n\r\n", at) + 4 + payload.total_bytes
        return data.find(b"\r\n\r\n", at) + 4 + body.total_bytes >= len(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled = 0.0

    async def _handle_request(self, *arguments: Any) -> tuple[StreamResponse, bool]:
        self._answering, self._taken = asyncio.current_task(), self._loop.time()
        try:
            return await super()._handle_request(*arguments)
        finally:
            self._answering, self.overdue = None, 0.0

    @property
    def busy(self) -> bool:
        """Whether a request has begun to arrive or is being answered."""
        return self._request_in_progress or bool(self._messages) or (self._since > 0.0 and self._parsed > 0)

    def expire(self, now: float, limits: ListenerConfig) -> None:
        """Close the connection, or cancel its request, if it is over one of its limits."""
        if (
            self._current_request is not None  # its handler is at work; sending the response is another matter
            and self._answering is not None
            and not self.overdue
            and limits.max_request_duration
            and now - self._taken > limits.max_request_duration
        ):
            self.overdue = limits.max_request_duration
            self._answering.cancel()
        if self._since and (self._body is not None or self._answering is None):  # a further request may wait
            limit = limits.http_read_timeout if self._body is not None else _header_limit(limits)
            if limit and now - self._since > limit:
                _log.debug(
                    "closed a connection that took over %gs to send its %s",
                    limit,
                    "request" if self._body is not None else "headers",
                )
                self.force_close()
        elif limits.http_write_timeout and self._stalled and now - self._stalled > limits.http_write_timeout:
            _log.debug("closed a connection that did not take its response")
            if self.transport is not None:
                self.transport.abort()

    def handle_error(  # type: ignore[override]  # Answer is all that aiohttp asks of a response
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> Answer:
        """Answer what is no HTTP, and what the handler failed to answer. Bytes of the request are not repeated."""
        if status == 400 and isinstance(exc, LineTooLong):
            status, text = 431, "request line or header is too long"
        elif status == 400 and isinstance(exc, BadHttpMethod) and _UNKNOWN_VERB.search(exc.message):
            status, text = 405, ""
        elif status == 400:
            text = "malformed HTTP request"
        else:
            text = "internal error"
            _log.error("a request was not handled", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        answer = errors(status, [text] if text else [])
        answer.force_close()
        return answer


def _header_limit(limits: ListenerConfig) -> float:
    return limits.http_read_header_timeout or limits.http_read_timeout


class Server(web_server.Server):
    """aiohttp's low-level server making our connections, at most ``limit`` of them."""

    def __init__(self, handler: Handler, config: ListenerConfig, limit: int) -> None:
        super().__init__(handler)  # type: ignore[arg-type]
        self.config = config
        self.limit = limit
        self.outbox = Outbox(self._loop)
        self._sweeper: asyncio.TimerHandle | None = None
        self._period = _period(config)

    @property
    def full(self) -> bool:
        return len(self._connections) > self.limit

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            access_log=None,
            logger=_log,
            auto_decompress=False,  # nor does Vault; and a small body cannot become a big one
            keepalive_timeout=self.config.idle_seconds,
            max_line_size=MAX_FIELD,
            max_field_size=MAX_FIELD,
            max_headers=MAX_HEADERS,
        )

    def use(self, handler: Handler) -> None:
        self.request_handler = handler  # type: ignore[assignment]
        for connection in self.connections:
            connection._request_handler = handler  # type: ignore[assignment]

    def start(self) -> None:
        self._sweeper = self._loop.call_later(self._period, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            assert isinstance(connection, Connection)
            connection.expire(now, self.config)
        self.start()

    async def drain(self, seconds: float) -> None:
        """Close idle connections now, busy ones once they have answered, all of them after ``seconds``."""
        deadline = self._loop.time() + seconds
        while True:
            busy = [each for each in self.connections if isinstance(each, Connection) and each.busy]
            for connection in self.connections:
                if connection not in busy:
                    connection.force_close()
            if not busy or self._loop.time() >= deadline:
                break
            await asyncio.sleep(0.02)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.shutdown(0.1)


def _period(config: ListenerConfig) -> float:
    """Often enough for the shortest limit to be kept within a quarter of itself."""
    limits = [
        config.http_read_header_timeout,
        config.http_read_timeout,
        config.http_write_timeout,
        config.max_request_duration,
    ]
    return min([1.0, *(limit / 4 for limit in limits if limit)])
