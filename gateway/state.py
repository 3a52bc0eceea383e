"""A process's state, where it answers no HTTP else: /healthz, /readyz and /metrics, one answer to a connection."""

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus

MOST_HEAD_BYTES = 16 * 1024
MOST_AT_ONCE = 32  # connections; who comes beyond is hung up on
PATIENCE_SECONDS = 5.0  # for a request to come and its answer to be taken
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class State:
    """`problem`: why it cannot do its work, "" if it can; `metrics`: its counts in Prometheus's text format."""

    def __init__(self, problem: Callable[[], str], metrics: Callable[[], bytes]) -> None:
        self._problem = problem
        self._metrics = metrics
        self._under_way = 0

    async def tell(self, sock: socket.socket) -> asyncio.Server:
        """Answer on a listening socket, until the server is closed."""
        return await asyncio.start_server(self._answer, sock=sock, limit=MOST_HEAD_BYTES)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._under_way += 1
        try:
            if self._under_way <= MOST_AT_ONCE:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    writer.write(self._answered(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or says nothing that could be answered
        finally:
            self._under_way -= 1
            writer.close()

    def _answered(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method in (b"GET", b"HEAD"):
            status, body = self._told(path)
        else:
            status, body = HTTPStatus.METHOD_NOT_ALLOWED, b"only GET is answered\n"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {_TEXT}\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        return head.encode() + (b"" if method == b"HEAD" else body)

    def _told(self, path: bytes) -> tuple[HTTPStatus, bytes]:
        if path == b"/healthz":
            return HTTPStatus.OK, b"alive\n"
        if path == b"/metrics":
            return HTTPStatus.OK, self._metrics()
        if path != b"/readyz":
            return HTTPStatus.NOT_FOUND, b"nothing is answered here\n"
        problem = self._problem()
        if problem:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {problem}\n".encode()
        return HTTPStatus.OK, b"ready\n"
