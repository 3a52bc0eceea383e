"""Limits through the gateway: exactly as many as allowed, both numbers in a refusal, headers, caps, settlement."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
import redis

from gateway import snapshot
from gateway.estimate import Estimates
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway, running
from tests.gateway.test_refusals import error_of
from tests.gateway.world import World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 10}
CLAUDE = {**GOOD, "model": "claude-sonnet-4-5"}
SAID_TOKENS = 12  # two words in, ten tokens out, as the simulator counts


@pytest.fixture
def limited(world: World, tenant: int, gateway: Gateway) -> "Limited":
    assert gateway.plane is not None
    gateway.plane.rates.estimates = Estimates()  # what the tests before taught the gateway is their matter
    return Limited(world, tenant, gateway)


class Limited:
    """Sets limits and waits until the gateway has them."""

    def __init__(self, world: World, tenant: int, gateway: Gateway) -> None:
        self.world = world
        self.tenant = tenant
        self.gateway = gateway

    def by(self, limit: int, **fields: Any) -> None:
        self.world.limit(fields.pop("tenant_id", self.tenant), limit, **fields)
        self.gateway.wait_for_config(self.world.version())

    def on_plan(self, plan: str) -> None:
        self.world.pg.execute("UPDATE tenants_tenant SET plan = %s WHERE id = %s", (plan, self.tenant))
        self.gateway.wait_for_config(self.world.version())

    def counted(self, unit: str) -> int:
        """What all windows of a unit hold now."""
        keys = self.world.valkey.scan_iter(f"limit:{{*}}:*:{unit}:*")
        return sum(int(self.world.valkey.hget(key, "s") or 0) for key in keys)


@pytest.mark.parametrize(
    ("scope", "tenant_id", "reason"),
    [
        ({}, None, "rate_limited_global"),
        ({}, 0, "rate_limited_tenant"),
        ({"feature": "chat"}, 0, "rate_limited_tenant"),
        ({"key": "*"}, 0, "rate_limited_key"),
        ({"user": "*"}, 0, "rate_limited_user"),
        ({"session": "*"}, 0, "rate_limited_user"),
        ({"ip": "*"}, None, "rate_limited_user"),
    ],
)
@pytest.mark.parametrize(
    ("path", "body", "code"), [(CHAT, GOOD, "rate_limit_exceeded"), (MESSAGES, CLAUDE, "rate_limit_error")]
)
def test_s0_22_a_refusal_has_its_reason_both_numbers_and_when_to_come_again(
    limited: Limited,
    http: httpx.Client,
    scope: dict[str, str],
    tenant_id: int | None,
    reason: str,
    path: str,
    body: dict[str, Any],
    code: str,
) -> None:
    """S0-22, S4-06: each level has its own reason; the message holds what was used and the limit."""
    limited.by(1, scope=scope, **({"tenant_id": None} if tenant_id is None else {}))
    headers = {"x-llmobs-user": "ann", "x-llmobs-session": "s1", "x-llmobs-feature": "chat"}
    assert http.post(path, json=body, headers=headers).status_code == 200
    refused = http.post(path, json=body, headers=headers)
    assert error_of(refused) == (429, reason, code)
    assert 59 <= int(refused.headers["retry-after"]) <= 61
    assert "x-should-retry" not in refused.headers
    assert "1 requests this minute" in refused.json()["error"]["message"]
    assert "(limit 1)" in refused.json()["error"]["message"]
    entry = limited.gateway.refusals()[0]
    assert (entry.reason, entry.details["used"], entry.details["limit"]) == (reason, 1, 1)


def test_s4_01_s4_02_three_layers_and_a_refused_call_consumes_nothing(limited: Limited, http: httpx.Client) -> None:
    """S4-01, S4-02: 60 requests and 90,000 tokens a minute for all, a daily quota per user; all are asked at once."""
    limited.by(60, tenant_id=None)
    limited.by(90_000, tenant_id=None, unit="tokens")
    limited.by(20, unit="tokens", per="day", scope={"user": "*"})
    big = {**GOOD, "max_tokens": 15}
    assert http.post(CHAT, json={**GOOD, "max_tokens": 1000}).status_code == 429
    assert (limited.counted("requests"), limited.counted("tokens")) == (0, 0)
    with httpx.Client(base_url=limited.gateway.url, headers=http.headers) as client:
        refused = client.post(CHAT, json=big)
        assert error_of(refused) == (429, "quota_exhausted", "insufficient_quota")
        assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("is_stream", [False, True])
def test_s0_19_tokens_are_held_by_estimate_and_settled_to_what_was_used(
    limited: Limited, http: httpx.Client, is_stream: bool
) -> None:
    """S0-19, S0-23: tokens are the unit; a call holds its bytes / 4 and its ceiling, then what it took."""
    limited.by(100_000, unit="tokens")
    response = http.post(CHAT, json={**GOOD, "stream": is_stream})
    assert response.status_code == 200
    held = round(len(response.request.content) / 4) + 10
    assert response.headers["x-ratelimit-limit-tokens"] == "100000"
    assert int(response.headers["x-ratelimit-remaining-tokens"]) == 100_000 - held
    assert response.headers["x-ratelimit-reset-tokens"] == "1m1s"
    limited.gateway.wait_until(lambda: limited.counted("tokens") == SAID_TOKENS, "settled to what was used")


def test_a_call_that_the_provider_refused_gives_its_tokens_back_and_counts_as_a_request(
    limited: Limited, http: httpx.Client
) -> None:
    limited.by(100_000, unit="tokens")
    limited.by(10)
    messages = [{"role": "user", "content": "[[simulate status=400]] hello"}]
    assert http.post(CHAT, json={**GOOD, "messages": messages}).status_code == 400
    limited.gateway.wait_until(lambda: limited.counted("tokens") == 0, "given back")
    assert limited.counted("requests") == 1


def test_the_headers_tell_the_tightest_of_each_unit(limited: Limited, http: httpx.Client) -> None:
    limited.by(100)
    limited.by(5, per="hour", scope={"key": "*"})
    first, second = (http.post(CHAT, json=GOOD).headers for _ in range(2))
    assert [headers["x-ratelimit-remaining-requests"] for headers in (first, second)] == ["4", "3"]
    assert first["x-ratelimit-limit-requests"] == "5"
    assert first["x-ratelimit-reset-requests"].startswith("1h")
    assert "x-ratelimit-limit-tokens" not in first


def test_s3_02_what_would_exceed_is_refused_before_the_provider_is_called(
    limited: Limited, http: httpx.Client, simulator: Running
) -> None:
    """S3-02: token budget and rate limits are checked before the call."""
    limited.by(50, unit="tokens")
    refused = http.post(CHAT, json={**GOOD, "max_tokens": 51})
    assert error_of(refused)[:2] == (429, "rate_limited_tenant")
    assert refused.headers["x-should-retry"] == "false"  # it never fits
    assert simulator.bill.as_dict()["requests"] == 0


@pytest.mark.parametrize(
    ("plan", "quota"), [("free", 50_000), ("paid", 500_000)],
)  # fmt: skip
def test_s3_15_a_plan_brings_a_daily_quota_for_each_user(
    limited: Limited, http: httpx.Client, plan: str, quota: int
) -> None:
    """S3-15: 50,000 tokens a day free, 500,000 paid, at the gateway."""
    limited.on_plan(plan)
    response = http.post(CHAT, json=GOOD, headers={"x-llmobs-user": "ann"})
    assert response.headers["x-ratelimit-limit-tokens"] == str(quota)
    spent = next(iter(limited.world.valkey.scan_iter("limit:*tokens:day:user:ann")))
    limited.gateway.wait_until(lambda: limited.counted("tokens") == SAID_TOKENS, "settled")
    step = next(name for name in limited.world.valkey.hkeys(spent) if name.isdigit())
    limited.world.valkey.hincrby(spent, step, quota - SAID_TOKENS)
    limited.world.valkey.hincrby(spent, "s", quota - SAID_TOKENS)
    refused = http.post(CHAT, json=GOOD, headers={"x-llmobs-user": "ann"})
    assert error_of(refused) == (429, "quota_exhausted", "insufficient_quota")
    assert f"{quota} tokens within a day" in refused.json()["error"]["message"]
    assert http.post(CHAT, json=GOOD, headers={"x-llmobs-user": "bob"}).status_code == 200


def test_s3_14_a_free_chat_takes_4096_tokens_in_and_1024_out(
    limited: Limited, http: httpx.Client, simulator: Running
) -> None:
    """S3-14: per request 4,096 input and 1,024 output tokens; without a ceiling the cap is the ceiling."""
    limited.on_plan("free")
    long = {**GOOD, "messages": [{"role": "user", "content": "word " * 4_000}]}
    too_long, too_much = http.post(CHAT, json=long), http.post(CHAT, json={**GOOD, "max_tokens": 1_025})
    assert error_of(too_long) == (400, "token_limit", "context_length_exceeded")
    assert "(limit 4096 per request)" in too_long.json()["error"]["message"]
    assert "1025 output tokens (limit 1024 per request)" in too_much.json()["error"]["message"]
    assert error_of(http.post(MESSAGES, json={**CLAUDE, "max_tokens": 1_025})) == (
        400, "token_limit", "invalid_request_error",
    )  # fmt: skip
    without = {name: value for name, value in GOOD.items() if name != "max_tokens"}
    assert http.post(CHAT, json=without).json()["usage"]["completion_tokens"] <= 1_024
    held = limited.gateway.begins()[0].held_usage
    assert held is not None
    assert held.output == 1_024


def test_s2_16_ten_a_minute_from_one_address_whatever_key_it_shows(
    limited: Limited, world: World, http: httpx.Client
) -> None:
    """S2-16: 10 requests a minute for each address."""
    limited.by(10, tenant_id=None, scope={"ip": "*"})
    _, other = world.key(world.tenant("globex"))
    limited.gateway.wait_for_config(world.version())
    statuses = [http.post(CHAT, json=GOOD).status_code for _ in range(6)]
    statuses += [http.post(CHAT, json=GOOD, headers={"authorization": f"Bearer {other}"}).status_code for _ in range(6)]
    assert statuses == [200] * 10 + [429] * 2


def test_calls_at_once_are_bounded_and_their_places_come_back(limited: Limited, http: httpx.Client) -> None:
    limited.by(3, unit="concurrent", per="")
    slow = {**GOOD, "messages": [{"role": "user", "content": "[[simulate slow_ms=600]] hi"}]}
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda _: http.post(CHAT, json=slow), range(10)))
    refused = [response for response in responses if response.status_code == 429]
    assert len(refused) == 7
    assert "3 calls at once for this tenant (limit 3)" in refused[0].json()["error"]["message"]
    limited.gateway.wait_until(lambda: http.post(CHAT, json=GOOD).status_code == 200, "places are free again")


def test_limits_and_budgets_are_asked_in_one_step(
    limited: Limited, budget: int, http: httpx.Client, world: World
) -> None:
    """A call that its limit refuses holds nothing, one that its budget refuses takes no request."""
    limited.by(1)
    assert http.post(CHAT, json=GOOD).status_code == 200
    assert http.post(CHAT, json=GOOD).status_code == 429
    limited.gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")
    world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 1")
    world.pg.execute('UPDATE limits_limit SET "limit" = 5')
    limited.gateway.wait_for_config(world.version())
    assert http.post(CHAT, json=GOOD).headers["x-llmobs-reason"] == "budget_exhausted"
    assert limited.counted("requests") == 1


def test_limits_hold_while_the_ledger_of_an_alerting_budget_recovers(
    limited: Limited, http: httpx.Client, world: World
) -> None:
    world.budget(limited.tenant, action="alert")
    limited.by(2)
    assert [http.post(CHAT, json=GOOD).status_code for _ in range(3)] == [200, 200, 429]


def test_without_valkey_each_gateway_keeps_to_its_share(
    tmp_path: Path, world: World, tenant: int, secret: str, providers: dict[str, int], database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With Valkey away a limit neither vanishes nor refuses everyone: of 4 a minute for one gateway, 4."""
    monkeypatch.setattr(snapshot, "_count_gateways", lambda _: 1)  # another one of the tests may have been seen lately
    world.limit(tenant, 4)
    with running(tmp_path, database_url, "redis://127.0.0.1:1/0") as gateway:
        gateway.wait_for_config(world.version())
        with httpx.Client(base_url=gateway.url, headers={"x-api-key": secret}, timeout=15) as client:
            statuses = [client.post(CHAT, json=GOOD).status_code for _ in range(6)]
        gateway.wait_until(gateway.is_quiet, "every call has come to its end")
    assert statuses == [200] * 4 + [429] * 2


def test_the_sdks_raise_their_rate_limit_errors(limited: Limited, secret: str) -> None:
    limited.by(2)
    ours = openai.OpenAI(base_url=f"{limited.gateway.url}/v1", api_key=secret, max_retries=0)
    theirs = anthropic.Anthropic(base_url=limited.gateway.url, api_key=secret, max_retries=0)
    assert ours.chat.completions.create(**GOOD).choices
    assert theirs.messages.create(**CLAUDE).content
    with pytest.raises(openai.RateLimitError):
        ours.chat.completions.create(**GOOD)
    with pytest.raises(anthropic.RateLimitError):
        theirs.messages.create(**CLAUDE)


def test_old_windows_are_gone_after_two(limited: Limited, http: httpx.Client, valkey: redis.Redis) -> None:
    """S0-21: nothing is left behind: each window's key has its end."""
    limited.by(5)
    limited.by(5, per="day", scope={"user": "*"})
    http.post(CHAT, json=GOOD)
    assert sorted(valkey.ttl(key) for key in valkey.scan_iter("limit:*")) == [120, 172_800]
