"""How all budgets will stand: windows, units, values, users, parents; from a fixed number of statements."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from llmobs.budgets.definition import BudgetInfo
from llmobs.budgets.outlook import Outlook, budget_forecasts
from llmobs.rollups.delta import MEASURES
from tests.budgets.made import AT_S, Conn, info

NOW = datetime.fromtimestamp(AT_S, UTC)  # Saturday, 2026-11-21 09:06:40
HOUR_NOW = NOW.replace(minute=0, second=0)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)
BASE = {"uncached_input_tokens": 3, "output_tokens": 1, "calls": 1, "spans": 1}


@pytest.fixture
def cursor(pg: Conn) -> Iterator["psycopg.Cursor[Any]"]:
    with pg.cursor() as found:
        yield found


def roll_up(pg: Conn, feature: str, cost: int, start: datetime, end: datetime, step: timedelta, **more: Any) -> None:
    """The same amounts in each slot of a time."""
    named = {
        "tenant_id": 7, "service": "", "environment": "", "feature": feature, "key_id": 0, "provider_name": "p",
        "model": "m", "status": "ok", "error_type": "", **more,
    }  # fmt: skip
    known = {
        "rollup_minute": ("minute", tuple(named)),
        "rollup_hour": ("hour", tuple(named)),
        "rollup_tenant_hour": ("hour", ("tenant_id", "status")),
        "rollup_model_hour": ("hour", ("tenant_id", "model", "status")),
    }
    tables = list(known)[1:] if step == timedelta(hours=1) else list(known)[:1]
    measures: dict[str, Any] = {n: [] if n.endswith(("buckets", "counts")) else BASE.get(n, 0) for n in MEASURES}
    measures["cost_nanousd"] = cost
    slots = [start + n * step for n in range((end - start) // step)]
    for table in tables:
        column, dimensions = known[table]
        names = [*dimensions, column, *measures]
        update = "cost_nanousd = t.cost_nanousd + excluded.cost_nanousd"
        statement = (
            f"INSERT INTO {table} AS t ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT ({', '.join((*dimensions, column))}) DO UPDATE SET {update}"
        )
        with pg.cursor() as writing:
            values = [named[name] for name in dimensions]
            writing.executemany(statement, [[*values, at, *measures.values()] for at in slots])


def spend(pg: Conn, budget: BudgetInfo, value: str, start: datetime, amount: int) -> None:
    pg.execute(
        "INSERT INTO budget_spend (tenant_id, budget_id, revision, value, window_start, spent, version) "
        "VALUES (%s, %s, 1, %s, %s, %s, 1)",
        [budget.tenant_id, budget.id, value, start, amount],
    )


def weeks_of(pg: Conn, feature: str, cost: int, weeks: int = 3, **more: Any) -> None:
    roll_up(pg, feature, cost, MIDNIGHT - timedelta(weeks=weeks), HOUR_NOW, timedelta(hours=1), **more)


def only(found: list[Outlook]) -> Outlook:
    (outlook,) = found
    return outlook


def test_a_day_ends_at_what_its_remaining_hours_usually_cost(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100)
    weeks_of(pg, "other", 900)
    budget = info(2_000, scope=(("feature", "chat"),))
    spend(pg, budget, "", MIDNIGHT, 910)
    found = only(budget_forecasts(cursor, [budget], NOW))
    assert found.spent == 910
    assert found.amount == pytest.approx(910 + 1_489, abs=5)
    assert found.ends_at == MIDNIGHT + timedelta(days=1)
    assert found.exhausts_at is not None
    assert abs(found.exhausts_at - (MIDNIGHT + timedelta(hours=20))) < timedelta(minutes=5)


def test_tokens_are_foretold_as_tokens(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100)
    found = only(budget_forecasts(cursor, [info(50, unit="tokens")], NOW))
    assert found.amount == pytest.approx(4 * 14.9, abs=1)


@pytest.mark.parametrize(("window", "hours"), [("day", 14.9), ("week", 38.9), ("month", 230.9)])
def test_each_window_has_its_own_end(pg: Conn, cursor: "psycopg.Cursor[Any]", window: str, hours: float) -> None:
    """PAINS 30: a forecast of a daily budget is of the day."""
    weeks_of(pg, "chat", 100)
    found = only(budget_forecasts(cursor, [info(10**9, window=window)], NOW))
    assert found.amount == pytest.approx(100 * hours, rel=0.01)


def test_an_hour_is_foretold_from_minutes(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    roll_up(
        pg, "chat", 10, NOW - timedelta(hours=12, minutes=6), NOW.replace(minute=5, second=40), timedelta(minutes=1)
    )
    budget = info(10**9, window="hour")
    spend(pg, budget, "", HOUR_NOW, 66)
    assert only(budget_forecasts(cursor, [budget], NOW)).amount == pytest.approx(66 + 533, abs=15)


def test_a_lifetime_has_no_end_but_a_date_of_exhaustion(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    """PAINS 53."""
    weeks_of(pg, "chat", 100)
    budget = info(60_000, window="total")
    spend(pg, budget, "", datetime.fromtimestamp(0, UTC), 50_000)
    found = only(budget_forecasts(cursor, [budget], NOW))
    assert (found.amount, found.low, found.high, found.ends_at) == (None, None, None, None)
    assert found.exhausts_at is not None
    assert abs(found.exhausts_at - (NOW + timedelta(hours=100))) < timedelta(hours=2)


def test_what_is_old_leaves_a_rolling_window(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100)
    budget = info(100_000, window="7d")
    for day in range(7):
        spend(pg, budget, "", MIDNIGHT - timedelta(days=day), 2_400 if day else 900)
    found = only(budget_forecasts(cursor, [budget], NOW))
    assert found.spent == 15_300
    # A day's hours come as a day leaves: the sum is at its height at the end of a day, seven days of 2,400.
    assert found.amount == pytest.approx(16_800, rel=0.01)
    assert found.exhausts_at is None


def test_each_value_has_a_forecast_of_its_own(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100)
    weeks_of(pg, "search", 10)
    budget = info(2_000, scope=(("feature", "*"),))
    spend(pg, budget, "chat", MIDNIGHT, 900)
    spend(pg, budget, "search", MIDNIGHT, 90)
    found = budget_forecasts(cursor, [budget], NOW)
    assert [(each.value, each.exhausts_at is not None) for each in found] == [("chat", True), ("search", False)]
    assert [each.amount for each in found] == [pytest.approx(2_389, abs=5), pytest.approx(239, abs=2)]


def test_a_user_is_foretold_from_the_days_before_laid_out_as_the_tenants(
    pg: Conn, cursor: "psycopg.Cursor[Any]"
) -> None:
    roll_up(pg, "chat", 100, MIDNIGHT - timedelta(weeks=3), HOUR_NOW, timedelta(hours=1))
    budget = info(2_000, scope=(("user", "*"),))
    for day in range(1, 15):
        spend(pg, budget, "ann", MIDNIGHT - timedelta(days=day), 240)
    spend(pg, budget, "ann", MIDNIGHT, 90)
    spend(pg, budget, "new", MIDNIGHT, 500)
    spend(pg, budget, "gone", MIDNIGHT - timedelta(days=1), 500)
    found = {each.value: each for each in budget_forecasts(cursor, [budget], NOW)}
    assert found["ann"].amount == pytest.approx(239, abs=4)
    assert found["new"].amount is None  # unknown until today: nobody can tell
    assert "gone" not in found


def test_a_parent_counts_what_the_budgets_below_it_count_once(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100)
    weeks_of(pg, "search", 10)
    weeks_of(pg, "other", 1_000)
    parent = info(10**6, scope=(("feature", "chat"),), below=((("feature", "search"),), (("feature", "chat"),)))
    assert only(budget_forecasts(cursor, [parent], NOW)).amount == pytest.approx(110 * 14.9, rel=0.01)


def test_what_the_ledger_says_is_spent_comes_first(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100)
    assert only(budget_forecasts(cursor, [info()], NOW, {(1, ""): 5_000})).spent == 5_000


def test_nothing_known_is_nothing_foretold(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    found = only(budget_forecasts(cursor, [info()], NOW))
    assert (found.spent, found.amount, found.exhausts_at) == (0, None, None)
    assert budget_forecasts(cursor, [], NOW) == []
    assert budget_forecasts(cursor, [info(counted_from_s=None)], NOW) == []


def test_hundreds_of_budgets_are_asked_in_two_statements(pg: Conn, cursor: "psycopg.Cursor[Any]") -> None:
    weeks_of(pg, "chat", 100, 1)
    asked: list[str] = []

    class Counted:
        def execute(self, query: str, params: Any = None, /) -> Any:
            asked.append(query)
            return cursor.execute(query, params)

        def fetchall(self) -> list[Any]:
            return cursor.fetchall()

    budgets = [info(10**6, id=n, scope=(("feature", "chat"),)) for n in range(1, 301)]
    found = budget_forecasts(Counted(), budgets, NOW)
    assert len(found) == 300
    assert len(asked) == 2
