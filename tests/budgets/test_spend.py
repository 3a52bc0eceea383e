"""The durable spend: bills added up once, thresholds, and budgets counted while writers write."""

import threading
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from llmobs.budgets.definition import Budgets, load
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import (
    Billed,
    add_spend,
    budget_ids,
    count_new_budgets,
    current_budgets,
    match,
)
from llmobs.budgets.taken import billed_by_value
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.tenants.attribution import Attribution
from tests.budgets.made import AT_NS, AT_S, Conn, make_bill, make_budget, make_tenant

TODAY_S = AT_S - AT_S % 86_400
DAY_NS = 86_400 * NS_PER_SECOND
COUNTED = utc_from_ns(AT_NS)
ANN, BOB = Attribution(user_id="ann", feature="chat"), Attribution(user_id="bob", feature="chat")


@dataclass(frozen=True)
class Hold:
    """As the journal has it."""

    budget_id: int
    revision: int
    value: str
    window_start_s: int
    amount: int


def billed(tenant_id: int, cost: int | None, attribution: Attribution = ANN, **changes: Any) -> Billed:
    fields: dict[str, Any] = {"model": "gpt-4o", "provider_name": "openai", "begin_ns": AT_NS, "tokens": 10, **changes}
    return Billed(tenant_id, attribution, cost_nanousd=cost, **fields)


def spend(conn: Conn, *bills: Billed) -> list[Fold]:
    with conn.transaction():
        return add_spend(conn, load(conn), bills)


def rows(conn: Conn) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT budget_id, revision, value, spent, version FROM budget_spend ORDER BY budget_id, value, window_start"
    ).fetchall()


@pytest.fixture
def tenant(pg: Conn) -> int:
    return make_tenant(pg)


def test_bills_add_up_in_every_budget_that_applies(pg: Conn, tenant: int) -> None:
    whole = make_budget(pg, tenant, name="a", counted_at=COUNTED)
    per_user = make_budget(pg, tenant, name="b", scope='{"user": "*"}', counted_at=COUNTED)
    tokens = make_budget(pg, tenant, name="c", limit_nanousd=None, limit_tokens=100, counted_at=COUNTED)
    other = make_budget(pg, tenant, name="d", scope='{"feature": "search"}', counted_at=COUNTED)
    folds = spend(pg, billed(tenant, 5), billed(tenant, 7), billed(tenant, 3, BOB))
    assert rows(pg) == [
        (whole, 1, "", 15, 1),
        (per_user, 1, "ann", 12, 1),
        (per_user, 1, "bob", 3, 1),
        (tokens, 1, "", 30, 1),
    ]
    assert other not in {fold.budget_id for fold in folds}
    assert {(fold.budget_id, fold.value, fold.base, fold.version) for fold in folds} == {
        (whole, "", 15, 1),
        (per_user, "ann", 12, 1),
        (per_user, "bob", 3, 1),
        (tokens, "", 30, 1),
    }


def test_bills_that_are_alike_add_up_beside_attempts_and_share_what_they_are_counted_in(pg: Conn, tenant: int) -> None:
    whole = make_budget(pg, tenant, name="a", counted_at=COUNTED)
    per_user = make_budget(pg, tenant, name="b", scope='{"user": "*"}', counted_at=COUNTED)
    alike = [billed(tenant, 1), billed(tenant, 2, model="another"), billed(tenant, None), billed(tenant, 4, BOB)]
    attempt = billed(tenant, 8, attempt=b"aaaaaaaa", holds=[Hold(whole, 1, "", TODAY_S, 40)])
    first, second, third, bobs, held = match(load(pg), [*alike, attempt])
    assert first is second is third is not bobs
    assert bobs != first == held
    spend(pg, *alike, attempt)
    assert rows(pg) == [(whole, 1, "", 15, 1), (per_user, 1, "ann", 11, 1), (per_user, 1, "bob", 4, 1)]


def test_each_commit_raises_the_version_and_a_reversal_takes_back(pg: Conn, tenant: int) -> None:
    budget = make_budget(pg, tenant, counted_at=COUNTED)
    spend(pg, billed(tenant, 50))
    (fold,) = spend(pg, billed(tenant, -20, tokens=-10))
    assert rows(pg) == [(budget, 1, "", 30, 2)]
    assert (fold.base, fold.version, fold.window_start_s) == (30, 2, TODAY_S)


