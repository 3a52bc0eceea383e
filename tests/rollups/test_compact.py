"""Compaction moves deltas into minutes and hours, and changes no sum on the way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from llmobs.rollups import sketch
from llmobs.rollups.compact import TARGETS, compact, compact_all, compacted_and_pending
from llmobs.spans.record import Span
from tests.ingest.making import START_NS, call, commit

Connection = psycopg.Connection[Any]
TABLES = tuple(to.table for to in TARGETS)


def total(conn: Connection, table: str) -> Any:
    window = {
        "tenant_id": 1,
        "since": datetime.fromtimestamp(START_NS / 1e9, UTC) - timedelta(days=1),
        "until": datetime.fromtimestamp(START_NS / 1e9, UTC) + timedelta(days=1),
    }
    return conn.execute(
        f"SELECT sum(calls), sum(output_tokens), sum(cost_nanousd) FROM {compacted_and_pending(table)} r", window
    ).fetchone()


def spans(count: int) -> list[Span]:
    return [call(start_ns=START_NS - n * 97 * 10**9, duration_ns=(n + 1) * 10**7) for n in range(count)]


def test_readers_find_the_same_sums_before_between_and_after(pg: Connection) -> None:
    commit(pg, *spans(40))
    before = total(pg, "rollup_hour")
    assert before == (40, 40 * 500, 40 * 3)
    compact(pg, most_deltas=15)
    assert all(total(pg, table) == before for table in TABLES)
    commit(pg, *spans(10))
    compact_all(pg)
    assert all(total(pg, table) == (50, 50 * 500, 50 * 3) for table in TABLES)
    assert pg.execute("SELECT count(*) FROM rollup_delta").fetchone() == (0,)


def test_sketches_add_up(pg: Connection) -> None:
    made = spans(30)
    for span in made:
        commit(pg, span)
    compact_all(pg)
    found: sketch.Sketch = {}
    for row in pg.execute("SELECT duration_buckets, duration_counts FROM rollup_tenant_hour"):
        sketch.merge(found, *row)
    expected: sketch.Sketch = {}
    for span in made:
        sketch.add(expected, sketch.bucket(span.duration_ns))
    assert found == expected


def test_a_second_compactor_finds_nothing_to_do(pg: Connection, database_url: str) -> None:
    commit(pg, call())
    with psycopg.connect(database_url, autocommit=True) as other, other.transaction():
        assert compact(other) == 1
        assert compact(pg) == 0
    assert total(pg, "rollup_minute") == (1, 500, 3)
