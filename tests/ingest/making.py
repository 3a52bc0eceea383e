"""Spans, journal entries and helpers to write them, for the tests of ingestion, roll-ups and verify."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from llmobs.budgets import definition
from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.ingest.commit import Batch, Committed, commit_batch
from llmobs.ingest.entries import Begin, End, Hold, OtlpBody
from llmobs.pricing import book
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price, Rates
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

PRICE = Price("openai", "gpt-4o-mini", "test #1", Rates(1000, 500, 1250, 2000, 4000))
START_NS = (time.time_ns() // NS_PER_SECOND - 3600) * NS_PER_SECOND


def call(tenant_id: int = 1, **changes: Any) -> Span:
    """A counted call of 1,000 tokens in and 500 out, which costs 3 nano-USD at PRICE."""
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "trace_id": new_trace_id(),
        "span_id": new_span_id(),
        "parent_span_id": None,
        "start_ns": START_NS,
        "duration_ns": 200_000_000,
        "name": "chat gpt-4o-mini",
        "source": semconv.SOURCE_OTLP,
        "attribution": Attribution("shop", "production", "support", "user-1", "session-1", 7),
        "is_call": True,
        "operation_name": "chat",
        "provider_name": "openai",
        "request_model": "gpt-4o-mini",
        "usage": Usage(uncached_input=1000, output=500),
        "price_version": PRICE.version,
        "scope_name": "instrumentation",
        "input": '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]',
        "output": '[{"role":"assistant","parts":[{"type":"text","content":"hi"}]}]',
    }
    span = Span(**{**values, **changes})
    if span.usage is not None and "cost_nanousd" not in changes:
        span.cost_nanousd = cost(span.usage, PRICE)
    return span


def step(tenant_id: int = 1, **changes: Any) -> Span:
    """A span that is no call."""
    return call(tenant_id, is_call=False, usage=None, operation_name="", name="step", **changes)


def commit(
    conn: psycopg.Connection[Any], *spans: Span, holds: dict[tuple[int, bytes], list[Hold]] | None = None
) -> Committed:
    batch = Batch(spans=list(spans), holds=holds or {}, prices=[PRICE])
    return commit_batch(conn, batch, definition.load(conn))


@dataclass
class Sums:
    """What the tables add up to for tenant 1."""

    spans: int = 0
    counted: int = 0
    bills: int = 0
    billed_nanousd: int = 0
    rolled_up_calls: int = 0
    rolled_up_nanousd: int = 0
    trace_nanousd: int = 0
    reversals: int = 0
    users: dict[str, int] = field(default_factory=dict)


def sums(conn: psycopg.Connection[Any]) -> Sums:
    def one(query: str) -> Any:
        row = conn.execute(query).fetchone()
        assert row is not None
        return row[0]

    return Sums(
        spans=one("SELECT count(*) FROM span"),
        counted=one("SELECT count(*) FROM span WHERE is_counted"),
        bills=one("SELECT coalesce(sum(requests), 0) FROM bill"),
        billed_nanousd=one("SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM bill"),
        rolled_up_calls=one("SELECT coalesce(sum(calls), 0)::bigint FROM rollup_delta"),
        rolled_up_nanousd=one("SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM rollup_delta"),
        trace_nanousd=one("SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM trace"),
        reversals=one("SELECT count(*) FROM bill WHERE kind = 'reversal'"),
        users=dict(
            conn.execute("SELECT user_id, sum(cost_nanousd)::bigint FROM rollup_user_day GROUP BY 1").fetchall()
        ),
    )


def make_tenant(conn: psycopg.Connection[Any], tenant_id: int = 1, content: str = "full") -> None:
    conn.execute(
        "INSERT INTO tenants_tenant (id, slug, name, plan, content, time_zone, retention_days, is_active, created_at) "
        "VALUES (%s, %s, %s, 'none', %s, 'UTC', 400, true, now())",
        (tenant_id, f"tenant-{tenant_id}", f"Tenant {tenant_id}", content),
    )


def begin(tenant_id: int = 1, **changes: Any) -> Begin:
    price = book.PriceBook().price(tenant_id, "openai", "gpt-4o-mini", START_NS)
    assert price is not None
    values: dict[str, Any] = {
        "attempt": new_span_id(),
        "trace_id": new_trace_id(),
        "parent_span_id": None,
        "tenant_id": tenant_id,
        "attribution": Attribution(feature="support", user_id="user-1", key_id=7),
        "start_ns": START_NS,
        "name": "chat gpt-4o-mini",
        "operation_name": "chat",
        "provider_name": "openai",
        "priced_as": "openai",
        "request_model": "gpt-4o-mini",
        "model": "gpt-4o-mini",
        "dialect": "openai",
        "is_stream": False,
        "held_nanousd": cost(Usage(uncached_input=100, output=100), price),
        "held_usage": Usage(uncached_input=100, output=100),
        "price_version": price.version,
        "holds": [],
    }
    return Begin(**{**values, **changes})


def end(of: Begin, **changes: Any) -> End:
    price = book.PriceBook().price(of.tenant_id, "openai", "gpt-4o-mini", START_NS)
    assert price is not None
    usage = Usage(uncached_input=40, output=20)
    values: dict[str, Any] = {
        "attempt": of.attempt,
        "duration_ns": 300_000_000,
        "ttft_ns": None,
        "status": "ok",
        "error_type": "",
        "http_status": 200,
        "response_model": "gpt-4o-mini-2024-07-18",
        "response_id": f"chatcmpl-{of.attempt.hex()}",
        "finish_reasons": ["stop"],
        "usage": usage,
        "is_estimated": False,
        "cost_nanousd": cost(usage, price),
        "price_version": of.price_version,
        "request_body": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"mail bob@example.com"}]}',
        "response_body": b'{"choices":[{"message":{"role":"assistant","content":"done"},"finish_reason":"stop"}]}',
    }
    return End(**{**values, **changes})


def otlp(tenant_id: int = 1, count: int = 1, model: str = "gpt-4o-mini") -> OtlpBody:
    """An OTLP/JSON request of `count` calls."""
    given: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 20,
    }
    pairs = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in given.items()
    ]
    spans = [
        {
            "traceId": new_trace_id().hex(),
            "spanId": new_span_id().hex(),
            "name": "chat",
            "kind": 3,
            "startTimeUnixNano": str(START_NS),
            "endTimeUnixNano": str(START_NS + 10**9),
            "attributes": pairs,
        }
        for _ in range(count)
    ]
    body = msgspec.json.encode({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]})
    return OtlpBody(tenant_id, 7, START_NS + 2 * 10**9, "application/json", body)


def journal_folder(tmp_path: Path, owner: str = "gateway-1") -> Path:
    return tmp_path / "journal" / owner
