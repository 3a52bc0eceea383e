"""A provider at the far end of the wire that sends exactly the bytes it is told, then closes or hangs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class FarEnd:
    """Answers each connection with the same bytes; `heads` are the requests it got."""

    url: str
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def answering(*parts: bytes, hangs: bool = False) -> Iterator[FarEnd]:
    """Send the parts, one write each; then close, or hang until the caller leaves."""
    door = socket.create_server(("127.0.0.1", 0))
    far_end = FarEnd(f"http://127.0.0.1:{door.getsockname()[1]}")

    def serve() -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            with connection:
                far_end.requests.append(read_request(connection))
                for part in parts:
                    connection.sendall(part)
                while hangs and connection.recv(65536):
                    pass

    thread = threading.Thread(target=serve, name="far end", daemon=True)
    thread.start()
    try:
        yield far_end
    finally:
        door.shutdown(socket.SHUT_RDWR)
        door.close()
        thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")))
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def json_response(body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s" % (
        len(body),
        headers,
        body,
    )


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
