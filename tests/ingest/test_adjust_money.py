"""Re-pricing beside what else moves money: ceilings of what had no price, providers' own words, calls that flip."""

from typing import Any

import psycopg
import pytest

from llmobs.budgets.spend import count_new_budgets
from llmobs.core import semconv
from llmobs.ingest.entries import Hold
from llmobs.pricing.book import PriceBook
from llmobs.pricing.stated import stated_version
from tests.budgets.made import make_budget
from tests.ingest.making import START_NS, call, commit, make_tenant
from tests.ingest.repricings import DOUBLE, Runs, book_with, make, totals
from tests.ingest.test_adjust import no_difference

Connection = psycopg.Connection[Any]
UNPRICED: dict[str, Any] = {"cost_nanousd": None, "price_version": ""}
COUNTED = "2026-01-01T00:00:00Z"


@pytest.fixture
def runs(pg: Connection, database_url: str) -> Runs:
    make_tenant(pg)
    return Runs(database_url)


def spent(conn: Connection) -> int:
    row = conn.execute("SELECT COALESCE(sum(spent), 0)::bigint FROM budget_spend").fetchone()
    assert row is not None
    return int(row[0])


def test_a_call_without_price_takes_what_it_held_until_it_is_priced(pg: Connection, runs: Runs) -> None:
    budget = make_budget(pg, 1, counted_at=COUNTED, window="total", scope='{"model": "gpt-4o-mini"}')
    commit(pg, call(request_model="another"))
    span = call(source=semconv.SOURCE_GATEWAY, scope_name="", held_nanousd=3_000, **UNPRICED)
    committed = commit(pg, span, holds={(1, span.span_id): [Hold(budget, 1, "", 0, 3_000)]})
    assert [(fold.base, fold.attempts) for fold in committed.folds] == [(3_000, (span.span_id.hex(),))]
    no_difference(pg)
    before = totals(pg)
    repricing_id = make(pg)
    runs.apply(repricing_id, book_with(DOUBLE))
    assert spent(pg) == 6
    no_difference(pg)
    runs.undo(repricing_id)
    assert totals(pg) == before
    no_difference(pg)


def test_a_new_budget_counts_what_is_held_for_calls_without_price(pg: Connection, runs: Runs) -> None:
    commit(pg, call(source=semconv.SOURCE_GATEWAY, scope_name="", held_nanousd=3_000, **UNPRICED), call())
    make_budget(pg, 1, counted_at=None, window="total")
    count_new_budgets(pg, START_NS)
    assert spent(pg) == 3_003
    no_difference(pg)
    runs.apply(make(pg), book_with(DOUBLE))
    assert spent(pg) == 12
    no_difference(pg)


def test_a_providers_own_word_is_left_alone_while_it_is_trusted(pg: Connection, runs: Runs) -> None:
    stated: dict[str, Any] = {"cost_nanousd": 77, "price_version": stated_version("openai")}
    commit(pg, call(**stated), call())
    pg.execute("INSERT INTO pricing_trustedprovider (provider, created_at) VALUES ('openai', now())")
    book = PriceBook(book_with(DOUBLE).overrides, trusted=["openai"])
    assert runs.apply(make(pg), book).bills == 1
    no_difference(pg)


def test_a_word_that_is_trusted_no_more_is_re_priced_and_comes_back_by_undoing(pg: Connection, runs: Runs) -> None:
    commit(pg, call(cost_nanousd=77, price_version=stated_version("openai"), stated_cost_nanousd=77))
    before = totals(pg)
    repricing_id = make(pg)
    assert runs.apply(repricing_id, book_with(DOUBLE)).nanousd == 6 - 77
    no_difference(pg)
    runs.undo(repricing_id)
    no_difference(pg)
    assert totals(pg) == before


def test_a_stated_cost_counts_again_as_it_was_stated(pg: Connection, runs: Runs) -> None:
    first = call(price_version=stated_version("openai"), stated_cost_nanousd=77, cost_nanousd=77, response_id="r")
    commit(pg, first)
    better = call(response_id="r", scope_name="another", start_ns=START_NS + 1_000)
    commit(pg, better)
    counted = "SELECT span_id, cost_nanousd FROM span WHERE is_counted ORDER BY cost_nanousd"
    assert [(bytes(i), c) for i, c in pg.execute(counted)] == [(better.span_id, 3)]
    within = call(trace_id=better.trace_id, parent_span_id=better.span_id, response_id="s")
    commit(pg, within)
    assert [(bytes(i), c) for i, c in pg.execute(counted)] == [(within.span_id, 3), (first.span_id, 77)]
    no_difference(pg)
