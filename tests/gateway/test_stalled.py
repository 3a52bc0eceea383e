"""A client that stays but takes nothing: it does not keep a budget, a stream and a connection for an hour."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import serving
from tests.gateway.far_end import STREAM_HEAD, answering
from tests.gateway.running import Gateway, running
from tests.gateway.world import World
from tests.stores import Stores


@pytest.fixture
def shared_gateway(
    tmp_path: Path, migrated: Stores, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """One of little patience."""
    monkeypatch.setattr(serving, "STALLED_SECONDS", 0.5)
    with running(tmp_path, migrated.database_url, valkey_url) as gateway:
        yield gateway


def test_a_client_that_reads_nothing_is_left_and_billed_as_the_provider_bills(
    budget: int, gateway: Gateway, secret: str, world: World
) -> None:
    event = b'data: {"id":"r","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"w " * 30_000)
    usage = b'data: {"id":"r","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":70}}\n\ndata: [DONE]\n\n'
    body = {"model": "gpt-4o-mini", "stream": True, "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]}
    sent = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n"
    host, port = gateway.url.removeprefix("http://").split(":")
    with answering(STREAM_HEAD, *[event] * 300, usage) as far_end, socket.socket() as door:
        world.pg.execute("UPDATE providers_provider SET base_url = %s", (far_end.url,))
        gateway.wait_for_config(world.version())
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        door.connect((host, int(port)))
        door.sendall(f"{head}content-length: {len(sent)}\r\n\r\n".encode() + sent)
        assert (gateway.end().status, gateway.usage().output) == ("cut_off", 70)
        gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")
