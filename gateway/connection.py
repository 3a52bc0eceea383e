"""One HTTP/1.1 connection to a provider, on asyncio and httptools; one exchange at a time.

1. `send` writes one request; `head`, then `whole` or `chunk` by `chunk`, read the response. Each wait has a deadline.
   What is not read yet is bounded: the socket is paused (back-pressure towards the provider).
2. `done` keeps the connection if the response was read to its end, else closes it.

A request is written once and never repeated here: nobody knows what a provider did with one it did not answer.
"""

import asyncio
from typing import Protocol

import httptools

from gateway.deadlines import Deadlines
from gateway.turn import Turn

PAUSE_BYTES = 256 * 1024  # unread of a stream before its socket is paused
ENDING_SECONDS = 1.0  # for the end of a response after which nothing more is said

_HEAD, _CHUNK, _WHOLE = 1, 2, 3
Headers = list[tuple[bytes, bytes]]


class UpstreamError(Exception):
    """The exchange with a provider failed; the message names no secret."""


class ConnectFailed(UpstreamError):
    """No connection: nothing was sent."""


class Untrusted(ConnectFailed):
    """Nobody vouches for the provider's certificate."""


class TimedOut(UpstreamError):
    """A deadline passed."""


class NeverSent(UpstreamError):
    """It was taken back before a byte of it went out."""


class Cut(UpstreamError):
    """The connection ended before the response did."""


class NotHttp(UpstreamError):
    """The bytes are no HTTP response, or one that is too long to be an answer."""


class Keeper(Protocol):
    """Where connections come from and are kept."""

    def keep(self, connection: "Connection", now: float) -> None: ...
    def lost(self, connection: "Connection") -> None: ...
    @property
    def turn(self) -> Turn: ...
    @property
    def deadlines(self) -> Deadlines: ...


class Connection(asyncio.Protocol):
    """One connection; one exchange at a time."""

    __slots__ = (
        "_deadline",
        "_error",
        "_is_paused",
        "_loop",
        "_out",
        "_parser",
        "_parts",
        "_size",
        "_timer",
        "_transport",
        "_waiter",
        "_want",
        "has_head",
        "headers",
        "idle_since",
        "is_closed",
        "is_complete",
        "is_ending",
        "is_idle",
        "keeps_alive",
        "most_bytes",
        "origin",
        "status",
    )

    def __init__(self, origin: Keeper, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self.is_closed = False
        self.is_idle = False
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._error: UpstreamError | None = None
        self._parts: list[bytes] = []
        self._out: tuple[bytes, bytes] | None = None
        self._size = 0
        self._want = 0
        self._is_paused = False
        self.status = 0
        self.headers: Headers = []
        self.has_head = False
        self.is_complete = False
        self.is_ending = False
        self.keeps_alive = False
        self.most_bytes = 0

    # ------------------------------------------------------------ the exchange

    def send(self, head: bytes, body: bytes, most_bytes: int) -> None:
        """Write one request, at the end of this turn. `most_bytes` bounds a response that is read as a whole."""
        self._reset()
        self.most_bytes = most_bytes
        transport = self._transport
        if transport is None or self.is_closed or transport.is_closing():
            self._error = ConnectFailed("the connection was closed before the request was sent")
        else:
            self._out = head, body
            self.origin.turn.add(self._flush)

    def take_back(self, error: NeverSent) -> None:
        """Do not send what is not out yet."""
        if self._out is not None:
            self._out = None
            self._fail(error)

    def _flush(self) -> None:
        out, self._out, transport = self._out, None, self._transport
        if out is None or transport is None or self.is_closed:
            return
        if len(out[1]) < PAUSE_BYTES:
            transport.write(out[0] + out[1])
        else:
            transport.writelines(out)

    async def head(self, deadline: float) -> None:
        """Wait for status and headers. Deadlines are of the loop's clock. Raises UpstreamError."""
        await self._wait(_HEAD, deadline)

    async def whole(self, deadline: float) -> bytes:
        """The whole body. Raises UpstreamError."""
        self._want = _WHOLE
        self._resume()
        await self._wait(_WHOLE, deadline)
        return self._take()

    async def chunk(self, deadline: float) -> bytes:
        """What has come of the body, at least a byte; b"" at its end. Raises UpstreamError."""
        await self._wait(_CHUNK, deadline)
        self._resume()
        return self._take()

    def done(self) -> None:
        """The exchange is over: keep the connection, or close it if the response was not read to its end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_complete and self.keeps_alive and not self.is_closed and not self._is_paused:
            self.origin.keep(self, self._loop.time())
        elif self.is_ending and not self.is_closed and self._error is None:
            # All was said, and the end is on its way: kept if it comes at once, else closed.
            self._timer = self._loop.call_later(ENDING_SECONDS, self.close)
        else:
            self.close()

    def close(self) -> None:
        """Close at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None and not self.is_closed:
            self._transport.abort()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None and not self.is_closed:
            self._transport.resume_reading()
        self._is_paused = False

    def _take(self) -> bytes:
        parts = self._parts
        self._size = 0
        if len(parts) == 1:
            return parts.pop()
        taken = b"".join(parts)
        parts.clear()
        return taken

    def _has(self, want: int) -> bool:
        if want == _HEAD:
            return self.has_head
        if want == _CHUNK:
            return bool(self._parts) or self.is_complete
        return self.is_complete

    async def _wait(self, want: int, deadline: float) -> None:
        if self._has(want):
            return
        if self._error is not None:
            raise self._error
        self._want = want
        self._waiter = self._loop.create_future()
        self._deadline = deadline
        try:
            await self._waiter
        finally:
            self._waiter = None

    def look(self, now: float) -> None:
        """Whether a wait is past its deadline; asked a few dozen times a second."""
        if self._waiter is not None and now >= self._deadline:
            self._fail(TimedOut("no answer in time"))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done() and self._has(self._want):
            waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None:
            self._error = error
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(self._error)

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.origin.deadlines.watch(self, self._loop)

    def data_received(self, data: bytes) -> None:
        if self.is_idle:  # nothing was asked: whatever this is, it must not become the next call's answer
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.keeps_alive = False
            self._fail(NotHttp("the provider's bytes are no HTTP response"))
            self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        self.origin.deadlines.forget(self)
        self.origin.lost(self)
        if self.is_complete:
            return
        if self.has_head and error is None and not self._says_length():
            self.is_complete = True  # a body that ends with its connection
            self._wake()
        else:
            self._fail(Cut("the provider closed the connection before its answer was whole"))

    def _says_length(self) -> bool:
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    # ------------------------------------------------------------ httptools

    def on_message_begin(self) -> None:
        if self.is_complete:  # a second answer to one request: ends the parsing, for it must not be the next call's
            raise NotHttp("the provider said more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # informational: the response is still to come
            self.headers = []
            return
        self.status = status
        self.has_head = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._size += len(body)
        if self._want == _WHOLE or not self.has_head:
            if self._size > self.most_bytes:
                self._fail(NotHttp(f"the answer is longer than {self.most_bytes} bytes"))
                self.close()
            return
        if self._size > PAUSE_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if not self.has_head:
            return
        self.is_complete = True
        self.keeps_alive = self._parser.should_keep_alive()
        if self.is_ending and self._timer is not None:
            self.done()
        else:
            self._wake()
