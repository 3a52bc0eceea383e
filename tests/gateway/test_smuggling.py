"""What a caller may hide in a request's head or body: nothing of it reaches a provider, another caller, or the loop."""

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2 as httpx
import pytest

from gateway import body as gateway_body
from gateway.collector import INLINE_BYTES
from tests.gateway.far_end import FarEnd, answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.world import World

CHAT = "/v1/chat/completions"
BODY = b'{"model":"gpt-4o-mini","max_tokens":3,"messages":[{"role":"user","content":"hi"}]}'
ANSWER = b'{"id":"r1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
Place = Callable[..., AbstractContextManager[FarEnd]]


@pytest.fixture
def far(gateway: Gateway, world: World) -> Place:
    @contextmanager
    def place(*parts: bytes) -> Iterator[FarEnd]:
        with answering(*parts) as far_end:
            world.pg.execute("UPDATE providers_provider SET base_url = %s", (far_end.url,))
            gateway.wait_for_config(world.version())
            yield far_end

    return place


def raw(gateway: Gateway, data: bytes) -> bytes:
    """What comes back for these bytes, until the gateway closes or has answered."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as door:
        door.sendall(data)
        door.shutdown(socket.SHUT_WR)
        found = b""
        while part := door.recv(65536):
            found += part
    return found


def head(secret: str, *lines: bytes) -> bytes:
    first = [b"POST %s HTTP/1.1" % CHAT.encode(), b"host: x", b"authorization: Bearer %s" % secret.encode(), *lines]
    return b"\r\n".join(first) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: 5", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b"content-length: 5"],
        [b"content-length: 5", b"content-length: 6"],
        [b"transfer-encoding: chunked, identity"],
        [b"x-a: 1\r\n folded: 2", b"content-length: %d" % len(BODY)],
        [b"user-agent: a\rx-evil: 1", b"content-length: %d" % len(BODY)],
    ],
)
def test_a_request_whose_end_is_unclear_is_no_request(
    far: Place, gateway: Gateway, secret: str, lines: list[bytes]
) -> None:
    with far(json_response(ANSWER)) as far_end:
        answer = raw(gateway, head(secret, *lines) + BODY)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 4")) or not answer
    assert not far_end.requests


def test_only_what_a_provider_needs_goes_up(far: Place, http: httpx.Client, secret: str) -> None:
    odd = {
        "connection": "x-api-key, keep-alive",
        "te": "trailers",
        "x-api-key": secret,
        "x-llmobs-user": "u",
        "x-forwarded-for": "10.0.0.1",
        "openai-organization": "org-1",
        "proxy-authorization": "Basic x",
        "accept-encoding": "gzip, br",
        "baggage": "a=b",
        "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    }
    with far(
        json_response(ANSWER, b"set-cookie: a=b\r\nx-llmobs-reason: budget_exhausted\r\nserver: x\r\n")
    ) as far_end:
        response = http.post(CHAT, content=BODY, headers=odd)
    sent = far_end.requests[0].partition(b"\r\n\r\n")[0].lower()
    names = {line.split(b":")[0] for line in sent.split(b"\r\n")[1:]}
    assert names == {b"host", b"accept-encoding", b"content-type", b"content-length", b"accept", b"user-agent"}
    assert secret.encode().lower() not in sent
    assert not {"set-cookie", "x-llmobs-reason", "server"} & set(response.headers)
    assert response.headers["x-llmobs-trace-id"] == "1" * 32


def test_one_tenants_idempotency_key_is_not_anothers(far: Place, gateway: Gateway, world: World, secret: str) -> None:
    other = world.key(world.tenant("umbra"))[1]
    keys = []
    with far(json_response(ANSWER)) as far_end:
        for each in (secret, secret, other):
            headers = {"authorization": f"Bearer {each}", "idempotency-key": "1"}
            assert httpx.post(gateway.url + CHAT, content=BODY, headers=headers).status_code == 200
    for sent in far_end.requests:
        keys.append(next(line for line in sent.split(b"\r\n") if line.startswith(b"idempotency-key")))
    assert (keys[0] == keys[1], keys[0] != keys[2]) == (True, True)


def test_a_body_that_never_comes_is_not_waited_for_for_ever(
    gateway: Gateway, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_body, "SLOW_BODY_SECONDS", 0.1)
    host, port = gateway.url.removeprefix("http://").split(":")
    for sent in (b"", b"{"):
        with socket.create_connection((host, int(port)), timeout=5) as door:
            door.sendall(head(secret, b"content-length: 100") + sent)
            assert door.recv(65536).startswith(b"HTTP/1.1 400")


def test_a_small_body_that_unpacks_to_a_large_one_is_too_large(gateway: Gateway, http: httpx.Client) -> None:
    bomb = gzip.compress(b"\0" * (200 * 2**20))
    assert len(bomb) < 256 * 1024
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    assert http.post("/v1/traces", content=bomb, headers=headers).status_code == 413


@pytest.mark.parametrize(
    "given", ["", "00", "00-" + "0" * 32 + "-" + "2" * 16 + "-01", "00-" + "G" * 32 + "-x-01", "é"]
)
def test_a_traceparent_that_is_none_begins_a_trace(http: httpx.Client, given: str) -> None:
    headers: Any = {"traceparent": given.encode()}
    response = http.post(CHAT, content=BODY, headers=headers)
    assert response.status_code == 200
    assert response.headers["x-llmobs-trace-id"] not in ("0" * 32, "g" * 32)


@pytest.mark.parametrize("extra", [-2, -1, 0, 1, 2, 300])
def test_a_body_about_as_long_as_what_is_unpacked_at_once_is_whole(
    gateway: Gateway, http: httpx.Client, extra: int
) -> None:
    body = json.dumps({"resourceSpans": []}).encode()
    body += b" " * (INLINE_BYTES + extra - len(body))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert http.post("/v1/traces", content=gzip.compress(body), headers=headers).status_code == 200


def test_what_a_trailer_says_is_no_header(gateway: Gateway, secret: str) -> None:
    """Proxies check and strip headers, and let trailers pass."""
    chunked = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    trailer = b"authorization: Bearer another\r\nx-forwarded-for: 9.9.9.9\r\nx-llmobs-user: admin\r\n\r\n"
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as door:
        door.sendall(head(secret, b"transfer-encoding: chunked") + chunked + trailer)
        assert door.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert gateway.begins()[0].attribution.user_id == ""
