"""A lean HTTP/1.1 client: one keep-alive connection, one request at a time, bytes in and bytes out.

The driver shares two cores with the platform that it drives, so it must cost little: no header is built per call.
"""

import asyncio
import time
from types import TracebackType
from typing import cast

import httptools

TIMEOUT_SECONDS = 120.0
MOST_BODY_BYTES = 64 * 2**20


class ClientError(Exception):
    """No answer came: the connection could not be made, broke, or the answer is none."""


class Response:
    """An answer as it came; header names in lower case."""

    __slots__ = ("body", "duration_ns", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.duration_ns = 0


class Client:
    """One connection, made at the first request and made anew after the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connection: _Connection | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    async def request(self, data: bytes, timeout_seconds: float = TIMEOUT_SECONDS) -> Response:
        """Send a whole request, read the whole answer. Raises ClientError."""
        started = time.monotonic_ns()
        try:
            async with asyncio.timeout(timeout_seconds):
                connection = self._connection
                if connection is None or connection.is_closed:
                    loop = asyncio.get_running_loop()
                    _, connection = await loop.create_connection(_Connection, self._host, self._port)
                    self._connection = connection
                response = await connection.send(data)
        except TimeoutError:
            if self._connection is not None:
                self._connection.close()
            raise ClientError(f"no answer within {timeout_seconds:g} seconds") from None
        except OSError as error:
            raise ClientError(f"{self._host}:{self._port} cannot be reached: {error.strerror}") from None
        response.duration_ns = time.monotonic_ns() - started
        return response


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_closed = False
        self._answer: asyncio.Future[Response] | None = None
        self._new()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self._fail("the connection was closed before the answer was whole")

    def close(self) -> None:
        self.is_closed = True
        self._transport.close()

    async def send(self, data: bytes) -> Response:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the answer is no HTTP")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._bytes += len(body)
        if self._bytes > MOST_BODY_BYTES:
            self._fail(f"the answer is larger than {MOST_BODY_BYTES} bytes")
            self.close()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        response, answer = self._response, self._answer
        response.status = self._parser.get_status_code()
        response.body = b"".join(self._body)
        if not self._parser.should_keep_alive():
            self.close()
        self._new()
        if answer is not None and not answer.done():
            answer.set_result(response)

    def _new(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._response = Response()
        self._body: list[bytes] = []
        self._bytes = 0

    def _fail(self, message: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ClientError(message))
