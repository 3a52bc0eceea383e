"""Rows that were there before the last migrations of the large tables are read, counted once and billed as before."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from llmobs.core import semconv
from llmobs.core.clock import utc_from_ns
from llmobs.ingest.stored_spans import load_stored
from llmobs.spans.partitions import make_partitions
from llmobs.spans.record import Span
from tests.ingest.making import PRICE, call, commit, make_tenant
from tests.stores import Stores

Connection = psycopg.Connection[Any]
ROOT = Path(__file__).parents[2]
NAME = "llmobs_before"
# As they were before claims were narrowed, bills found by trace and details put beside the rows.
BEFORE = [
    ("spans", "0008_span_words"), ("rollups", "0003_days"), ("ingest", "0006_log_record"), ("budgets", "0007_raise"),
    ("tenants", "0010_raw_body_days"), ("pricing", "0006_trusted_provider"), ("guards", "0001_security_event"),
    ("brake", "0001_initial"), ("prompts", "0004_spans_by_prompt"),
]  # fmt: skip
MIGRATE = """
import django, sys
django.setup()
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
leaves = executor.loader.graph.leaf_nodes()
executor.migrate(leaves if sys.argv[1] == "now" else eval(sys.argv[1]))
"""
LONG_ID, LONG_SCOPE = "chatcmpl-0123456789abcdef", "opentelemetry.instrumentation.openai_v2"


def migrate(url: str, to: str) -> None:
    env = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "llmobs.settings"}
    command = [sys.executable, "-c", MIGRATE, to]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def database(pg: Connection, stores: Stores, name: str) -> Iterator[str]:
    """An empty one, by its address."""
    identifier = sql.Identifier(name)
    pg.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
    pg.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    yield stores.postgres.url(name)
    pg.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@pytest.fixture
def url(pg: Connection, stores: Stores) -> Iterator[str]:
    with database(pg, stores, NAME) as made:
        yield made


def put(conn: Connection, table: str, row: dict[str, Any]) -> None:
    """A row by its columns' names; those that are not named are empty."""
    columns = conn.execute(
        "SELECT attname, format_type(atttypid, NULL), attnotnull FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    ).fetchall()
    empty = {"text": "", "boolean": False, "bigint": 0, "smallint": 0, "integer": 0, "jsonb": {}, "text[]": []}
    whole = {name: empty.get(kind) for name, kind, is_needed in columns if is_needed}
    whole |= {"budget_ids": [], "models": []} | row
    body = {name: f"\\x{v.hex()}" if isinstance(v, bytes) else v for name, v in whole.items()}
    conn.execute(f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s)", (Jsonb(body),))


def put_call(conn: Connection, span: Span) -> None:
    """A reported call that counts, as it was stored then."""
    start = utc_from_ns(span.start_ns)
    day = start.astimezone(UTC).date()
    for table in ("span", "trace", "bill", "payload_block"):
        bounds = (str(day), str(day + timedelta(days=1)))
        zone = " 00:00:00+00" if table in ("span", "bill") else ""
        conn.execute(
            f"CREATE TABLE {table}_{day:%Y%m%d} PARTITION OF {table} FOR VALUES FROM ('{bounds[0]}{zone}') "
            f"TO ('{bounds[1]}{zone}')"
        )
    ids = {"tenant_id": 1, "trace_id": span.trace_id, "span_id": span.span_id}
    when, until = start.isoformat(), (start + timedelta(seconds=1)).isoformat()
    names = {"model": "gpt-4o-mini", "provider_name": "openai", "price_version": PRICE.version, "cost_nanousd": 3}
    put(conn, "claim", {
        **ids, "start": when, "finish": until, "scope_name": LONG_SCOPE, "response_id": LONG_ID,
        "source": semconv.SOURCE_OTLP, "usage": [1000, 0, 0, 0, 500, 0], "is_counted": True, "bill_id": 5,
    })  # fmt: skip
    put(conn, "bill", {
        **ids, **names, "bill_id": 5, "begin_at": when, "kind": "measured", "source": semconv.SOURCE_OTLP,
        "requests": 1, "response_id": LONG_ID, "uncached_input_tokens": 1000, "output_tokens": 500, "user_id": "u",
        "created_at": when,
    })  # fmt: skip
    put(conn, "span", {
        **ids, **{name: value for name, value in names.items() if name != "model"}, "start": when, "name": "chat",
        "duration_ns": 10**9, "source": semconv.SOURCE_OTLP, "is_call": True, "is_counted": True, "status": "ok",
        "request_model": "gpt-4o-mini", "response_id": LONG_ID, "scope_name": LONG_SCOPE, "input_tokens": 1000,
        "output_tokens": 500, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0,
        "cache_creation_1h_input_tokens": 0, "reasoning_output_tokens": 0, "finish_reasons": ["stop"],
        "attributes": {"a": [1, "ä"]}, "user_id": "u",
    })  # fmt: skip


def test_they_are_read_counted_once_and_billed_as_before(url: str) -> None:
    migrate(url, repr(BEFORE))
    span = call(response_id=LONG_ID, scope_name=LONG_SCOPE)
    with psycopg.connect(url, autocommit=True) as conn:
        make_tenant(conn)
        put_call(conn, span)
    migrate(url, "now")
    with psycopg.connect(url, autocommit=True) as conn:
        with conn.transaction():
            make_partitions(conn, {datetime.now(UTC).date(), utc_from_ns(span.start_ns).date()})
        [stored] = load_stored(conn, 1, [span]).values()
        assert (stored.span.attributes, stored.span.finish_reasons) == ({"a": [1, "ä"]}, ("stop",))
        assert (stored.span.scope_name, stored.is_counted) == (LONG_SCOPE, True)
        assert conn.execute("SELECT input_tokens, output_tokens FROM claim").fetchall() == [(1000, 500)]
        commit(conn, call(trace_id=span.trace_id, span_id=span.span_id, response_id=LONG_ID, scope_name=LONG_SCOPE))
        assert conn.execute("SELECT sum(requests), sum(cost_nanousd) FROM bill").fetchone() == (1, 3)
        # The gateway's own report of the same response: it counts, and the old bill is found and taken back.
        commit(conn, call(response_id=LONG_ID, scope_name="", source=semconv.SOURCE_GATEWAY))
        rows = conn.execute("SELECT kind, requests FROM bill ORDER BY bill_id").fetchall()
        assert sorted(rows) == [("measured", 1), ("measured", 1), ("reversal", -1)]
        assert conn.execute("SELECT count(*) FROM claim WHERE is_counted").fetchone() == (1,)
    migrate(url, repr([("spans", "0008_span_words")]))
    with psycopg.connect(url, autocommit=True) as conn:
        usages = conn.execute("SELECT usage FROM claim ORDER BY start, source").fetchall()
        assert usages[0] == ([1000, 0, 0, 0, 500, 0],)
        row = conn.execute("SELECT attributes, finish_reasons FROM span WHERE span_id = %s", (span.span_id,)).fetchone()
        assert row == ({"a": [1, "ä"]}, ["stop"])
