"""A client's connection: HTTP/1.1 by httptools, one request after the other, under uvicorn's server.

1. A request's head makes its `Door`, and its task begins; its body follows. One that was sent before the last one was
   answered waits, and the client is paused.
2. What is written goes out at the end of the turn (gateway/turn.py).
3. A client that sends nothing whole for too long is closed (`close_idle`); so is one whose bytes are no HTTP.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Container
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.server import ServerState

from gateway.door import Door
from gateway.turn import Turn

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024  # of a head, or a trailer, that is not whole; those that came in one go are not counted
MOST_CALLS = 10_000  # at once; more is answered 503
MOST_OF_ADDRESS = 1_000  # connections at once, unless LLMOBS_CONNECTIONS_PER_ADDRESS says otherwise

Application = Callable[[Door], Awaitable[None]]

_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_NO_HEAD, _NEW_HEAD = -1, -2  # what `_head_bytes` says besides a count


class Addresses:
    """How many connections each address has open. A proxy that is trusted has as many as it likes: it has its own
    bounds, and its callers are many.
    """

    __slots__ = ("_open", "_trusted", "most")

    def __init__(self, most: int, trusted: Container[str]) -> None:
        self.most = most  # 0: no bound
        self._trusted = trusted
        self._open: dict[str, int] = {}

    def came(self, ip: str) -> bool:
        """Whether one more connection of that address is served; told of again when it has `gone`."""
        count = self._open[ip] = self._open.get(ip, 0) + 1
        return count <= self.most or not self.most or ip in self._trusted

    def gone(self, ip: str) -> None:
        count = self._open.get(ip, 0)
        if count > 1:
            self._open[ip] = count - 1
        else:
            self._open.pop(ip, None)


class Client(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_addresses",
        "_app",
        "_door",
        "_drained",
        "_head_bytes",
        "_headers",
        "_ip",
        "_is_over",
        "_is_paused",
        "_loop",
        "_out",
        "_parser",
        "_state",
        "_transport",
        "_turn",
        "_url",
        "_waiting",
        "idle_since",
        "is_stalled",
    )  # fmt: skip

    def __init__(
        self,
        app: Application,
        turn: Turn,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        addresses: Addresses | None = None,
    ) -> None:
        self._addresses = addresses
        self._app = app
        self._turn = turn
        self._state = state
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._ip = ""
        self._door: Door | None = None  # of the request under way
        self._waiting: deque[Door] = deque()  # sent before their turn, youngest last
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = _NO_HEAD  # of a head or trailer that is not whole yet
        self._out: list[bytes] = []
        self._is_paused = False
        self._is_over = False
        self._drained: asyncio.Event | None = None
        self.is_stalled = False
        self.idle_since = loop.time()

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._ip = str(peer[0]) if isinstance(peer, tuple) else ""
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own
        if self._addresses is not None and self._ip and not self._addresses.came(self._ip):
            self._refuse(503, b"too many connections of this address")

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # to another protocol: not spoken here, the request is answered as it is
        except httptools.HttpParserError:
            self._refuse(400, b"no valid HTTP request")
            return
        if self._head_bytes != _NO_HEAD:
            self._head_bytes = 0 if self._head_bytes == _NEW_HEAD else self._head_bytes + len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(431, b"the request's head is too long")

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)
        if self._addresses is not None and self._ip:
            self._addresses.gone(self._ip)
        for door in (self._door, *self._waiting):
            if door is not None:
                door.is_gone = True
                door.wake()
        self._is_over = True
        self._waiting.clear()
        self._out.clear()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.is_stalled = True

    def resume_writing(self) -> None:
        self.is_stalled = False
        if self._drained is not None:
            self._drained.set()
            self._drained = None
        if self._door is None and not self._is_over:
            self._next()

    # ------------------------------------------------------------ httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._head_bytes = _NEW_HEAD

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._is_over:
            return
        parser, headers = self._parser, self._headers
        self._headers = {}  # what a chunked body's trailer says is no header: proxies check and strip none of it
        self._head_bytes = _NO_HEAD
        door = Door(self, parser.get_method().decode("ascii"), _path(self._url), headers, self._ip)
        if parser.get_http_version() == "1.0":
            door.is_chunking = door.keeps_alive = False
        elif not parser.should_keep_alive():
            door.keeps_alive = False
        if b"expect" in headers:
            door.awaits_continue = headers[b"expect"].lower() == b"100-continue"
        if self._door is None and not self.is_stalled:
            self._begin(door)
        else:
            self._waiting.append(door)
            self._pause()

    def on_chunk_header(self) -> None:
        if self._head_bytes == _NO_HEAD:
            self._head_bytes = _NEW_HEAD  # of a trailer, unless a body follows

    def on_body(self, body: bytes) -> None:
        self._head_bytes = _NO_HEAD
        door = self._waiting[-1] if self._waiting else self._door
        if door is not None and not door.is_answered and door.took(body):
            self._pause()

    def on_message_complete(self) -> None:
        self._head_bytes = _NO_HEAD
        door = self._waiting[-1] if self._waiting else self._door
        if door is not None:
            door.is_whole = True
            door.wake()

    # ------------------------------------------------------------ requests

    def _begin(self, door: Door) -> None:
        self._door = door
        tasks = self._state.tasks
        app = self._app if len(tasks) < MOST_CALLS and len(self._state.connections) < MOST_CALLS else _unavailable
        task = self._loop.create_task(self._served(door, app))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _served(self, door: Door, app: Application) -> None:
        try:
            await app(door)
        except Exception:  # the request's edge
            log.exception("a request to %s failed", door.path[:200])
        finally:
            if not door.is_answered and not door.is_gone:
                self._broken(door)

    def _broken(self, door: Door) -> None:
        """Its handler ended without an answer: an error where none has begun, else the connection's end."""
        if not door.has_started:
            door.keeps_alive = False
            body = b"Internal Server Error"
            door.answer(500, [_PLAIN, (b"content-length", b"%d" % len(body))], body)
        self._close()

    def answered(self, door: Door) -> None:
        """The request under way has its answer: the next one, or an idle connection."""
        self._state.total_requests += 1
        self._door = None
        if not door.keeps_alive:
            self._close()
            return
        self.idle_since = self._loop.time()
        if not self.is_stalled:  # who takes no answers gets no more of them
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._begin(self._waiting.popleft())
        if not self._waiting:
            self.read_on()

    def _refuse(self, status: int, message: bytes) -> None:
        """Say why, if nothing was said yet, and hear no more of it."""
        if self._is_over:
            return
        door = self._door
        if door is None:
            door = Door(self, "", "", {}, self._ip)
        door.keeps_alive = False
        if not door.has_started:
            door.answer(status, [_PLAIN, (b"content-length", b"%d" % len(message))], message)
        door.is_gone = True
        door.wake()
        self._close()

    def shutdown(self) -> None:
        """The server ends: what is under way is answered, and nothing after it."""
        if self._door is None:
            self._close()
        else:
            self._door.keeps_alive = False

    def close_idle(self, before: float) -> None:
        """Close it where nothing was asked since then (by the loop's clock)."""
        if self._door is None and self.idle_since < before:
            self._close()

    # ------------------------------------------------------------ bytes

    def write(self, data: bytes) -> None:
        """Say something at the end of this turn."""
        if not self._out:
            self._turn.add(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            if not self._transport.is_closing():
                self._transport.write(data)

    def _close(self) -> None:
        """Once what was said is out; of the journal first. What was asked besides is not heard."""
        self._is_over = True
        self._waiting.clear()
        if self._out:
            self._turn.add(self._transport.close)
        else:
            self._transport.close()

    def _pause(self) -> None:
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def read_on(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    async def drained(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        if self.is_stalled and self._drained is None:
            self._drained = asyncio.Event()
        if self._drained is not None:
            await self._drained.wait()


def _path(url: bytes) -> str:
    """The path that a request line names, without its query; "" where it is none."""
    try:
        path = url.partition(b"?")[0] if url[:1] == b"/" else httptools.parse_url(url).path or b""
    except httptools.HttpParserInvalidURLError:
        return ""
    text = path.decode("latin-1")
    return unquote(text) if "%" in text else text


async def _unavailable(door: Door) -> None:
    body = b"Service Unavailable"
    door.keeps_alive = False
    door.answer(503, [_PLAIN, (b"content-length", b"%d" % len(body))], body)


def protocol(app: Application, turn: Turn, addresses: Addresses | None = None) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes a connection of."""

    def made(*, server_state: ServerState, _loop: asyncio.AbstractEventLoop | None = None, **_: Any) -> Client:
        return Client(app, turn, server_state, _loop or asyncio.get_running_loop(), addresses)

    return made
