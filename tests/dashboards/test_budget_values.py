"""Budgets with a limit for each value: what all of them spent and how many are stopped, however many there are."""

from typing import Any

import psycopg
import pytest
import redis

from llmobs.budgets.definition import apply_at, load
from llmobs.budgets.models import Budget
from llmobs.core.clock import ns_from_utc
from llmobs.core.money import NANOUSD_PER_USD
from tests.budgets.test_recovery import write_spend
from tests.dashboards.cast import Cast

Connection = psycopg.Connection[Any]
SPENT_USD = {"ann": 12, "bob": 11, "cay": 9, "dan": 1}


@pytest.fixture
def by_user(cast: Cast, pg: Connection, valkey: redis.Redis) -> Cast:
    """A cast whose Acme lets each user spend 10 USD in all; two of four have. The ledger is empty, and recovers."""
    Budget.objects.create(
        tenant=cast.acme, name="each", window="total", limit_nanousd=10 * NANOUSD_PER_USD, scope={"user": "*"},
        counted_at=cast.now,
    )  # fmt: skip
    budget = next(info for info in load(pg).infos if info.name == "each")
    for user, usd in SPENT_USD.items():
        applied = apply_at(budget, user, ns_from_utc(cast.now) // 1_000_000_000)
        write_spend(pg, applied, usd * NANOUSD_PER_USD, 1)
    return cast


@pytest.mark.parametrize(
    ("most", "state"), [(1000, "2 users stopped"), (3, "2 users stopped"), (2, "at least 2 users stopped")]
)
def test_what_all_values_spent_is_shown_and_how_many_are_stopped_at_least(
    by_user: Cast, monkeypatch: pytest.MonkeyPatch, most: int, state: str
) -> None:
    monkeypatch.setattr("llmobs.budgets.status.MOST_VALUES", most)
    monkeypatch.setattr("dashboards.views.overview.MOST_VALUES", most)
    client = by_user.as_(by_user.alice)
    for page in ("/", "/budgets/"):
        found = client.get(page)
        [figure] = [each for each in found.context["budgets"] if each.name == "each"]
        assert (figure.state, figure.value_count, figure.spent) == (state, 4, 33 * NANOUSD_PER_USD)
    page = client.get("/budgets/", {"budget": figure.info.id}).content.decode()
    told = "the 3 largest of 4 values" if most == 3 else "the 2 largest of 4 values" if most == 2 else "4 values"
    assert f"{told} by share used" in page
    answer = client.get(f"/api/v1/budgets/{figure.info.id}/status/").json()
    assert (answer["spent"], answer["value_count"], len(answer["values"])) == ("33", 4, min(most, 4))
