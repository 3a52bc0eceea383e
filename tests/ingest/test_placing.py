"""Details of a batch: beside the rows where enough spans share a block, and read as if they stood in them."""

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import connection

from dashboards.queries.trace import SpanRow, spans_of, trace
from llmobs.core.clock import utc_from_ns
from llmobs.core.ids import new_trace_id
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.ingest import placing
from llmobs.ingest.placing import place_contents, place_details
from llmobs.ingest.stored_spans import load_stored
from llmobs.ops.verify import verify
from llmobs.pricing.usage import Usage
from llmobs.spans.blocks import SPANS_PER_BLOCK, make_block, read_block
from llmobs.spans.details import DETAILS_PER_BLOCK
from llmobs.spans.record import Span
from tests.ingest.making import START_NS, call, commit, make_tenant, step

Connection = psycopg.Connection[Any]
DAY_NS = 86_400 * 10**9
DAY = utc_from_ns(START_NS).date()


def several(count: int = 10, **changes: Any) -> list[Span]:
    trace_id = new_trace_id()
    return [
        call(trace_id=trace_id, attributes={"n": n, "of": ["a", {"b": 1.5}]}, finish_reasons=("stop",), **changes)
        for n in range(count)
    ]


def shown(span: Span) -> dict[str, SpanRow]:
    with connection.cursor() as cursor:
        found = trace(cursor, (span.tenant_id,), span.trace_id.hex())
        assert found is not None
        return {row.span_id: row for row in spans_of(cursor, found)}


def blocks(conn: Connection) -> int:
    row = conn.execute("SELECT count(*) FROM detail_block").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("fewest", [1, 8, 1000])
def test_a_page_shows_what_was_sent_wherever_it_lies(
    pg: Connection, monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    monkeypatch.setattr(placing, "FEWEST_TOGETHER", fewest)
    spans = several()
    commit(pg, *spans)
    assert blocks(pg) == (fewest <= 10)
    rows = shown(spans[0])
    stored = load_stored(pg, 1, spans)
    for span in spans:
        row, record = rows[span.span_id.hex()], stored[span.trace_id, span.span_id].span
        for each in (row, record):
            assert (each.attributes, each.scope_name) == (span.attributes, span.scope_name)
            assert (each.finish_reasons, each.price_version) == (span.finish_reasons, span.price_version)
    assert verify(pg).differences == []


def test_rows_of_one_trace_may_be_of_before_and_of_now(pg: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = several(12)
    monkeypatch.setattr(placing, "FEWEST_TOGETHER", 1000)
    commit(pg, *spans[:6])
    monkeypatch.setattr(placing, "FEWEST_TOGETHER", 1)
    commit(pg, *spans[6:])
    rows = shown(spans[0])
    assert [rows[span.span_id.hex()].attributes for span in spans] == [span.attributes for span in spans]


def test_rows_say_nothing_twice(pg: Connection) -> None:
    units = Usage(uncached_input=1000, output=500, units=(("web_searches", 2),), tier="batch")
    commit(pg, *several(9), call(usage=units, attributes={"n": 9}))
    rows = pg.execute("SELECT attributes, scope_name, finish_reasons FROM span ORDER BY attributes").fetchall()
    assert rows == [
        ({"llmobs.units": {"web_searches": 2}, "llmobs.tier": "batch"}, "", None),
        *[(None, "", None)] * 9,
    ]


def test_tokens_of_a_class_are_nothing_or_unknown(pg: Connection) -> None:
    known, unknown = call(usage=Usage(uncached_input=5, output=1)), call(usage=None)
    commit(pg, known, unknown)
    names = "cache_read_input_tokens, cache_creation_1h_input_tokens, reasoning_output_tokens, held_nanousd"
    assert pg.execute(f"SELECT DISTINCT {names} FROM span").fetchall() == [(None,) * 4]
    for span, due in ((known, 0), (unknown, None)):
        row = shown(span)[span.span_id.hex()]
        assert (row.cache_read_input_tokens, row.reasoning_output_tokens, row.held_nanousd) == (due, due, 0)
        assert load_stored(pg, 1, [span])[span.trace_id, span.span_id].span.usage == span.usage
    assert verify(pg).differences == []


def test_a_call_that_counts_after_all_has_the_price_it_was_seen_with(pg: Connection) -> None:
    make_tenant(pg)
    outer = several(9)[0]
    inner = call(trace_id=outer.trace_id, parent_span_id=outer.span_id, usage=Usage(output=7))
    commit(pg, outer, *several(9))
    commit(pg, inner, *several(9))
    versions = pg.execute("SELECT kind, price_version FROM bill WHERE span_id = %s", (outer.span_id,)).fetchall()
    assert sorted(versions) == [("measured", outer.price_version), ("reversal", outer.price_version)]
    assert verify(pg).differences == []


def test_the_gateways_own_spans_keep_theirs_in_the_row(pg: Connection) -> None:
    make_tenant(pg)
    own = step(source=SOURCE_GATEWAY, attributes={"llmobs.attempts": 2})
    commit(pg, own, *several())
    assert pg.execute("SELECT attributes FROM span WHERE source = 1").fetchone() == ({"llmobs.attempts": 2},)


def test_spans_that_are_sent_again_leave_no_block(pg: Connection) -> None:
    spans = several()
    commit(pg, *spans)
    commit(pg, *spans)
    assert blocks(pg) == 1
    commit(pg, *spans, *several())
    assert blocks(pg) == 2
    slots = pg.execute(
        "SELECT detail_id, count(DISTINCT detail_slot), max(detail_slot) FROM span GROUP BY 1"
    ).fetchall()
    assert [(count, most) for _, count, most in slots] == [(10, 9), (10, 9)]


def test_blocks_are_of_one_tenant_and_day_and_bounded() -> None:
    spans = several(SPANS_PER_BLOCK + 10) + several(10, tenant_id=2) + several(10, start_ns=START_NS - DAY_NS)
    of_details = [10, 10, SPANS_PER_BLOCK + 10 - DETAILS_PER_BLOCK, DETAILS_PER_BLOCK]
    of_contents = [10, 10, 10, SPANS_PER_BLOCK]
    for (places, filled), sizes in ((place_details(spans), of_details), (place_contents(spans), of_contents)):
        assert sorted(len(items) for items in filled.values()) == sizes
        assert {(tenant_id, day) for tenant_id, _, day in filled} == {(1, DAY), (1, DAY - timedelta(days=1)), (2, DAY)}
        assert len({place for place in places if place is not None}) == len(spans)


def test_what_comes_nearly_alone_has_no_block() -> None:
    places, filled = place_details([*several(7), *several(7, tenant_id=2)])
    assert (places, filled) == ([None] * 14, {})


def test_on_the_way_back_each_row_has_its_own_again(pg: Connection) -> None:
    spans = several()
    commit(pg, *spans)
    editor = SimpleNamespace(connection=connection)
    for name in ("0014_nothing_is_null", "0012_details"):
        import_module(f"llmobs.spans.migrations.{name}").put_back(None, editor)
    assert pg.execute("SELECT count(detail_id), count(detail_slot) FROM span").fetchone() == (0, 0)
    rows = pg.execute("SELECT span_id, attributes, scope_name, finish_reasons, price_version FROM span").fetchall()
    assert {bytes(row[0]): row[1:] for row in rows} == {
        span.span_id: (span.attributes, span.scope_name, list(span.finish_reasons), span.price_version)
        for span in spans
    }


def test_a_text_that_is_no_unicode_does_not_take_its_block_with_it() -> None:
    assert read_block(make_block([("a\ud800", None), (None, "é")])) == [("a?", None), (None, "é")]
