"""The state of a process that answers no HTTP else."""

import asyncio
import socket

import pytest

from gateway import state
from gateway.state import State


def asked(request: bytes, problem: str = "") -> bytes:
    """The whole answer to one connection."""

    async def main() -> bytes:
        sock = socket.create_server(("127.0.0.1", 0))
        server = await State(lambda: problem, lambda: b"llmobs_spans 1\n").tell(sock)
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(request)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()
            server.close()

    return asyncio.run(main())


def test_it_says_why_it_is_not_ready() -> None:
    answer = asked(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n", "no roster of keys yet")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"\r\n\r\nnot ready: no roster of keys yet\n")


def test_counts_are_told_and_a_query_is_no_other_path() -> None:
    assert asked(b"GET /metrics?x=1 HTTP/1.1\r\nhost: x\r\n\r\n").endswith(b"\r\n\r\nllmobs_spans 1\n")


def test_only_the_head_is_told_to_who_asks_for_it() -> None:
    answer = asked(b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"content-length: 15\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_head_without_end_is_hung_up_on() -> None:
    assert asked(b"GET /metrics HTTP/1.1\r\nx: " + bytes(100_000)) == b""


def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PATIENCE_SECONDS", 0.05)
    assert asked(b"GET /metrics") == b""


def test_too_many_at_once_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_AT_ONCE", 0)
    assert asked(b"GET /healthz HTTP/1.1\r\n\r\n") == b""
