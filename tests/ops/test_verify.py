"""Verify finds nothing where all adds up, and each thing that does not."""

import time
from typing import Any

import psycopg
import pytest
import redis

from llmobs.budgets import recovery
from llmobs.budgets.definition import apply_at, load
from llmobs.budgets.spend import count_new_budgets
from llmobs.core import semconv
from llmobs.ops.verify import keep, verify
from llmobs.pricing.usage import Usage
from llmobs.rollups.compact import compact_all
from tests.budgets.made import make_budget
from tests.budgets.test_recovery import Journals
from tests.ingest.making import START_NS, call, commit, make_tenant, step
from tests.ingest.repricings import DOUBLE, Runs, book_with, make

Connection = psycopg.Connection[Any]


@pytest.fixture
def full(pg: Connection) -> Connection:
    """A database with calls of every kind, half of it compacted."""
    make_tenant(pg)
    reported = call(response_id="r")
    commit(pg, reported, call(), call(status="failed", usage=None), call(usage=None), step(), call(2))
    compact_all(pg)
    commit(
        pg,
        call(response_id="r", source=semconv.SOURCE_GATEWAY, scope_name="", usage=Usage(7, 1, 2, 3, 4, 2)),
        call(is_estimated=True, ttft_ns=5_000_000, duration_ns=123_456_789),
        call(cost_nanousd=None, price_version=""),
        call(status=semconv.REFUSED, usage=None, source=semconv.SOURCE_GATEWAY),
        step(trace_id=reported.trace_id, start_ns=START_NS + 1),
    )
    return pg


def test_it_finds_nothing_where_all_adds_up(full: Connection) -> None:
    assert [str(d) for d in verify(full).differences] == []
    compact_all(full)
    assert verify(full).differences == []


DAMAGE = {
    "a roll-up row is gone": ("DELETE FROM rollup_minute", "rollup_minute = spans"),
    "an hour counts one call more": ("UPDATE rollup_hour SET calls = calls + 1", "rollup_hour = spans"),
    "an hour has other money": (
        "UPDATE rollup_model_hour SET cost_nanousd = cost_nanousd + 1",
        "rollup_model_hour = bills",
    ),
    "a sketch has another bucket": (
        "UPDATE rollup_tenant_hour SET duration_buckets[1] = duration_buckets[1] + 1 WHERE calls > 0",
        "sketches = durations",
    ),
    "a user's day": ("UPDATE rollup_user_day SET input_tokens = 0", "rollup_user_day = spans"),
    "a trace": ("UPDATE trace SET call_count = call_count + 1", "trace = spans"),
    "a bill is gone": ("DELETE FROM bill WHERE kind = 'reversal'", "bill = span"),
    "a bill without a span": ("UPDATE bill SET span_id = '\\x0102030405060708'", "bill = span"),
    "a cost that is no price's": (
        "UPDATE bill SET cost_nanousd = cost_nanousd + 1 WHERE kind = 'measured'",
        "cost = usage × price",
    ),
    "a version that is not kept": ("DELETE FROM price_version", "cost = usage × price"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_it_finds_what_does_not_add_up(full: Connection, damage: str) -> None:
    statement, check = DAMAGE[damage]
    compact_all(full)
    full.execute(statement)
    assert check in {difference.check for difference in verify(full).differences}


def test_it_finds_spend_that_is_not_its_bills(full: Connection) -> None:
    full.execute(
        'INSERT INTO budgets_budget (id, tenant_id, name, limit_nanousd, "window", scope, action, thresholds, '
        "is_active, revision, counted_at, created_at) "
        "VALUES (1, 1, 'b', 1000, 'total', '{}', 'block', '[]', true, 1, now(), now())"
    )
    full.execute("UPDATE budgets_budget SET counted_at = now()")
    [difference] = verify(full).differences
    assert difference.check == "budget_spend = bills"
    assert "'b'" in difference.where


def test_it_finds_adjustments_that_are_not_what_their_re_pricing_says(full: Connection, database_url: str) -> None:
    runs, repricing_id = Runs(database_url), make(full)
    runs.apply(repricing_id, book_with(DOUBLE))
    runs.undo(repricing_id)
    assert verify(full).differences == []
    full.execute("UPDATE bill SET cost_nanousd = cost_nanousd + 1 WHERE reason LIKE '%undone' AND cost_nanousd < 0")
    assert "re-pricing = adjustments" in {difference.check for difference in verify(full).differences}
    full.execute("UPDATE repricing_chunk SET nanousd = nanousd + 1")
    assert "re-pricing = adjustments" in {difference.check for difference in verify(full).differences}


def test_it_finds_a_hold_that_nobody_ended_where_nothing_was_spent(full: Connection, valkey: redis.Redis) -> None:
    make_budget(full, 1, name="left over", scope='{"user": "*"}', window="7d")
    with full.transaction():
        count_new_budgets(full, START_NS)
    (budget,) = load(full).infos
    assert recovery.recover(full, valkey, Journals(), time.time_ns())
    assert verify(full, valkey).differences == []
    valkey.hset(apply_at(budget, "nobody", int(time.time())).key, mapping={"base": 0, "version": 0, "held": 7})
    [difference] = verify(full, valkey).differences
    assert (difference.check, difference.kept) == ("ledger = budget_spend", "base 0, pending 0, held 7")


def test_a_report_is_kept(full: Connection) -> None:
    keep(full, verify(full))
    assert full.execute("SELECT differences FROM verification").fetchone() == (0,)
