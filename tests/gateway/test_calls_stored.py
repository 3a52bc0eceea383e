"""What of a call that several attempts made, or none, reaches the database: one call, and what became of it."""

import socket
from typing import Any

import httpx2 as httpx
import psycopg
import pytest

from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.gateway.running import Gateway
from tests.gateway.world import World
from tests.gateway.written import shared_gateway, writer

__all__ = ["shared_gateway", "writer"]

Connection = psycopg.Connection[Any]
CHAT = "/v1/chat/completions"
BODY = {"model": "smart", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 10}


@pytest.fixture
def dead(world: World) -> int:
    """A provider that takes no connection; its breaker opens after five of them."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    return world.provider("dead", "openai", f"http://127.0.0.1:{port}/v1", breaker=True)


def spans(gateway: Gateway, writer: Writer, pg: Connection) -> list[tuple[Any, ...]]:
    """(is a call, status, degraded, attempts, failed attempts, has a parent that is stored) by start."""
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    assert [d for d in verify(pg).differences if d.check != "ledger = budget_spend"] == []
    return pg.execute(
        "SELECT s.is_call, s.status, s.attributes->>'llmobs.degraded', (s.attributes->>'llmobs.attempts')::int, "
        "(s.attributes->>'llmobs.failed_attempts')::int, p.span_id IS NOT NULL FROM span s "
        "LEFT JOIN span p ON p.trace_id = s.trace_id AND p.span_id = s.parent_span_id ORDER BY s.start, s.is_call"
    ).fetchall()


def test_a_fallback_is_a_degraded_call_over_its_attempts(
    http: httpx.Client,
    gateway: Gateway,
    world: World,
    writer: Writer,
    pg: Connection,
    providers: dict[str, int],
    dead: int,
) -> None:
    """S4-26: what was tried, in its order, below the call."""
    world.route("smart", (dead, "gpt-4o"), (providers["openai"], "gpt-4o-mini"))
    gateway.wait_for_config(world.version())
    answer = http.post(CHAT, json=BODY)
    assert (answer.status_code, answer.headers["x-llmobs-degraded"]) == (200, "fallback")
    assert spans(gateway, writer, pg) == [
        (False, "degraded", "fallback", 2, 1, False),
        (True, "failed", None, None, None, True),
        (True, "ok", None, None, None, True),
    ]


def test_a_primary_that_an_open_breaker_keeps_away_leaves_the_call_degraded(
    http: httpx.Client,
    gateway: Gateway,
    world: World,
    writer: Writer,
    pg: Connection,
    providers: dict[str, int],
    dead: int,
) -> None:
    world.route("smart", (dead, "gpt-4o"), (providers["openai"], "gpt-4o-mini"))
    gateway.wait_for_config(world.version())
    for _ in range(6):
        answer = http.post(CHAT, json=BODY)
    assert (answer.headers["x-llmobs-degraded"], answer.headers["x-llmobs-attempts"]) == ("fallback", "1")
    assert spans(gateway, writer, pg)[-1] == (True, "degraded", "fallback", None, None, False)


def test_a_static_answer_is_a_call_of_its_own_over_the_attempt_that_failed(
    http: httpx.Client, gateway: Gateway, world: World, writer: Writer, pg: Connection, dead: int
) -> None:
    world.route("smart", (dead, "gpt-4o"))
    pg.execute("""UPDATE providers_route SET last_resort = '["static"]', static_text = 'Please wait.'""")
    gateway.wait_for_config(world.version())
    answer = http.post(CHAT, json=BODY)
    assert answer.json()["choices"][0]["message"]["content"] == "Please wait."
    assert spans(gateway, writer, pg) == [
        (False, "degraded", "static", 1, 1, False),
        (True, "failed", None, None, None, True),
    ]
    sql = "SELECT encode(span_id, 'hex'), provider_name, response_id FROM span WHERE NOT is_call"
    assert pg.execute(sql).fetchall() == [(answer.headers["x-llmobs-span-id"], "", answer.json()["id"])]
