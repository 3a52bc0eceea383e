"""uvicorn's protocol with less work for an answer: what is said in one turn of the loop goes out in one write, and a
whole answer is written past the checks that uvicorn makes of each header of any application.

A call finds its `Door` among the scope's extensions (as ASGI has it for what a server gives beyond the protocol);
without one, under another server, it goes the usual way.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

EXTENSION = "llmobs.door"


class Door(RequestResponseCycle):
    """One request and its answer."""

    def body_now(self) -> bytes | None:
        """The body where all of it has come already; None: it is to be received."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected:
            return None
        body = bytes(self.body)
        self.body = bytearray()
        self.message_event.clear()
        return body

    @property
    def is_stalled(self) -> bool:
        """Whether the client has yet to take what it was sent before: `drained` waits for it."""
        return self.flow.write_paused

    async def drained(self) -> None:
        await self.flow.drain()

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """All of an answer; `headers` say its length. Nothing where the client has left, or has got a part of another:
        the server closes such a connection.
        """
        if self.disconnected or self.response_started:
            return
        lines = [b"%s: %s\r\n" % header for header in headers]
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines):
            raise ValueError("a header's value holds a line break")
        self.response_started = True
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class _Gathering:
    """A transport that gathers. Everything but writing and closing is the transport's own."""

    __slots__ = ("_gathered", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(data)

    def flush(self) -> None:
        if self._gathered:
            data = self._gathered[0] if len(self._gathered) == 1 else b"".join(self._gathered)
            self._gathered.clear()
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()


class OneWrite(HttpToolsProtocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.headers = []  # what a chunked body's trailer says is no header: proxies check and strip none of it

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = Door
        cycle.scope["extensions"] = {EXTENSION: cycle}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)
