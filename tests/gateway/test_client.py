"""A client's connection, byte by byte: what HTTP/1.1 asks of a server, and what clients get wrong."""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from uvicorn.server import ServerState

from gateway.client import Addresses, protocol
from gateway.door import Door
from gateway.turn import Turn
from tests.gateway.running import Gateway
from tests.gateway.written import shared_gateway

__all__ = ["shared_gateway"]

BODY = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'


@pytest.fixture
def wire(gateway: Gateway) -> Iterator[socket.socket]:
    parts = urlsplit(gateway.url)
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=10)) as connection:
        yield connection


def answer(wire: socket.socket) -> tuple[int, dict[bytes, bytes], bytes]:
    """The next whole answer; its length is said in its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(wire)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    while len(body) < int(headers[b"content-length"]):
        body += _more(wire)
    return int(lines[0].split()[1]), headers, body


def _more(wire: socket.socket) -> bytes:
    data = wire.recv(65_536)
    assert data, "the connection was closed before the answer was whole"
    return data


def is_closed(wire: socket.socket) -> bool:
    return wire.recv(65_536) == b""


async def _status(reader: asyncio.StreamReader) -> bytes:
    """A refused connection is closed without reading what was asked: its reset may overtake what it says."""
    try:
        return (await reader.readline()).split()[1]
    except ConnectionResetError:
        return b"503"


async def _told(addresses: Addresses, count: int) -> list[bytes]:
    """What each of so many connections hears when all have asked; as many come after those have gone."""

    async def alive(door: Door) -> None:
        door.answer(200, [(b"content-length", b"5")], b"alive")

    loop = asyncio.get_running_loop()
    make = protocol(alive, Turn(), addresses)
    state = ServerState()
    server = await loop.create_server(lambda: make(server_state=state), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    said = []
    for _ in range(2):
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
        for _, writer in streams:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        said += [await _status(reader) for reader, _ in streams]
        for _, writer in streams:
            writer.close()
        while state.connections:  # noqa: ASYNC110 -- the server hears of it in its own time
            await asyncio.sleep(0.001)
    server.close()
    return said


def test_an_address_has_so_many_connections_and_no_more() -> None:
    def told(most: int, trusted: tuple[str, ...] = ()) -> list[bytes]:
        return asyncio.run(_told(Addresses(most, trusted), 3))

    assert told(2) == [b"200", b"200", b"503"] * 2
    assert told(0) == [b"200"] * 6
    assert told(2, ("127.0.0.1",)) == [b"200"] * 6


def test_a_connection_answers_one_request_after_the_other(wire: socket.socket) -> None:
    for _ in range(3):
        wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(wire)[::2] == (200, b"alive\n")


def test_requests_sent_at_once_are_answered_in_their_order(wire: socket.socket) -> None:
    wire.sendall(
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
        b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    data = b""
    while data.count(b"HTTP/1.1 ") < 3 or not data.endswith(b"}"):
        data += _more(wire)
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"401", b"404"]


def test_a_head_that_comes_byte_by_byte_is_read(wire: socket.socket) -> None:
    for byte in b"GET /healthz?x=%20 HTTP/1.1\r\nHost: x\r\n\r\n":
        wire.sendall(bytes([byte]))
    assert answer(wire)[0] == 200


def test_http_1_0_gets_its_answer_and_the_end_of_the_connection(wire: socket.socket) -> None:
    wire.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    status, headers, body = answer(wire)
    assert (status, headers[b"connection"], body) == (200, b"close", b"alive\n")
    assert is_closed(wire)


def test_who_asks_for_the_end_of_the_connection_gets_it(wire: socket.socket) -> None:
    wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer(wire)[1][b"connection"] == b"close"
    assert is_closed(wire)


def test_a_head_alone_is_answered_without_a_body(wire: socket.socket) -> None:
    wire.sendall(
        b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    data = b""
    while part := wire.recv(65_536):
        data += part
    assert data.count(b"content-length: 6") == 2
    assert data.count(b"alive\n") == 1


def test_a_body_is_asked_for_where_the_client_waits_for_that(wire: socket.socket) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer none\r\n"
    wire.sendall(head + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
    status, headers, _ = answer(wire)
    assert status == 401  # the key is wrong whatever the body says: it is not asked for
    assert headers[b"connection"] == b"close"  # nor known whether it comes: no request after it can be told from it
    assert is_closed(wire)


def test_a_chunked_body_with_a_trailer_is_read(wire: socket.socket) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    wire.sendall(head + b"5\r\n{    \r\n1\r\n}\r\n0\r\nauthorization: Bearer smuggled\r\n\r\n")
    status, headers, _ = answer(wire)
    assert (status, headers[b"x-llmobs-reason"]) == (401, b"invalid_key")


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET /\r\n\r\n\x00", b"hello\r\n\r\n"])
def test_bytes_that_are_no_http_are_told_so_and_the_connection_ends(wire: socket.socket, nonsense: bytes) -> None:
    wire.sendall(nonsense)
    assert answer(wire)[0] == 400
    assert is_closed(wire)


def test_a_head_without_end_is_refused(wire: socket.socket) -> None:
    wire.sendall(b"GET /healthz HTTP/1.1\r\n")
    try:
        for number in range(64):
            wire.sendall(b"x-%d: %s\r\n" % (number, b"a" * 4000))
        assert answer(wire)[0] == 431
    except ConnectionError:
        pass  # closed while we spoke


@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_a_trailer_without_end_is_refused(wire: socket.socket, end: bytes) -> None:
    wire.sendall(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
    assert answer(wire)[0] == 404
    wire.sendall(b"x: ")
    wire.settimeout(0.5)
    assert not _takes(wire, b"%sx: %s" % (end, b"a" * 16_000), 1_000)


def _takes(wire: socket.socket, data: bytes, times: int) -> bool:
    """Whether the far end hears as much, without waiting for it longer than the timeout."""
    try:
        for _ in range(times):
            wire.sendall(data)
    except (ConnectionError, TimeoutError):
        return False
    return True


def test_a_head_that_begins_in_the_read_that_ends_a_long_body_is_no_long_head(wire: socket.socket) -> None:
    body = b" " * 600_000
    head = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    wire.sendall(head + body + b"GET /healthz HTT")
    assert answer(wire)[0] == 404
    wire.sendall(b"P/1.1\r\nhost: x\r\n\r\n")
    assert answer(wire)[0] == 200


def test_who_takes_no_answers_gets_no_more_of_them(gateway: Gateway, wire: socket.socket) -> None:
    wire.settimeout(1)
    asked = b"GET /nowhere HTTP/1.1\r\nhost: x\r\nx-padding: %s\r\n\r\n" % (b"a" * 500) * 100
    assert not _takes(wire, asked, 1_000)
    assert gateway.server is not None
    transports = [client._transport for client in gateway.server.server_state.connections]  # type: ignore[union-attr]
    assert max(each.get_write_buffer_size() for each in transports) < 1_000_000
    data = b""
    while data.count(b"HTTP/1.1 404") < 1000:  # as they are taken, more come
        data += _more(wire)


def test_an_upgrade_that_is_not_spoken_is_answered_as_the_request_it_is(wire: socket.socket) -> None:
    wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    assert answer(wire)[0] == 200


def test_a_connection_without_requests_is_closed_after_a_while(gateway: Gateway, wire: socket.socket) -> None:
    wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer(wire)[0] == 200
    assert gateway.server is not None
    for client in list(gateway.server.server_state.connections):
        client.idle_since -= 1_000  # type: ignore[union-attr]
    began = time.monotonic()
    assert is_closed(wire)
    assert time.monotonic() - began < 9
