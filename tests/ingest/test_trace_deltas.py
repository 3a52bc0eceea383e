"""What re-pricings add to traces waits beside them, is shown at once, and is folded in later without being lost."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dashboards.queries.scope import Filters, Scope
from dashboards.queries.traces import traces
from dashboards.window import Window
from llmobs.ingest.commit import share_tenant
from llmobs.pricing.usage import Usage
from llmobs.spans.trace_deltas import MOST_TRACES, fold
from tests.ingest.making import START_NS, call, commit, make_tenant, step
from tests.ingest.repricings import DOUBLE, START, Runs, book_with, make
from tests.ingest.test_adjust import DAY_NS, no_difference

Connection = psycopg.Connection[Any]
SHOWN = Scope((1,), Window(START - timedelta(days=2), START + timedelta(days=1), ZoneInfo("UTC")), Filters())


@pytest.fixture
def runs(pg: Connection, database_url: str) -> Runs:
    make_tenant(pg)
    return Runs(database_url)


def waiting(pg: Connection) -> int:
    row = pg.execute("SELECT count(*) FROM trace_delta").fetchone()
    assert row is not None
    return int(row[0])


def dearest(pg: Connection) -> list[int | None]:
    return [row.cost_nanousd for row in traces(pg.cursor(), SHOWN, "cost").rows]


def test_a_new_cost_is_shown_at_once_and_its_place_follows(pg: Connection, runs: Runs) -> None:
    gpt_4o: dict[str, Any] = {"request_model": "gpt-4o", "response_model": "gpt-4o"}
    commit(pg, call(), call(usage=Usage(1000, output=1000), cost_nanousd=5, **gpt_4o))
    runs.apply(make(pg), book_with(DOUBLE))
    assert waiting(pg) == 1
    assert dearest(pg) == [5, 6]
    no_difference(pg)
    assert fold(pg, share_tenant) == 1
    assert (waiting(pg), dearest(pg)) == (0, [6, 5])
    no_difference(pg)


def test_undone_before_it_was_folded_nothing_is_written_to_the_row(pg: Connection, runs: Runs) -> None:
    commit(pg, call())
    before = pg.execute("SELECT xmin, t.* FROM trace t").fetchall()
    repricing_id = make(pg)
    runs.apply(repricing_id, book_with(DOUBLE))
    runs.undo(repricing_id)
    assert fold(pg, share_tenant) == 2
    assert pg.execute("SELECT xmin, t.* FROM trace t").fetchall() == before
    no_difference(pg)


def test_a_call_after_midnight_moves_the_row_of_its_traces_first_day(pg: Connection, runs: Runs) -> None:
    midnight = START_NS - START_NS % DAY_NS
    root = step(start_ns=midnight - 2_000_000_000)
    for start_ns in (midnight - 1_000_000_000, midnight + 1_000_000_000):
        commit(pg, root, call(trace_id=root.trace_id, parent_span_id=root.span_id, start_ns=start_ns))
    pg.execute("DELETE FROM trace WHERE day = %s", (START.date(),))
    pg.execute("UPDATE trace SET cost_nanousd = 6, priced_count = 2")  # as if all were of one day
    runs.apply(make(pg), book_with(DOUBLE))
    assert dearest(pg) == [12]
    assert fold(pg, share_tenant) == 2
    assert pg.execute("SELECT cost_nanousd FROM trace").fetchall() == [(12,)]


def test_many_are_folded_lot_by_lot(pg: Connection, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmobs.spans.trace_deltas.MOST_TRACES", 3)
    assert MOST_TRACES > 3
    commit(pg, *(call(start_ns=START_NS - n * DAY_NS // 4) for n in range(8)))
    runs.apply(make(pg), book_with(DOUBLE))
    assert waiting(pg) == 8
    assert fold(pg, share_tenant, most_seconds=0) == 0
    assert fold(pg, share_tenant) == 8
    assert dearest(pg) == [6] * 8
    no_difference(pg)


def test_one_folds_at_a_time(pg: Connection, runs: Runs) -> None:
    commit(pg, call())
    runs.apply(make(pg), book_with(DOUBLE))
    with runs.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s)", (0x6C6C6D74,))
        assert fold(pg, share_tenant) == 0
        other.execute("SELECT pg_advisory_unlock_all()")
        assert fold(pg, share_tenant) == 1
