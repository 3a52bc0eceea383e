"""Explain: every figure leads to its formula, its bills, and the same figure computed anew.

Pains 6, 10, 11 and 13: a figure that matches nothing, or that nobody can take apart, is not shown here.
"""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from dashboards.queries import explained
from llmobs.budgets.models import Budget
from llmobs.budgets.spend import count_new_budgets
from llmobs.core import semconv
from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.repricing import Question
from llmobs.pricing.stated import stated_version
from llmobs.pricing.usage import Usage
from llmobs.pricing.versions import remember
from llmobs.rollups.bills import close_bills
from llmobs.rollups.compact import compact_all
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import PRICE, START_NS, call, commit
from tests.ingest.repricings import DOUBLE, START, Runs, book_with, make
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

Connection = psycopg.Connection[Any]
EXPLAIN = "/api/v1/explain/"
WINDOW = {"from": (START - timedelta(hours=1)).isoformat(), "to": (START + timedelta(minutes=30)).isoformat()}


@pytest.fixture(autouse=True, params=[explained.MOST_CALLS, 0], ids=["calls put together", "very many calls"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of computing anew tell the same."""
    monkeypatch.setattr(explained, "MOST_CALLS", request.param)


@pytest.fixture
def cast(pg: Connection) -> Cast:
    found = make_cast()
    make_key(None, "root", "operator")
    return found


def ask(client: Any, **asked: Any) -> dict[str, Any]:
    response = client.get(EXPLAIN, asked)
    assert response.status_code == 200, response.content
    return response.json()  # type: ignore[no-any-return]


def same(told: dict[str, Any], amount: str) -> None:
    """Shown, billed and computed anew are this."""
    assert (told["shown"], told["billed"], told["recomputed"], told["is_equal"]) == (amount, amount, amount, True)
    assert told["difference"] == "0"


def test_a_call_is_told_by_its_tokens_and_rates(pg: Connection, cast: Cast) -> None:
    span = call(cast.acme.pk, usage=Usage(1_200, 300, 40, 0, 150), request_model="gpt-4o", price_version="")
    price = PriceBook().price(1, "openai", "gpt-4o", START_NS)
    assert price is not None
    # 1200 * 2.50 + 300 * 1.25 + 40 * 2.50 + 150 * 10 USD per million
    span.cost_nanousd, span.price_version = 3_000_000 + 375_000 + 100_000 + 1_500_000, price.version
    remember(pg, [price])
    commit(pg, span)
    told = ask(with_key("acme"), trace_id=span.trace_id.hex(), span_id=span.span_id.hex())
    same(told, "0.004975")
    assert told["formula"][0] == "uncached input: 1,200 tokens × $2.50 per million = $0.003"
    assert [line["amount_usd"] for line in told["versions"][0]["lines"]] == ["0.003", "0.000375", "0.0001", "0.0015"]
    assert told["sources"] == [
        {"kind": "measured", "words": "reported by the provider", "requests": 1, "cost_usd": "0.004975"}
    ]
    assert [row["trace_id"] for row in told["results"]] == [span.trace_id.hex()]
    of_bill = ask(with_key("acme"), bill=told["results"][0]["bill_id"])
    assert of_bill["figure"] == told["figure"]


def test_a_sum_over_a_window_is_its_calls_rounded_up_one_by_one(pg: Connection, cast: Cast) -> None:
    commit(pg, *(call(cast.acme.pk, usage=Usage(100)) for _ in range(3)), call(cast.globex.pk))
    compact_all(pg)
    commit(pg, call(cast.acme.pk, usage=None), call(cast.acme.pk, cost_nanousd=None, price_version=""))
    told = ask(with_key("acme"), metric="cost_usd", **WINDOW)
    same(told, "0.000000003")  # 0.1 nano-USD each
    assert told["formula"] == [
        "uncached input: 300 tokens × $0.00000100 per million = $0",
        f"3 calls of {PRICE.model} by price version {PRICE.version}, "
        "each call rounded up to a billionth (+$0.000000003) = $0.000000003",
        "1 call has no price: in no sum, and not guessed",
    ]  # fmt: skip
    assert told["unpriced_requests"] == 1


@pytest.mark.parametrize("by", ["feature", "model", "provider", "environment", "service", "user", "session"])
def test_a_part_of_a_sum_is_explained_by_the_same_filters(pg: Connection, cast: Cast, by: str) -> None:
    values = {"feature": "support", "model": "gpt-4o-mini", "provider": "openai", "environment": "production",
              "service": "shop", "user": "user-1", "session": "session-1"}  # fmt: skip
    commit(pg, call(cast.acme.pk))
    same(ask(with_key("acme"), **WINDOW, **{by: values[by]}), "0.000000003")
    assert ask(with_key("acme"), **WINDOW, **{by: "another"})["requests"] == 0


def test_what_a_re_pricing_changed_is_told_and_ties(pg: Connection, cast: Cast, database_url: str) -> None:
    spans = [call(cast.acme.pk), call(cast.acme.pk, is_estimated=True)]
    commit(pg, *spans)
    repricing_id = make(pg)
    Runs(database_url).apply(repricing_id, book_with(DOUBLE))
    told = ask(with_key("acme"), **WINDOW)
    same(told, "0.000000012")
    assert told["corrections"] == [
        {"kind": "adjustment", "reason": f"re-pricing {repricing_id}", "bills": 2, "cost_usd": "0.000000006"}
    ]
    assert [(s["kind"], s["cost_usd"]) for s in told["sources"]] == [
        ("estimated", "0.000000006"), ("measured", "0.000000006")
    ]  # fmt: skip
    for span in spans:
        same(ask(with_key("acme"), trace_id=span.trace_id.hex()), "0.000000006")


def test_a_figure_that_is_wrong_shows_the_difference(pg: Connection, cast: Cast) -> None:
    commit(pg, call(cast.acme.pk))
    pg.execute("UPDATE rollup_delta SET cost_nanousd = cost_nanousd + 5")
    told = ask(with_key("acme"), **WINDOW)
    assert (told["shown"], told["recomputed"]) == ("0.000000008", "0.000000003")
    assert (told["difference"], told["is_equal"]) == ("0.000000005", False)


def test_a_budgets_spend_is_its_bills(pg: Connection, cast: Cast) -> None:
    whole = Budget.objects.create(tenant=cast.acme, name="whole", limit_nanousd=100, window="day")
    users = Budget.objects.create(tenant=cast.acme, name="users", limit_nanousd=9, window="month", scope={"user": "*"})
    tokens = Budget.objects.create(tenant=cast.acme, name="tokens", limit_tokens=10**9, window="7d")
    with pg.transaction():
        count_new_budgets(pg, START_NS)
    commit(pg, call(cast.acme.pk), call(cast.acme.pk), call(cast.globex.pk))
    client = with_key("acme")
    same(ask(client, budget=whole.pk, window=START.isoformat()), "0.000000006")
    same(ask(client, budget=users.pk, window=START.isoformat(), value="user-1"), "0.000000006")
    same(ask(client, budget=users.pk, window=START.isoformat(), value="user-2"), "0")
    same(ask(client, budget=tokens.pk, window=START.isoformat()), "3000")


def test_a_budget_counts_what_calls_without_a_price_held(pg: Connection, cast: Cast) -> None:
    whole = Budget.objects.create(tenant=cast.acme, name="whole", limit_nanousd=10**6, window="day")
    with pg.transaction():
        count_new_budgets(pg, START_NS)
    commit(pg, call(cast.acme.pk), call(cast.acme.pk, cost_nanousd=None, price_version="", held_nanousd=3_000))
    told = ask(with_key("acme"), budget=whole.pk, window=START.isoformat())
    same(told, "0.000003003")
    assert "1 call has no price: the budget counts the $0.000003 that they held" in told["formula"][-1]


def test_a_providers_own_word_needs_no_rates(pg: Connection, cast: Cast) -> None:
    commit(pg, call(cast.acme.pk), call(cast.acme.pk, cost_nanousd=77, price_version=stated_version("openai")))
    told = ask(with_key("acme"), **WINDOW)
    same(told, "0.00000008")
    assert any("what their provider says" in line for line in told["formula"])


def test_units_and_tiers_are_computed_by_the_one_function(pg: Connection, cast: Cast, database_url: str) -> None:
    usage = Usage(1000, 0, 0, 0, 0, 0, (("audio_input", 400),))
    span = call(cast.acme.pk, usage=usage, cost_nanousd=None, price_version="")
    commit(pg, span)
    asked = Runs(database_url)
    repricing_id = make(pg)
    question = Question(cast.acme.pk, START - timedelta(days=1), START + timedelta(minutes=30))
    heard = Override(None, "openai", "gpt-4o-mini", 0, DOUBLE, None, None, (), (("audio_input", 50_000),))
    done = asked.apply(repricing_id, PriceBook([heard]), question)
    assert done.bills == 1
    told = ask(with_key("acme"), trace_id=span.trace_id.hex())
    same(told, "0.000000022")  # 1000 * 2000 + 400 * 50,000 in millionths


def test_very_many_calls_are_computed_anew_when_somebody_asks(
    pg: Connection, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explained, "MOST_BILLS", 1)
    commit(pg, call(cast.acme.pk), call(cast.acme.pk))
    told = ask(with_key("acme"), **WINDOW)
    assert (told["billed"], told["recomputed"], told["versions"]) == ("0.000000006", None, [])
    same(ask(with_key("acme"), whole="true", **WINDOW), "0.000000006")
    page = as_person(cast.alice).get("/explain/", WINDOW).content.decode()
    assert "whole=1" in page


@pytest.mark.parametrize("asked", [{}, {"feature": "support"}, {"not_feature": '["support"]'}, {"user": "user-1"}])
def test_very_many_calls_are_summed_out_of_what_is_added_up(
    pg: Connection, cast: Cast, database_url: str, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    other = Attribution("shop", "production", "other", "user-1", "session-1", 7)
    commit(pg, call(cast.acme.pk), call(cast.acme.pk, attribution=other), call(cast.acme.pk, usage=None))
    Runs(database_url).apply(make(pg), book_with(DOUBLE))
    days = {"from": (START - timedelta(days=2)).isoformat(), "to": (START + timedelta(days=2)).isoformat()}
    close_bills(pg, START + timedelta(days=4))
    monkeypatch.setattr(explained, "MOST_BILLS", -1)
    told = ask(with_key("acme"), **days, **asked)
    whole = ask(with_key("acme"), whole="true", **days, **asked)
    assert told["recomputed"] is None
    for name in ("billed", "requests", "unpriced_requests", "corrections", "results"):
        assert told[name] == whole[name]
    assert whole["corrections"]
    if "user" not in asked:
        pg.execute("UPDATE bill SET cost_nanousd = 0")  # is not read
        assert ask(with_key("acme"), **days, **asked)["billed"] == told["billed"]


def test_bills_come_in_pages(pg: Connection, cast: Cast) -> None:
    commit(pg, *(call(cast.acme.pk, start_ns=START_NS + n) for n in range(5)))
    client, seen = with_key("acme"), []
    page = ask(client, limit=2, **WINDOW)
    while True:
        seen += [row["bill_id"] for row in page["results"]]
        if page["next"] is None:
            break
        page = client.get(page["next"]).json()
    assert len(seen) == len(set(seen)) == 5
    for cursor in ("x", f"{10**30}.1"):
        assert_problem(client.get(EXPLAIN, {**WINDOW, "cursor": cursor}), 400)


def test_attempts_that_failed_are_no_riddle(pg: Connection, cast: Cast) -> None:
    commit(pg, call(cast.acme.pk, status=semconv.FAILED, usage=None, source=semconv.SOURCE_GATEWAY))
    assert ask(with_key("acme"), **WINDOW)["is_equal"]


@pytest.mark.parametrize(
    "asked",
    [{"metric": "p94"}, {"none": "p"}, {"not_model": "x"}, {"forecast": "year"}, {"metric": "p95", "user": "u"},
     {"trace_id": "x"}, {"trace_id": "0" * 32, "span_id": "1"}, {"bill": "x"}, {"status": "failed"},
     {"budget": "1", "window": "x"}, {"from": "x"}],
)  # fmt: skip
def test_what_cannot_be_is_named(cast: Cast, asked: dict[str, str]) -> None:
    Budget.objects.create(pk=1, tenant=cast.acme, name="whole", limit_nanousd=100)
    assert_problem(with_key("acme").get(EXPLAIN, asked), 400)


def test_strangers_learn_nothing(pg: Connection, cast: Cast) -> None:
    budget = Budget.objects.create(tenant=cast.acme, name="whole", limit_nanousd=100)
    span = call(cast.acme.pk)
    commit(pg, span)
    bill = ask(with_key("acme"), **WINDOW)["results"][0]["bill_id"]
    addresses = [{"trace_id": span.trace_id.hex()}, {"bill": bill}, {"budget": budget.pk}, {"tenant": "acme", **WINDOW}]
    for client in (as_person(cast.charlie), with_key("globex")):
        for asked in addresses:
            assert_problem(client.get(EXPLAIN, asked), 404)
        assert ask(client, **WINDOW)["requests"] == 0
