"""Quarters and five minutes of the roll-ups: whatever table answers, the answer is that of the spans themselves."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.queries.levels import LEVELS
from dashboards.queries.rollup import Latency, Totals, latencies, totals
from dashboards.queries.scope import Filters, Scope
from dashboards.window import DAY, HOUR, MINUTE, QUARTER, Window
from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.semconv import ERROR_STATUSES
from llmobs.ops.verify import verify
from llmobs.rollups import sketch
from llmobs.rollups.compact import TARGETS, compact, compact_all
from llmobs.rollups.days import close_days
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import call, commit

Connection = psycopg.Connection[Any]
NOW = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=7)
DAYS = 4
ZONES = ("UTC", "Asia/Kolkata", "Europe/Berlin")
NEW = ("rollup_tenant_five", "rollup_feature_quarter", "rollup_error_quarter", "rollup_feature_hour",
       "rollup_error_hour")  # fmt: skip

VALUES: dict[str, Any] = {
    "feature": lambda span: span.attribution.feature,
    "error": lambda span: span.error_type,
    "model": lambda span: span.model,
    "status": lambda span: span.status,
    "environment": lambda span: span.attribution.environment,
}
windows = st.tuples(st.integers(0, DAYS * 1440), st.integers(1, DAYS * 1440))
questions = st.tuples(
    st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True),
    st.sampled_from([None, MINUTE, timedelta(minutes=5), QUARTER, HOUR, DAY]),
    st.sampled_from(ZONES),
    st.sampled_from([{}, {"feature": "feature-1"}, {"status": "failed"}, {"error": "RateLimitError"}]),
)


def made() -> list[Span]:
    """A call every 17 minutes, some failed, over four days."""
    spans = []
    for n in range(DAYS * 1440 // 17):
        failed = n % 5 == 0
        spans.append(
            call(
                start_ns=(int(NOW.timestamp()) - 60 * 17 * n) * NS_PER_SECOND,
                duration_ns=(n % 40 + 1) * 10**7,
                attribution=Attribution("shop", ("production", "staging")[n % 2], f"feature-{n % 3}", "", "", 7),
                response_model=("gpt-4o-mini", "gpt-4o")[n % 7 == 0],
                status="failed" if failed else "ok",
                error_type=("RateLimitError", "APITimeoutError")[n % 2] if failed else "",
            )
        )
    return spans


@pytest.fixture(scope="module")
def spans() -> list[Span]:
    return made()


@pytest.fixture
def written(pg: Connection, spans: list[Span]) -> Connection:
    """Some days closed, today compacted, and some deltas that wait."""
    commit(pg, *spans[40:])
    compact_all(pg)
    close_days(pg, NOW)
    commit(pg, *spans[:40])
    compact(pg, most_deltas=25)
    return pg


def bucket_of(at: datetime, size: timedelta | None, zone: ZoneInfo) -> datetime | None:
    if size is None:
        return None
    if size == DAY:
        return at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return at - (at - datetime(2000, 1, 1, tzinfo=UTC)) % size


def by_hand(spans: list[Span], scope: Scope, by: list[str], size: timedelta | None) -> dict[Any, list[Span]]:
    found: dict[Any, list[Span]] = {}
    start = scope.window.start.replace(second=0, microsecond=0)
    for span in spans:
        at = datetime.fromtimestamp(span.start_ns // NS_PER_SECOND, UTC)
        if start <= at < scope.window.end and all(VALUES[n](span) == v for n, v in scope.filters.given.items()):
            key = tuple(VALUES[name](span) for name in by), bucket_of(at, size, scope.window.zone)
            found.setdefault(key, []).append(span)
    return found


def sums(found: list[Totals]) -> dict[Any, tuple[int, ...]]:
    return {(row.key, row.at): (row.calls, row.errors, row.output_tokens, row.cost_nanousd) for row in found}


def sketches(found: list[Latency]) -> dict[Any, dict[int, int]]:
    return {(row.key, row.at): dict(row.counts) for row in found}


@settings(max_examples=60, deadline=None)
@given(edges=windows, asked=questions)
def test_any_question_is_answered_as_the_spans_would(
    written: Connection, spans: list[Span], edges: tuple[int, int], asked: Any
) -> None:
    (ago, length), (by, size, zone, filters) = edges, asked
    start = NOW - timedelta(minutes=ago)
    scope = Scope((1,), Window(start, start + timedelta(minutes=length), ZoneInfo(zone)), Filters(**filters))
    expected = by_hand(spans, scope, by, size)
    cursor = written.cursor()
    assert sums(totals(cursor, scope, by, size is not None, size)) == {
        key: (
            len(rows),
            sum(row.status in ERROR_STATUSES for row in rows),
            sum(row.usage.output_tokens for row in rows if row.usage),
            sum(row.cost_nanousd or 0 for row in rows),
        )
        for key, rows in (expected or ({((), None): []} if not by and size is None else {})).items()
    }
    counted = {}
    for key, rows in expected.items():
        counts: sketch.Sketch = {}
        for row in rows:
            sketch.add(counts, sketch.bucket(row.duration_ns))
        counted[key] = counts
    assert sketches(latencies(cursor, scope, by, size is not None, bucket=size)) == counted


def test_rows_of_before_are_added_up_by_the_migration(written: Connection) -> None:
    def rows(table: str) -> list[str]:
        return sorted(map(repr, written.execute(f"SELECT * FROM {table}").fetchall()))

    before = {table: rows(table) for table in NEW}
    assert all(before.values())
    for table in NEW:
        written.execute(f"DELETE FROM {table}")
    with written.transaction():
        written.execute(import_module("llmobs.rollups.migrations.0004_quarters").FILL)
    assert {table: rows(table) for table in NEW} == before
    assert [d for d in verify(written).differences if d.check.startswith(("rollup_", "sketches"))] == []


def test_each_table_knows_what_it_is_made_of() -> None:
    known: dict[str, Any] = {}
    for to in TARGETS:
        source = known.get(to.source)
        assert source is None or (set(to.dimensions) <= set(source.dimensions) and not to.step % source.step)
        known[to.table] = to
    read = {table for _, _, tables in LEVELS for table, _ in tables}
    assert {to.table for to in TARGETS} <= read
