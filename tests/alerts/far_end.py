"""A webhook at the far end of the wire, which checks signatures as a receiver does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from standardwebhooks.webhooks import Webhook


class Receiver:
    """Keeps what it gets; answers `status`, once `may_answer` is set."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.raw: list[tuple[bytes, dict[str, str]]] = []
        self.status = 200
        self.location = ""
        self.may_answer = Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.raw.append((body, {name.lower(): value for name, value in self.headers.items()}))
                receiver.got.append(json.loads(body) if self.headers["content-type"] == "application/json" else {})
                receiver.may_answer.wait(30)
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("location", receiver.location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers in self.raw]

    def verified(self, secret: str) -> list[Any]:
        """What came, each checked with this secret by the receivers' library; raises where one is not ours."""
        return [Webhook(secret).verify(body, headers) for body, headers in self.raw]


@contextmanager
def receiving() -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.may_answer.set()
        made.server.shutdown()
        thread.join()
        made.server.server_close()
