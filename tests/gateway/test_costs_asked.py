"""What was asked of budgets and costs, through the gateway's own door: told, stopped, and whose money it was."""

from typing import Any

import httpx2 as httpx
import openai
import psycopg
import pytest

from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.gateway.running import Gateway
from tests.gateway.test_refusals import CHAT, error_of
from tests.gateway.world import World
from tests.gateway.written import shared_gateway, writer

__all__ = ["shared_gateway", "writer"]

Connection = psycopg.Connection[Any]
TWO_WORDS: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}]}
ASKED = {**TWO_WORDS, "max_tokens": 10}
COST = 2 * 150 + 10 * 600  # nano-USD
HOLD = len(httpx.Request("POST", "http://x", json=ASKED).content) * 150 + 10 * 600
LONG = {**TWO_WORDS, "max_tokens": 200}
LONG_TOKENS = 2 + 200


def passed(pg: Connection) -> list[int]:
    return [threshold for (threshold,) in pg.execute("SELECT threshold FROM threshold_event ORDER BY 1").fetchall()]


@pytest.fixture
def settle(gateway: Gateway, world: World, writer: Writer, pg: Connection) -> Any:
    def _settle() -> None:
        gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")
        writer.drain()
        assert verify(pg).differences == []

    return _settle


def test_the_team_hears_at_70_percent_and_above_the_threshold_every_call_stops(
    world: World, tenant: int, gateway: Gateway, http: httpx.Client, pg: Connection, secret: str, settle: Any
) -> None:
    """S0-24, S0-25: a soft alert at 70 % of the budget, a hard stop of all calls at its limit, whoever asks."""
    calls = 10
    world.budget(tenant, calls * COST + HOLD - COST)  # room for ten, and no eleventh
    world.open_ledger()
    gateway.wait_for_config(world.version())
    before = []
    for _ in range(calls):
        assert http.post(CHAT, json=ASKED).status_code == 200
        settle()
        before.append(passed(pg))
    at_70 = next(n for n, found in enumerate(before) if 70 in found) + 1
    assert at_70 == -(-7 * (calls * COST + HOLD - COST) // (10 * COST))
    for headers in ({}, {"x-llmobs-user": "ann"}, {"x-llmobs-feature": "another"}):
        assert error_of(http.post(CHAT, json=ASKED, headers=headers)) == (
            429, "budget_exhausted", "insufficient_quota",
        )  # fmt: skip
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ASKED)


def test_a_tenants_month_of_tokens_tells_at_80_percent_and_stops_at_100(
    world: World, tenant: int, gateway: Gateway, http: httpx.Client, pg: Connection, settle: Any
) -> None:
    """S3-16: tokens of a tenant's month; the number is its budget's own."""
    limit = 7 * LONG_TOKENS
    world.budget(tenant, None, limit_tokens=limit, thresholds="[80, 100]")
    world.open_ledger()
    gateway.wait_for_config(world.version())
    told = []
    for _ in range(6):  # a seventh may need more than is left: its upper bound is above what it will use
        assert http.post(CHAT, json=LONG).status_code == 200
        settle()
        told.append(passed(pg))
    assert told == [[]] * 5 + [[80]]
    refused = http.post(CHAT, json=LONG)
    assert error_of(refused) == (429, "budget_exhausted", "insufficient_quota")
    rest = refused.json()["error"]["budget"]
    assert (rest["unit"], rest["window"], rest["spent"]) == ("tokens", "month", str(6 * LONG_TOKENS))


def test_the_feature_behind_a_spike_is_known_to_the_nano(
    http: httpx.Client, gateway: Gateway, world: World, writer: Writer, pg: Connection, tenant: int
) -> None:
    """S0-26, S0-27, S3-28: every call is billed to the feature and user that made it; the sums are by simple SQL."""
    for feature, user, calls in (("chat", "ann", 1), ("chat", "bob", 2), ("loop", "bob", 5)):
        for _ in range(calls):
            headers = {"x-llmobs-feature": feature, "x-llmobs-user": user}
            assert http.post(CHAT, json=ASKED, headers=headers).status_code == 200
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    rows = pg.execute(
        "SELECT feature, user_id, sum(requests)::int, sum(cost_nanousd)::bigint FROM bill WHERE tenant_id = %s "
        "GROUP BY 1, 2 ORDER BY 4 DESC",
        (tenant,),
    ).fetchall()
    assert rows == [("loop", "bob", 5, 5 * COST), ("chat", "bob", 2, 2 * COST), ("chat", "ann", 1, COST)]
    assert verify(pg).differences == []
