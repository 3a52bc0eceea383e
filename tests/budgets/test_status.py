"""How budgets stand, with the ledger and without."""

from collections.abc import Iterable, Iterator

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmobs.budgets import recovery
from llmobs.budgets.definition import BudgetInfo, apply_at, load
from llmobs.budgets.status import Standing, Status, status, statuses
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from tests.budgets.made import AT_NS, AT_S, Conn, make_budget, make_tenant, reserve, settle
from tests.budgets.test_recovery import Journals, write_spend


@pytest.fixture
def cursor(pg: Conn) -> Iterator[psycopg.Cursor[tuple[object, ...]]]:
    with pg.cursor() as found:
        yield found


def made(conn: Conn, scope: str = "{}") -> BudgetInfo:
    make_budget(conn, make_tenant(conn), scope=scope, counted_at=utc_from_ns(AT_NS))
    (budget,) = load(conn).infos
    return budget


def told(found: Iterable[Status]) -> list[tuple[str, int, int | None, int | None, int, bool]]:
    return [(s.applied.value, s.spent, s.pending, s.held, s.remaining, s.is_live) for s in found]


def test_it_tells_spent_held_and_what_is_left(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]], valkey: redis.Redis
) -> None:
    budget = made(pg)
    whole = apply_at(budget, "", AT_S)
    write_spend(pg, whole, 20, 1)
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    reserve(valkey, "a" * 16, (whole, 30), epoch=epoch)
    reserve(valkey, "b" * 16, (whole, 10), epoch=epoch)
    settle(valkey, "b" * 16, (whole, 4), epoch=epoch)
    assert told(status(cursor, valkey, budget, AT_NS).values) == [("", 24, 4, 30, 46, True)]


def test_without_valkey_the_durable_spend_answers_and_says_so(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]]
) -> None:
    budget = made(pg)
    write_spend(pg, apply_at(budget, "", AT_S), 120, 1)
    away = redis.Redis(port=1, socket_connect_timeout=0.1, retry=Retry(NoBackoff(), 0))
    standing = status(cursor, away, budget, AT_NS)
    (found,) = standing.values
    assert told([found]) == [("", 120, None, None, 0, False)]
    assert found.overspent == 20
    assert (standing.spent, standing.held, standing.is_live) == (120, None, False)
    assert status(cursor, None, budget, AT_NS) == standing


def test_a_recovering_ledger_is_not_believed(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]], valkey: redis.Redis
) -> None:
    budget = made(pg)
    recovery.close(valkey)
    assert told(status(cursor, valkey, budget, AT_NS).values) == [("", 0, None, None, 100, False)]


def test_a_budget_for_each_value_tells_every_value_of_this_window(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]], valkey: redis.Redis
) -> None:
    budget = made(pg, '{"user": "*"}')
    write_spend(pg, apply_at(budget, "ann", AT_S), 20, 1)
    write_spend(pg, apply_at(budget, "bob", AT_S - 86_400), 99, 1)
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    reserve(valkey, "a" * 16, (apply_at(budget, "new", AT_S), 30), epoch=epoch)
    found = status(cursor, valkey, budget, AT_NS).values
    assert told(found) == [("new", 0, 0, 30, 70, True), ("ann", 20, 0, 0, 80, True)]
    tomorrow_ns = AT_NS + 86_400 * NS_PER_SECOND
    assert status(cursor, valkey, budget, tomorrow_ns) == Standing((), 0, 0, is_live=True)
    assert status(cursor, None, budget, tomorrow_ns) == Standing((), 0, 0, is_live=False)


def test_what_is_not_told_value_by_value_is_in_the_sum(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]], valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmobs.budgets.status.MOST_VALUES", 2)
    budget = made(pg, '{"user": "*"}')
    for user, spent in (("ann", 20), ("bob", 5), ("cay", 30), ("dan", 1)):
        write_spend(pg, apply_at(budget, user, AT_S), spent, 1)
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    reserve(valkey, "a" * 16, (apply_at(budget, "ann", AT_S), 15), epoch=epoch)
    for client in (valkey, None):
        found = status(cursor, client, budget, AT_NS)
        assert (found.value_count, found.spent) == (4, 56)
        assert [each.applied.value for each in found.values] == (["ann", "cay"] if client else ["cay", "ann"])


def test_many_budgets_are_told_at_once_each_with_values_that_only_hold(
    pg: Conn, cursor: psycopg.Cursor[tuple[object, ...]], valkey: redis.Redis
) -> None:
    tenants = [make_tenant(pg), make_tenant(pg, "globex")]
    for tenant_id in tenants:
        for name, scope in (("all", "{}"), ("users", '{"user": "*"}'), ("features", '{"feature": "*"}')):
            make_budget(pg, tenant_id, name=name, scope=scope, counted_at=utc_from_ns(AT_NS))
    budgets = load(pg).infos
    epoch = recovery.recover(pg, valkey, Journals(), AT_NS) or ""
    held = [(apply_at(budget, "new" if budget.each else "", AT_S), 10 + budget.id) for budget in budgets]
    for number, each in enumerate(held):
        reserve(valkey, f"{number:016x}", each, epoch=epoch)
    found = statuses(cursor, valkey, budgets, AT_NS)
    assert {budget_id: told(standing.values) for budget_id, standing in found.items()} == {
        applied.budget.id: [(applied.value, 0, 0, amount, applied.limit - amount, True)] for applied, amount in held
    }
    without = statuses(cursor, valkey, budgets, AT_NS, largest=5)
    assert [len(without[budget.id].values) for budget in budgets] == [0 if budget.each else 1 for budget in budgets]
