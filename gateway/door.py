"""One request of a client and its answer, as the gateway's addresses see them.

The body comes whole (`body_now`) or in parts (`receive`, with ASGI's messages); the answer goes out whole (`answer`) or
as a stream (`start`, `chunk`, `end`). What was said when the client has left goes nowhere, silently: who needs to know
asks `receive`.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Protocol

Headers = Iterable[tuple[bytes, bytes]]

HIGH_WATER_BYTES = 64 * 1024  # of a body that nobody has read yet, before its client is paused
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
# All of three digits: what a provider answers with is passed on.
STATUS_LINES = {status: b"HTTP/1.1 %d %s\r\n" % (status, _PHRASES.get(status, b"")) for status in range(100, 1000)}


class Wire(Protocol):
    """The connection that a request came by."""

    is_stalled: bool

    def write(self, data: bytes) -> None: ...
    def read_on(self) -> None: ...
    def answered(self, door: "Door") -> None: ...
    async def drained(self) -> None: ...


class Door:
    """One request. `is_gone`: the client has left before it was answered."""

    __slots__ = (
        "_parts", "_size", "_told", "_waiter", "_wire", "awaits_continue", "has_started",
        "headers", "ip", "is_answered", "is_chunking", "is_gone", "is_whole", "keeps_alive", "method", "path",
    )  # fmt: skip

    def __init__(self, wire: Wire, method: str, path: str, headers: dict[bytes, bytes], ip: str) -> None:
        self._wire = wire
        self.method = method
        self.path = path
        self.headers = headers  # names in lower case; the last one of a name counts
        self.ip = ip  # of the caller, as far as it is known
        self.keeps_alive = True
        self.is_chunking = True  # it knows chunked bodies (HTTP/1.0 does not)
        self.awaits_continue = False
        self.is_whole = False  # all of the body has come
        self.is_gone = False
        self.has_started = False
        self.is_answered = False
        self._parts: list[bytes] = []
        self._size = 0
        self._told = False  # the body's end was given
        self._waiter: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ the request

    def took(self, part: bytes) -> bool:
        """More of the body has come; whether its client is to be paused."""
        self._parts.append(part)
        self._size += len(part)
        self.wake()
        return self._size > HIGH_WATER_BYTES

    def body_now(self) -> bytes | None:
        """The body where all of it has come already; None: it is to be received."""
        if not self.is_whole or self._told or self.awaits_continue or self.is_gone:
            return None
        self._told = True
        return self._taken()

    async def receive(self) -> dict[str, Any]:
        """As ASGI has it: what has come of the body, then that the client has left (or has its answer)."""
        if self.awaits_continue:
            self.awaits_continue = False
            if not self.has_started:
                self._wire.write(_CONTINUE)
        while not self._is_over and (self._told or not (self._parts or self.is_whole)):
            self._wire.read_on()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._is_over:
            return {"type": "http.disconnect"}
        self._told = self.is_whole
        return {"type": "http.request", "body": self._taken(), "more_body": not self.is_whole}

    @property
    def _is_over(self) -> bool:
        return self.is_gone or self.is_answered

    def _taken(self) -> bytes:
        parts, self._parts, self._size = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def wake(self) -> None:
        """Something has come, or will not."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------ the answer

    @property
    def is_stalled(self) -> bool:
        """Whether the client has yet to take what it was sent before: `drained` waits for it."""
        return self._wire.is_stalled

    async def drained(self) -> None:
        await self._wire.drained()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """All of an answer; `headers` say its length. Nothing where the client has left, or has got a part of another:
        such a connection is closed.
        """
        if self.is_gone or self.has_started:
            return
        head = self._head(status, headers)
        self._wire.write(head if self.method == "HEAD" else head + body)
        self._end()

    def start(self, status: int, headers: Headers) -> None:
        """The head of an answer that comes in parts."""
        if self.is_gone or self.has_started:
            return
        if self.is_chunking:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        self._wire.write(self._head(status, headers))

    def chunk(self, part: bytes) -> None:
        """More of a body."""
        if part and not self.is_gone:
            self._wire.write(b"%x\r\n%b\r\n" % (len(part), part) if self.is_chunking else part)

    def end(self, part: bytes = b"") -> None:
        """The last of a body."""
        if self.is_gone or self.is_answered:
            return
        if self.is_chunking:
            self._wire.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(part), part) if part else b"0\r\n\r\n")
        elif part:
            self._wire.write(part)
        self._end()

    def _head(self, status: int, headers: Headers) -> bytes:
        self.has_started = True
        if self.awaits_continue:  # whether its body still comes nobody knows: what follows may be body or request
            self.keeps_alive = False
        lines = [b"%b: %b\r\n" % header for header in headers]
        if not self.keeps_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise ValueError("a header's value holds a line break")
        return STATUS_LINES[status] + head + b"\r\n"

    def _end(self) -> None:
        self.is_answered = True
        self.wake()
        self._wire.answered(self)
