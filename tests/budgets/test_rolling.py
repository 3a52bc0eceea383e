"""Rolling windows: kept by their days, added up by whoever asks, and nobody resets them (PAINS 29)."""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import redis

from llmobs.budgets import ledger, recovery, sweep
from llmobs.budgets.definition import Applied, BudgetInfo, apply_at, load
from llmobs.budgets.ledger import Exhausted, Granted, Unavailable
from llmobs.budgets.spend import _NEWEST, _ROLLING, count_new_budgets
from llmobs.budgets.status import status
from llmobs.budgets.window import counted_since, is_window, other_days, rolling_days, window_bounds
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.ops.verify_money import spend as differences
from tests.budgets.made import (
    AT_NS,
    AT_S,
    EPOCH,
    Conn,
    applied,
    info,
    make_bill,
    make_budget,
    make_tenant,
    open_ledger,
    reserve,
    settle,
    sums,
)
from tests.budgets.test_recovery import Journals
from tests.budgets.test_spend import DAY_NS, billed, spend

DAY_S = 86_400
BERLIN = ZoneInfo("Europe/Berlin")


def rolling(days: int, by_days: int = 0, **changes: Any) -> Applied:
    """A budget of 100 in so many days, as a call that begins some days from now meets it."""
    return apply_at(info(100, window=f"{days}d", **changes), "", AT_S + by_days * DAY_S)


@pytest.fixture
def budget(pg: Conn) -> BudgetInfo:
    """A counted budget of 100 in seven days."""
    make_budget(pg, make_tenant(pg), window="7d", counted_at=utc_from_ns(AT_NS))
    (found,) = load(pg).infos
    return found


@pytest.fixture
def cursor(pg: Conn) -> Iterator[psycopg.Cursor[tuple[object, ...]]]:
    with pg.cursor() as found:
        yield found


@pytest.mark.parametrize(
    ("spelled", "days"), [("7d", 7), ("2d", 2), ("92d", 92), ("1d", 0), ("93d", 0), ("07d", 0), ("day", 0), ("7", 0)]
)
def test_a_window_of_days_is_spelled_by_its_number(spelled: str, days: int) -> None:
    assert rolling_days(spelled) == days
    assert is_window(spelled) == (days > 0 or spelled == "day")


def test_its_days_are_the_tenants_midnights_across_a_change_of_clocks() -> None:
    """PAINS 29: 25 October 2026 has 25 hours in Berlin."""
    at_s = 1_793_012_400  # 2026-10-26 13:00 there
    starts_s, ends_s = window_bounds("3d", BERLIN, at_s)
    assert (ends_s - starts_s, starts_s - counted_since("3d", BERLIN, at_s)) == (DAY_S, 49 * 3600)
    assert other_days(3, BERLIN, starts_s) == (starts_s - 49 * 3600, starts_s - 25 * 3600, starts_s + DAY_S)


def test_what_the_days_before_spent_and_hold_counts(valkey: redis.Redis) -> None:
    today, yesterday = rolling(7), rolling(7, -1)
    open_ledger(valkey, today)
    assert reserve(valkey, "a" * 16, (yesterday, 30)) == Granted((70,))
    assert reserve(valkey, "b" * 16, (rolling(7, -6), 20)) == Granted((80,))
    settle(valkey, "b" * 16, (rolling(7, -6), 15))
    assert reserve(valkey, "c" * 16, (today, 56)) == Exhausted(0, 0, 15, 30)
    assert reserve(valkey, "d" * 16, (today, 55)) == Granted((0,))
    assert sums(valkey, today) == (0, 0, 55)


def test_a_day_that_is_over_leaves_the_window_by_itself(valkey: redis.Redis) -> None:
    open_ledger(valkey, rolling(7))
    assert reserve(valkey, "a" * 16, (rolling(7, -7), 90)) == Granted((10,))
    assert reserve(valkey, "b" * 16, (rolling(7), 100)) == Granted((0,))


def test_a_clock_that_is_late_counts_what_others_hold_in_the_next_day(valkey: redis.Redis) -> None:
    open_ledger(valkey, rolling(7))
    reserve(valkey, "a" * 16, (rolling(7, 1), 60))
    assert reserve(valkey, "b" * 16, (rolling(7), 41)) == Exhausted(0, 0, 0, 60)


def test_todays_key_alone_does_not_say_that_the_days_are_known(valkey: redis.Redis) -> None:
    """A fold may have brought today's base while the budget is not counted yet."""
    valkey.set(ledger.EPOCH_KEY, f"open {EPOCH}")
    valkey.hset(rolling(7).key, mapping={"base": 1, "version": 1})
    assert reserve(valkey, "a" * 16, (rolling(7), 1)) == Unavailable("", 0)


