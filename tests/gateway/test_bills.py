"""What the provider charges is what is billed: through the gateway's door and the writer, into the database."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import redis

from llmobs.core.env import Secrets
from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.gateway.running import PLATFORM_SECRET, Gateway, running
from tests.gateway.world import World
from tests.stores import Stores

CHAT = "/v1/chat/completions"
MOST: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "[[simulate chunk_ms=10]] one two"}],
    "max_tokens": 100,
    "stream": True,
}


@pytest.fixture
def shared_gateway(tmp_path: Path, migrated: Stores, valkey_url: str) -> Iterator[Gateway]:
    """One for each test: the writer reads its journal from the beginning."""
    with running(tmp_path, migrated.database_url, valkey_url) as gateway:
        yield gateway


def writer(gateway: Gateway, pg: psycopg.Connection[Any], valkey: "redis.Redis") -> Writer:
    secrets = Secrets(PLATFORM_SECRET, gateway.wiring.encryption_keys, gateway.wiring.journal_key, "", "", "")
    return Writer(gateway.wiring.journal, secrets, pg, valkey)


def a_report(trace_id: str, span_id: str) -> dict[str, Any]:
    """An OTLP span of the same ids that says it cost next to nothing."""
    now = time.time_ns()
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
    attributes |= {"gen_ai.request.model": "gpt-4o-mini"}
    values = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    values += [{"key": f"gen_ai.usage.{kind}_tokens", "value": {"intValue": "1"}} for kind in ("input", "output")]
    span = {"traceId": trace_id, "spanId": span_id, "name": "chat", "attributes": values}
    span |= {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10)}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def test_a_report_with_the_ids_of_a_running_call_does_not_take_the_place_of_its_bill(
    budget: int, gateway: Gateway, http: httpx.Client, world: World, pg: psycopg.Connection[Any], valkey: "redis.Redis"
) -> None:
    writing = writer(gateway, pg, valkey)
    with http.stream("POST", CHAT, json=MOST) as response:
        ids = response.headers["x-llmobs-trace-id"], response.headers["x-llmobs-span-id"]
        body = json.dumps(a_report(*ids)).encode()
        assert http.post("/v1/traces", content=body, headers={"content-type": "application/json"}).status_code == 200
        writing.drain()
        response.read()
    cost = gateway.end().cost_nanousd
    writing.drain()
    row = pg.execute("SELECT sum(cost_nanousd) FROM bill WHERE cost_nanousd >= %s", (cost,)).fetchone()
    assert row == (cost,)
    assert verify(pg).differences == []
    gateway.wait_until(lambda: not writing.turn() and world.ledger()["live"] == 0, "the attempt is folded")
    assert pg.execute("SELECT count(*) FROM span").fetchone() == (2,)


def test_a_call_is_billed_once_when_its_journal_is_read_again(
    gateway: Gateway, http: httpx.Client, pg: psycopg.Connection[Any], valkey: "redis.Redis"
) -> None:
    with http.stream("POST", CHAT, json=MOST) as response:
        ids = response.headers["x-llmobs-trace-id"], response.headers["x-llmobs-span-id"]
        body = json.dumps(a_report(*ids)).encode()
        http.post("/v1/traces", content=body, headers={"content-type": "application/json"})
        writer(gateway, pg, valkey).drain()
        response.read()
    gateway.end()
    writer(gateway, pg, valkey).drain()
    before = pg.execute("SELECT count(*), sum(cost_nanousd) FROM bill").fetchone()
    pg.execute("DELETE FROM journal_offset")
    writer(gateway, pg, valkey).drain()
    assert pg.execute("SELECT count(*), sum(cost_nanousd) FROM bill").fetchone() == before


def test_a_report_in_the_same_batch_does_not_either(
    gateway: Gateway, http: httpx.Client, pg: psycopg.Connection[Any], valkey: "redis.Redis"
) -> None:
    with http.stream("POST", CHAT, json=MOST) as response:
        ids = response.headers["x-llmobs-trace-id"], response.headers["x-llmobs-span-id"]
        body = json.dumps(a_report(*ids)).encode()
        http.post("/v1/traces", content=body, headers={"content-type": "application/json"})
        response.read()
    cost = gateway.end().cost_nanousd
    writer(gateway, pg, valkey).drain()
    assert pg.execute("SELECT count(*) FROM bill WHERE cost_nanousd = %s", (cost,)).fetchone() == (1,)