def test_an_unpriced_bill_takes_no_usd_but_its_tokens(pg: Conn, tenant: int) -> None:
    make_budget(pg, tenant, name="usd", counted_at=COUNTED)
    tokens = make_budget(pg, tenant, name="tokens", limit_nanousd=None, limit_tokens=100, counted_at=COUNTED)
    spend(pg, billed(tenant, None))
    assert rows(pg) == [(tokens, 1, "", 10, 1)]


def test_the_attempts_of_a_batch_are_dropped_where_they_are_held(pg: Conn, tenant: int) -> None:
    budget = make_budget(pg, tenant, counted_at=COUNTED)
    hold = Hold(budget, 1, "", TODAY_S, 40)
    (fold,) = spend(
        pg,
        billed(tenant, 5, attempt=b"aaaaaaaa", holds=[hold]),
        billed(tenant, 0, tokens=0, attempt=b"bbbbbbbb", holds=[hold]),
    )
    assert (fold.base, fold.attempts) == (5, (b"aaaaaaaa".hex(), b"bbbbbbbb".hex()))


def test_an_attempt_that_cost_nothing_only_drops_its_hold(pg: Conn, tenant: int) -> None:
    budget = make_budget(pg, tenant, counted_at=COUNTED)
    bill = billed(tenant, 0, tokens=0, attempt=b"aaaaaaaa", holds=[Hold(budget, 1, "", TODAY_S, 40)])
    (fold,) = spend(pg, bill)
    assert (fold.base, fold.attempts) == (None, (b"aaaaaaaa".hex(),))
    assert rows(pg) == []


def test_a_held_budget_is_counted_where_the_hold_is(pg: Conn, tenant: int) -> None:
    """The model that answers may be named otherwise than the one that was asked and held for."""
    budget = make_budget(pg, tenant, scope='{"model": "gpt-4o"}', counted_at=COUNTED)
    bill = billed(tenant, 5, model="gpt-4o-2024-08-06", attempt=b"aaaaaaaa", holds=[Hold(budget, 1, "", TODAY_S, 9)])
    assert [budget_ids(found) for found in match(load(pg), [bill])] == [[budget]]
    spend(pg, bill)
    assert rows(pg) == [(budget, 1, "", 5, 1)]


def test_a_hold_of_an_older_revision_is_dropped_and_the_new_one_gets_the_spend(pg: Conn, tenant: int) -> None:
    budget = make_budget(pg, tenant, revision=2, counted_at=COUNTED)
    folds = spend(pg, billed(tenant, 5, attempt=b"aaaaaaaa", holds=[Hold(budget, 1, "", TODAY_S, 9)]))
    assert {(fold.revision, fold.base, fold.attempts) for fold in folds} == {
        (2, 5, (b"aaaaaaaa".hex(),)),
        (1, None, (b"aaaaaaaa".hex(),)),
    }


def test_a_bill_belongs_to_the_window_of_its_begin(pg: Conn, tenant: int) -> None:
    make_budget(pg, tenant, counted_at=COUNTED)
    folds = spend(pg, billed(tenant, 1), billed(tenant, 2, begin_ns=AT_NS + DAY_NS))
    assert {(fold.window_start_s, fold.base) for fold in folds} == {(TODAY_S, 1), (TODAY_S + 86_400, 2)}


def test_what_began_before_the_budget_was_counted_touches_none_of_its_windows(pg: Conn, tenant: int) -> None:
    make_budget(pg, tenant, counted_at=COUNTED)
    assert spend(pg, billed(tenant, 1, begin_ns=AT_NS - DAY_NS)) == []


def test_a_threshold_is_recorded_once_in_a_window(pg: Conn, tenant: int) -> None:
    make_budget(pg, tenant, counted_at=COUNTED)
    passed = []
    for cost in (69, 1, 5, 10, 30):
        spend(pg, billed(tenant, cost))
        passed.append(pg.execute("SELECT array_agg(threshold ORDER BY threshold) FROM threshold_event").fetchone())
    assert passed == [(None,), ([70],), ([70],), ([70, 80],), ([70, 80, 100],)]
    first = pg.execute("SELECT spent, limit_amount, alerted_at FROM threshold_event WHERE threshold = 70").fetchone()
    assert first == (70, 100, None)


