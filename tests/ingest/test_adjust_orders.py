"""Calls, better reports, re-pricings and their undoing in any order: every sum is what the bills say, each time."""

import random
from typing import Any

import psycopg
import pytest

from llmobs.budgets.spend import count_new_budgets
from llmobs.core import semconv
from llmobs.ingest.commit import share_tenant
from llmobs.pricing.price import Rates
from llmobs.pricing.stated import stated_version
from llmobs.pricing.usage import Usage
from llmobs.rollups.compact import compact_all
from llmobs.spans.trace_deltas import fold
from tests.budgets.made import make_budget
from tests.ingest.making import START_NS, call, commit, make_tenant
from tests.ingest.repricings import Runs, book_with, make, totals
from tests.ingest.test_adjust import no_difference

Connection = psycopg.Connection[Any]
USAGES = (
    Usage(1000, output=500),
    Usage(7, 1, 2, 3, 4, 2),
    Usage(1000, output=10, units=(("image_input", 400),)),
    Usage(10_000, 20, 30, 40, 500),
)
UNPRICED: dict[str, Any] = {"cost_nanousd": None, "price_version": ""}
STATED: dict[str, Any] = {"cost_nanousd": 77, "stated_cost_nanousd": 77, "price_version": stated_version("openai")}


def _sums(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Without windows that hold nothing (any more)."""
    found = totals(conn)
    return found | {"spend": [row for row in found["spend"] if row[-1]]}


@pytest.mark.parametrize("seed", [3, 20])
def test_whatever_comes_in_whatever_order(pg: Connection, database_url: str, seed: int) -> None:
    rng = random.Random(seed)
    make_tenant(pg)
    runs = Runs(database_url)
    make_budget(pg, 1, name="each", scope='{"user": "*"}', window="hour", limit_nanousd=5)
    make_budget(pg, 1, name="week", window="7d", thresholds="[1, 50, 100]")
    with pg.transaction():
        count_new_budgets(pg, START_NS)
    reported: list[str] = []
    applied: list[int] = []

    def some() -> None:
        for _ in range(rng.randint(1, 3)):
            reported.append(f"r{len(reported)}")
            given = rng.choice([{}, {}, UNPRICED, STATED, UNPRICED | {"held_nanousd": 900}])
            usage = rng.choice(USAGES)
            if usage.units and not given:
                given = UNPRICED
            start_ns = START_NS - rng.choice([0, 1, 26]) * 3600 * 10**9
            commit(pg, call(response_id=reported[-1], usage=usage, start_ns=start_ns, **given))

    def better() -> None:
        if reported:
            found = pg.execute(
                "SELECT start FROM span WHERE response_id = %s AND source <> %s", (reported[-1], semconv.SOURCE_GATEWAY)
            ).fetchone()
            assert found is not None
            start_ns = int(found[0].timestamp()) * 10**9
            ours: dict[str, Any] = {"source": semconv.SOURCE_GATEWAY, "scope_name": "", "start_ns": start_ns}
            commit(pg, call(response_id=reported.pop(rng.randrange(len(reported))), **ours))

    def reprice() -> None:
        repricing_id = make(pg)
        runs.apply(repricing_id, book_with(Rates(*(rng.randint(0, 9000) for _ in range(5)))))
        applied.append(repricing_id)

    def undo() -> None:
        if applied:
            runs.undo(applied.pop())

    for _ in range(14):
        rng.choice([some, some, better, reprice, reprice, undo])()
        if rng.random() < 0.3:
            compact_all(pg)
        if rng.random() < 0.3:
            fold(pg, share_tenant)
        no_difference(pg)
    at_last = _sums(pg)
    reprice()
    undo()
    assert _sums(pg) == at_last
    while applied:
        undo()
        no_difference(pg)
