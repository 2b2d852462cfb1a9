"""One HTTP connection, with limits that aiohttp does not set: time for headers, for a body, for a slow reader.

No timer is set for a request. A connection notes when it began to wait; its server looks at all
of them about once a second.

Requests are taken up as they arrive, without a task for each; see ``eager``. aiohttp's parser, requests and
body readers are used as they are, its loop over the requests of a connection is not.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiohttp import web_server
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo

from .answer import Answer, Outbox, errors
from .config import ListenerConfig
from .eager import Begun, begin
from .forwarded import address_of
from .http_request import HttpRequest
from .request import UnderWay
from .verbs import VERBS, disguise

_log = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], Awaitable[Answer]]

MAX_FIELD = 32 << 10
"""Longest request line and longest header, in bytes. Tokens and JWTs are the long ones."""
MAX_HEADERS = 128
_LINGER = 10.0
"""Seconds in which the rest of a body that nobody read may arrive: a client that still sends reads no answer."""
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
        "_certificate",
        "_chunked",
        "_going",
        "_since",
        "_stalled",
        "_taken",
        "arrivals",
        "client",
        "outbox",
        "overdue",
        "request_id",
    )

    def __init__(self, server: Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self.arrivals = server.arrivals
        self.outbox = server.outbox
        self._since = 0.0
        self._stalled = 0.0  # since when the client does not take what we write
        self._between = True  # whether the next byte begins a request
        self._begun = b""  # what has arrived of a verb
        self._body: StreamReader | None = None
        self._chunked = False  # whether that comes in chunks
        self._answering: asyncio.Task[Any] | None = None
        self._going: tuple[Begun[bool], asyncio.Task[Any], asyncio.Future[Any]] | None = (
            None  # what waits, but not in it
        )
        self._taken = 0.0  # when it was taken up
        self._certificate: bytes | None = None
        self.overdue = 0.0
        self.client = ""  # its address; none over a unix socket
        self.request_id = ""  # of the last request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._manager
        assert isinstance(server, Server)
        super().connection_made(transport)
        self.client = address_of(self.peername)
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
        new = self._parse(data)
        if new:  # a request's headers are complete
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
        if self._messages and self._waiter is not None and not self._waiter.done():
            self.arrivals.add(self)

    def _parse(self, data: bytes) -> int:
        """Feed the parser, or whatever has taken over from it; how many requests have come in.

        What aiohttp's ``data_received`` does, but that it is for us to wake who waits for a request.
        """
        if self._payload_parser is not None or self._upgraded:
            super().data_received(data)
            return 0
        if self._force_close or self._close or self._parser is None:
            return 0
        try:
            messages, self._upgraded, tail = self._parser.feed_data(data)
        except HttpProcessingError as error:
            messages = [(_ErrInfo(status=400, exc=error, message=error.message), EMPTY_PAYLOAD)]
            tail = b""
        if tail and self._upgraded:
            self._message_tail = tail
        if not messages:
            return 0
        self._messages += messages
        self._request_count += len(messages)
        if len(self._messages) >= self._max_msg_queue_size and not self._buffer_paused:
            self._pause_reading_for_buffer()
        return len(messages)

    def _all(self, data: bytes, new: int) -> bool:
        """Whether the ``new`` requests, the last of them whole, are all that ``data`` holds.

        False only when the headers of one more request have begun to arrive: a clock runs for them.
        """
        if not self._between or self._buffer_paused or new > len(self._messages):
            return True  # where each begins in the data, or what the parser holds back, is not known
        last, body = self._messages[-1]
        if getattr(last, "chunked", False):
            return False  # chunks end in an empty line, and the data does not
        if new == 1:
            return data.find(b"\r\n\r\n") + 4 + body.total_bytes >= len(data)
        *earlier, _ = list(self._messages)[-new:]
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

    def take_up(self) -> None:
        """Answer what has arrived, at once as far as that needs no waiting. The connection's task sleeps on."""
        task = self._task_handler
        idle: Any = self._waiter  # made by start()
        if task is None or idle is None or idle.done():
            return  # closed meanwhile
        self._waiter = None
        self._run(self._answer_next(), task, idle)

    def _run(self, work: Coroutine[Any, Any, bool], task: asyncio.Task[Any], idle: asyncio.Future[Any]) -> None:
        try:
            begun = begin(work, task, self._loop)
        except (Exception, asyncio.CancelledError):
            _log.exception("a request was not handled")
            begun = False
        if isinstance(begun, Begun) and begun.goes_on(self._go_on):
            self._going = begun, task, idle
            return
        self._waiter = idle
        if isinstance(begun, Begun):
            idle.set_result(begun)
        elif not begun:
            self.close()
        elif self._messages or self._force_close:  # pipelined, or gone
            idle.set_result(None)

    def _go_on(self, waited: asyncio.Future[Any]) -> None:
        """What a request waited for is there."""
        if self._going is not None and self._going[0].pending is waited:
            (begun, task, idle), self._going = self._going, None
            self._run(begun.work, task, idle)

    async def start(self) -> None:
        """Answer the requests of this connection, one after the other, and close it."""
        try:
            while not self._force_close:
                if self._messages:
                    going = await self._answer_next()
                else:
                    idle: asyncio.Future[Begun[bool] | None] = self._loop.create_future()
                    self._waiter = idle  # type: ignore[assignment]  # aiohttp only cancels it
                    cancelled: BaseException | None = None
                    try:
                        begun = await idle
                    except asyncio.CancelledError:
                        if self._going is None:
                            raise
                        begun, self._going = self._going[0], None
                        cancelled = begun.cancelled(self._go_on)
                    finally:
                        self._waiter = None
                    going = begun is None or await begun.finish(cancelled)
                if not going:
                    break
        except Exception:
            _log.exception("a request was not handled")
        finally:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _answer_next(self) -> bool:
        """Answer the first request that waits; whether there may be more on this connection."""
        message, payload = self._messages.popleft()
        if self._parser is not None:  # not lost
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        handler: Any = self._request_handler
        task, server = self._task_handler, self._manager
        if handler is None or task is None or server is None:  # the client has gone
            return False
        server.requests_count += 1
        if isinstance(message, _ErrInfo):
            handler, message = self._make_error_handler(message), ERROR
        request = HttpRequest(message, payload, self)
        self._answering, self._taken = task, self._loop.time()
        self._request_in_progress = True
        self._current_request = request  # type: ignore[assignment]  # all that aiohttp asks of it
        try:
            try:
                answer: Answer = await handler(request)
            except Exception as error:
                answer = self.handle_error(request, 500, error)
            finally:
                self._current_request = None
            if self._upgraded:  # the client asked for another protocol: aiohttp goes back to HTTP
                await self.finish_response(request, answer, None)  # type: ignore[arg-type]
            elif not answer.post(request):
                await answer.send(request)
        except ConnectionError:
            return False
        finally:
            self._answering, self.overdue = None, 0.0
            self._request_in_progress = False
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
        if not payload.is_eof() and not await self._rest_of(payload):
            return False
        if not answer.keep_alive or self._close or self._force_close:
            return False
        self._next_keepalive_close_time = close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        return True

    async def _rest_of(self, payload: StreamReader) -> bool:
        """Read what is left of a body and forget it; whether it came to its end in time."""
        try:
            async with asyncio.timeout(_LINGER):
                while not payload.is_eof() and not self._force_close:
                    await payload.readany()
        except Exception:  # it is late, or no body
            return False
        return payload.is_eof()

    def stand_for(self, client: str, port: int, certificate: bytes) -> None:
        """Take the other end for this client from now on, who may have shown a certificate (DER; empty: none)."""
        self.client, self._certificate = client, certificate
        self._cache["peername"] = (client, port) if client else ""

    @property
    def certificate(self) -> bytes | None:
        """The client's, in DER, if it has shown one."""
        if self._certificate is None and self.ssl_context is not None and self.transport is not None:
            tls: ssl.SSLObject = self.transport.get_extra_info("ssl_object")
            self._certificate = tls.getpeercert(binary_form=True)
        return self._certificate

    @property
    def busy(self) -> bool:
        """Whether a request has begun to arrive or is being answered."""
        return self._request_in_progress or bool(self._messages) or (self._since > 0.0 and self._request_count > 0)

    def under_way(self, now: float) -> UnderWay | None:
        """The request that is being answered; ``now``: seconds since the epoch."""
        request = self._current_request
        if request is None or self._answering is None:
            return None
        return UnderWay(
            self.request_id,
            now - (self._loop.time() - self._taken),
            "{}:{}".format(*self.peername[:2]) if isinstance(self.peername, tuple) else "",
            request.raw_path.partition("?")[0],
            VERBS.get(request.method, request.method),
        )

    def still_arriving(self) -> None:
        """Some of a body that may be long has come: all limits of time begin anew."""
        self._taken = self._loop.time()
        if self._since:
            self._since = self._taken

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
        self, request: HttpRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
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
        if request.begun:
            raise ConnectionError("the response has begun")
        answer = errors(status, [text] if text else [])
        answer.force_close()
        return answer


class Arrivals:
    """Connections on which requests have arrived in one turn of the event loop, taken up together at its end.

    First to parse them all and then to answer them all is an eighth faster than to change between the two: the
    processor finds the code it needs in its caches.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Connection] = []

    def add(self, connection: Connection) -> None:
        if not self._waiting:
            self._loop.call_soon(self._take_up)
        self._waiting.append(connection)

    def _take_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.take_up()


def _header_limit(limits: ListenerConfig) -> float:
    return limits.http_read_header_timeout or limits.http_read_timeout


class Server(web_server.Server):
    """aiohttp's low-level server making our connections, at most ``limit`` of them."""

    def __init__(self, handler: Handler, config: ListenerConfig, limit: int) -> None:
        super().__init__(handler)  # type: ignore[arg-type]
        self.config = config
        self.limit = limit
        self.arrivals = Arrivals(self._loop)
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
