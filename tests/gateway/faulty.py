"""A provider at the far end of the wire that fails as it is told, request by request, and then answers."""

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


def cut(connection: socket.socket, is_stream: bool) -> None:
    """The connection closes before a first event, or in the middle of a whole answer."""
    connection.sendall(_STREAM_HEAD if is_stream else b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b'{"id":"x"')


def garbage(connection: socket.socket, is_stream: bool) -> None:
    """A 200 that is no answer."""
    body = b"<html>welcome</html>"
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def not_http(connection: socket.socket, is_stream: bool) -> None:
    connection.sendall(b"\x16\x03\x01 what is this\r\n\r\n")


def error200(connection: socket.socket, is_stream: bool) -> None:
    """An error under status 200: as a body, or as a stream's first event."""
    body = b'{"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}'
    if is_stream:
        connection.sendall(_STREAM_HEAD + b"data: " + body + b"\n\n")
    else:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def good(connection: socket.socket, is_stream: bool) -> None:
    """An answer of the format."""
    if not is_stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        body = _json({"object": "chat.completion", "choices": [choice], "usage": USAGE})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        return
    delta = {"index": 0, "delta": {"role": "assistant", "content": TEXT}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [{"choices": [delta]}, {"choices": [last]}, {"choices": [], "usage": USAGE}]
    text = b"".join(b"data: " + _json({"object": "chat.completion.chunk", **event}) + b"\n\n" for event in events)
    connection.sendall(_STREAM_HEAD + text + b"data: [DONE]\n\n")


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini", **fields}).encode()


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def _until_left(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


@dataclass
class Faulty:
    """Takes its `script` from the front, one entry for each request; the last one stays."""

    url: str = ""
    script: list[Fault] = field(default_factory=lambda: [good])
    requests: int = 0

    def next(self) -> Fault:
        self.requests += 1
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@contextmanager
def faulty(tls: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    """Serve until the end of the block; each connection takes one request."""
    door = socket.create_server(("127.0.0.1", 0), backlog=64)
    scheme = "https" if tls is not None else "http"
    far_end = Faulty(f"{scheme}://127.0.0.1:{door.getsockname()[1]}/v1")

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            body = _request(connection)
            far_end.next()(connection, b'"stream":true' in body.replace(b" ", b""))
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

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
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        door.close()
        thread.join(5)


def _request(connection: socket.socket) -> bytes:
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
    return body
