"""The official OpenAI client: text, streams, schemas, to providers of both formats."""

import asyncio
from typing import Any

import openai
import pytest

from tests.clients.asking import HELLO, MOST, Ticket
from tests.clients.conftest import CLAUDE, GPT
from tests.gateway.running import Gateway


def test_it_gets_a_whole_answer(openai_client: openai.OpenAI, gateway: Gateway, model: str) -> None:
    """S0-01, S0-05, S0-06: one address and one key for every provider; only the model's name changes."""
    answer = openai_client.chat.completions.create(model=model, messages=HELLO, max_tokens=MOST)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, MOST)
    assert len((answer.choices[0].message.content or "").split()) == MOST
    assert (answer.object, answer.choices[0].finish_reason, gateway.usage().output) == ("chat.completion", "stop", MOST)


def test_it_gets_a_stream(openai_client: openai.OpenAI, gateway: Gateway, model: str) -> None:
    """S2-43, S4-30: answers come in pieces when asked, whoever gives them."""
    stream = openai_client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=MOST, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) >= MOST // 10
    assert len("".join(pieces).split()) == MOST
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, gateway.usage().output) == (3, MOST, MOST)


def test_its_stream_helper_sees_a_whole_answer(openai_client: openai.OpenAI, model: str) -> None:
    with openai_client.chat.completions.stream(model=model, messages=HELLO, max_tokens=MOST) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert len((final.choices[0].message.content or "").split()) == MOST


def test_its_asynchronous_client_is_served(gateway: Gateway, secret: str, model: str) -> None:
    async def ask() -> tuple[int, int]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client:
            ask: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": MOST}
            whole = await client.chat.completions.create(**ask)
            pieces = [chunk async for chunk in await client.chat.completions.create(**ask, stream=True)]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices)
        return whole.usage.completion_tokens, len(text.split())

    assert asyncio.run(ask()) == (MOST, MOST)


def test_it_parses_an_answer_of_a_shape(openai_client: openai.OpenAI, model: str) -> None:
    answer = openai_client.chat.completions.parse(model=model, messages=HELLO, response_format=Ticket, max_tokens=90)
    assert answer.choices[0].message.parsed == Ticket(title="text", urgency="low", hours=1, tags=["text"])


def test_it_streams_an_answer_of_a_shape(openai_client: openai.OpenAI, model: str) -> None:
    with openai_client.beta.chat.completions.stream(
        model=model, messages=HELLO, response_format=Ticket, max_tokens=90
    ) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert parsed == Ticket(title="text", urgency="low", hours=1, tags=["text"])


def test_raw_answers_say_who_answered_and_what_it_cost(openai_client: openai.OpenAI, model: str) -> None:
    """S2-12: an answer says whether it is cached, its model, its cost; its usage is in the body."""
    raw = openai_client.chat.completions.with_raw_response.create(model=model, messages=HELLO, max_tokens=10)
    # USD per million: gpt-4o-mini 0.15 and 0.60, claude-sonnet-4-5 3 and 15
    costs = {GPT: "0.00000645", CLAUDE: "0.000159"}
    assert (raw.headers["x-llmobs-model"], raw.headers["x-llmobs-cost-usd"]) == (model, costs[model])
    assert raw.headers["x-llmobs-provider"] == ("openai" if model == GPT else "anthropic")
    assert raw.headers["x-llmobs-cache"] == "off"
    assert len(raw.headers["x-llmobs-trace-id"]) == 32
    assert raw.parse().usage is not None


def test_stop_sequences_reach_the_provider(openai_client: openai.OpenAI, model: str) -> None:
    answer = openai_client.chat.completions.create(model=model, messages=HELLO, max_tokens=MOST, stop=["zzz", "e"])
    assert answer.choices[0].finish_reason == "stop"
    assert "e" not in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("effort", ["low", "high"])
def test_reasoning_is_told_apart(openai_client: openai.OpenAI, gateway: Gateway, effort: Any) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-5-mini", messages=HELLO, reasoning_effort=effort, max_completion_tokens=200
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    reasoning = {"low": 16, "high": 64}[effort]
    assert answer.usage.completion_tokens_details.reasoning_tokens == gateway.usage().reasoning == reasoning
