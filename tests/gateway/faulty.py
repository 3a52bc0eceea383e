"""A provider at the far end of the wire that fails as it is told, request by request, and then answers.

It speaks OpenAI's chat completions. A fault sends its bytes, or none; then the connection is closed.
"""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Fault = Callable[[socket.socket, bool], None]

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
TEXT = "from the primary"


def status(code: int, headers: bytes = b"") -> Fault:
    """An error of the provider's own."""

    def send(connection: socket.socket, is_stream: bool) -> None:
        body = json.dumps({"error": {"message": f"status {code}", "type": "server_error", "code": None}}).encode()
        head = (
            b"HTTP/1.1 %d Error\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n"
        )
        connection.sendall(head % (code, len(body), headers) + body)

    return send


def hang(connection: socket.socket, is_stream: bool) -> None:
    """Nothing at all, until the caller leaves."""
    _until_left(connection)


def slow(connection: socket.socket, is_stream: bool) -> None:
    """A head at once, and nothing after it."""
    connection.sendall(_STREAM_HEAD if is_stream else b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
    _until_left(connection)


def closed(connection: socket.socket, is_stream: bool) -> None:
    """The connection closes without a word."""


def cut(connection: socket.socket, is_stream: bool) -> None:
    """The connection closes within a stream's first event, or in the middle of a whole answer."""
    head = _STREAM_HEAD + b"data: " if is_stream else b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    connection.sendall(head + b'{"id":"x"')


def broken(connection: socket.socket, is_stream: bool) -> None:
    """A stream closes after its first event; a whole answer has nothing that a caller has seen: as `cut`."""
    if is_stream:
        connection.sendall(_STREAM_HEAD + _event(choices=[_delta(role="assistant", content=TEXT)]))
    else:
        cut(connection, is_stream)


def garbage(connection: socket.socket, is_stream: bool) -> None:
    """A 200 that is no answer: a page, also where it calls itself a stream."""
    body = b"<html>\n\nwelcome</html>"
    kind = b"content-type: text/event-stream\r\n" if is_stream else b""
    connection.sendall(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n" % (kind, len(body)) + body)


def not_http(connection: socket.socket, is_stream: bool) -> None:
    connection.sendall(b"\x16\x03\x01 what is this\r\n\r\n")


def error200(connection: socket.socket, is_stream: bool) -> None:
    """An error under status 200: as a body, or as a stream's first event."""
    body = b'{"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}'
    if is_stream:
        connection.sendall(_STREAM_HEAD + b"data: " + body + b"\n\n")
    else:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def no_tls(connection: socket.socket, is_stream: bool) -> None:
    """Where TLS is expected, a plain answer (only at a far end that has TLS: it comes before the request)."""
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def saying(text: str) -> Fault:
    """An answer of the format, with that text."""

    def send(connection: socket.socket, is_stream: bool) -> None:
        if is_stream:
            events = [
                _event(choices=[_delta(role="assistant", content=text)]),
                _event(choices=[{**_delta(), "finish_reason": "stop"}]),
                _event(choices=[], usage=USAGE),
            ]
            connection.sendall(_STREAM_HEAD + b"".join(events) + b"data: [DONE]\n\n")
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        body = _json({"object": "chat.completion", "choices": [choice], "usage": USAGE})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)

    return send


good = saying(TEXT)


def after(told: threading.Event, fault: Fault) -> Fault:
    """The fault, once it is told to go on: until then nothing."""

    def send(connection: socket.socket, is_stream: bool) -> None:
        told.wait(10)
        fault(connection, is_stream)

    return send


def _delta(**said: str) -> dict[str, object]:
    return {"index": 0, "delta": said, "finish_reason": None}


def _event(**fields: object) -> bytes:
    return b"data: " + _json({"object": "chat.completion.chunk", **fields}) + b"\n\n"


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini", **fields}).encode()


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def _until_left(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


@dataclass
class Faulty:
    """Takes its `script` from the front, one entry for each request; the last one stays. `heads` are what it got."""

    url: str
    door: socket.socket
    script: list[Fault] = field(default_factory=lambda: [good])
    heads: list[bytes] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.heads)

    def next(self) -> Fault:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def refuse(self) -> None:
        """Take no connection any more: the port is closed."""
        with contextlib.suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()


@contextmanager
def faulty(tls: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    """Serve until the end of the block; each connection takes one request."""
    door = socket.create_server(("127.0.0.1", 0), backlog=64)
    origin = "https://localhost" if tls is not None else "http://127.0.0.1"
    far_end = Faulty(f"{origin}:{door.getsockname()[1]}/v1", door)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if tls is None:
                _answer(far_end, connection)
            elif far_end.script[0] is no_tls:
                far_end.next()(connection, False)
                _until_left(connection)
            else:
                with tls.wrap_socket(connection, server_side=True) as sealed:
                    _answer(far_end, sealed)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = door.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, name="faulty", daemon=True)
    thread.start()
    try:
        yield far_end
    finally:
        far_end.refuse()
        thread.join(5)


def _answer(far_end: Faulty, connection: socket.socket) -> None:
    head, body = _request(connection)
    far_end.heads.append(head)
    far_end.next()(connection, b'"stream":true' in body.replace(b" ", b""))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _request(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise OSError("left")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")))
    while len(body) < length:
        body += connection.recv(65536)
    return head, body
