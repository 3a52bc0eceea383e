"""Spans that name a prompt, straight into their table: what the results are counted from."""

from datetime import datetime
from os import urandom
from typing import Any

from django.db import connection


def write_call(tenant_id: int, prompt_version: str, at: datetime, duration_ms: int = 100, **fields: Any) -> bytes:
    """One call (or a span of one) of this version; its trace's id."""
    row = {
        **dict.fromkeys(TEXTS, ""),
        "tenant_id": tenant_id, "trace_id": urandom(16), "span_id": urandom(8), "start": at, "name": "chat m",
        "source": 1, "is_call": True, "is_counted": True, "is_estimated": False, "is_stream": False,
        "operation_name": "chat", "status": "ok", "finish_reasons": [], "input_tokens": 10, "output_tokens": 5,
        "cost_nanousd": 1_000_000, "held_nanousd": 0, "key_id": 1, "attributes": "{}",
        "duration_ns": duration_ms * 1_000_000, "prompt_version": prompt_version, **fields,
    }  # fmt: skip
    columns = ", ".join(row)
    places = ", ".join(["%s"] * len(row))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO span ({columns}) VALUES ({places})", list(row.values()))
    trace_id = row["trace_id"]
    assert isinstance(trace_id, bytes)
    return trace_id


TEXTS = (
    "error_type", "status_message", "provider_name", "request_model", "response_model", "response_id", "price_version",
    "service", "environment", "feature", "user_id", "session_id", "scope_name", "preview",
)  # fmt: skip