def test_a_new_budget_starts_from_what_was_billed_in_its_window(pg: Conn, tenant: int) -> None:
    whole = make_budget(pg, tenant, name="a")
    per_user = make_budget(pg, tenant, name="b", scope='{"user": "*", "feature": "chat"}')
    make_bill(pg, tenant, 30, attribution=ANN)
    make_bill(pg, tenant, 45, attribution=BOB)
    make_bill(pg, tenant, None, attribution=BOB)
    make_bill(pg, tenant, 1000, AT_NS - DAY_NS, attribution=ANN)
    make_bill(pg, tenant, 4, AT_NS + DAY_NS, attribution=ANN)
    with pg.transaction():
        folds = count_new_budgets(pg, AT_NS)
    assert [row[:4] for row in rows(pg)] == [
        (whole, 1, "", 75),
        (whole, 1, "", 4),
        (per_user, 1, "ann", 30),
        (per_user, 1, "ann", 4),
        (per_user, 1, "bob", 45),
    ]
    assert [fold.announces for fold in folds if fold.budget_id == per_user] == [False, False, False, True]
    assert pg.execute("SELECT count(*) FROM threshold_event").fetchone() == (1,)  # 70 % of the first
    assert all(budget.counted_from_s == TODAY_S for budget in load(pg).infos)
    with pg.transaction():
        assert count_new_budgets(pg, AT_NS) == []


def test_the_bills_recompute_the_spend(pg: Conn, tenant: int) -> None:
    make_budget(pg, tenant, scope='{"user": "*"}', limit_nanousd=None, limit_tokens=1000)
    make_bill(pg, tenant, 1, tokens=30, attribution=ANN)
    make_bill(pg, tenant, -1, tokens=-30, attribution=ANN)
    make_bill(pg, tenant, None, tokens=12, attribution=BOB)
    (budget,) = load(pg).infos
    assert billed_by_value(pg, budget, TODAY_S, TODAY_S + 86_400) == {"bob": 12}


def test_a_budget_for_all_time_counts_what_was_ever_billed(pg: Conn, tenant: int) -> None:
    budget = make_budget(pg, tenant, window="total")
    make_bill(pg, tenant, 30)
    make_bill(pg, tenant, 5, AT_NS - 5 * DAY_NS)
    with pg.transaction():
        count_new_budgets(pg, AT_NS)
    assert rows(pg) == [(budget, 1, "", 35, 1)]


def test_a_writer_with_old_definitions_still_adds_to_a_budget_counted_meanwhile(pg: Conn, tenant: int) -> None:
    old = load(pg)
    budget = make_budget(pg, tenant)
    with pg.transaction():
        count_new_budgets(pg, AT_NS)
    with pg.transaction():
        add_spend(pg, old, [billed(tenant, 5)])
    assert rows(pg) == [(budget, 1, "", 5, 1)]


def test_counting_waits_for_commits_under_way_and_finds_their_bills(pg: Conn, database_url: str, tenant: int) -> None:
    budget = make_budget(pg, tenant)
    folds: list[Fold] = []

    def count() -> None:
        with psycopg.connect(database_url) as conn:
            folds.extend(count_new_budgets(conn, AT_NS))

    with pg.transaction():
        budgets = current_budgets(pg, Budgets())
        make_bill(pg, tenant, 25)
        add_spend(pg, budgets, [billed(tenant, 25)])
        counting = threading.Thread(target=count)
        counting.start()
        while not _somebody_waits(database_url):
            pass
    counting.join()
    assert rows(pg) == [(budget, 1, "", 25, 1)]
    assert folds[0].base == 25


def _somebody_waits(database_url: str) -> bool:
    with psycopg.connect(database_url, autocommit=True) as conn:
        found = conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
    return found != (0,)


def test_writers_at_once_lock_rows_in_one_order(pg: Conn, database_url: str, tenant: int) -> None:
    budget = make_budget(pg, tenant, scope='{"user": "*"}', counted_at=COUNTED)
    budgets = load(pg)
    users = [Attribution(user_id=f"u{number}") for number in range(20)]

    def write(order: list[Attribution]) -> None:
        with psycopg.connect(database_url) as conn:
            for _ in range(10):
                with conn.transaction():
                    add_spend(
                        conn, Budgets(budgets.infos, budgets.version), [billed(tenant, 1, user) for user in order]
                    )

    writers = [threading.Thread(target=write, args=(order,)) for order in (users, users[::-1])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {row[3:] for row in rows(pg)} == {(20, 20)}
    assert {row[0] for row in rows(pg)} == {budget}
