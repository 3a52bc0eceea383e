"""What a budget does at its limit: refuse with every figure, go down to a cheaper candidate, answer without one."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.gateway.running import Gateway
from tests.gateway.test_refusals import error_of
from tests.gateway.world import World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
DEAR, CHEAP = "gpt-4o", "gpt-4o-mini"  # 2.50 and 10, 0.15 and 0.60 USD per million tokens
ASKED: dict[str, Any] = {"model": "smart", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 10}
DEAR_HOLD = len(httpx.Request("POST", "http://x", json=ASKED).content) * 2_500 + 10 * 10_000  # nano-USD


@pytest.fixture
def served(world: World, tenant: int, gateway: Gateway, providers: dict[str, int]) -> "Served":
    world.route("smart", (providers["openai"], DEAR), (providers["openai"], CHEAP))
    world.route("small", (providers["openai"], CHEAP))
    return Served(world, tenant, gateway)


class Served:
    """A route with a dear and a cheap candidate, and budgets as a test wants them."""

    def __init__(self, world: World, tenant: int, gateway: Gateway) -> None:
        self.world, self.tenant, self.gateway = world, tenant, gateway

    def under(self, *budgets: dict[str, Any]) -> None:
        for number, fields in enumerate(budgets):
            limit = fields.pop("limit", DEAR_HOLD - 1)
            self.world.budget(self.tenant, limit, **{"name": f"b{number}", **fields})
        self.world.open_ledger()
        self.gateway.wait_for_config(self.world.version())

    def held(self) -> int:
        return self.world.ledger()["held"]


def _is_pending(world: World, nanousd: int) -> bool:
    return bool(world.ledger()["pending"] == nanousd)


def test_a_budget_that_goes_down_takes_the_cheapest_candidate_that_fits(served: Served, http: httpx.Client) -> None:
    served.under({"action": "downgrade"})
    response = http.post(CHAT, json=ASKED)
    assert response.status_code == 200
    assert response.headers["x-llmobs-model"] == CHEAP
    assert response.headers["x-llmobs-degraded"] == "budget_downgrade"
    begin = served.gateway.begins()[0]
    assert begin.model == CHEAP
    assert len(begin.holds) == 1  # what it may cost there is held on the same budget
    served.gateway.wait_until(lambda: served.held() == 0, "settled")


def test_with_room_it_stays_with_the_first(served: Served, http: httpx.Client) -> None:
    served.under({"action": "downgrade", "limit": 10**9})
    response = http.post(CHAT, json=ASKED)
    assert response.headers["x-llmobs-model"] == DEAR
    assert "x-llmobs-degraded" not in response.headers


@pytest.mark.parametrize("to", ["small", CHEAP])
def test_it_goes_where_the_budget_says(served: Served, http: httpx.Client, to: str) -> None:
    served.under({"action": "downgrade", "downgrade_to": to})
    response = http.post(CHAT, json={**ASKED, "model": DEAR})
    assert (response.status_code, response.headers["x-llmobs-model"]) == (200, CHEAP)
    assert response.headers["x-llmobs-degraded"] == "budget_downgrade"


def test_a_stream_goes_down_too(served: Served, http: httpx.Client) -> None:
    served.under({"action": "downgrade"})
    response = http.post(CHAT, json={**ASKED, "stream": True})
    assert response.headers["x-llmobs-degraded"] == "budget_downgrade"
    assert response.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("to", ["", "nowhere"])
def test_where_there_is_nothing_cheaper_it_is_refused(served: Served, http: httpx.Client, to: str) -> None:
    served.under({"action": "downgrade", "downgrade_to": to})
    response = http.post(CHAT, json={**ASKED, "model": DEAR})
    assert error_of(response) == (429, "budget_exhausted", "insufficient_quota")
    assert "x-llmobs-degraded" not in response.headers


def test_what_does_not_fit_there_either_is_refused_and_nothing_is_held(served: Served, http: httpx.Client) -> None:
    served.under({"action": "downgrade", "limit": 100})
    assert error_of(http.post(CHAT, json=ASKED)) == (429, "budget_exhausted", "insufficient_quota")
    assert served.world.ledger() == {"base": 0, "pending": 0, "held": 0, "live": 0}
    assert len(served.gateway.refusals()) == 1


def test_another_budget_that_blocks_is_never_passed_by_going_down(served: Served, http: httpx.Client) -> None:
    served.under({"action": "downgrade"}, {"limit": 100})
    assert error_of(http.post(CHAT, json=ASKED)) == (429, "budget_exhausted", "insufficient_quota")


def test_a_budget_answers_by_its_own_text_in_both_formats(
    served: Served, gateway: Gateway, secret: str, http: httpx.Client
) -> None:
    served.under({"action": "static", "static_text": "Come back tomorrow.", "limit": 100})
    openai_client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
    said = openai_client.chat.completions.create(**ASKED)
    assert said.choices[0].message.content == "Come back tomorrow."
    anthropic_client = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)
    with anthropic_client.messages.stream(**ASKED) as stream:
        assert stream.get_final_text() == "Come back tomorrow."
    assert http.post(CHAT, json=ASKED).headers["x-llmobs-degraded"] == "static"
    assert gateway.begins() == []  # it costs nothing, and holds nothing
    assert served.world.ledger()["live"] == 0


def test_an_operation_without_words_is_refused_instead(served: Served, http: httpx.Client) -> None:
    served.under({"action": "static", "static_text": "Later.", "limit": 0})
    response = http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "one"})
    assert error_of(response) == (429, "budget_exhausted", "insufficient_quota")


def test_cache_only_answers_what_is_kept_and_refuses_the_rest(served: Served, http: httpx.Client) -> None:
    served.under({"action": "cache_only", "limit": DEAR_HOLD + 50})
    cached = {"x-llmobs-cache": "exact"}
    assert http.post(CHAT, json=ASKED, headers=cached).headers["x-llmobs-cache"] == "miss"
    served.gateway.wait_until(lambda: list(served.world.valkey.scan_iter("cache:*e:*")) or True, "stored")
    served.world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 1")
    served.gateway.wait_for_config(served.world.version())
    kept = http.post(CHAT, json=ASKED, headers=cached)
    assert (kept.status_code, kept.headers["x-llmobs-cache"]) == (200, "hit-exact")
    # A new one is wanted, but may not be asked for: what is kept is given, and says what it is.
    refreshed = http.post(CHAT, json=ASKED, headers={"x-llmobs-cache": "refresh"})
    assert (refreshed.status_code, refreshed.headers["x-llmobs-degraded"]) == (200, "stale_cache")
    other = {**ASKED, "messages": [{"role": "user", "content": "three"}]}
    assert error_of(http.post(CHAT, json=other, headers=cached)) == (429, "budget_exhausted", "insufficient_quota")
    assert error_of(http.post(CHAT, json=ASKED)) == (429, "budget_exhausted", "insufficient_quota")


# ---------------------------------------------------------------- refusals


def refused(served: Served, http: httpx.Client, path: str = CHAT, **fields: Any) -> dict[str, Any]:
    served.under({"name": "small", **fields})
    response = http.post(path, json=ASKED, headers={"x-llmobs-user": "ann", "x-llmobs-feature": "chat"})
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after" not in response.headers
    error: dict[str, Any] = response.json()["error"]
    return error


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_refusal_names_scope_window_and_every_figure(
    served: Served, http: httpx.Client, tenant: int, path: str
) -> None:
    """PAINS 6: level, window, limit, spent, held, requested, and when it resets, in words and field by field."""
    served.world.pg.execute("UPDATE tenants_tenant SET time_zone = 'Asia/Tokyo' WHERE id = %s", (tenant,))
    error = refused(served, http, path, window="month", scope='{"feature": "chat", "user": "*"}', limit=5_000)
    told = error["budget"]
    assert told["scope"] == {"feature": "chat", "user": "ann"}
    assert {name: told[name] for name in ("name", "window", "unit", "limit", "spent", "held")} == {
        "name": "small", "window": "month", "unit": "usd", "limit": "0.000005", "spent": "0", "held": "0",
    }  # fmt: skip
    resets_at = datetime.fromisoformat(told["resets_at"])
    assert (resets_at.utcoffset().total_seconds(), resets_at.day, resets_at.hour) == (9 * 3600, 1, 0)  # type: ignore[union-attr]
    for part in ("'small'", "feature=chat, user=ann", "0.000005 USD per month", "it resets at", told["resets_at"]):
        assert part in error["message"]
    details = served.gateway.refusals()[0].details
    assert (details["scope"], details["resets_at"]) == ("feature=chat, user=ann", told["resets_at"])
    assert details["spent"] == details["base"] == details["held"] == 0
    assert int(details["requested"]) > 5_000


def test_a_refusal_of_rolling_days_says_when_its_oldest_day_leaves(served: Served, http: httpx.Client) -> None:
    error = refused(served, http, window="7d", limit=1)
    assert "per 7 days" in error["message"]
    assert "its oldest day leaves it at" in error["message"]
    assert datetime.fromisoformat(error["budget"]["resets_at"]) > datetime.now(UTC)


def test_a_lifetime_does_not_reset_and_tokens_are_tokens(served: Served, http: httpx.Client) -> None:
    error = refused(served, http, window="total", limit=None, limit_tokens=5)
    assert error["budget"]["resets_at"] is None
    assert "it does not reset" in error["message"]
    assert (error["budget"]["unit"], error["budget"]["limit"]) == ("tokens", "5")


def test_the_first_calls_of_an_unknown_user_do_not_pass_together(served: Served, http: httpx.Client) -> None:
    """PAINS 2: nothing is made for a value before it is held; the first hold makes it."""
    served.under({"scope": '{"user": "*"}', "limit": DEAR_HOLD * 2})
    asked = {**ASKED, "model": DEAR}
    with ThreadPoolExecutor(10) as pool:
        said = list(pool.map(lambda _: http.post(CHAT, json=asked, headers={"x-llmobs-user": "new"}), range(10)))
    statuses = [response.status_code for response in said]
    assert set(statuses) == {200, 429}
    served.gateway.wait_until(lambda: served.held() == 0, "settled")
    assert served.world.ledger()["pending"] <= DEAR_HOLD * 2


# ---------------------------------------------------------------- bounds


def test_a_key_may_say_what_an_unpriced_call_holds(
    world: World, tenant: int, gateway: Gateway, providers: dict[str, int]
) -> None:
    """PAINS 4: refuse, hold a stated ceiling, or allow and flag; by key, and refuse unless it says otherwise."""
    world.route("local", (providers["openai"], "my-own-model"))
    _, ceiling = world.key(tenant, "ceiling", unpriced="ceiling", unpriced_nanousd=3_000)
    world.budget(tenant, 5_000)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {ceiling}"}) as http:
        assert http.post(CHAT, json={**ASKED, "model": "local"}).status_code == 200
        (begin,) = gateway.begins()
        assert ([hold.amount for hold in begin.holds], begin.held_nanousd) == ([3_000], None)
        world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 2999")
        gateway.wait_for_config(world.version())
        refusal = http.post(CHAT, json={**ASKED, "model": "local"})
    assert error_of(refusal) == (429, "budget_exhausted", "insufficient_quota")


def test_calls_without_price_use_a_budget_up_one_after_the_other(
    world: World, tenant: int, gateway: Gateway, providers: dict[str, int]
) -> None:
    """Their cost stays unknown; the budget counts what each held until it has a price, so that it holds."""
    world.route("local", (providers["openai"], "my-own-model"))
    _, ceiling = world.key(tenant, "ceiling", unpriced="ceiling", unpriced_nanousd=3_000)
    world.budget(tenant, 8_000)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {ceiling}"}) as http:
        for calls in (1, 2):
            assert http.post(CHAT, json={**ASKED, "model": "local"}).status_code == 200
            gateway.wait_until(partial(_is_pending, world, 3_000 * calls), "settled")
        assert error_of(http.post(CHAT, json={**ASKED, "model": "local"}))[1] == "budget_exhausted"
    assert gateway.end().cost_nanousd is None
    assert [begin.unpriced_nanousd for begin in gateway.begins()] == [3_000, 3_000]


def without_ceiling() -> dict[str, Any]:
    return {name: value for name, value in ASKED.items() if name != "max_tokens"}


def test_without_a_ceiling_the_longest_answer_is_held_and_what_is_left_goes_back_at_once(
    served: Served, http: httpx.Client
) -> None:
    """PAINS 5: the hold is an upper bound; it is shown apart from what was spent, and gone with the answer."""
    served.under({"limit": 10**10})
    assert http.post(CHAT, json={**without_ceiling(), "model": CHEAP}).status_code == 200
    begin, end = served.gateway.begins()[0], served.gateway.end()
    assert (begin.held_usage.output, end.usage.output) == (16_384, 64)  # type: ignore[union-attr]
    served.gateway.wait_until(lambda: served.held() == 0, "nothing is held")


@pytest.mark.parametrize("of", ["key", "route"])
def test_a_declared_ceiling_is_sent_upstream_and_held(served: Served, http: httpx.Client, of: str) -> None:
    """PAINS 5: a key or a route says how long answers are, and since that is sent, the bound is true."""
    table = {"key": "tenants_key", "route": "providers_route"}[of]
    served.world.pg.execute(f"UPDATE {table} SET most_output_tokens = 7")
    served.under({"limit": 10**10})
    answer = http.post(CHAT, json=without_ceiling()).json()
    assert answer["usage"]["completion_tokens"] == 7  # the simulator keeps to the ceiling that it gets
    begin = served.gateway.begins()[0]
    assert begin.held_usage is not None
    assert begin.held_usage.output == 7
    assert http.post(CHAT, json=ASKED).json()["usage"]["completion_tokens"] == 10  # what a request sets stays


@pytest.mark.parametrize(("short_of", "status"), [(0, 200), (1, 429)])
def test_a_call_whose_worst_case_fits_is_never_refused(
    served: Served, http: httpx.Client, short_of: int, status: int
) -> None:
    """PAINS 5: to the nano-USD."""
    asked = {**ASKED, "model": DEAR}
    hold = len(httpx.Request("POST", "http://x", json=asked).content) * 2_500 + 10 * 10_000
    served.under({"limit": hold - short_of})
    assert http.post(CHAT, json=asked).status_code == status
