"""The connection to providers: HTTP/1.1 on asyncio and httptools, with connections kept per origin.

1. `Upstream.connect` gives a connection: a kept one that is fresh, else a new one (TLS, connect timeout).
2. `Connection.send` writes one request; `head`, then `whole` or `chunk` by `chunk`, read the response. Each wait
   has a deadline. What is not read yet is bounded: the socket is paused (back-pressure towards the provider).
3. `Connection.done` keeps the connection if the response was read to its end, else closes it.

A request is written once and never repeated here: nobody knows what a provider did with one it did not answer.
"""

import asyncio
import ssl
from collections import deque
from urllib.parse import urlsplit

import httptools

MOST_CONNECTIONS = 2_000  # per origin, in use and kept
PAUSE_BYTES = 256 * 1024  # unread of a stream before its socket is paused
CONNECT_SECONDS = 5.0
# Kept for less than servers keep theirs, so that a request never meets a closing connection: 5 s is the default of
# Node's and Python's servers (plain HTTP: local models), a minute and more that of load balancers in front of TLS.
KEEP_PLAIN_SECONDS = 4.0
KEEP_TLS_SECONDS = 55.0

_HEAD, _CHUNK, _WHOLE = 1, 2, 3
Headers = list[tuple[bytes, bytes]]


class UpstreamError(Exception):
    """The exchange with a provider failed; the message names no secret."""


class ConnectFailed(UpstreamError):
    """No connection: nothing was sent."""


class TimedOut(UpstreamError):
    """A deadline passed."""


class Cut(UpstreamError):
    """The connection ended before the response did."""


class NotHttp(UpstreamError):
    """The bytes are no HTTP response, or one that is too long to be an answer."""


class Connection(asyncio.Protocol):
    """One connection; one exchange at a time."""

    __slots__ = (
        "_deadline",
        "_error",
        "_is_paused",
        "_loop",
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

    def __init__(self, origin: "Origin", loop: asyncio.AbstractEventLoop) -> None:
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
        """Write one request. `most_bytes` bounds a response that is read as a whole."""
        self._reset()
        self.most_bytes = most_bytes
        transport = self._transport
        if transport is None or self.is_closed or transport.is_closing():
            self._error = ConnectFailed("the connection was closed before the request was sent")
        elif len(body) < PAUSE_BYTES:
            transport.write(head + body)
        else:
            transport.writelines([head, body])

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
            self._timer = self._loop.call_later(1.0, self.close)
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
        timer = self._timer
        if timer is None or timer.when() > deadline:
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(deadline, self._ring)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ring(self) -> None:
        # One timer for all waits of an exchange: a later deadline only moves it when it rings.
        self._timer = None
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._ring)
        elif self._waiter is not None:
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


class Origin:
    """Connections to one scheme, host and port."""

    __slots__ = ("count", "host", "idle", "keep_seconds", "port", "tls")

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.keep_seconds = KEEP_PLAIN_SECONDS if tls is None else KEEP_TLS_SECONDS
        self.idle: deque[Connection] = deque()
        self.count = 0

    def keep(self, connection: Connection, now: float) -> None:
        connection.is_idle = True
        connection.idle_since = now
        self.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        self.count -= 1
        try:
            self.idle.remove(connection)
        except ValueError:
            pass

    def kept(self, now: float) -> Connection | None:
        """The connection used last, if it is fresh: the older ones grow old and are closed."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_closed:
                continue
            if now - connection.idle_since < self.keep_seconds:
                connection.is_idle = False
                return connection
            connection.close()
        return None

    def close_old(self, now: float) -> None:
        while self.idle and now - self.idle[0].idle_since >= self.keep_seconds:
            self.idle.popleft().close()


class Upstream:
    """All origins."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._origins: dict[str, Origin] = {}

    def origin(self, base_url: str) -> Origin:
        """The origin of a provider's base URL."""
        found = self._origins.get(base_url)
        if found is None:
            parts = urlsplit(base_url)
            is_tls = parts.scheme == "https"
            key = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if is_tls else 80)}"
            found = self._origins.get(key)
            if found is None:
                tls = self._context() if is_tls else None
                found = Origin(parts.hostname or "", parts.port or (443 if is_tls else 80), tls)
                self._origins[key] = found
            self._origins[base_url] = found
        return found

    def path_and_host(self, base_url: str) -> tuple[str, str]:
        """A base URL's path, and what the header host says."""
        parts = urlsplit(base_url)
        return parts.path.rstrip("/"), parts.netloc.rpartition("@")[2]

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def connect(self, origin: Origin, seconds: float) -> Connection:
        """A connection ready for a request. Raises ConnectFailed."""
        loop = asyncio.get_running_loop()
        connection = origin.kept(loop.time())
        if connection is not None:
            return connection
        if origin.count >= MOST_CONNECTIONS:
            raise ConnectFailed(f"{MOST_CONNECTIONS} connections to {origin.host} are in use")
        origin.count += 1
        made: Connection | None = None
        try:
            async with asyncio.timeout(min(seconds, CONNECT_SECONDS)):
                _, made = await loop.create_connection(
                    lambda: Connection(origin, loop),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                    server_hostname=origin.host if origin.tls is not None else None,
                )
                return made
        except TimeoutError:
            raise ConnectFailed(f"no connection to {origin.host} in {min(seconds, CONNECT_SECONDS):g} s") from None
        except OSError as error:  # refused, no such host, TLS
            raise ConnectFailed(f"no connection to {origin.host}: {_why(error)}") from None
        finally:
            if made is None:
                origin.count -= 1

    def close_old(self, now: float) -> None:
        """Close what was kept for too long; called every second or so."""
        for origin in set(self._origins.values()):
            origin.close_old(now)

    def close(self) -> None:
        for origin in set(self._origins.values()):
            while origin.idle:
                origin.idle.pop().close()


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return (error.strerror or type(error).__name__).lower()
