"""The stand-in provider's server: HTTP/1.1 on an asyncio protocol, so that it is never the bottleneck of a measurement.

1. A request's body is gathered; the end of its path chooses the format.
2. Faults of the command and of the call decide: an error, a delay, a stream that breaks off.
3. A whole answer is billed once it is made, also when its caller has left: a provider computes on. A stream is billed
   chunk by chunk as it is sent; nothing more is sent to a caller that has left.
"""

import asyncio
import ssl
from collections import deque
from random import Random
from typing import cast

import httptools
import msgspec

from llmobs.ops.simulator.answer import Answer, Answers
from llmobs.ops.simulator.asked import Asked, AskedError
from llmobs.ops.simulator.bill import Bill, Sent
from llmobs.ops.simulator.chat import ChatWire
from llmobs.ops.simulator.embeddings import EmbeddingsWire
from llmobs.ops.simulator.faults import Faults, Seen, directives
from llmobs.ops.simulator.listing import listing
from llmobs.ops.simulator.messages import CountWire, MessagesWire
from llmobs.ops.simulator.responses import ResponsesWire
from llmobs.ops.simulator.wire import AnthropicErrors, OpenAIErrors, Wire

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
            (b"/chat/completions", ChatWire()),
            (b"/messages", MessagesWire()),
            (b"/responses", ResponsesWire()),
            (b"/embeddings", EmbeddingsWire()),
            (b"/messages/count_tokens", CountWire()),
        )
        self._seen = Seen()

    async def serve(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        """Listen; port 0 takes a free one (see the server's sockets)."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self), host, port, backlog=1024, ssl=tls)

    def wire_of(self, path: bytes) -> Wire | None:
        return next((wire for ending, wire in self.wires if path.endswith(ending)), None)

    def faults_of(self, header: str, last_text: str) -> Faults:
        """The faults of one call. Raises AskedError."""
        text = directives(header, last_text)
        if not text:
            return self.faults
        faults = self.faults.with_directives(text)
        if faults.first is not None and self._seen.again(text, last_text) > faults.first:
            return self.faults
        return faults

    def begin(self, wire: Wire, asked: Asked) -> tuple[Answer, Sent]:
        """Make an answer and open its line on the bill."""
        answer = self.answers.answer(asked, wire.id_prefix, wire.call_id_prefix)
        if not wire.is_billed:
            return answer, Sent(wire.provider, asked.model, answer.input_tokens)
        return answer, self.bill.open(
            answer.response_id, wire.provider, asked.model, answer.input_tokens, answer.cached
        )


class Request:
    """One request as it comes in."""

    __slots__ = ("body", "body_bytes", "directives", "is_anthropic", "method", "url")

    def __init__(self) -> None:
        self.method = b""
        self.url = b""
        self.directives = ""
        self.is_anthropic = False
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
        self._has_left = asyncio.Event()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._simulator.connections += 1
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._simulator.connections -= 1
        self._waiting.clear()
        self._can_write.set()
        self._has_left.set()

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
        name = name.lower()
        if name == b"x-simulate":
            self._request.directives = value.decode("latin-1")
        elif name == b"anthropic-version":  # the address of the models is both providers'
            self._request.is_anthropic = True

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
        elif b"/models" in path and request.method == b"GET":
            self._list_models(path, request.is_anthropic)
        elif path == b"/healthz":
            self._respond(200, b'{"status":"ok"}')
        elif wire is not None:
            self._respond(405, wire.error(405, "only POST is answered here", ""))
        else:
            self._respond(404, OpenAIErrors().error(404, "no such address", ""))

    def _list_models(self, path: bytes, is_anthropic: bool) -> None:
        errors = AnthropicErrors() if is_anthropic else OpenAIErrors()
        model = path.decode("latin-1").rpartition("/models")[2].strip("/")
        found = listing(errors.provider, model)
        if found is None:
            self._respond(404, errors.error(404, f"there is no model {model}", ""))
        else:
            self._respond(200, found)

    def _answer(self, wire: Wire, request: Request) -> None:
        simulator = self._simulator
        if request.body_bytes > MOST_BODY_BYTES:
            self._fail(wire, 413, f"the body is larger than {MOST_BODY_BYTES} bytes", None)
            return
        try:
            asked = wire.read(b"".join(request.body))
            faults = simulator.faults_of(request.directives, asked.last_text)
        except AskedError as error:
            self._fail(wire, 400, str(error), None)
            return
        fails = faults.fails(simulator.random)
        if fails or asked.is_stream or faults.is_slow:
            self._task = asyncio.get_running_loop().create_task(self._answer_slowly(wire, asked, faults, fails))
            self._task.add_done_callback(self._next)
        else:
            self._whole(wire, asked)

    async def _answer_slowly(self, wire: Wire, asked: Asked, faults: Faults, fails: bool) -> None:
        """All that cannot be answered at once: delays, faults, streams."""
        if faults.slow_ms:
            await asyncio.sleep(faults.slow_ms / 1000)
        if faults.hang:
            await self._has_left.wait()
        elif fails:
            self._fail(wire, faults.status, f"the simulator was told to answer {faults.status}", faults.retry_after)
        elif faults.error200:
            self._respond(200, wire.error(500, "the simulator was told to answer an error with 200", ""))
        elif faults.drop:
            self.transport.close()
        elif faults.garbage:
            self._respond(200, b"<html>not what was asked for</html>")
        elif asked.is_stream:
            await self._stream(wire, asked, faults)
        else:
            self._whole(wire, asked, faults.half)

    def _whole(self, wire: Wire, asked: Asked, is_half: bool = False) -> None:
        answer, sent = self._simulator.begin(wire, asked)
        sent.send(answer.output_tokens)
        self._respond(200, wire.whole(answer, asked), self._request_id(wire), is_half)

    async def _stream(self, wire: Wire, asked: Asked, faults: Faults) -> None:
        if self.transport.is_closing():
            return
        answer, sent = self._simulator.begin(wire, asked)
        cut_at = answer.output_tokens // 2 if faults.cut or faults.half else None
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

    def _fail(self, wire: Wire, status: int, message: str, retry_after: int | None) -> None:
        headers = self._request_id(wire)
        if retry_after is None and status in (429, 503, 529):
            retry_after = RETRY_AFTER_SECONDS
        if retry_after is not None:
            headers += b"retry-after: %d\r\n" % retry_after
        request_id = headers.partition(b": ")[2].partition(b"\r\n")[0].decode()
        self._respond(status, wire.error(status, message, request_id), headers)

    def _request_id(self, wire: Wire) -> bytes:
        return f"{wire.request_id_header}: {self._simulator.answers.new_id('req_')}\r\n".encode()

    def _respond(self, status: int, body: bytes, headers: bytes = b"", is_half: bool = False) -> None:
        reason = REASONS.get(status, "Error").encode()
        length = len(body)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s"
            % (status, reason, length, headers, body[: length // 2] if is_half else body)
        )
        if is_half:
            self.transport.close()

    def _next(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self.transport.close()
        while self._waiting and self._task is None:
            self._take(self._waiting.popleft())
