"""What calls left behind, written straight into the tables that rules read."""

from datetime import datetime
from typing import Any

import psycopg

from llmobs.core.clock import NS_PER_SECOND
from llmobs.rollups.sketch import bucket

ROLLUP = (
    "INSERT INTO {table} (tenant_id, {at}, service, environment, feature, key_id, provider_name, model, status, "
    "error_type, spans, calls, uncached_input_tokens, cache_read_input_tokens, cache_write_5m_input_tokens, "
    "cache_write_1h_input_tokens, output_tokens, reasoning_output_tokens, cost_nanousd, estimated_nanousd, "
    "estimated_calls, unpriced_calls, duration_buckets, duration_counts, ttft_buckets, ttft_counts{more}) VALUES "
    "(%(tenant)s, %(at)s, '', '', %(feature)s, %(key)s, %(provider)s, %(model)s, %(status)s, '', %(calls)s, "
    "%(calls)s, 0, 0, 0, 0, %(tokens)s, 0, %(cost)s, 0, 0, %(unpriced)s, %(buckets)s, %(counts)s, '{{}}', '{{}}'"
    "{values})"
)


def minute(pg: psycopg.Connection, tenant_id: int, at: datetime, **figures: Any) -> None:
    """Compacted calls of one minute."""
    pg.execute(ROLLUP.format(table="rollup_minute", at="minute", more="", values=""), _values(tenant_id, at, figures))


def hour(pg: psycopg.Connection, tenant_id: int, at: datetime, **figures: Any) -> None:
    """Compacted calls of one hour."""
    pg.execute(ROLLUP.format(table="rollup_hour", at="hour", more="", values=""), _values(tenant_id, at, figures))


def delta(pg: psycopg.Connection, tenant_id: int, at: datetime, **figures: Any) -> None:
    """Calls that the writer has just committed."""
    statement = ROLLUP.format(
        table="rollup_delta",
        at="minute",
        more=", delta_id",
        values=", (SELECT coalesce(max(delta_id), 0) + 1 FROM rollup_delta)",
    )
    pg.execute(statement, _values(tenant_id, at, figures))


def tenant_hour(pg: psycopg.Connection, tenant_id: int, at: datetime, cost: int, calls: int, tokens: int) -> None:
    pg.execute(
        "INSERT INTO rollup_tenant_hour (tenant_id, hour, status, spans, calls, uncached_input_tokens, "
        "cache_read_input_tokens, cache_write_5m_input_tokens, cache_write_1h_input_tokens, output_tokens, "
        "reasoning_output_tokens, cost_nanousd, estimated_nanousd, estimated_calls, unpriced_calls, duration_buckets, "
        "duration_counts, ttft_buckets, ttft_counts) "
        "VALUES (%s, %s, 'ok', %s, %s, 0, 0, 0, 0, %s, 0, %s, 0, 0, 0, '{}', '{}', '{}', '{}')",
        (tenant_id, at, calls, calls, tokens, cost),
    )


def bill(pg: psycopg.Connection, tenant_id: int, at: datetime, **given: Any) -> None:
    """One bill."""
    figures = {"cost": 0, "tokens": 10, "user": "", "feature": "", "provider": "openai", "model": "gpt-4o"} | given
    pg.execute(
        "INSERT INTO bill (tenant_id, bill_id, begin_at, trace_id, span_id, kind, reason, source, requests, "
        "provider_name, model, response_id, uncached_input_tokens, cache_read_input_tokens, "
        "cache_write_5m_input_tokens, cache_write_1h_input_tokens, output_tokens, reasoning_output_tokens, "
        "cost_nanousd, price_version, held_nanousd, budget_ids, service, environment, feature, user_id, session_id, "
        "key_id) VALUES (%(tenant)s, (SELECT coalesce(max(bill_id), 0) + 1 FROM bill), %(at)s, '\\x01', '\\x01', "
        "'measured', '', 1, 1, %(provider)s, %(model)s, '', %(tokens)s, 0, 0, 0, 0, 0, %(cost)s, '', 0, '{}', '', '', "
        "%(feature)s, %(user)s, '', 0)",
        {"tenant": tenant_id, "at": at, **figures},
    )


def _values(tenant_id: int, at: datetime, given: dict[str, Any]) -> dict[str, Any]:
    calls = given.get("calls", 1)
    plain = {"feature": "", "key": 0, "provider": "openai", "model": "gpt-4o", "status": "ok", "tokens": 0, "cost": 0}
    ms = given.pop("ms", 100)
    sketch = {"buckets": [bucket(ms * NS_PER_SECOND // 1000)], "counts": [calls]}
    return {"tenant": tenant_id, "at": at, "calls": calls, "unpriced": 0, **plain, **sketch, **given}
