"""What the demo asks: the trace's own sizes, tenants and users as agreed, prompts of exactly so many words."""

from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from llmobs.ops.configuration import parse
from llmobs.ops.demo.configuration import Providers, filled_in
from llmobs.ops.demo.expected import Expectation
from llmobs.ops.demo.plan import ATLAS, CODE_FEATURE, FORGE, TRIAL, Call, plan
from llmobs.ops.demo.trace import Row, read_trace
from llmobs.ops.demo.wire import Prompts, Wire
from llmobs.pricing.book import PriceBook

AT_NS = 1_795_000_000_000_000_000  # 18 November 2026


@pytest.fixture(scope="module")
def conversation() -> list[Row]:
    return read_trace("conv")


@pytest.fixture(scope="module")
def code() -> list[Row]:
    return read_trace("code")


@pytest.fixture(scope="module")
def calls(conversation: list[Row], code: list[Row]) -> list[Call]:
    return plan(conversation, code, 45.0, "abc123")


def test_the_bundled_trace_is_whole(conversation: list[Row], code: list[Row]) -> None:
    assert (len(conversation), len(code)) == (19_366, 8_819)
    assert (sum(row.context_tokens for row in conversation), sum(row.context_tokens for row in code)) == (
        22_361_870,
        18_059_974,
    )
    assert (conversation[0].context_tokens, conversation[0].generated_tokens) == (374, 44)


def test_each_tenant_asks_its_part_of_the_trace(calls: list[Call]) -> None:
    assert Counter(call.tenant for call in calls) == {ATLAS: 19_366, FORGE: 8_819, TRIAL: 500}
    features = Counter((call.tenant, call.feature) for call in calls)
    assert features[ATLAS, "support"] == features[ATLAS, "search"] == 9_683
    assert features[FORGE, CODE_FEATURE] == 8_819


def test_some_calls_come_from_the_other_format_and_some_ask_for_a_route(calls: list[Call]) -> None:
    cross = Counter((c.tenant, c.is_stream) for c in calls if (c.dialect == "anthropic") != (c.tenant == FORGE))
    routed = Counter((c.tenant, c.is_stream) for c in calls if c.route)
    assert cross == {(ATLAS, False): 388, (ATLAS, True): 387, (FORGE, False): 177, (FORGE, True): 176}
    assert routed == {(FORGE, False): 221, (FORGE, True): 220}


def test_users_are_as_many_as_agreed(calls: list[Call]) -> None:
    users = {tenant: {call.user for call in calls if call.tenant == tenant} for tenant in (ATLAS, FORGE)}
    assert (len(users[ATLAS]), len(users[FORGE])) == (200, 50)


def test_calls_come_in_the_traces_order_within_the_time(calls: list[Call]) -> None:
    due = [call.due_s for call in calls]
    assert due == sorted(due)
    assert due[0] == 0
    assert due[-1] <= 45.0


def test_one_in_ten_streams_and_half_of_the_streams_ask_for_usage(calls: list[Call]) -> None:
    streams = [call for call in calls if call.is_stream]
    assert len(streams) == 1_936 + 881 + 50
    assert 0.45 < sum(call.wants_usage for call in streams) / len(streams) < 0.55


def test_a_prompt_has_exactly_its_words_and_no_two_are_alike(calls: list[Call]) -> None:
    prompts = Prompts("abc123")
    made = [prompts.prompt(call) for call in calls[:3000]]
    assert [len(system.split()) + len(user.split()) for system, user in made] == [c.input_tokens for c in calls[:3000]]
    assert len({user for _, user in made}) == 3000


@pytest.mark.parametrize("words", [1, 2, 39, 40, 14_050])
def test_the_shortest_and_the_longest_prompt_are_exact_too(calls: list[Call], words: int) -> None:
    system, user = Prompts("abc123").prompt(replace(calls[0], input_tokens=words))
    assert len(system.split()) + len(user.split()) == words


def test_a_request_is_what_the_openai_sdk_sends(calls: list[Call]) -> None:
    call = next(call for call in calls if call.tenant == ATLAS and call.is_stream and call.wants_usage)
    head, _, body = Wire("127.0.0.1:4000", {ATLAS: "secret"}, Prompts("abc123")).request(call).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: Bearer secret" in head
    assert f"x-llmobs-user: {call.user}".encode() in head
    sent = msgspec.json.decode(body)
    assert list(sent) == ["model", "stream", "messages", "max_tokens", "stream_options"]
    assert sent["max_tokens"] == call.output_tokens


def test_a_request_is_what_the_anthropic_sdk_sends(calls: list[Call]) -> None:
    call = next(call for call in calls if call.tenant == FORGE and not call.is_stream)
    head, _, body = Wire("127.0.0.1:4000", {FORGE: "secret"}, Prompts("abc123")).request(call).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"anthropic-version: " in head
    assert msgspec.json.decode(body)["max_tokens"] == call.output_tokens


def test_the_trials_limit_is_half_of_what_its_requests_cost(conversation: list[Row]) -> None:
    # 467,684 tokens in at 150 nano-USD and 132,536 out at 600: 149,674,200; half of it.
    assert Expectation(PriceBook(), AT_NS).trial_limit(conversation, 500) == 74_837_100


def test_the_configuration_file_is_valid() -> None:
    configuration = parse(filled_in(Providers.simulated("http://127.0.0.1:4100"), 74_837_100))
    assert [tenant.slug for tenant in configuration.tenants] == ["atlas", "forge", "trial", "workshop", "judges"]
    (trial,) = configuration.tenants[2].budgets
    assert (trial.limit_usd, trial.window, trial.action) == ("0.0748371", "total", "block")
