"""Helpers of the tests of re-pricing: rows of a re-pricing, runs of it, and all sums as they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from llmobs.budgets.ledger import Fold
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns
from llmobs.ingest import adjust_run
from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.price import Rates
from llmobs.pricing.repricing import Question
from tests.ingest.making import START_NS

Connection = psycopg.Connection[Any]

START = utc_from_ns(START_NS)
QUESTION = Question(None, START - timedelta(days=2), START + timedelta(minutes=30), ("openai",), ("gpt-4o-mini",))
DOUBLE = Rates(2000, 1000, 2500, 4000, 8000)  # of making.PRICE


def book_with(rates: Rates, model: str = "gpt-4o-mini", since: datetime | None = None) -> PriceBook:
    """The book with one price of our own, for all tenants."""
    from_ns = ns_from_utc(since) if since else START_NS - 7 * 86_400 * NS_PER_SECOND
    return PriceBook([Override(None, "openai", model, from_ns, rates, None)])


def make(conn: Connection, question: Question = QUESTION, state: str = "applying") -> int:
    row = conn.execute(
        "INSERT INTO repricing (providers, model_names, since, until, note, state, error, created_by, created_at, "
        "tenant_id) VALUES (to_jsonb(%s::text[]), to_jsonb(%s::text[]), %s, %s, '', %s, '', 'test', %s, %s) "
        "RETURNING id",
        (list(question.providers), list(question.models), question.since, question.until, state,
         datetime.now(UTC) - timedelta(seconds=1), question.tenant_id),
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


class Runs:
    """Applies and undoes on a database of its own connections; keeps the folds that were sent."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.folds: list[Fold] = []

    def connect(self) -> Connection:
        return psycopg.connect(self._url, autocommit=True)

    def apply(self, repricing_id: int, book: PriceBook, question: Question = QUESTION) -> adjust_run.Done:
        return adjust_run.apply(self.connect, repricing_id, question, book, self.folds.extend)

    def undo(self, repricing_id: int) -> adjust_run.Done:
        with self.connect() as conn:
            conn.execute("UPDATE repricing SET state = 'undoing' WHERE id = %s", (repricing_id,))
        return adjust_run.undo(self.connect, repricing_id, self.folds.extend)


TOTALS = {
    "bills": "SELECT tenant_id, sum(requests), sum(cost_nanousd), sum(uncached_input_tokens), sum(output_tokens), "
    "sum(requests) FILTER (WHERE cost_nanousd IS NULL) FROM bill GROUP BY 1 ORDER BY 1",
    "traces": "SELECT tenant_id, trace_id, sum(cost_nanousd), sum(priced_count), sum(unpriced_count) FROM ("
    "SELECT tenant_id, trace_id, cost_nanousd, priced_count, unpriced_count FROM trace UNION ALL "
    "SELECT tenant_id, trace_id, cost_nanousd, gained, -gained FROM trace_delta) x GROUP BY 1, 2 ORDER BY 1, 2",
    "users": "SELECT tenant_id, user_id, sum(cost_nanousd), sum(unpriced_calls) FROM rollup_user_day GROUP BY 1, 2 "
    "ORDER BY 1, 2",
    "spend": "SELECT tenant_id, budget_id, value, window_start, spent FROM budget_spend ORDER BY 1, 2, 3, 4",
} | {
    table: "SELECT tenant_id, model, sum(cost_nanousd), sum(estimated_nanousd), sum(unpriced_calls), sum(calls) FROM ("
    f"SELECT tenant_id, {model} AS model, cost_nanousd, estimated_nanousd, unpriced_calls, calls FROM {table} "
    f"UNION ALL SELECT tenant_id, {model}, cost_nanousd, estimated_nanousd, unpriced_calls, calls FROM rollup_delta) x "
    "GROUP BY 1, 2 ORDER BY 1, 2"
    for table, model in {
        "rollup_minute": "model", "rollup_hour": "model", "rollup_model_hour": "model", "rollup_tenant_hour": "''"
    }.items()
}  # fmt: skip


def totals(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every sum that a re-pricing touches."""
    return {name: [tuple(row) for row in conn.execute(query)] for name, query in TOTALS.items()}
