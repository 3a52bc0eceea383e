"""The bills of a span as its page reads them: which budgets they count towards, whenever they were written."""

from typing import Any

import psycopg
import pytest
from django.db import connection

from dashboards.queries.trace import bills_of, trace
from tests.ingest.making import call, commit


@pytest.mark.parametrize(
    ("budgets", "budget_ids", "due"),
    [("17 23", None, (17, 23)), ("4", None, (4,)), (None, None, ()), (None, [5, 6], (5, 6)), (None, [], ())],
)
def test_a_bill_tells_its_budgets_as_they_are_written_now_and_as_they_were(
    pg: psycopg.Connection[Any], budgets: str | None, budget_ids: list[int] | None, due: tuple[int, ...]
) -> None:
    span = call()
    commit(pg, span)
    pg.execute("UPDATE bill SET budgets = %s, budget_ids = %s", (budgets, budget_ids))
    with connection.cursor() as cursor:
        found = trace(cursor, (1,), span.trace_id.hex())
        assert found is not None
        bills = bills_of(cursor, found, [span.span_id.hex()])[span.span_id.hex()]
        assert [bill.budget_ids for bill in bills] == [due]
