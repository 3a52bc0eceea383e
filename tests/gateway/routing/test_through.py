"""Routing through a running gateway: who answers when somebody fails, and what is journalled and billed of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from gateway.routing import breaker as rules
from gateway.routing import strategies
from llmobs.ops.simulator import running as simulator_running
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.running import Running
from tests.gateway.far_end import answering, json_response
from tests.gateway.routing.conftest import who
from tests.gateway.running import Gateway, running
from tests.gateway.world import World
from tests.stores import Stores

CHAT = "/v1/chat/completions"
FAILING = Faults(fail_rate=1.0, status=503)
MINI, LARGE, CLAUDE = "gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5"
Post = Callable[..., httpx.Response]
Routed = Callable[..., None]


@pytest.fixture
def primary() -> Iterator[Running]:
    with simulator_running.running() as simulator:
        yield simulator


@pytest.fixture
def routed(world: World, primary: Running, providers: dict[str, int]) -> Routed:
    """Makes the route `smart`: a primary of its own simulator, then the world's two providers, if not told others."""
    first = world.provider("primary", "openai", f"{primary.url}/v1", prices_like="openai")
    world.pg.execute("UPDATE providers_provider SET breaker = true, retries = 2")

    def make(*candidates: dict[str, Any], **route: Any) -> None:
        chosen = candidates or ({}, {"provider": "openai"}, {"provider": "anthropic", "model": CLAUDE})
        ids = {"primary": first, **providers}
        world.route("smart", *((ids[c.get("provider", "primary")], c.get("model", MINI)) for c in chosen))
        for position, candidate in enumerate(chosen):
            for name in {"weight", "quality", "canary_percent"} & candidate.keys():
                values = (candidate[name], position)
                world.pg.execute(f"UPDATE providers_candidate SET {name} = %s WHERE position = %s", values)
        for name, value in route.items():
            world.pg.execute(f"UPDATE providers_route SET {name} = %s", (value,))

    return make