def test_it_is_held_with_others_in_one_step_or_not_at_all(valkey: redis.Redis) -> None:
    day, week, total = applied(50, id=2), rolling(7), applied(200, id=3, window="total")
    open_ledger(valkey, day, week, total)
    reserve(valkey, "a" * 16, (rolling(7, -1), 80))
    assert reserve(valkey, "b" * 16, (day, 30), (week, 30), (total, 30)) == Exhausted(1, 0, 0, 80)
    assert [sums(valkey, each) for each in (day, week, total)] == [(0, 0, 0)] * 3
    assert reserve(valkey, "c" * 16, (day, 20), (week, 20), (total, 20)) == Granted((30, 0, 180))
    assert [sums(valkey, each) for each in (day, week, total)] == [(0, 0, 20)] * 3


def test_it_is_counted_from_its_oldest_day_on(pg: Conn) -> None:
    tenant_id = make_tenant(pg)
    make_budget(pg, tenant_id, window="7d")
    for days, span_id in ((0, b"today..."), (6, b"six....."), (7, b"seven...")):
        make_bill(pg, tenant_id, 10 + days, at_ns=AT_NS - days * DAY_S * NS_PER_SECOND, span_id=span_id)
    with pg.transaction():
        folds = count_new_budgets(pg, AT_NS)
    assert sorted(fold.base for fold in folds if fold.base is not None) == [10, 16]
    assert list(differences(pg, load(pg))) == []


def test_its_status_is_the_sum_of_its_days(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]], valkey: redis.Redis, budget: BudgetInfo
) -> None:
    spend(pg, billed(budget.tenant_id, 20), billed(budget.tenant_id, 5, begin_ns=AT_NS - 3 * DAY_NS))
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    reserve(valkey, "a" * 16, (apply_at(budget, "", AT_S - DAY_S), 7), epoch=epoch)
    (live,) = status(cursor, valkey, budget, AT_NS).values
    assert (live.spent, live.held, live.remaining) == (25, 7, 68)
    (durable,) = status(cursor, None, budget, AT_NS).values
    assert (durable.spent, durable.held) == (25, None)


def test_a_lost_ledger_gets_the_bases_of_all_days_back(pg: Conn, valkey: redis.Redis, budget: BudgetInfo) -> None:
    spend(pg, *(billed(budget.tenant_id, 10, begin_ns=AT_NS - days * DAY_NS) for days in range(7)))
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    assert reserve(valkey, "a" * 16, (apply_at(budget, "", AT_S), 31), epoch=epoch) == Exhausted(0, 70, 0, 0)


def test_a_day_is_not_swept_while_a_window_needs_it(pg: Conn, valkey: redis.Redis, budget: BudgetInfo) -> None:
    spend(pg, billed(budget.tenant_id, 10, begin_ns=AT_NS - 6 * DAY_NS))
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    assert sweep.sweep_windows(valkey, epoch, load(pg), AT_NS) == 0
    assert sweep.sweep_windows(valkey, epoch, load(pg), AT_NS + 3 * DAY_NS) == 1


def test_a_threshold_is_told_once_in_its_days(pg: Conn, budget: BudgetInfo) -> None:
    """PAINS 31."""
    for days, amount in ((-2, 50), (-1, 25), (0, 1), (6, 75)):
        spend(pg, billed(budget.tenant_id, amount, begin_ns=AT_NS + days * DAY_NS))
    rows = pg.execute("SELECT threshold, spent, window_start FROM threshold_event ORDER BY window_start").fetchall()
    assert [(threshold, spent) for threshold, spent, _ in rows] == [(70, 75), (70, 76)]
    assert (rows[1][2] - rows[0][2]).days == 7


def test_what_is_reported_late_reaches_a_threshold_of_today(pg: Conn, budget: BudgetInfo) -> None:
    """A report of three days ago, when today's calls are counted already."""
    spend(pg, billed(budget.tenant_id, 60))
    spend(pg, billed(budget.tenant_id, 20, begin_ns=AT_NS - 3 * DAY_NS))
    rows = pg.execute("SELECT threshold, spent, window_start FROM threshold_event ORDER BY threshold").fetchall()
    today_s = apply_at(budget, "", AT_S).window_start_s
    assert [(threshold, spent, int(at.timestamp())) for threshold, spent, at in rows] == [
        (70, 80, today_s), (80, 80, today_s)
    ]  # fmt: skip


def test_a_windows_days_are_found_by_index_however_many_values_there_are(pg: Conn) -> None:
    days = [utc_from_ns(AT_NS), utc_from_ns(AT_NS + 1)]
    whose = (1, 2, 1, "ann", days)
    pg.execute("SET enable_seqscan = off")
    try:
        for statement, values in ((_NEWEST, whose), (_ROLLING, (*whose, *whose))):
            plan = "\n".join(row[0] for row in pg.execute(f"EXPLAIN {statement}", values).fetchall())
            assert "Seq Scan" not in plan
            assert plan.count("value = 'ann'") == plan.count("Index Cond") > 0
    finally:
        pg.execute("RESET enable_seqscan")
