"""What `tests.bench scale` fills a database with is what the writer would have written."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import ns_from_utc
from llmobs.ingest.copying import SPAN_COLUMNS, bill_row, claim_row, span_row
from llmobs.ingest.count_once import claim_of
from llmobs.ingest.otlp import adapters, genai
from llmobs.ingest.stored_spans import Stored, load_stored
from llmobs.ops.verify import verify
from llmobs.spans.bill import bill_of
from llmobs.spans.details import details_at
from llmobs.spans.partitions import DAY_TABLES, partition_name
from tests.bench import scale, scale_sql
from tests.bench.scale_pace import Bounds, Pace

DAY = date(2011, 5, 14)
SPANS = 1500


@pytest.fixture(name="made")
def fixture_made(pg: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    scale.people(pg, DAY)
    with psycopg.connect(pg.info.dsn, password=pg.info.password, autocommit=True) as conn:
        given = {"hours": list(range(24)), "hour_count": 24, "number": DAY.toordinal(), "has_largest": False,
                 "has_content": False, "has_claims": True}  # fmt: skip
        scale.make_day(
            conn, DAY, datetime(2011, 5, 20, tzinfo=UTC), scale.prepare(conn) | given | scale.many(SPANS, given)
        )
    yield pg
    for table in DAY_TABLES:
        pg.execute(f"DROP TABLE {partition_name(table, DAY)}")


def test_sums_of_a_made_day_tie(made: psycopg.Connection[Any]) -> None:
    with made.transaction():
        count_new_budgets(made, ns_from_utc(datetime(2011, 5, 1, tzinfo=UTC)))

    assert verify(made).differences == []


def test_its_rows_are_those_that_the_writer_would_write(made: psycopg.Connection[Any]) -> None:
    rows = made.execute(f"SELECT {', '.join(SPAN_COLUMNS)} FROM span WHERE tenant_id = 1").fetchall()
    stored = {each.span.span_id: each for each in _stored(made)}
    assert len(stored) == len(rows) > SPANS / 3

    for values in rows:
        row = dict(zip(SPAN_COLUMNS, values, strict=True))
        each = stored[row["span_id"]]
        detail = (row["detail_id"], row["detail_slot"])
        written = span_row(each.span, each.is_counted, row["preview"], each.place, detail)
        assert dict(zip(SPAN_COLUMNS, written, strict=True)) | {"start": row["start"]} == row


def test_its_adapter_is_the_one_that_would_read_its_spans(made: psycopg.Connection[Any]) -> None:
    read_by = adapters.usual_adapter((genai.OPERATION,), scale_sql.SCOPE)
    assert read_by is not None
    assert {each.span.adapter for each in _stored(made)} == {read_by.code}


def test_its_details_are_of_their_spans(made: psycopg.Connection[Any]) -> None:
    stored = _stored(made)

    details = details_at(made.cursor(), 1, [each.detail for each in stored if each.detail])

    assert len(details) > 1
    for each in stored:
        assert each.detail is not None
        detail = details[each.detail]
        assert detail.finish_reasons == (("stop",) if each.span.usage else ())
        assert bool(detail.price_version) == (each.span.cost_nanousd is not None)
        assert ("server.address" in each.span.attributes) == each.span.is_call


def test_bills_and_claims_are_those_that_the_writer_would_write(made: psycopg.Connection[Any]) -> None:
    budgets = [row[0] for row in made.execute("SELECT id FROM budgets_budget WHERE tenant_id = 1 ORDER BY id")]
    bills = _by_span(made, "bill", "bill_id, kind, reason, source, requests, provider_name, model, response_id, "
        "uncached_input_tokens, cache_read_input_tokens, cache_write_5m_input_tokens, cache_write_1h_input_tokens, "
        "output_tokens, reasoning_output_tokens, cost_nanousd, price_version, held_nanousd, budgets, service, "
        "environment, feature, user_id, session_id, key_id, units, tier, prompt_version")  # fmt: skip
    claims = _by_span(made, "claim", "source, scope_name, yields, response_id, input_tokens, output_tokens, "
        "is_counted, bill_id")  # fmt: skip
    calls = [each for each in _stored(made) if each.span.is_call]
    assert len(claims) == len(calls)

    for each in calls:
        key, bill_id = (each.span.trace_id, each.span.span_id), None
        if each.span.usage is not None:
            bill = bills.pop(key)
            bill_id = bill[0]
            ours = bill_row(bill_of(each.span, bill_id), budgets)
            assert (ours[1], *ours[5:]) == bill
        assert claim_row(1, claim_of(each.span), True, bill_id)[6:] == claims[key]
    assert not bills


def test_days_share_what_is_wanted_by_their_weights(tmp_path: Path) -> None:
    pace = Pace(tmp_path, Bounds(), 900, [1.0, 2.0], workers=1)

    assert [pace.take(1.0, 0), pace.take(2.0, 0)] == [300, 600]


def test_a_day_under_way_is_not_taken_for_dear_spans(tmp_path: Path) -> None:
    """What is half written is in the size: of 1,000 bytes each, half of 4 million spans fit into 2 GB."""
    pace = Pace(tmp_path, Bounds(most_bytes=2_000_000_000), 4_000_000, [1.0] * 4, workers=2)
    assert pace.take(1.0, 0) == 1_000_000
    pace.written(1_000_000, 10, 1_000_000)
    assert pace.take(1.0, 1_000_000_000) == 333_333
    assert pace.take(1.0, 1_000_000_000 + 333_333 // 2 * 1_000) == 333_333


def test_no_day_is_made_where_the_disk_or_the_time_is_at_its_end(tmp_path: Path) -> None:
    full = Pace(tmp_path, Bounds(most_bytes=1000), 900, [1.0], workers=1)
    late = Pace(tmp_path, Bounds(until=datetime(2011, 5, 14, tzinfo=UTC)), 900, [1.0, 2.0], workers=1)
    late.written(300, 1.0, late.take(1.0, 0))

    assert full.take(1.0, 1001) == 0
    assert late.take(2.0, 0) == 0


def _stored(conn: psycopg.Connection[Any]) -> list[Stored]:
    """All of the largest tenant's."""
    keys = conn.execute(
        "SELECT trace_id, span_id, start FROM span WHERE tenant_id = 1 AND start >= %s AND start < %s",
        (DAY, DAY + timedelta(days=1)),
    ).fetchall()
    return list(load_stored(conn, 1, [_Key(*key) for key in keys]).values())  # type: ignore[misc]  # what it asks of them


class _Key:
    def __init__(self, trace_id: bytes, span_id: bytes, start: datetime) -> None:
        self.trace_id, self.span_id, self.start_ns = trace_id, span_id, ns_from_utc(start)


def _by_span(conn: psycopg.Connection[Any], table: str, columns: str) -> dict[tuple[bytes, bytes], tuple[Any, ...]]:
    rows = conn.execute(f"SELECT trace_id, span_id, {columns} FROM {table} WHERE tenant_id = 1").fetchall()
    return {(row[0], row[1]): row[2:] for row in rows}
