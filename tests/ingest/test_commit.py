"""One transaction per batch: each span and each bill once, and every sum in step, whatever comes twice or too late."""

from dataclasses import replace
from random import Random
from typing import Any

import psycopg
import pytest

from llmobs.budgets import definition
from llmobs.budgets.definition import Budgets
from llmobs.core import semconv
from llmobs.core.clock import utc_from_ns
from llmobs.ingest.commit import Batch, Offset, OffsetMoved, commit_batch
from llmobs.ops.verify import verify
from llmobs.pricing.usage import Usage
from llmobs.rollups.compact import compact_all
from llmobs.spans.blocks import SPANS_PER_BLOCK, read_content
from llmobs.spans.record import Span
from tests.ingest.making import START_NS, call, commit, make_tenant, step, sums

Connection = psycopg.Connection[Any]
COST = 3  # of making.call(): 1000 * 1000 + 500 * 4000 nano-USD per million tokens


def test_a_call_is_stored_billed_and_summed(pg: Connection) -> None:
    commit(pg, call(), step())
    found = sums(pg)
    assert (found.spans, found.counted, found.bills) == (2, 1, 1)
    assert found.billed_nanousd == found.rolled_up_nanousd == found.trace_nanousd == COST
    assert found.users == {"user-1": COST}


def test_a_span_twice_in_a_batch_is_written_and_counted_once(pg: Connection) -> None:
    span = call()
    assert commit(pg, span, replace(span)).duplicates == 1
    assert (sums(pg).spans, sums(pg).billed_nanousd) == (1, COST)


def test_a_batch_that_comes_again_adds_nothing(pg: Connection) -> None:
    spans = [call(), call(), step()]
    commit(pg, *spans)
    before = sums(pg)
    assert commit(pg, *spans).spans == 0
    assert sums(pg) == before


def test_only_what_is_new_in_a_batch_is_added(pg: Connection) -> None:
    old, old_step = call(), step()
    commit(pg, old, old_step)
    committed = commit(pg, old, old_step, call(), step())
    assert (committed.spans, committed.duplicates) == (2, 2)
    assert (sums(pg).spans, sums(pg).billed_nanousd) == (4, 2 * COST)


def test_a_call_sent_again_with_another_start_is_the_same_call(pg: Connection) -> None:
    span = call()
    commit(pg, span)
    commit(pg, replace(span, start_ns=span.start_ns + 10**9))
    assert (sums(pg).spans, sums(pg).bills) == (1, 1)


def test_a_call_sent_again_as_something_else_changes_nothing(pg: Connection) -> None:
    make_tenant(pg)
    known = call(response_id="r-1")
    commit(pg, known, step(trace_id=known.trace_id))
    before = sums(pg)
    as_step = step(trace_id=known.trace_id, span_id=known.span_id, start_ns=START_NS + 10**9)
    other = replace(known, start_ns=START_NS - 10**9, request_model="gpt-4o", usage=None, response_id="r-2")
    for again in (as_step, other):
        assert commit(pg, again).spans == 0
    assert sums(pg) == before
    assert verify(pg).differences == []


def test_a_step_sent_again_under_another_parent_does_not_change_who_counts(pg: Connection) -> None:
    outer = call(response_id="r-1")
    between = step(trace_id=outer.trace_id, parent_span_id=outer.span_id)
    inner = call(trace_id=outer.trace_id, parent_span_id=between.span_id, usage=Usage(output=7))
    commit(pg, outer, between, inner)
    assert (sums(pg).counted, sums(pg).reversals) == (1, 0)
    commit(pg, replace(between, parent_span_id=None), call(trace_id=outer.trace_id, usage=None, response_id="r-9"))
    assert (sums(pg).spans, sums(pg).counted, sums(pg).reversals) == (4, 2, 0)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_sent_again_with_other_content_the_sums_hold(pg: Connection, seed: int) -> None:
    make_tenant(pg)
    random = Random(seed)
    traces, span_ids = [random.randbytes(16) for _ in range(2)], [random.randbytes(8) for _ in range(6)]

    def some_span() -> Span:
        place: dict[str, Any] = {
            "trace_id": random.choice(traces),
            "span_id": random.choice(span_ids),
            "parent_span_id": random.choice([None, *span_ids]),
            "start_ns": START_NS + random.choice([0, 1, 70, 3700, -86_400]) * 10**9,
        }
        if random.random() < 0.4:
            return step(**place)
        return call(
            response_id=random.choice(["", "", "r-1", "r-2"]),
            request_model=random.choice(["a", "b"]),
            source=random.choice([semconv.SOURCE_OTLP, semconv.SOURCE_OTLP, semconv.SOURCE_GATEWAY]),
            scope_name=random.choice(["s", "t", "com.anthropic.sdk.python"]),
            usage=random.choice([None, Usage(1000, output=500), Usage(10, output=500)]),
            **place,
        )

    for turn in range(8):
        commit(pg, *[some_span() for _ in range(random.randrange(1, 6))])
        if turn % 3 == 2:
            compact_all(pg)
    assert [str(d) for d in verify(pg).differences] == []


