"""The official SDKs against the gateway: helpers, tools, pictures, schemas, sync and async, with raw responses."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from tests.gateway.far_end import STREAM_HEAD, FarEnd, answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.world import World

Place = Callable[..., AbstractContextManager[FarEnd]]
MODEL, CLAUDE = "gpt-4o-mini", "claude-sonnet-4-5"
ASK: list[Any] = [{"role": "user", "content": "one two"}]


@pytest.fixture
def far(gateway: Gateway, world: World) -> Place:
    """Puts a far end in the place of both providers."""

    @contextmanager
    def place(*parts: bytes) -> Iterator[FarEnd]:
        with answering(*parts) as far_end:
            world.pg.execute("UPDATE providers_provider SET base_url = %s", (far_end.url,))
            gateway.wait_for_config(world.version())
            yield far_end

    return place


@pytest.fixture
def client(gateway: Gateway, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)


@pytest.fixture
def claude(gateway: Gateway, secret: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)


# ---------------------------------------------------------------- helpers and raw responses


def test_the_openai_stream_helper_sees_a_whole_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=ASK, max_tokens=30) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].finish_reason in ("length", "stop")
    assert final.usage is None


def test_the_openai_stream_helper_gets_the_usage_it_asks_for(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(model=MODEL, messages=ASK, max_tokens=30, stream_options=options) as stream:
        final = stream.get_final_completion()
    assert final.usage is not None
    assert final.usage.completion_tokens == 30


def test_stream_options_of_nothing_are_no_options(client: openai.OpenAI, gateway: Gateway) -> None:
    extra = {"stream_options": None}
    chunks = list(
        client.chat.completions.create(model=MODEL, messages=ASK, stream=True, max_tokens=20, extra_body=extra)
    )
    assert all(chunk.choices for chunk in chunks)
    assert gateway.usage().output == 20


def test_the_anthropic_stream_helper_sees_a_whole_message(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model=CLAUDE, messages=ASK, max_tokens=30) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text
    assert (final.usage.output_tokens, final.content[0].type) == (30, "text")


def test_raw_responses_carry_our_headers(client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    for raw in (
        client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK, max_tokens=3),
        claude.messages.with_raw_response.create(model=CLAUDE, messages=ASK, max_tokens=3),
    ):
        assert raw.headers["x-llmobs-cost-usd"]
        assert len(raw.headers["x-llmobs-trace-id"]) == 32
        assert raw.parse().usage is not None


def test_both_async_clients_work_at_once(gateway: Gateway, secret: str) -> None:
    async def ask() -> list[Any]:
        one = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
        other = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=secret, max_retries=0)

        async def stream() -> int:
            async with other.messages.stream(model=CLAUDE, messages=ASK, max_tokens=30) as events:
                return (await events.get_final_message()).usage.output_tokens

        async with one, other:
            calls = [one.chat.completions.create(model=MODEL, messages=ASK, max_tokens=3) for _ in range(5)]
            return list(await asyncio.gather(*calls, *[stream() for _ in range(5)]))

    answers = asyncio.run(ask())
    assert [answer.usage.completion_tokens for answer in answers[:5]] == [3] * 5
    assert answers[5:] == [30] * 5


# ---------------------------------------------------------------- tools, pictures, schemas

TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALLS = (
    b'[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{}"}},'
    b'{"id":"c2","type":"function","function":{"name":"weather","arguments":"{}"}}]'
)
USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10}'


def test_parallel_tool_calls_and_their_results_pass(far: Place, client: openai.OpenAI, gateway: Gateway) -> None:
    answer = (
        b'{"id":"r","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"tool_calls",'
        b'"message":{"role":"assistant","content":null,"tool_calls":%s}}],%s}'
    )
    with far(json_response(answer % (CALLS, USAGE))) as far_end:
        first = client.chat.completions.create(model=MODEL, messages=ASK, tools=[TOOL], parallel_tool_calls=True)
        calls = first.choices[0].message.tool_calls or []
        results: list[Any] = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in calls]
        message: Any = first.choices[0].message
        client.chat.completions.create(model=MODEL, messages=[*ASK, message, *results], tools=[TOOL])
    assert [call.id for call in calls] == ["c1", "c2"]
    assert far_end.requests[1].count(b'"tool_call_id"') == 2
    assert [end.finish_reasons for end in gateway.ends()] == [["tool_calls"]] * 2


def test_streamed_tool_calls_pass(far: Place, client: openai.OpenAI, gateway: Gateway) -> None:
    head = b'data: {"id":"r","object":"chat.completion.chunk","created":1,"model":"m","choices":%s}\n\n'
    deltas = [
        b'[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":%d,"id":"c%d","type":"function",'
        b'"function":{"name":"weather","arguments":"{}"}}]}}]' % (n, n)
        for n in range(2)
    ]
    events = [head % delta for delta in deltas] + [head % b'[{"index":0,"delta":{},"finish_reason":"tool_calls"}]']
    usage = b'data: {"id":"r","object":"chat.completion.chunk","created":1,"model":"m","choices":[],%s}\n\n' % USAGE
    with (
        far(STREAM_HEAD, *events, usage, b"data: [DONE]\n\n"),
        client.chat.completions.stream(model=MODEL, messages=ASK, tools=[TOOL]) as stream,
    ):
        final = stream.get_final_completion()
    assert [call.id for call in final.choices[0].message.tool_calls or []] == ["c0", "c1"]
    assert gateway.usage().output == 7


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_pictures_pass_by_address_and_by_value(client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    for url in ("https://example.com/a.png", f"data:image/png;base64,{PNG}"):
        content: Any = [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": url}}]
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": content}], max_tokens=3
        )
        assert answer.usage is not None
    sources: list[Any] = [
        {"type": "url", "url": "https://example.com/a.png"},
        {"type": "base64", "media_type": "image/png", "data": PNG},
    ]
    for source in sources:
        block: Any = [{"type": "image", "source": source}]
        message = claude.messages.create(model=CLAUDE, messages=[{"role": "user", "content": block}], max_tokens=3)
        assert message.usage.output_tokens == 3


class Verdict(pydantic.BaseModel):
    good: bool


def test_a_schema_is_asked_for_and_parsed(far: Place, client: openai.OpenAI) -> None:
    answer = (
        b'{"id":"r","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
        b'"message":{"role":"assistant","content":"{\\"good\\": true}"}}],%s}'
    )
    with far(json_response(answer % USAGE)) as far_end:
        parsed = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Verdict)
    assert parsed.choices[0].message.parsed == Verdict(good=True)
    assert b'"json_schema"' in far_end.requests[0]


# ---------------------------------------------------------------- errors


def test_the_right_exception_is_raised(gateway: Gateway, client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    wrong = client.with_options(api_key="llmobs-wrong")
    with pytest.raises(openai.AuthenticationError) as one:
        wrong.chat.completions.create(model=MODEL, messages=ASK)
    assert one.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=ASK)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="llmobs-wrong").messages.create(model=CLAUDE, messages=ASK, max_tokens=3)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="no-such-model", messages=ASK, max_tokens=3)


def test_beta_messages_pass(claude: anthropic.Anthropic, gateway: Gateway) -> None:
    answer = claude.beta.messages.create(model=CLAUDE, messages=ASK, max_tokens=3, betas=["x-2025-01-01"])
    assert answer.usage.output_tokens == gateway.usage().output == 3
