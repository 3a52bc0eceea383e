"""Usage beyond text, by dialect: a stream and a whole answer tell the same, and a bill is within its bound."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import upper_usage
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.dialect import Answered, Dialect
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses
from llmobs.core.clock import now_ns
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.price import AtTier, Price, Rates, Tier
from llmobs.pricing.upper import NOTHING, upper_apart, upper_length
from llmobs.pricing.usage import Usage

COUNT = st.integers(0, 5000)
BOOK, NOW = PriceBook(), now_ns()


def price(provider: str, model: str) -> Price:
    found = BOOK.price(1, provider, model, NOW)
    assert found is not None
    return found


def sse(*events: dict[str, Any], named: bool = True) -> list[bytes]:
    names = [f"event: {event['type']}\n" if named else "" for event in events]
    blocks = [f"{name}data: {json.dumps(event)}\n\n".encode() for name, event in zip(names, events, strict=True)]
    return blocks if named else [*blocks, b"data: [DONE]\n\n"]


def chat_usage(text: int, cached: int, heard: int, said: int, spoken: int, thought: int) -> dict[str, Any]:
    return {
        "prompt_tokens": text + cached + heard,
        "completion_tokens": said + spoken,
        "total_tokens": text + cached + heard + said + spoken,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": heard},
        "completion_tokens_details": {"audio_tokens": spoken, "reasoning_tokens": min(thought, said)},
    }


@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, st.sampled_from([None, "default", "priority", "flex"]))
def test_a_chats_stream_and_its_whole_answer_have_one_usage(
    text: int, cached: int, heard: int, said: int, spoken: int, thought: int, tier: str | None
) -> None:
    usage = chat_usage(text, cached, heard, said, spoken, thought)
    head = {"id": "c1", "model": "gpt-audio", "service_tier": tier}
    whole = {**head, "choices": [{"finish_reason": "stop"}], "usage": usage}
    stream = sse(
        {**head, "choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]},
        {**head, "choices": [], "usage": usage},
        named=False,
    )
    told = OpenAI().answered(json.dumps(whole).encode())
    assert told is not None
    assert told.usage == OpenAI().streamed(stream).usage
    units = tuple(pair for pair in (("audio_input", heard), ("audio_output", spoken)) if pair[1])
    due = Usage(text, cached, 0, 0, said, min(thought, said), units, tier if tier in ("priority", "flex") else "")
    assert told.usage == due
    assert due.total == text + cached + heard + said + spoken


@given(COUNT, COUNT, COUNT, COUNT, COUNT, st.integers(0, 9), st.sampled_from(["standard", "batch", "priority"]))
def test_a_messages_stream_and_its_whole_answer_have_one_usage(
    given_: int, read: int, five: int, hour: int, output: int, searches: int, tier: str
) -> None:
    began = {
        "input_tokens": given_,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": 1,
        "service_tier": tier,
    }
    ended = {"output_tokens": output, "server_tool_use": {"web_search_requests": searches}}
    whole = {"type": "message", "id": "m1", "model": "claude-sonnet-4-5", "usage": {**began, **ended}}
    stream = sse(
        {"type": "message_start", "message": {"type": "message", "id": "m1", "usage": began}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ended},
        {"type": "message_stop"},
    )
    told = Anthropic().answered(json.dumps(whole).encode())
    assert told is not None
    assert told.usage == Anthropic().streamed(stream).usage
    units = (("web_search", searches),) if searches else ()
    assert told.usage == Usage(given_, read, five, hour, output, 0, units, "" if tier == "standard" else tier)


@given(st.lists(st.sampled_from(["search", "open_page", "file", "code", "message"]), max_size=8))
def test_a_responses_stream_and_its_whole_answer_count_the_same_runs_of_tools(kinds: list[str]) -> None:
    made = {
        "search": {"type": "web_search_call", "action": {"type": "search"}},
        "open_page": {"type": "web_search_call", "action": {"type": "open_page"}},
        "file": {"type": "file_search_call"},
        "code": {"type": "code_interpreter_call", "container_id": "one"},
        "message": {"type": "message"},
    }
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    answer = {
        "object": "response",
        "id": "r",
        "status": "completed",
        "output": [made[k] for k in kinds],
        "usage": usage,
    }
    told = Responses().answered(json.dumps(answer).encode())
    assert told is not None
    assert told.usage == Responses().streamed(sse({"type": "response.completed", "response": answer})).usage
    due = {
        "code_interpreter": int("code" in kinds),
        "file_search": kinds.count("file"),
        "web_search": kinds.count("search"),
    }
    assert told.usage == Usage(7, output=5, units=tuple((unit, n) for unit, n in due.items() if n))


@pytest.mark.parametrize(
    ("usage", "nanousd"),
    [
        ({"cost": 0.00014}, 140_000),  # OpenRouter
        ({"cost": {"input_tokens_cost": 0.001, "total_cost": 0.0062}}, 6_200_000),  # Perplexity
        ({"cost_in_usd_ticks": 37756000}, 3_775_600),  # xAI
        ({"cost": "free"}, None),
        ({"cost": -1}, None),
        ({}, None),
    ],
)
def test_what_a_provider_states_is_read(usage: dict[str, Any], nanousd: int | None) -> None:
    body = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1} | usage}
    told = OpenAI().answered(json.dumps(body).encode())
    assert told is not None
    assert told.stated_nanousd == nanousd
    assert OpenAI().streamed(sse(body, named=False)).stated_nanousd == nanousd


def test_reasoning_that_is_counted_besides_the_output_is_added() -> None:
    usage = {
        "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }  # fmt: skip
    told = OpenAI().answered(json.dumps({"choices": [], "usage": usage}).encode())
    assert told == Answered(usage=Usage(32, output=103, reasoning=94))


def bound(dialect: Dialect, body: dict[str, Any], ceiling: int, of: Price, unasked: tuple[str, ...] = ()) -> int | None:
    """What `admission` holds."""
    raw = json.dumps(body).encode()
    asked = dialect.read(raw)
    usage = upper_usage(asked, len(raw), asked.most_output_tokens or ceiling, of, asked.cache_write)
    if asked.apart is not None or unasked or not of.is_plain:
        usage = upper_apart(usage, asked.apart or NOTHING, of, unasked)
    elif of.tiers:
        usage = upper_length(usage, of)
    return cost(usage, of)


@settings(max_examples=200)
@given(st.data())
def test_no_bill_of_a_chat_with_sound_is_above_its_bound(data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 2000))
    parts = [{"type": "text", "text": "x" * data.draw(st.integers(0, 200))}]
    if data.draw(st.booleans()):
        parts.append({"type": "input_audio", "input_audio": {"data": "A" * 400, "format": "wav"}})  # type: ignore[dict-item]
    body = {
        "model": "gpt-audio", "max_tokens": most, "modalities": ["text", "audio"],
        "messages": [{"role": "user", "content": parts}],
    }  # fmt: skip
    said = data.draw(st.integers(0, most))
    heard = data.draw(st.integers(0, 400)) if len(parts) > 1 else 0
    text = data.draw(st.integers(0, len(json.dumps(body)) - heard))
    billed = cost(
        Usage(
            text, output=most - said, units=tuple(p for p in (("audio_input", heard), ("audio_output", said)) if p[1])
        ),
        price("openai", "gpt-audio"),
    )
    held = bound(OpenAI(), body, 4096, price("openai", "gpt-audio"))
    assert billed is not None
    assert held is not None
    assert billed <= held


@given(
    st.sampled_from(["auto", "priority", "flex", "default", None]),
    st.sampled_from(["", "priority", "flex"]),
    st.integers(0, 60),
    st.integers(0, 500),
    st.sampled_from([(), ("auto",), ("priority",), ("flex",), ("flex", "priority")]),
)
def test_no_tier_that_may_answer_is_above_the_bound(
    asked: str | None, given_: str, text: int, output: int, unasked: tuple[str, ...]
) -> None:
    body = {"model": "gpt-5", "max_completion_tokens": 500, "messages": [{"role": "user", "content": "hello"}]}
    if asked is not None:
        body["service_tier"] = asked
    is_given = "auto" in unasked or given_ in unasked
    if given_ and asked not in ("auto", given_) and not (asked is None and is_given):
        return  # nobody answers at a tier that was not asked for, unless the account is set to it
    held = bound(OpenAI(), body, 4096, price("openai", "gpt-5"), unasked)
    billed = cost(Usage(text, output=output, tier=given_), price("openai", "gpt-5"))
    assert held is not None
    assert billed is not None
    assert billed <= held


@given(st.integers(0, 3000), st.booleans(), st.data())
def test_a_discount_on_long_inputs_lowers_no_bound_below_a_shorter_ones_bill(
    letters: int, sees: bool, data: st.DataObject
) -> None:
    """The bound counts bytes, the bill tokens: fewer, at the dearer rate."""
    dear, cheap = Rates(*[10_000] * 5), Rates(*[1_000] * 5)
    discounted = Price("openai", "gpt-4o", "test", dear, (Tier(1000, cheap),))
    content: Any = "x" * letters
    if sees:
        content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    body = {"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": content}]}
    text = data.draw(st.integers(0, len(json.dumps(body))))
    billed, held = cost(Usage(text, output=10), discounted), bound(OpenAI(), body, 10, discounted)
    assert billed is not None
    assert held is not None
    assert billed <= held


def test_searches_are_within_the_bound_as_often_as_they_are_allowed() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "x"}],
        "tools": [tool],
    }
    limited = Anthropic().read(json.dumps(body).encode())
    del tool["max_uses"]
    unlimited = Anthropic().read(json.dumps(body).encode())
    assert limited.apart is not None
    assert unlimited.apart is not None
    assert (limited.apart.units, unlimited.apart.units) == ((("web_search", 3),), (("web_search", 100),))


def test_a_tool_without_a_price_has_no_bound() -> None:
    body = {"model": "gpt-5", "input": "x", "max_output_tokens": 5, "tools": [{"type": "code_interpreter"}]}
    assert bound(Responses(), body, 4096, price("openai", "gpt-5")) is None


def test_a_function_of_that_name_is_no_tool_of_the_providers() -> None:
    body = {"model": "gpt-5", "input": "x", "tools": [{"type": "function", "name": "code_interpreter"}]}
    assert Responses().read(json.dumps(body).encode()).apart is None


@pytest.mark.parametrize(
    ("given_", "asked"),
    [("auto", "auto"), ("standard_only", "default"), ("priority", "priority"), (None, ""), (7, "")],
)
def test_anthropics_words_for_tiers_are_read(given_: object, asked: str) -> None:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [{}], "service_tier": given_}
    read = Anthropic().read(json.dumps(body).encode())
    assert (read.apart.tier if read.apart is not None else "") == asked


def test_a_fast_answer_has_to_be_asked_for() -> None:
    """`auto` gives flex or priority: six times the price would keep calls out that fit."""
    usual = Rates(*[1_000] * 5)
    tiers = tuple(AtTier(name, Rates(*[times * 1_000] * 5)) for name, times in (("fast", 6), ("priority", 2)))
    of, body = Price("anthropic", "m", "test", usual, at_tiers=tiers), {"model": "m", "max_tokens": 5, "messages": [{}]}
    held = [bound(Anthropic(), {**body, **more}, 5, of) for more in ({"service_tier": "auto"}, {"speed": "fast"})]
    most = [
        (len(json.dumps({**body, **more})) + 5) * times
        for more, times in (({"service_tier": "auto"}, 2), ({"speed": "fast"}, 6))
    ]
    assert held == [-(-each * 1_000 // 1_000_000) for each in most]


def test_a_call_of_text_alone_asks_for_nothing_apart() -> None:
    body = {"model": "gpt-5", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    assert OpenAI().read(json.dumps(body).encode()).apart is None
    assert Anthropic().read(json.dumps(body).encode()).apart is None
