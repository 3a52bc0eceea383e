"""Through a running gateway: which of a route's candidates is admitted, and when nobody may be asked."""

import time
from types import SimpleNamespace

import pytest

from gateway import tries
from gateway.routing.breaker import OPEN_SECONDS
from tests.gateway.faulty import good, status
from tests.gateway.routing.conftest import MODEL, Pair, who
from tests.gateway.test_refusals import error_of

UNPRICED = "my-own-model"


def models(pair: Pair, one: str, two: str = MODEL) -> None:
    for name, model in (("one", one), ("two", two)):
        sql = "UPDATE providers_candidate SET model = %s WHERE provider_id = %s"
        pair.world.pg.execute(sql, (model, pair.ids[name]))


def test_a_candidate_without_a_price_gives_way_to_one_that_has_one(pair: Pair) -> None:
    """A hard budget applies; whoever can be held is asked, and that is no first choice."""
    models(pair, UNPRICED)
    assert who(pair.ask()) == (200, "two", "1", "fallback")
    assert pair.one.requests == 0
    assert pair.bills() == [("two", "ok", "", "exact")]


def test_where_no_candidate_has_a_price_the_call_is_refused(pair: Pair) -> None:
    models(pair, UNPRICED, UNPRICED)
    assert error_of(pair.ask())[:2] == (403, "unpriced_model")
    assert pair.gateway.begins() == []


def test_where_one_has_no_price_and_no_budget_is_left_for_the_other_the_budget_is_named(pair: Pair) -> None:
    models(pair, UNPRICED)
    pair.world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 1")
    assert error_of(pair.ask())[:2] == (429, "budget_exhausted")


def test_a_dear_candidate_gives_way_to_one_that_still_fits_the_budget(pair: Pair, tenant: int) -> None:
    """S4-04: a budget's ceiling leads to the cheaper one; nothing is taken for the other."""
    models(pair, "gpt-4o")
    pair.world.limit(tenant, 1)
    pair.world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 50000")
    assert who(pair.ask()) == (200, "two", "1", "fallback")
    assert pair.bills() == [("two", "ok", "", "exact")]


def test_one_whose_format_cannot_say_it_gives_way_to_one_that_can(pair: Pair) -> None:
    """Several choices are nothing that Anthropic's format knows."""
    pair.world.pg.execute("UPDATE providers_provider SET dialect = 'anthropic' WHERE name = 'one'")
    response = pair.ask(n=2)
    assert (response.status_code, response.headers["x-llmobs-provider"]) == (200, "two")


def test_when_all_breakers_are_open_it_is_said_when_one_may_be_asked_again(pair: Pair) -> None:
    """S4-17: in seconds, until the next probe."""
    pair.providers(breaker=True)
    pair.one.script = pair.two.script = [status(503)]
    for n in range(5):
        pair.ask(text=f"failing {n}")
    response = pair.ask()
    assert error_of(response)[:2] == (503, "provider_unavailable")
    assert OPEN_SECONDS - 10 < int(response.headers["retry-after"]) <= OPEN_SECONDS


def test_an_attempt_is_held_in_the_window_in_which_it_begins(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window may end while a call tries; the writer books the attempt by its own begin."""
    later_ns = 40 * 86_400 * 10**9
    later = SimpleNamespace(time_ns=lambda: time.time_ns() + later_ns)
    for name in ("monotonic", "monotonic_ns"):
        setattr(later, name, getattr(time, name))
    monkeypatch.setattr(tries, "time", later)
    pair.one.script, pair.two.script = [status(503)], [good]
    assert who(pair.ask())[:3] == (200, "two", "2")
    first, second = pair.gateway.begins()
    starts = [begin.holds[0].window_start_s for begin in (first, second)]
    assert starts[0] <= first.start_ns // 10**9 < starts[1] <= second.start_ns // 10**9
