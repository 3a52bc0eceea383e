"""What is written at once on a client's connection: whole answers in order, bounded, and nothing after a fault."""

import json
import socket
from typing import Any

import httpx2 as httpx
import pytest

from gateway.streaming import Flow
from tests.gateway.faulty import Faulty, broken, faulty, good, saying
from tests.gateway.running import Gateway
from tests.gateway.world import World

CHAT = "/v1/chat/completions"
LARGE, REQUESTS = "w" * 8_000_000, 6


def at(far_end: Faulty, world: World, gateway: Gateway) -> None:
    world.pg.execute("UPDATE providers_provider SET base_url = %s", (far_end.url,))
    gateway.wait_for_config(world.version())


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9, **fields}


def request(secret: str, **fields: Any) -> bytes:
    sent = json.dumps(body(**fields)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\ncontent-length: {len(sent)}\r\n\r\n"
    return head.encode() + sent


def connected(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    door.connect((host, int(port)))
    return door


def test_a_client_that_asks_on_and_takes_nothing_is_not_answered_into_memory(
    gateway: Gateway, http: httpx.Client, world: World, secret: str
) -> None:
    """The next answer waits until the last one was taken; then all come whole and in their order."""
    with faulty() as far_end, connected(gateway) as door:
        at(far_end, world, gateway)
        far_end.script = [saying(LARGE)] * REQUESTS + [good]
        door.sendall(request(secret) * REQUESTS)
        gateway.wait_until(lambda: far_end.requests >= 2, "the second one is asked")
        for _ in range(10):
            assert http.post(CHAT, json=body()).status_code == 200
        assert far_end.requests <= 2 + 10
        with door.makefile("rb") as said:
            for _ in range(REQUESTS):
                assert said.readline().startswith(b"HTTP/1.1 200")
                head = dict(line.strip().split(b": ") for line in iter(said.readline, b"\r\n"))
                assert json.loads(said.read(int(head[b"content-length"])))["object"] == "chat.completion"


def test_a_fault_of_ours_within_a_stream_ends_the_connection(
    gateway: Gateway, world: World, secret: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second answer is written into the first one."""

    def fails(*_: object) -> float:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Flow, "_next_deadline", fails)
    with faulty() as far_end, connected(gateway) as door:
        at(far_end, world, gateway)
        far_end.script = [broken]
        door.sendall(request(secret, stream=True))
        with door.makefile("rb") as said:
            whole = said.read()
    assert whole.startswith(b"HTTP/1.1 200")
    assert whole.count(b"HTTP/1.1") == 1
    assert not whole.endswith(b"0\r\n\r\n")
    assert gateway.end().is_estimated
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")