def test_the_gateways_span_takes_the_bill_from_a_report_that_came_first(pg: Connection) -> None:
    reported = call(response_id="r-1")
    commit(pg, reported)
    own = call(response_id="r-1", source=semconv.SOURCE_GATEWAY, scope_name="", trace_id=reported.trace_id)
    own.parent_span_id = reported.span_id
    commit(pg, own)
    found = sums(pg)
    assert (found.spans, found.counted, found.bills, found.reversals) == (2, 1, 1, 1)
    assert found.billed_nanousd == found.rolled_up_nanousd == found.trace_nanousd == COST
    assert found.rolled_up_calls == 1
    row = pg.execute("SELECT is_counted, cost_nanousd FROM span WHERE source = 2").fetchone()
    assert row == (False, None)


def test_order_does_not_change_what_is_billed(pg: Connection) -> None:
    parent = call(response_id="r-2")
    child = call(response_id="r-2", trace_id=parent.trace_id, parent_span_id=parent.span_id, scope_name="other")
    commit(pg, child)
    commit(pg, parent)
    assert (sums(pg).counted, sums(pg).billed_nanousd) == (1, COST)


def test_unknown_usage_is_counted_and_not_billed(pg: Connection) -> None:
    commit(pg, call(usage=None))
    assert (sums(pg).counted, sums(pg).bills) == (1, 0)
    row = pg.execute("SELECT unpriced_calls FROM rollup_delta").fetchone()
    assert row == (1,)


def test_an_unpriced_call_has_a_bill_without_a_cost(pg: Connection) -> None:
    commit(pg, call(cost_nanousd=None, price_version=""))
    assert pg.execute("SELECT cost_nanousd, uncached_input_tokens FROM bill").fetchone() == (None, 1000)


def test_contents_are_read_back_from_their_block(pg: Connection) -> None:
    spans = [call(input=f'["{n}"]', output=None) for n in range(SPANS_PER_BLOCK + 50)]
    commit(pg, *spans)
    rows = pg.execute("SELECT span_id, block_id, block_slot, start FROM span").fetchall()
    found = {
        bytes(span_id): read_content(pg, 1, block_id, utc_from_ns(START_NS).date(), slot)
        for span_id, block_id, slot, _ in rows
    }
    assert found == {span.span_id: (span.input, None) for span in spans}
    assert pg.execute("SELECT count(*) FROM payload_block").fetchone() == (2,)


def test_two_tenants_never_share_a_span_or_a_block(pg: Connection) -> None:
    span = call()
    commit(pg, span, replace(span, tenant_id=2))
    assert pg.execute("SELECT count(*), count(DISTINCT tenant_id) FROM span").fetchone() == (2, 2)
    assert pg.execute("SELECT count(DISTINCT block_id) FROM payload_block").fetchone() == (2,)


def test_a_day_without_partition_gets_one(pg: Connection) -> None:
    commit(pg, call(start_ns=START_NS - 40 * 86_400 * 10**9))
    assert sums(pg).spans == 1


def test_texts_that_postgresql_cannot_hold_do_not_stop_a_batch(pg: Connection) -> None:
    commit(pg, call(attributes={"a\0": "nul \0 here", "b": ["\ud800"], "c": float("nan")}))
    assert pg.execute("SELECT attributes->>'a' FROM span").fetchone() == ("nul  here",)


def test_the_journal_offset_moves_with_the_batch_and_only_from_where_it_was(pg: Connection) -> None:
    commit_batch(pg, Batch([call()], offsets=[Offset("g", "h", 0, 100, None)]), Budgets())
    with pytest.raises(OffsetMoved):
        commit_batch(pg, Batch([call()], offsets=[Offset("g", "h", 0, 200, 50)]), Budgets())
    assert sums(pg).spans == 1
    commit_batch(pg, Batch([call()], offsets=[Offset("g", "h", 150, 200, 100)]), Budgets())
    assert pg.execute("SELECT low_water, committed FROM journal_offset").fetchone() == (150, 200)


