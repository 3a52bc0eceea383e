"""Holds: taken before the provider is called, settled to what it cost, given back where nothing was charged."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway
from tests.gateway.test_refusals import error_of
from tests.gateway.world import MONTH_BUDGET_NANOUSD, World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 10}
COST = 2 * 150 + 10 * 600


def settled(gateway: Gateway, world: World) -> dict[str, int]:
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")
    return world.ledger()


def test_a_call_holds_its_upper_bound_and_settles_to_its_cost(
    budget: int, gateway: Gateway, http: httpx.Client, world: World
) -> None:
    response = http.post(CHAT, json=GOOD)
    begin = gateway.begins()[0]
    assert begin.held_nanousd == len(response.request.content) * 150 + 10 * 600
    assert [(hold.budget_id, hold.amount) for hold in begin.holds] == [(budget, begin.held_nanousd)]
    assert settled(gateway, world) == {"base": 0, "pending": COST, "held": 0, "live": 1}
    left = MONTH_BUDGET_NANOUSD - COST
    assert response.headers["x-llmobs-budget-remaining-usd"] == f"{left / 1e9:.9f}".rstrip("0")


@pytest.mark.parametrize("is_stream", [False, True])
def test_streams_and_answers_settle_to_the_same(
    budget: int, gateway: Gateway, http: httpx.Client, world: World, is_stream: bool
) -> None:
    http.post(CHAT, json={**GOOD, "stream": is_stream})
    assert settled(gateway, world)["pending"] == COST


def test_a_provider_that_refuses_charges_nothing(
    budget: int, gateway: Gateway, http: httpx.Client, world: World
) -> None:
    messages = [{"role": "user", "content": "[[simulate status=529]] hello"}]
    assert http.post(CHAT, json={**GOOD, "messages": messages}).status_code == 529
    gateway.wait_until(lambda: world.ledger()["live"] == 0, "the hold is given back")
    assert gateway.end().usage is None


@pytest.mark.parametrize(
    ("path", "model", "expected"),
    [
        (CHAT, "gpt-4o-mini", (429, "budget_exhausted", "insufficient_quota")),
        (MESSAGES, "claude-sonnet-4-5", (402, "budget_exhausted", "billing_error")),
    ],
)
def test_a_call_that_may_pass_the_limit_is_refused_with_both_numbers(
    world: World,
    tenant: int,
    gateway: Gateway,
    http: httpx.Client,
    path: str,
    model: str,
    expected: tuple[int, str, str],
) -> None:
    world.budget(tenant, 5_000)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    response = http.post(path, json={**GOOD, "model": model})
    assert error_of(response) == expected
    assert response.headers["x-should-retry"] == "false"
    refused = gateway.refusals()[0]
    assert (refused.details["limit"], refused.details["base"], refused.details["held"]) == (5_000, 0, 0)
    assert int(refused.details["requested"]) > 5_000
    assert "monthly" in refused.message


def test_many_callers_at_once_never_pass_the_limit(
    world: World, tenant: int, gateway: Gateway, http: httpx.Client, simulator: Running
) -> None:
    """PAINS 1: what is asked and what is taken is one step, so none pass a check together."""
    body = {**GOOD, "messages": [{"role": "user", "content": "w " * 100}]}
    hold = len(httpx.Request("POST", "http://x", json=body).content) * 150 + 10 * 600
    world.budget(tenant, hold * 3)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: http.post(CHAT, json=body).status_code, range(60)))
    sums = settled(gateway, world)
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 3
    assert sums["pending"] == statuses.count(200) * (100 * 150 + 10 * 600)
    assert sums["pending"] <= hold * 3


def test_without_a_ledger_a_blocking_budget_is_unavailable(
    world: World, tenant: int, gateway: Gateway, http: httpx.Client
) -> None:
    """PAINS 28: budgets fail closed."""
    world.budget(tenant)
    gateway.wait_for_config(world.version())
    response = http.post(CHAT, json=GOOD)
    assert error_of(response) == (503, "budget_unavailable", "budget_unavailable")
    assert response.headers["retry-after"] == "1"


def test_without_a_ledger_calls_without_a_blocking_budget_go_on(
    world: World, tenant: int, gateway: Gateway, http: httpx.Client
) -> None:
    world.budget(tenant, action="alert")
    gateway.wait_for_config(world.version())
    assert http.post(CHAT, json=GOOD).status_code == 200


def test_a_lost_ledger_serves_again_once_it_is_rebuilt(
    budget: int, gateway: Gateway, http: httpx.Client, world: World
) -> None:
    assert http.post(CHAT, json=GOOD).status_code == 200
    world.valkey.flushall()
    assert http.post(CHAT, json=GOOD).status_code == 503
    world.open_ledger()
    gateway.wait_until(lambda: http.post(CHAT, json=GOOD).status_code == 200, "served again")


@pytest.mark.parametrize(
    ("path", "provider", "code"), [(CHAT, "openai", "unpriced_model"), (MESSAGES, "anthropic", "permission_error")]
)
def test_a_model_without_a_price_is_refused_under_a_hard_budget(
    world: World,
    tenant: int,
    gateway: Gateway,
    http: httpx.Client,
    providers: dict[str, int],
    path: str,
    provider: str,
    code: str,
) -> None:
    world.route("local", (providers[provider], "my-own-model"))
    world.budget(tenant)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    response = http.post(path, json={**GOOD, "model": "local"})
    assert error_of(response) == (403, "unpriced_model", code)


def test_a_model_without_a_price_is_served_where_no_hard_budget_applies_and_its_cost_stays_unknown(
    world: World, gateway: Gateway, http: httpx.Client, providers: dict[str, int]
) -> None:
    world.route("local", (providers["openai"], "my-own-model"))
    gateway.wait_for_config(world.version())
    response = http.post(CHAT, json={**GOOD, "model": "local"})
    assert response.status_code == 200
    assert "x-llmobs-cost-usd" not in response.headers
    assert (gateway.end().cost_nanousd, gateway.usage().output) == (None, 10)
