"""The stand-in provider's server: HTTP/1.1 on an asyncio protocol, so that it is never the bottleneck of a measurement.

1. A request's body is gathered; a path that ends with /chat/completions or /messages chooses the dialect.
2. Faults of the command and of the call decide: an error, a delay, a stream that breaks off.
3. A whole answer is billed once it is made, also when its caller has left: a provider computes on. A stream is billed
   chunk by chunk as it is sent; nothing more is sent to a caller that has left.
"""

import asyncio
from collections import deque
from random import Random
from typing import cast

import httptools
import msgspec

from llmobs.ops.simulator.answer import Answers
from llmobs.ops.simulator.asked import Asked, AskedError
from llmobs.ops.simulator.bill import Bill
from llmobs.ops.simulator.faults import Faults, directives
from llmobs.ops.simulator.wire import AnthropicWire, OpenAIWire, Wire

MOST_BODY_BYTES = 64 * 2**20
MOST_WAITING = 16  # pipelined requests of one connection
RETRY_AFTER_SECONDS = 1

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    529: "Overloaded",
}


class Simulator:
    """What all connections share: the bill, the faults, the answers."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.bill = Bill()
        self.faults = faults or Faults()
        self.answers = Answers()
        self.connections = 0
        self.random = Random(0)  # noqa: S311 - which calls fail, the same in every run
        self.wires: tuple[tuple[bytes, Wire], ...] = (
            (b"/chat/completions", OpenAIWire()),
            (b"/messages", AnthropicWire()),
        )

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen; port 0 takes a free one (see the server's sockets)."""
        return await asyncio.get_running_loop().create_server(lambda: Connection(self), host, port, backlog=1024)

    def wire_of(self, path: bytes) -> Wire | None:
        return next((wire for ending, wire in self.wires if path.endswith(ending)), None)


class Request:
    """One request as it comes in."""

    __slots__ = ("body", "body_bytes", "directives", "method", "url")

    def __init__(self) -> None:
        self.method = b""
        self.url = b""
        self.directives = ""
        self.body: list[bytes] = []
        self.body_bytes = 0


class Connection(asyncio.Protocol):
    """One caller's connection; requests are answered in their order."""

    transport: asyncio.Transport

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._simulator.connections += 1
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._simulator.connections -= 1
        self._waiting.clear()
        self._can_write.set()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self.transport.close()
            raise
        except httptools.HttpParserError:
            self.transport.close()

    # httptools.HttpRequestParser

    def on_message_begin(self) -> None:
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-simulate":
            self._request.directives = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        request = self._request
        request.body_bytes += len(body)
        if request.body_bytes <= MOST_BODY_BYTES:
            request.body.append(body)

    def on_message_complete(self) -> None:
        self._request.method = self._parser.get_method()
        if self._task is None:
            self._take(self._request)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(self._request)
        else:
            self.transport.close()

    # answers

    def _take(self, request: Request) -> None:
        path, _, query = request.url.partition(b"?")
        wire = self._simulator.wire_of(path)
        if wire is not None and request.method == b"POST":
            self._answer(wire, request)
        elif path == b"/bill":
            self._respond(200, msgspec.json.encode(self._simulator.bill.as_dict(b"detail=1" in query)))
        elif path == b"/healthz":
            self._respond(200, b'{"status":"ok"}')
        elif wire is not None:
            self._respond(405, wire.error(405, "only POST is answered here", ""))
        else:
            self._respond(404, OpenAIWire().error(404, "no such address", ""))

    def _answer(self, wire: Wire, request: Request) -> None:
        simulator = self._simulator
        if request.body_bytes > MOST_BODY_BYTES:
            self._fail(wire, 413, f"the body is larger than {MOST_BODY_BYTES} bytes")
            return
        try:
            asked = wire.read(b"".join(request.body))
            faults = simulator.faults.with_directives(directives(request.directives, asked.last_text))
        except AskedError as error:
            self._fail(wire, 400, str(error))
            return
        fails = faults.fails(simulator.random)
        if fails or asked.is_stream or faults.slow_ms or faults.drop or faults.garbage:
            self._task = asyncio.get_running_loop().create_task(self._answer_slowly(wire, asked, faults, fails))
            self._task.add_done_callback(self._next)
        else:
            self._whole(wire, asked)

    async def _answer_slowly(self, wire: Wire, asked: Asked, faults: Faults, fails: bool) -> None:
        """All that cannot be answered at once: delays, faults, streams."""
        if faults.slow_ms:
            await asyncio.sleep(faults.slow_ms / 1000)
        if fails:
            self._fail(wire, faults.status, f"the simulator was told to answer {faults.status}")
        elif faults.drop:
            self.transport.close()
        elif faults.garbage:
            self._respond(200, b"<html>not what was asked for</html>")
        elif asked.is_stream:
            await self._stream(wire, asked, faults)
        else:
            self._whole(wire, asked)

    def _whole(self, wire: Wire, asked: Asked) -> None:
        answer = self._simulator.answers.answer(asked, wire.id_prefix)
        sent = self._simulator.bill.open(answer.response_id, wire.provider, asked.model, asked.input_tokens)
        sent.send(answer.output_tokens)
        self._respond(200, wire.whole(answer), self._request_id(wire))

    async def _stream(self, wire: Wire, asked: Asked, faults: Faults) -> None:
        if self.transport.is_closing():
            return
        answer = self._simulator.answers.answer(asked, wire.id_prefix)
        sent = self._simulator.bill.open(answer.response_id, wire.provider, asked.model, asked.input_tokens)
        cut_at = answer.output_tokens // 2 if faults.cut else None
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            b"%stransfer-encoding: chunked\r\n\r\n" % self._request_id(wire)
        )
        for data, tokens in wire.stream(answer, asked):
            await self._can_write.wait()
            if self.transport.is_closing():
                return
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
            sent.send(tokens)
            if cut_at is not None and sent.output_tokens >= cut_at:
                self.transport.close()
                return
            if tokens:
                await asyncio.sleep(faults.chunk_ms / 1000)
        self.transport.write(b"0\r\n\r\n")

    def _fail(self, wire: Wire, status: int, message: str) -> None:
        headers = self._request_id(wire)
        if status in (429, 503, 529):
            headers += b"retry-after: %d\r\n" % RETRY_AFTER_SECONDS
        request_id = headers.partition(b": ")[2].partition(b"\r\n")[0].decode()
        self._respond(status, wire.error(status, message, request_id), headers)

    def _request_id(self, wire: Wire) -> bytes:
        return f"{wire.request_id_header}: {self._simulator.answers.new_id('req_')}\r\n".encode()

    def _respond(self, status: int, body: bytes, headers: bytes = b"") -> None:
        reason = REASONS.get(status, "Error").encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s"
            % (status, reason, len(body), headers, body)
        )

    def _next(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self.transport.close()
        while self._waiting and self._task is None:
            self._take(self._waiting.popleft())