def test_a_trace_adds_up_over_batches_and_is_named_by_its_root(pg: Connection) -> None:
    root = step(start_ns=START_NS)
    root.name = "answer the customer"
    child = call(trace_id=root.trace_id, parent_span_id=root.span_id, start_ns=START_NS + 10**9)
    failed = call(trace_id=root.trace_id, parent_span_id=root.span_id, status="failed", usage=None, response_id="x")
    commit(pg, child)
    commit(pg, failed)
    commit(pg, root)
    row = pg.execute(
        "SELECT name, status, span_count, call_count, error_count, cost_nanousd, models FROM trace"
    ).fetchone()
    assert row == ("answer the customer", "ok", 3, 2, 1, COST, ["gpt-4o-mini"])


STEPS = [
    "current_budgets", "load_related", "copy_spans", "copy_blocks", "copy_claims", "copy_bills", "add_spend",
    "_write_offsets",
]  # fmt: skip


@pytest.mark.parametrize("looks_first", [False, True])
def test_a_report_beside_its_call_is_written_the_same_whatever_was_guessed(pg: Connection, looks_first: bool) -> None:
    commit(pg, call(response_id="r", source=semconv.SOURCE_GATEWAY, scope_name=""))
    batch = Batch(spans=[call(response_id="r")], looks_first=looks_first)
    written = commit_batch(pg, batch, definition.load(pg))
    assert (written.spans, written.is_ahead) == (1, looks_first)
    assert pg.execute("SELECT source, is_counted FROM span ORDER BY source").fetchall() == [(1, True), (2, False)]
    assert verify(pg).differences == []


@pytest.mark.parametrize("step_name", STEPS)
def test_a_writer_killed_at_any_step_leaves_nothing_half_done(
    pg: Connection, monkeypatch: pytest.MonkeyPatch, step_name: str
) -> None:
    spans = [call(response_id="r"), step()]
    with monkeypatch.context() as patch:
        patch.setattr(f"llmobs.ingest.commit.{step_name}", _killed)
        with pytest.raises(KeyboardInterrupt):
            commit(pg, *spans)
    assert sums(pg).spans == 0
    commit(pg, *spans)
    assert (sums(pg).spans, sums(pg).billed_nanousd, sums(pg).rolled_up_nanousd) == (2, COST, COST)


def test_negative_tokens_of_a_reversal_take_back_what_was_billed(pg: Connection) -> None:
    reported = call(response_id="r-3", usage=Usage(10, 20, 30, 40, 50, 5))
    commit(pg, reported)
    commit(pg, call(response_id="r-3", source=semconv.SOURCE_GATEWAY, scope_name="", usage=Usage(1, 1, 1, 1, 1, 1)))
    row = pg.execute(
        "SELECT sum(uncached_input_tokens), sum(cache_read_input_tokens), sum(cache_write_5m_input_tokens), "
        "sum(cache_write_1h_input_tokens), sum(output_tokens), sum(reasoning_output_tokens) FROM bill"
    ).fetchone()
    assert row == (1, 1, 1, 1, 1, 1)


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["before\\u0000after", "half a pair: \\ud83d"])
def test_what_postgresql_cannot_hold_costs_no_span(pg: psycopg.Connection[Any], text: str) -> None:
    commit(pg, call(input=f'[{{"role":"user","parts":[{{"type":"text","content":"{text}"}}]}}]'))
    row = pg.execute("SELECT preview FROM span").fetchone()
    assert row is not None
    assert ("beforeafter" if "before" in text else "half a pair: ") in str(row[0])


def test_a_call_that_comes_again_with_another_start_is_known_and_a_step_is_not(pg: Connection) -> None:
    """As docs/durability.md says it."""
    sent, between = call(), step()
    commit(pg, sent, between)
    commit(pg, *(replace(span, start_ns=span.start_ns + 1_000_000) for span in (sent, between)))
    rows = pg.execute("SELECT is_call, count(*) FROM span GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [(False, 2), (True, 1)]
    assert (sums(pg).bills, sums(pg).billed_nanousd, sums(pg).rolled_up_calls) == (1, COST, 1)
    assert verify(pg).differences == []
