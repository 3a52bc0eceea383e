"""A month with six planted faults: each is found under its name, to the last digit, and nothing remains.

PAINS 10 (costs do not match the bill), 11 (a check-list, and "<10 % is explained"), 19 (what the provider states beside
what we compute), 25 (what went past the gateway).
"""

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from llmobs.ops.verify import verify
from llmobs.reconcile.amounts import total
from llmobs.reconcile.matching import Outcome, reconcile_month
from llmobs.reconcile.naming import by_name
from tests.reconcile.made import AT, planted_month, usd
from tests.reconcile.planted import MONTH, Planted

Connection = psycopg.Connection[Any]


def reconciled(conn: Connection, accounts: dict[str, int]) -> list[Outcome]:
    with conn.transaction():
        return [reconcile_month(conn, account_id, MONTH, AT) for account_id in accounts.values()]


def named(outcomes: list[Outcome]) -> dict[str, Decimal]:
    sums = by_name([part for outcome in outcomes for part in outcome.parts])
    return {name: usd(amount) for name, amount in sums.items()}


@pytest.fixture(params=["json", "csv"])
def planted(pg: Connection, request: pytest.FixtureRequest) -> tuple[Planted, list[Outcome]]:
    made, accounts = planted_month(pg, request.param)
    return made, reconciled(pg, accounts)


def test_all_six_faults_are_named_with_their_amounts(planted: tuple[Planted, list[Outcome]]) -> None:
    made, outcomes = planted
    assert named(outcomes) == dict(made.expected)
    assert set(made.expected) == {"outside", "price", "tokens", "rounding", "time_zone", "class"}


def test_nothing_remains(planted: tuple[Planted, list[Outcome]]) -> None:
    _, outcomes = planted
    for outcome in outcomes:
        assert outcome.residual == 0
        assert outcome.theirs - outcome.ours == total(outcome.parts)


def test_what_is_found_says_where(planted: tuple[Planted, list[Outcome]]) -> None:
    _, outcomes = planted
    parts = [part for outcome in outcomes for part in outcome.parts]
    by = {name: [part for part in parts if part.name == name] for name in ("outside", "price", "tokens", "time_zone")}
    assert [p.calls for p in by["outside"] if p.calls] == [3, 3, 3]
    assert {(p.key.day.day, p.detail["key"]) for p in by["outside"]} == {(d, "key_laptop") for d in (12, 13, 14)}
    assert {(p.detail["their_rate"], p.detail["our_rate"]) for p in by["price"]} == {("18", "15")}
    assert {p.key.day.day for p in by["price"]} == set(range(16, 32))
    assert [(p.quantity, p.calls, p.detail["estimated"]) for p in by["tokens"]] == [(3030, 3, 3)]
    assert {(p.key.day.day, p.detail["hours"]) for p in by["time_zone"]} == {(20, 2), (21, 2)}


def test_the_planted_bills_are_right(pg: Connection) -> None:
    planted_month(pg, "json")
    assert verify(pg).differences == []


def test_it_comes_to_the_same_again(pg: Connection) -> None:
    _, accounts = planted_month(pg, "json")
    first, second = reconciled(pg, accounts), reconciled(pg, accounts)
    assert [outcome.parts for outcome in first] == [outcome.parts for outcome in second]
    kept = pg.execute("SELECT sum(amount_nanousd) FROM reconcile_part").fetchone()
    assert kept == (sum(total(outcome.parts) for outcome in second),)
