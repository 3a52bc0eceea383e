"""Re-pricings and unpriced usage over REST: previewed, applied, undone, audited; strangers see nothing of them.

Pains 12 and 23: an unknown model waits with its tokens until someone gives it a price, and then the past has one too.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import redis

from llmobs.budgets.definition import load
from llmobs.ingest import tasks
from llmobs.ingest.models import Repricing
from llmobs.ops.verify import verify
from llmobs.pricing.models import Price
from llmobs.tenants.models import AuditEntry
from tests.ingest.making import call, commit
from tests.ingest.repricings import START
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

Connection = psycopg.Connection[Any]
REPRICINGS = "/api/v1/repricings/"
UNPRICED: dict[str, Any] = {"request_model": "brand-new", "cost_nanousd": None, "price_version": ""}
SINCE = (START - timedelta(days=1)).isoformat()


@pytest.fixture
def cast(pg: Connection, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Cast:
    monkeypatch.setattr(tasks, "wake", lambda: None)
    monkeypatch.setattr("dashboards.api.repricings.wake", lambda: None)
    found = make_cast()
    make_key(None, "root", "operator")
    commit(pg, call(found.acme.pk, **UNPRICED), call(found.acme.pk), call(found.globex.pk, **UNPRICED))
    return found


@pytest.fixture
def price() -> dict[str, Any]:
    """2 and 8 USD per million: 1000 and 500 tokens cost 6,000,000 nano-USD."""
    return {
        "provider": "openai", "model": "brand-new", "effective_from": SINCE,
        "input_usd_per_mtok": "2", "output_usd_per_mtok": "8",
    }  # fmt: skip


def work(repricing: dict[str, Any]) -> dict[str, Any]:
    """What a worker does of it, and how it is told then."""
    tasks.reprice()
    return with_key("operator").get(f"{REPRICINGS}{repricing['id']}/").json()  # type: ignore[no-any-return]


def no_difference(pg: Connection) -> None:
    assert [str(d) for d in verify(pg).differences] == []


def test_an_unpriced_model_is_listed_priced_and_its_past_has_a_cost(
    pg: Connection, cast: Cast, price: dict[str, Any]
) -> None:
    operator = with_key("operator")
    listed = operator.get("/api/v1/unpriced/?tenant=acme").json()["results"]
    assert [(row["provider"], row["model"], row["requests"], row["input_tokens"], row["users"]) for row in listed] == [
        ("openai", "brand-new", 1, 1000, ["user-1"])
    ]
    asked = operator.post(REPRICINGS, {"price": price}, format="json")
    assert asked.status_code == 201, asked.content
    made = asked.json()
    assert (made["state"], made["models"]) == ("previewed", ["brand-new"])
    assert made["preview"]["total"] == {
        "bills": 2, "old_usd": "0", "new_usd": "0.012", "difference_usd": "0.012", "unpriced_before": 2
    }  # fmt: skip
    assert Price.objects.count() == 0
    assert operator.post(f"{REPRICINGS}{made['id']}/apply/").status_code == 202
    assert work(made)["state"] == "applied"
    no_difference(pg)
    assert operator.get("/api/v1/unpriced/").json()["results"] == []
    tasks.fold_traces()
    assert pg.execute("SELECT sum(unpriced_count), sum(cost_nanousd) FROM trace").fetchone() == (0, 12_000_003)
    assert Price.objects.count() == 1
    assert operator.post(f"{REPRICINGS}{made['id']}/undo/").status_code == 202
    assert work(made)["state"] == "undone"
    no_difference(pg)
    assert Price.objects.count() == 0
    assert len(operator.get("/api/v1/unpriced/").json()["results"]) == 2
    actions = AuditEntry.objects.filter(kind="re-pricing").values_list("action", flat=True)
    assert sorted(actions) == ["apply", "undo"]


def test_what_was_begun_is_begun_once(cast: Cast, price: dict[str, Any]) -> None:
    operator = with_key("operator")
    made = operator.post(REPRICINGS, {"price": price}, format="json").json()
    assert_problem(operator.post(f"{REPRICINGS}{made['id']}/undo/"), 400)
    assert operator.post(f"{REPRICINGS}{made['id']}/apply/").status_code == 202
    assert "It is applying" in assert_problem(operator.post(f"{REPRICINGS}{made['id']}/apply/"), 400)["detail"]


def test_the_older_of_two_is_not_undone_before_the_newer(cast: Cast, price: dict[str, Any]) -> None:
    operator = with_key("operator")
    first = operator.post(REPRICINGS, {"price": price}, format="json").json()
    second = operator.post(REPRICINGS, {"since": SINCE}, format="json").json()
    for each in (first, second):
        operator.post(f"{REPRICINGS}{each['id']}/apply/")
        work(each)
    refused = assert_problem(operator.post(f"{REPRICINGS}{first['id']}/undo/"), 400)
    assert f"Re-pricing {second['id']}" in refused["detail"]


def test_what_was_applied_first_is_not_undone_first_whichever_was_made_first(cast: Cast, price: dict[str, Any]) -> None:
    operator = with_key("operator")
    made = [operator.post(REPRICINGS, {"since": SINCE}, format="json").json() for _ in range(2)]
    for each in reversed(made):
        operator.post(f"{REPRICINGS}{each['id']}/apply/")
        work(each)
    first, second = made[1], made[0]
    refused = assert_problem(operator.post(f"{REPRICINGS}{first['id']}/undo/"), 400)
    assert f"Re-pricing {second['id']}" in refused["detail"]
    assert operator.post(f"{REPRICINGS}{second['id']}/undo/").status_code == 202


def test_two_do_not_work_on_the_same_bills_at_once(cast: Cast, price: dict[str, Any]) -> None:
    operator = with_key("operator")
    first, second = (operator.post(REPRICINGS, {"since": SINCE}, format="json").json() for _ in range(2))
    assert operator.post(f"{REPRICINGS}{first['id']}/apply/").status_code == 202
    refused = assert_problem(operator.post(f"{REPRICINGS}{second['id']}/apply/"), 400)
    assert f"Re-pricing {first['id']} is at some of the same bills" in refused["detail"]
    work(first)
    assert operator.post(f"{REPRICINGS}{second['id']}/apply/").status_code == 202


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "since"),
        ({"since": "2026-01-02T00:00Z", "until": "2026-01-01T00:00Z"}, "until"),
        ({"price": {"model": "x", "effective_from": SINCE}}, "provider"),
        ({"price": {"provider": "x", "model": "x", "effective_from": SINCE, "colour": "red"}}, "price"),
        ({"price": ["x"], "since": SINCE}, "price"),
        ({"since": SINCE, "models": "x"}, "models"),
    ],
)
def test_what_is_wrong_is_named(cast: Cast, given: dict[str, Any], what: str) -> None:
    problem = assert_problem(with_key("operator").post(REPRICINGS, given, format="json"), 400)
    assert what in str(problem["errors"])
    assert Repricing.objects.count() == 0


def test_a_tenant_reads_its_own_and_begins_none(cast: Cast, price: dict[str, Any]) -> None:
    operator = with_key("operator")
    own = operator.post(REPRICINGS, {"tenant": "acme", "price": price}, format="json").json()
    everyones = operator.post(REPRICINGS, {"price": price | {"model": "x"}}, format="json").json()
    for client in (as_person(cast.alice), with_key("acme")):
        assert [row["id"] for row in client.get(REPRICINGS).json()["results"]] == [own["id"]]
        assert client.get(f"{REPRICINGS}{own['id']}/").json()["preview"]["total"]["bills"] == 1
        assert_problem(client.post(REPRICINGS, {"since": SINCE}, format="json"), 403)
        assert_problem(client.post(f"{REPRICINGS}{own['id']}/apply/"), 403)
        assert_problem(client.get(f"{REPRICINGS}{everyones['id']}/"), 404)


STRANGERS: list[Callable[[Cast], Any]] = [lambda cast: as_person(cast.charlie), lambda cast: with_key("globex")]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_see_nothing(cast: Cast, price: dict[str, Any], stranger: Callable[[Cast], Any]) -> None:
    own = with_key("operator").post(REPRICINGS, {"tenant": "acme", "price": price}, format="json").json()
    client = stranger(cast)
    assert client.get(REPRICINGS).json()["results"] == []
    for address in ("", "apply/", "undo/"):
        how = client.post if address else client.get
        assert_problem(how(f"{REPRICINGS}{own['id']}/{address}"), 404)
    assert_problem(client.get("/api/v1/unpriced/?tenant=acme"), 404)
    assert [row["tenant"] for row in client.get("/api/v1/unpriced/").json()["results"]] == ["globex"]


def test_what_is_too_much_for_a_request_is_a_workers_to_preview(
    cast: Cast, price: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MOST_PREVIEWED_AT_ONCE", 1)
    made = with_key("operator").post(REPRICINGS, {"price": price}, format="json").json()
    assert (made["state"], made["preview"]) == ("new", None)
    assert work(made)["preview"]["total"]["bills"] == 2


def test_a_run_that_fails_says_why_and_is_tried_again(
    pg: Connection, cast: Cast, price: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = with_key("operator")
    made = operator.post(REPRICINGS, {"price": price}, format="json").json()
    operator.post(f"{REPRICINGS}{made['id']}/apply/")

    def away(*_: Any) -> None:
        raise redis.ConnectionError("Valkey is away")

    monkeypatch.setattr(tasks, "_send", away)
    assert "Valkey is away" in work(made)["error"]
    no_difference(pg)
    monkeypatch.undo()
    told = work(made)
    assert (told["state"], told["error"]) == ("applied", "")
    assert load(pg).infos == ()
