"""Spend that comes by OTLP counts towards budgets of each dimension, and stops the gateway."""

import time

import httpx2 as httpx
import psycopg
import pytest

from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.gateway.running import Gateway
from tests.gateway.test_collector import PROTOBUF, TRACES, spans
from tests.gateway.test_refusals import CHAT, GOOD, error_of
from tests.gateway.world import World
from tests.gateway.written import shared_gateway, writer

__all__ = ["shared_gateway", "writer"]

SPENT = 1_000_000 * 150 + 1_000 * 600  # nano-USD of what is reported


def reported(model: str = "gpt-4o-mini") -> bytes:
    request = spans(time.time_ns())
    [span] = request.resource_spans[0].scope_spans[0].spans
    for name, text in {"operation.name": "chat", "provider.name": "openai", "request.model": model}.items():
        span.attributes.add(key=f"gen_ai.{name}").value.string_value = text
    for name, tokens in {"input": 1_000_000, "output": 1_000}.items():
        span.attributes.add(key=f"gen_ai.usage.{name}_tokens").value.int_value = tokens
    return bytes(request.SerializeToString())


@pytest.mark.parametrize(
    ("window", "scope"),
    [
        ("month", "{}"),
        ("7d", "{}"),
        ("day", '{"tenant": "acme"}'),
        ("total", '{"model": "gpt-4o-mini"}'),
        ("month", '{"provider": "openai", "model": "*"}'),
        ("hour", '{"key": "prod"}'),
        ("month", '{"environment": "production", "service": "*"}'),
        ("month", '{"feature": "*", "user": "*", "session": "*", "prompt": "*"}'),
    ],
)
def test_what_an_application_reports_stops_the_gateway(
    world: World,
    tenant: int,
    gateway: Gateway,
    http: httpx.Client,
    writer: Writer,
    pg: psycopg.Connection[tuple[object, ...]],
    window: str,
    scope: str,
) -> None:
    """PAINS 50: what is enforced is the ledger, and what is reported reaches it with the bill."""
    world.budget(tenant, SPENT + 10, window=window, scope=scope)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    assert http.post(TRACES, content=reported(), headers=PROTOBUF).status_code == 200
    writer.drain()
    gateway.wait_until(lambda: world.ledger()["base"] == SPENT, "the ledger knows")
    response = http.post(CHAT, json={**GOOD, "model": "gpt-4o-mini"})
    assert error_of(response) == (429, "budget_exhausted", "insufficient_quota")
    assert response.json()["error"]["budget"]["spent"] == "0.1506"
    assert verify(pg).differences == []