@pytest.fixture
def post(routed: Routed, gateway: Gateway, world: World, secret: str) -> Iterator[Post]:
    """Sends a call by the configuration as it is now."""
    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {secret}"}, timeout=30) as client:

        def send(text: str = "one two", headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
            gateway.wait_for_config(world.version())
            body = {"model": "smart", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **fields}
            return client.post(CHAT, json=body, headers=headers or {})

        yield send


def test_a_failing_primary_is_tried_again_then_the_next_answers(
    routed: Routed, post: Post, primary: Running, gateway: Gateway
) -> None:
    """S0-28, S2-13, S2-26, S3-11, S4-14, S4-15: three attempts, then the secondary; each has its own End."""
    routed()
    primary.simulator.faults = FAILING
    assert who(post()) == (200, "openai", "4", "fallback")
    assert [(end.status, end.http_status) for end in gateway.ends()] == [("failed", 503)] * 3 + [("ok", 200)]


def test_a_short_fault_is_ridden_out(routed: Routed, post: Post) -> None:
    """S2-13: the third attempt at the same candidate answers, and that is no degradation."""
    routed()
    assert who(post("[[simulate status=500, first=2]] short fault")) == (200, "primary", "3", "")


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_hanging_primary_is_left_after_the_calls_patience(
    is_stream: bool, routed: Routed, post: Post, primary: Running
) -> None:
    """S0-29, S3-13, S4-04, S4-16: a timeout goes to the next at once; a stream's is to its first byte."""
    routed()
    primary.simulator.faults = Faults(hang=True)
    response = post(headers={"x-llmobs-timeout": "0.5"}, stream=is_stream)
    assert who(response) == (200, "openai", "2", "fallback")


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_the_caller_caused_ends_at_once(status: int, routed: Routed, post: Post) -> None:
    """S4-06: passed on with its status, no retry, no fallback."""
    routed()
    assert who(post(f"[[simulate status={status}]] bad")) == (status, "primary", "1", "")


def test_when_all_fail_the_last_ones_error_is_passed_on(routed: Routed, post: Post) -> None:
    """S0-30, S4-06: the last candidate's own error, in the caller's format."""
    routed({}, {"provider": "openai"})
    response = post("[[simulate status=529]] all")
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (529, "provider_error")
    assert response.headers["x-llmobs-attempts"] == "6"


def test_when_nobody_can_be_reached_one_error_names_all(routed: Routed, post: Post, world: World) -> None:
    """S0-30: one error that says that both failed."""
    routed({}, {"provider": "openai"})
    world.pg.execute("UPDATE providers_provider SET base_url = 'http://127.0.0.1:1/v1', retries = 0")
    response = post()
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (503, "provider_unavailable")
    message = response.json()["error"]["message"]
    assert f"primary/{MINI}" in message
    assert f"openai/{MINI}" in message


def test_weighted_calls_are_spread_exactly(routed: Routed, post: Post) -> None:
    """S0-31: weighted load balancing."""
    routed({"weight": 3}, {"provider": "openai", "weight": 1}, strategy="weighted")
    assert Counter(who(post())[1] for _ in range(12)) == {"primary": 9, "openai": 3}


def test_the_cheapest_that_is_good_enough_answers(routed: Routed, post: Post) -> None:
    """S0-43, S2-31, S3-08: price by the book, within the quality floor, and that is no degradation."""
    routed(
        {"provider": "anthropic", "model": "claude-opus-4-5", "quality": 0.95},
        {"provider": "openai", "model": MINI, "quality": 0.5},
        {"model": LARGE, "quality": 0.9},
        strategy="cheapest",
        quality_floor=0.8,
    )
    response = post()
    assert response.headers["x-llmobs-model"] == LARGE
    assert "x-llmobs-degraded" not in response.headers


def test_the_fastest_answers_once_it_is_known(
    routed: Routed, post: Post, primary: Running, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-31, S3-09: by live latency. Every second call explores, so that it is known within the deadline."""
    monkeypatch.setattr(strategies, "EXPLORE_EACH", 2)
    routed({}, {"provider": "openai"}, strategy="fastest")
    primary.simulator.faults = Faults(slow_ms=300)
    plane = gateway.plane
    assert plane is not None

    def is_known() -> bool:
        post()
        assert plane.snapshot is not None
        candidates = plane.snapshot.registry.routes["smart"].candidates
        return all(plane.health.p95_ms(candidate, False) is not None for candidate in candidates)

    gateway.wait_until(is_known, "both latencies")
    assert Counter(who(post())[1] for _ in range(10)) == {"openai": 10}


def test_a_canary_is_sticky(routed: Routed, post: Post) -> None:
    """S2-45: some users get the new model, the same ones each time."""
    routed({}, {"provider": "openai", "canary_percent": 50.0})

    def chosen() -> list[str]:
        return [who(post(headers={"x-llmobs-user": f"user-{n}"}))[1] for n in range(16)]

    first = chosen()
    assert set(first) == {"primary", "openai"}
    assert chosen() == first


def test_a_breaker_opens_for_every_gateway_and_a_probe_finds_it_well(
    routed: Routed,
    post: Post,
    primary: Running,
    world: World,
    secret: str,
    migrated: Stores,
    valkey_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S2-24, S2-25, S3-12, S4-16, S4-17, S4-18: five failures at one gateway, and none of them asks any more."""
    routed({}, {"provider": "openai"})
    monkeypatch.setattr(rules, "OPEN_SECONDS", 1.5)
    with running(tmp_path, migrated.database_url, valkey_url) as other:
        other.wait_for_config(world.version())
        primary.simulator.faults = FAILING
        for _ in range(2):
            post()
        headers = {"authorization": f"Bearer {secret}"}
        body = {"model": "smart", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}

        def at_the_other() -> tuple[int, str, str, str]:
            return who(httpx.post(f"{other.url}{CHAT}", json=body, headers=headers))

        other.wait_until(lambda: at_the_other() == (200, "openai", "1", "fallback"), "the other skips the primary")
        primary.simulator.faults = Faults()
        other.wait_until(lambda: at_the_other() == (200, "primary", "1", ""), "a probe has found it well")


def test_an_open_breaker_without_another_candidate_is_a_clear_no(routed: Routed, post: Post, primary: Running) -> None:
    """S4-06, S4-17: said at once, and nothing is sent."""
    routed({})
    primary.simulator.faults = FAILING
    for _ in range(2):
        post()
    response = post()
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (503, "provider_unavailable")
    assert "x-llmobs-provider" not in response.headers


def test_a_breaker_that_is_off_lets_every_call_through(routed: Routed, post: Post, world: World) -> None:
    routed({})
    world.pg.execute("UPDATE providers_provider SET breaker = false, retries = 0")
    reasons = [post("[[simulate status=503]] down").headers["x-llmobs-reason"] for _ in range(8)]
    assert reasons == ["provider_error"] * 8


def test_a_task_chooses_its_route(routed: Routed, post: Post) -> None:
    """S0-43, S1-02, S3-03, S3-04, S3-07: by header, or `auto` by the request's shape; no route says what to do."""
    routed({"model": MINI}, tasks='["classification", "extraction"]')
    assert post(model="auto", headers={"x-llmobs-task": "classification"}).headers["x-llmobs-model"] == MINI
    assert post("Classify this: good", model="auto").headers["x-llmobs-model"] == MINI
    response = post("Prove step by step that 2 is prime", model="auto")
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (404, "unknown_model")
    assert "tasks" in response.json()["error"]["message"]


DOUBT = (
    b'{"id":"r1","model":"gpt-4o-mini","choices":[{"finish_reason":"stop","message":{"content":"I am not sure."}}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":4}}'
)


def test_a_cascade_goes_up_when_the_cheap_answer_is_poor_and_bills_both(
    routed: Routed, post: Post, gateway: Gateway, world: World
) -> None:
    """S3-10: the dearer model answers; both attempts are billed and shown."""
    routed({"model": MINI}, {"provider": "openai", "model": LARGE}, strategy="cascade")
    with answering(json_response(DOUBT)) as far_end:
        world.pg.execute("UPDATE providers_provider SET base_url = %s WHERE name = 'primary'", (far_end.url,))
        response = post()
    assert (response.headers["x-llmobs-model"], response.headers["x-llmobs-attempts"]) == (LARGE, "2")
    ends = gateway.wait_until(lambda: ends if len(ends := gateway.ends()) == 2 else None, "two Ends")
    assert ends is not None
    assert [end.status for end in ends] == ["ok", "ok"]
    assert all(end.cost_nanousd for end in ends)
