"""The order in which candidates are tried."""

from collections import Counter

import pytest

from gateway.errors import Refusal
from gateway.routing.strategies import Facts, Standing, Turns, plan, primary
from llmobs.pricing.price import Price, Rates
from llmobs.pricing.usage import Usage
from tests.gateway.routing.made import Known, candidate, name_of, order, route

ASKED = Usage(uncached_input=1_000, output=500)


def priced(usd_per_mtok: int) -> Price:
    rate = usd_per_mtok * 1_000_000_000
    return Price("p", "m", "v", Rates(rate, rate, rate, rate, rate))


def facts(**changes: object) -> Facts:
    return Facts(**{"tenant_id": 1, "usage": ASKED, **changes})  # type: ignore[arg-type]


A, B, C = candidate("openai/gpt-4o"), candidate("openai/gpt-4o-mini"), candidate("anthropic/claude")
NAMES = ["openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude"]


def test_fallback_keeps_the_order_of_the_route() -> None:
    """S0-28, S2-26, S3-11, S4-14, S4-15: primary, a cheaper model of its provider, another provider."""
    assert order(route(A, B, C)) == NAMES


def test_an_open_breaker_is_skipped() -> None:
    """S2-25, S4-17: no call goes to what is known to fail."""
    known = Known({NAMES[0]: Standing(is_open=True)})
    assert order(route(A, B, C), known=known) == NAMES[1:]


def test_nothing_is_left_when_all_are_open() -> None:
    known = Known({name: Standing(is_open=True) for name in NAMES})
    assert order(route(A, B, C), known=known) == []
    assert order(route(A), known=known) == []


def test_what_pauses_goes_behind_the_others_and_stays_a_last_resort() -> None:
    """S0-31, S4-04: after a 429 the others come first."""
    known = Known({NAMES[0]: Standing(is_cooling=True)})
    assert order(route(A, B, C), known=known) == [*NAMES[1:], NAMES[0]]


def test_weighted_shares_are_exact_and_the_rest_are_fallbacks() -> None:
    """S0-31: weighted load balancing."""
    made = route(
        candidate("a/m", weight=3), candidate("b/m", weight=1), candidate("c/m", weight=0), strategy="weighted"
    )
    turns = Turns()
    orders = [order(made, turns=turns) for _ in range(40)]
    assert Counter(names[0] for names in orders) == {"a/m": 30, "b/m": 10}
    assert all(sorted(names) == ["a/m", "b/m", "c/m"] for names in orders)
    assert [names[0] for names in orders[:4]] == ["a/m", "a/m", "b/m", "a/m"]


def test_weights_hold_among_those_that_are_left() -> None:
    made = route(
        candidate("a/m", weight=2), candidate("b/m", weight=1), candidate("c/m", weight=1), strategy="weighted"
    )
    known, turns = Known({"a/m": Standing(is_open=True)}), Turns()
    assert Counter(order(made, known=known, turns=turns)[0] for _ in range(20)) == {"b/m": 10, "c/m": 10}


def test_cheapest_goes_by_this_calls_price_and_unknown_comes_last() -> None:
    """S0-43, S2-31, S3-08: the cheapest model first."""
    prices = {"a/m": priced(15), "b/m": priced(1)}
    made = route(candidate("u/m"), candidate("a/m"), candidate("b/m"), strategy="cheapest")
    assert order(made, facts(), prices=prices) == ["b/m", "a/m", "u/m"]


def test_cheapest_meets_the_routes_quality_floor_first() -> None:
    """S3-08: the cheapest that meets the bar; what does not is a fallback, the best first."""
    prices = {"a/m": priced(15), "b/m": priced(1), "c/m": priced(2), "d/m": priced(3)}
    made = route(
        candidate("a/m", quality=0.95), candidate("b/m", quality=0.6), candidate("c/m", quality=0.7),
        candidate("d/m", quality=0.9), strategy="cheapest", quality_floor=0.9,
    )  # fmt: skip
    assert order(made, facts(), prices=prices) == ["d/m", "a/m", "c/m", "b/m"]


def test_fastest_goes_by_live_latency() -> None:
    """S0-31, S3-09: the fastest first."""
    known = Known(p95={NAMES[0]: 900.0, NAMES[1]: 300.0, NAMES[2]: 500.0})
    assert order(route(A, B, C, strategy="fastest"), facts(), known) == [NAMES[1], NAMES[2], NAMES[0]]


def test_fastest_tries_what_it_does_not_know_now_and_then() -> None:
    known = Known(p95={NAMES[0]: 900.0, NAMES[1]: 300.0})
    made = route(A, B, C, strategy="fastest")
    firsts = Counter(order(made, facts(span_id=n.to_bytes(8)), known)[0] for n in range(1_000))
    assert set(firsts) == {NAMES[1], NAMES[2]}
    assert 70 <= firsts[NAMES[2]] <= 130  # one in ten


