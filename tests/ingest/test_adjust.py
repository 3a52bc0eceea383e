"""Re-pricing: what changed is told by adjustments, every sum follows, and undoing leaves the very same totals.

Of the pains: costs that do not match the bill (10, 11), unknown models without a cost (12), each cost by its price
version (13), history that stays at 0 when a price is changed or added later (23).
"""

from typing import Any

import psycopg
import pytest

from llmobs.core import semconv
from llmobs.ops.verify import verify
from llmobs.pricing.usage import Usage
from llmobs.rollups.compact import compact_all
from tests.ingest.making import START_NS, call, commit, make_tenant, step
from tests.ingest.repricings import DOUBLE, Runs, book_with, make, totals

Connection = psycopg.Connection[Any]


@pytest.fixture
def runs(pg: Connection, database_url: str) -> Runs:
    make_tenant(pg)
    make_tenant(pg, 2)
    return Runs(database_url)


def no_difference(conn: Connection) -> None:
    assert [str(d) for d in verify(conn).differences] == []


def fill(conn: Connection) -> None:
    """Calls of every kind, half of them compacted: two that flip, estimated ones, unpriced ones, of two tenants."""
    reported = call(response_id="r")
    commit(conn, reported, call(), call(status="failed", usage=None), call(usage=None), step(), call(2))
    compact_all(conn)
    commit(
        conn,
        call(response_id="r", source=semconv.SOURCE_GATEWAY, scope_name="", usage=Usage(7, 1, 2, 3, 4, 2)),
        call(is_estimated=True, ttft_ns=5_000_000),
        call(cost_nanousd=None, price_version=""),
        call(start_ns=START_NS - 86_400 * 10**9, usage=Usage(10_000, 20, 30, 40, 500)),
        step(trace_id=reported.trace_id, start_ns=START_NS + 1),
    )


def test_every_sum_follows_and_undoing_leaves_the_very_same_totals(pg: Connection, runs: Runs) -> None:
    fill(pg)
    before = totals(pg)
    no_difference(pg)
    repricing_id = make(pg)
    done = runs.apply(repricing_id, book_with(DOUBLE))
    no_difference(pg)
    # Those of 1000 in and 500 out cost 4 + 4 * 0.5 = 6 of 3 nano-USD: three of tenant 1 (the flipped one does not
    # count), one of tenant 2; one without price gains 6. The others: ceil(7*2+1+2*2.5+3*4+4*8 = 64) / 1000 = 1 of 1.
    assert done.nanousd == 3 * 2 + 3 + 6 + (20_000 + 20 + 75 + 160 + 4_000 + 999) // 1000 - 13
    assert totals(pg) != before
    compact_all(pg)
    no_difference(pg)
    assert runs.undo(repricing_id).nanousd == -done.nanousd
    no_difference(pg)
    assert totals(pg) == before
