"""Anthropic's answers for OpenAI's clients, whole and streamed: the official SDK reads what its client would get."""

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.dialects.to_anthropic import OUTPUT_TOOL
from tests.gateway.dialects.said import (
    CLAUDE,
    HIDDEN,
    OPENAIS_USAGE,
    THOUGHT,
    TO_OPENAI,
    USES,
    asked,
    begun,
    block,
    ended,
    event,
    message,
    seen_by_openai,
    text_block,
    through,
)

TEXT = {"type": "text", "text": "a"}


def whole(*content: object, **fields: object) -> ChatCompletion:
    return ChatCompletion.model_validate_json(TO_OPENAI.answer(message(*content, **fields)), strict=True)


def streamed(*blocks: bytes, wants_usage: bool = True) -> bytes:
    return through(TO_OPENAI.stream(asked(wants_usage)), *blocks)


def test_an_answer_reaches_openais_client() -> None:
    """S0-06, S4-30: an OpenAI client sees a chat completion, whoever answered."""
    found = whole({"type": "text", "text": "Hello"}, {"type": "text", "text": " there"})
    assert (found.id, found.model, found.created, found.service_tier) == ("msg_1", CLAUDE, 1_700_000_000, "default")
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("Hello there", "stop")


def test_what_the_cache_served_is_shown_as_cached_tokens() -> None:
    """S0-17: cache_read_input_tokens becomes cached_tokens, and the prompt includes them."""
    for usage in (whole(TEXT).usage, seen_by_openai(begun(), text_block(0, "a"), ended()).usage):
        assert usage is not None
        assert usage.to_dict() == OPENAIS_USAGE


def test_a_stream_reaches_openais_client() -> None:
    """S2-43, S4-30: streamed like any chat completion."""
    found = seen_by_openai(begun(), text_block(0, "Hel", "lo"), text_block(1, " there"), ended())
    assert (found.id, found.model) == ("msg_1", CLAUDE)
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("Hello there", "stop")


def test_the_usage_chunk_comes_only_if_asked_for() -> None:
    body = streamed(begun(), text_block(0, "a"), ended(), wants_usage=False)
    assert b"usage" not in body
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("made_up", "stop"),
    ],
)
def test_a_stop_reason_is_a_finish_reason(reason: str, expected: str) -> None:
    assert whole(TEXT, stop_reason=reason).choices[0].finish_reason == expected
    assert b'"finish_reason":"%s"' % expected.encode() in streamed(begun(), text_block(0, "a"), ended(reason))


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "not that"}
    assert whole(stop_reason="refusal", stop_details=details).choices[0].message.refusal == "not that"
    assert b'"refusal":"not that"' in streamed(begun(), ended("refusal", stop_details=details))


def test_tool_uses_are_tool_calls() -> None:
    said = ({"type": "input_json_delta", "partial_json": part} for part in ("", '{"n"', ":1}"))
    uses = block(1, {**USES[0], "input": {}}, *said) + block(2, USES[1])
    seen = seen_by_openai(begun(), text_block(0, "so"), uses, ended("tool_use"))
    for found in (whole({"type": "text", "text": "so"}, *USES, stop_reason="tool_use"), seen):
        choice = found.choices[0]
        said_calls: Any = choice.message.tool_calls
        calls = [(call.id, call.function.name, call.function.arguments) for call in said_calls]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "so")
        assert calls == [("toolu_1", "look", '{"n":1}'), ("toolu_2", "stop", "{}")]


def test_the_tool_that_gives_the_json_is_the_answer_itself() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": OUTPUT_TOOL, "input": {"n": 1}}
    said = {"type": "input_json_delta", "partial_json": '{"n":1}'}
    seen = seen_by_openai(begun(), block(0, {**use, "input": {}}, said), ended("tool_use"))
    for found in (whole({"type": "text", "text": "here:"}, use, stop_reason="tool_use"), seen):
        choice = found.choices[0]
        assert (choice.message.content, choice.finish_reason) == ('{"n":1}', "stop")
        assert not choice.message.tool_calls


def test_thoughts_are_reasoning_content_and_keep_their_signatures() -> None:
    answered = whole(THOUGHT, HIDDEN, {"type": "text", "text": "yes"}).choices[0].message.to_dict()
    thinking = [{"type": "thinking_delta", "thinking": word} for word in ("hm", ", well")]
    signature = {"type": "signature_delta", "signature": "c2ln"}
    thought = block(0, {"type": "thinking", "thinking": "", "signature": ""}, *thinking, signature)
    body = streamed(begun(), thought, block(1, HIDDEN), text_block(2, "yes"), ended())
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in body.split(b"\n\n") if b"delta" in line]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm, well"
    assert answered["reasoning_content"] == "hm, well"
    assert [thought for delta in deltas for thought in delta.get("thinking_blocks", [])] == [THOUGHT, HIDDEN]
    assert answered["thinking_blocks"] == [THOUGHT, HIDDEN]


def test_every_chunk_is_one_to_openais_types() -> None:
    body = streamed(begun(), block(0, HIDDEN), text_block(1, "a"), block(2, USES[0]), ended("tool_use"))
    lines = [line for line in body.decode().split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        ChatCompletionChunk.model_validate_json(line.removeprefix("data: "), strict=True)


def test_a_stream_that_broke_off_claims_no_end() -> None:
    assert b"DONE" not in streamed(begun(), text_block(0, "a"))


def test_an_error_in_a_stream_is_one_to_openais_client() -> None:
    error = event("error", error={"type": "overloaded_error", "message": "too much"})
    with pytest.raises(openai.APIError, match="too much"):
        seen_by_openai(begun(), text_block(0, "a"), error)


def test_what_is_no_event_of_the_format_says_nothing() -> None:
    odd = b"data: {\n\n" + event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": 5})
    assert TO_OPENAI.stream(asked()).feed(odd + b": comment\n\n" + event("made_up")) == b""