def test_a_canary_gets_its_share_of_users_and_the_same_ones_each_time() -> None:
    """S2-45: a canary by percentage, sticky by user."""
    made = route(A, candidate("openai/new", canary_percent=10.0), salt="s1")
    firsts = {user: order(made, facts(user=f"user-{user}"))[0] for user in range(5_000)}
    chosen = {user for user, first in firsts.items() if first == "openai/new"}
    assert 400 <= len(chosen) <= 600
    assert {user for user in firsts if order(made, facts(user=f"user-{user}"))[0] == "openai/new"} == chosen
    other = route(A, candidate("openai/new", canary_percent=10.0), salt="s2")
    assert {user for user in firsts if order(other, facts(user=f"user-{user}"))[0] == "openai/new"} != chosen


def test_a_canary_falls_back_to_the_stable_one_and_back() -> None:
    """S2-45: each is the other's fallback."""
    made = route(A, candidate("openai/new", canary_percent=100.0))
    assert order(made, facts(user="u")) == ["openai/new", NAMES[0]]
    made = route(A, candidate("openai/new", canary_percent=0.01), salt="s")
    assert order(made, facts(user="u")) == [NAMES[0], "openai/new"]


def test_without_a_user_the_session_then_the_trace_decides() -> None:
    made = route(A, candidate("openai/new", canary_percent=50.0))
    by_session = {order(made, facts(session="s", trace_id=bytes([n])))[0] for n in range(20)}
    by_trace = {order(made, facts(trace_id=bytes([n])))[0] for n in range(20)}
    assert (len(by_session), len(by_trace)) == (1, 2)


def test_confidential_content_goes_to_local_providers_alone() -> None:
    """S1-02, S1-03: internal documents stay on a local model."""
    made = route(A, candidate("ollama/llama", provider_is_local=True), C)
    assert order(made, facts(is_confidential=True)) == ["ollama/llama"]


def test_confidential_content_without_a_local_provider_is_refused() -> None:
    """S1-03: never a fallback to the outside."""
    with pytest.raises(Refusal, match="is_local") as refused:
        order(route(A, C), facts(is_confidential=True))
    assert refused.value.reason == "sensitive_data"


def test_a_realtime_call_prefers_what_is_not_failing() -> None:
    """S0-32, S3-09: real-time calls go to what answers; background calls keep the order."""
    known = Known({NAMES[0]: Standing(is_failing=True)})
    assert order(route(A, B, C), facts(criticality="realtime"), known) == [*NAMES[1:], NAMES[0]]
    assert order(route(A, B, C), facts(criticality="background"), known) == NAMES


def test_a_best_effort_call_takes_no_dearer_fallback() -> None:
    """S0-32: what may degrade does not cost more for it."""
    prices = {NAMES[0]: priced(5), NAMES[1]: priced(1), NAMES[2]: priced(9)}
    assert order(route(A, B, C), facts(criticality="best_effort"), prices=prices) == NAMES[:2]


@pytest.mark.parametrize("standing", [Standing(is_failing=True), Standing(is_recovering=True)])
def test_best_effort_calls_are_shed_first(standing: Standing) -> None:
    """S0-32: a degraded provider is left to those who need it."""
    prices = {name: priced(5) for name in NAMES}
    known = Known({NAMES[0]: standing})
    assert order(route(A, B, C), facts(criticality="best_effort"), known, prices) == NAMES[1:]
    assert order(route(A), facts(criticality="best_effort"), known, prices) == []
    assert order(route(A), facts(criticality="background"), known, prices) == NAMES[:1]


def test_a_cascade_goes_from_cheap_to_dear_as_listed() -> None:
    """S3-10: the cheap model first, the dearer one after it."""
    assert order(route(B, A, strategy="cascade"), facts()) == [NAMES[1], NAMES[0]]


@pytest.mark.parametrize("strategy", ["fallback", "weighted", "cheapest", "fastest", "cascade"])
def test_every_strategy_loses_and_doubles_nobody(strategy: str) -> None:
    made = route(A, B, C, candidate("openai/new", canary_percent=30.0), strategy=strategy)
    for n in range(50):
        found = order(made, facts(user=str(n), span_id=bytes([n])), prices={NAMES[0]: priced(1)})
        assert sorted(found) == sorted([*NAMES, "openai/new"])


def test_one_candidate_is_given_as_it_is() -> None:
    made = route(A)
    assert plan(made, facts(), Known(), lambda _: None, Turns(), 0.0) is made.candidates
    assert name_of(made.candidates[0]) == NAMES[0]


def test_the_primary_is_who_would_answer_if_all_were_well() -> None:
    """S4-05: an answer by a backup model says so, also where the breaker kept the first away."""
    assert primary(route(A, B), facts()) is A
    canary = candidate("openai/new", canary_percent=100.0)
    assert primary(route(A, canary), facts()) is canary
    assert primary(route(A, B, strategy="fastest"), facts()) is None
