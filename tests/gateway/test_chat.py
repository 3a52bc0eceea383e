"""Calls in both formats through the official SDKs: answers, bills, headers."""

import asyncio
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway

PROMPT: list[Any] = [{"role": "user", "content": "one two three four five"}]


def bill(simulator: Running) -> dict[str, object]:
    return dict(simulator.bill.as_dict(False))


@pytest.fixture
def openai_client(gateway: Gateway, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)


@pytest.fixture
def anthropic_client(gateway: Gateway, secret: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)


def test_an_openai_call_is_answered_and_billed_as_the_provider_bills_it(
    openai_client: openai.OpenAI, gateway: Gateway, simulator: Running
) -> None:
    answer = openai_client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, max_tokens=7)
    end = gateway.end()
    assert answer.usage is not None
    assert (gateway.usage().uncached_input, gateway.usage().output) == (5, 7)
    assert (end.status, end.response_id, end.is_estimated) == ("ok", answer.id, False)
    assert end.cost_nanousd == 5 * 150 + 7 * 600
    assert bill(simulator)["cost_usd"] == "0.00000495"


def test_an_anthropic_call_is_answered_and_billed_as_the_provider_bills_it(
    anthropic_client: anthropic.Anthropic, gateway: Gateway
) -> None:
    answer = anthropic_client.messages.create(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=7)
    end = gateway.end()
    assert (gateway.usage().uncached_input, gateway.usage().output) == (5, 7)
    assert (end.status, end.response_id) == ("ok", answer.id)
    assert end.cost_nanousd == 5 * 3000 + 7 * 15000


def test_an_openai_stream_without_usage_asked_shows_none_and_is_billed_exactly(
    openai_client: openai.OpenAI, gateway: Gateway
) -> None:
    with openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=PROMPT, max_tokens=35, stream=True
    ) as stream:
        chunks = list(stream)
    end = gateway.end()
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)
    assert (gateway.usage().uncached_input, gateway.usage().output, end.is_estimated) == (5, 35, False)
    assert end.ttft_ns is not None
    assert end.finish_reasons


def test_an_openai_stream_with_usage_asked_shows_it(openai_client: openai.OpenAI, gateway: Gateway) -> None:
    with openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=PROMPT, max_tokens=35, stream=True, stream_options={"include_usage": True}
    ) as stream:
        usages = [chunk.usage for chunk in stream if chunk.usage is not None]
    assert [usage.completion_tokens for usage in usages] == [35]
    assert gateway.usage().output == 35


def test_an_anthropic_stream_is_billed_exactly(anthropic_client: anthropic.Anthropic, gateway: Gateway) -> None:
    with anthropic_client.messages.stream(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=35) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    end = gateway.end()
    assert len(text.split()) == 35
    assert final.usage.output_tokens == 35
    assert (gateway.usage().uncached_input, gateway.usage().output) == (5, 35)
    assert (end.status, end.is_estimated) == ("ok", False)


async def _ask_both(url: str, secret: str) -> tuple[int, int]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0) as client:
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, max_tokens=20, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    async with anthropic.AsyncAnthropic(base_url=url, api_key=secret, max_retries=0) as client:
        message = await client.messages.create(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=20)
    return len("".join(words).split()), message.usage.output_tokens


def test_the_asynchronous_clients_are_served_too(gateway: Gateway, secret: str) -> None:
    assert asyncio.run(_ask_both(gateway.url, secret)) == (20, 20)


def test_the_answer_says_where_to_find_the_call_and_what_it_cost(http: httpx.Client, gateway: Gateway) -> None:
    response = http.post("/v1/chat/completions", json={"model": "gpt-4o-mini", "messages": PROMPT, "max_tokens": 7})
    begin = gateway.begins()[0]
    assert response.headers["x-llmobs-trace-id"] == begin.trace_id.hex()
    assert response.headers["x-llmobs-span-id"] == begin.attempt.hex()
    assert response.headers["x-llmobs-cost-usd"] == "0.00000495"
    assert response.headers["x-llmobs-provider"] == "openai"
    assert response.headers["x-llmobs-model"] == "gpt-4o-mini"
    assert response.headers["x-llmobs-attempts"] == "1"
    assert response.headers["x-llmobs-cache"] == "off"


def test_a_stream_ends_with_its_cost_when_asked(http: httpx.Client) -> None:
    body = {"model": "gpt-4o-mini", "messages": PROMPT, "max_tokens": 7, "stream": True}
    response = http.post("/v1/chat/completions", json=body, headers={"x-llmobs-stream-cost": "1"})
    assert response.text.endswith("data: [DONE]\n\n: llmobs cost_usd=0.00000495\n\n")


def test_a_stream_says_nothing_of_cost_unasked(http: httpx.Client) -> None:
    body = {"model": "gpt-4o-mini", "messages": PROMPT, "max_tokens": 7, "stream": True}
    assert http.post("/v1/chat/completions", json=body).text.endswith("data: [DONE]\n\n")


def test_the_span_joins_the_callers_trace(http: httpx.Client, gateway: Gateway) -> None:
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    http.post(
        "/v1/chat/completions",
        json={"model": "gpt-4o-mini", "messages": PROMPT, "max_tokens": 7},
        headers={"traceparent": f"00-{trace_id}-{parent}-01"},
    )
    begin = gateway.begins()[0]
    assert (begin.trace_id, begin.parent_span_id) == (bytes.fromhex(trace_id), bytes.fromhex(parent))


def test_attribution_comes_from_headers_then_the_body_then_the_key(http: httpx.Client, gateway: Gateway) -> None:
    http.post(
        "/v1/chat/completions",
        json={
            "model": "gpt-4o-mini",
            "messages": PROMPT,
            "max_tokens": 7,
            "user": "from body",
            "metadata": {"feature": "from body", "session": "s1"},
        },
        headers={"x-llmobs-feature": "from header"},
    )
    attribution = gateway.begins()[0].attribution
    assert (attribution.feature, attribution.user_id, attribution.session_id) == ("from header", "from body", "s1")
    assert (attribution.environment, attribution.service) == ("production", "shop")
