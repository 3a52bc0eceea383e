"""OpenAI's answers for Anthropic's clients, whole and streamed: the official SDK reads what its client would get."""

import json
from typing import Any

import anthropic
import pydantic
import pytest

from tests.gateway.dialects.said import (
    CLAUDES_USAGE,
    GPT,
    HIDDEN,
    LAST,
    OPENAIS_USAGE,
    THOUGHT,
    TO_ANTHROPIC,
    asked,
    call,
    chunk,
    completion,
    seen_by_anthropic,
    through,
)

EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)
YES = chunk({"content": "yes"}) + chunk({}, "stop")


def whole(message: dict[str, Any], reason: str = "stop", usage: object = OPENAIS_USAGE) -> anthropic.types.Message:
    body = TO_ANTHROPIC.answer(completion(message, reason, usage))
    return anthropic.types.Message.model_validate_json(body, strict=True)


def blocks(message: anthropic.types.Message) -> list[dict[str, object]]:
    return [block.to_dict() for block in message.content]


def test_an_answer_reaches_anthropics_client() -> None:
    """S0-05, S4-30: an Anthropic client sees a message, whoever answered."""
    found = whole({"content": "Hello"})
    assert (found.id, found.model, found.stop_reason) == ("c1", GPT, "end_turn")
    assert blocks(found) == [{"type": "text", "text": "Hello"}]


def test_cached_tokens_are_apart_from_the_input() -> None:
    """S0-17: cached_tokens become cache_read_input_tokens, and the input leaves them out."""
    expected = {name: value for name, value in CLAUDES_USAGE.items() if name != "service_tier"}
    assert whole({"content": "a"}).usage.to_dict() == expected
    assert seen_by_anthropic(chunk({"content": "a"}), chunk({}, "stop"), LAST).usage.to_dict() == expected


def test_a_stream_reaches_anthropics_client() -> None:
    """S2-43, S4-30: streamed like any message."""
    first = chunk({"role": "assistant", "content": ""})
    found = seen_by_anthropic(first, chunk({"content": "Hel"}) + chunk({"content": "lo"}), chunk({}, "stop"), LAST)
    assert (found.id, found.model, found.stop_reason) == ("c1", GPT, "end_turn")
    assert blocks(found) == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("made_up", "end_turn")],
)
def test_a_finish_reason_is_a_stop_reason(reason: str, expected: str) -> None:
    assert whole({"content": "a"}, reason).stop_reason == expected
    assert seen_by_anthropic(chunk({"content": "a"}), chunk({}, reason), LAST).stop_reason == expected


def more(arguments: str, **fields: object) -> dict[str, Any]:
    return {"function": {"arguments": arguments}, **fields}


FIRST, SECOND = call("c1", "look", '{"n":'), call("c2", "stop", "{}")
AT_ONCE = call("c1", "look", '{"n":1}')
CALLS = {
    "as OpenAI": [[{**FIRST, "index": 0}], [more("1", index=0)], [more("}", index=0)], [{**SECOND, "index": 1}]],
    "at once": [[{**AT_ONCE, "index": 0}, call("c2", "stop", "", index=1)]],
    "without an index": [[FIRST], [more("1}")], [SECOND]],
    "all of one index": [[{**AT_ONCE, "index": 0}], [{**SECOND, "index": 0}]],
}


@pytest.mark.parametrize("deltas", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_tool_calls_are_tool_uses(deltas: list[list[dict[str, Any]]], reason: str) -> None:
    answered = whole({"content": "so", "tool_calls": [AT_ONCE, call("c2", "stop", "")]}, reason)
    said = [chunk({"tool_calls": calls}) for calls in deltas]
    seen = seen_by_anthropic(chunk({"content": "so"}), *said, chunk({}, reason), LAST)
    for found in (answered, seen):
        assert found.stop_reason == "tool_use"
        assert blocks(found) == [
            {"type": "text", "text": "so"},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"n": 1}},
            {"type": "tool_use", "id": "c2", "name": "stop", "input": {}},
        ]


def test_arguments_that_are_no_json_are_kept_under_a_name_that_says_so() -> None:
    found = whole({"tool_calls": [call("c1", "look", "{n")]}, "tool_calls")
    assert blocks(found)[0]["input"] == {"invalid_json": "{n"}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_thought(field: str) -> None:
    seen = seen_by_anthropic(chunk({field: "h"}) + chunk({field: "m"}), YES, LAST)
    for found in (whole({field: "hm", "content": "yes"}), seen):
        assert blocks(found) == [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "yes"},
        ]


def test_signatures_of_a_server_that_hands_on_claudes_thoughts_are_kept() -> None:
    deltas: list[dict[str, Any]] = [
        {"reasoning_content": "hm, well"},
        {"thinking_blocks": [THOUGHT]},
        {"thinking_blocks": [HIDDEN]},
    ]
    seen = seen_by_anthropic(*[chunk(delta) for delta in deltas], YES, LAST)
    answered = whole({"content": "yes", "reasoning_content": "hm, well", "thinking_blocks": [THOUGHT, HIDDEN]})
    for found in (answered, seen):
        assert blocks(found)[:2] == [THOUGHT, HIDDEN]


def test_a_refusal_is_told_as_text() -> None:
    seen = seen_by_anthropic(chunk({"refusal": "no"}), chunk({}, "content_filter"), LAST)
    for found in (whole({"refusal": "no"}, "content_filter"), seen):
        assert (blocks(found), found.stop_reason) == ([{"type": "text", "text": "no"}], "refusal")


def test_every_event_is_one_to_anthropics_types() -> None:
    said = [chunk({"reasoning": "h"}), chunk({"content": "a"}), chunk({"tool_calls": [call("c", "f", "{}", index=0)]})]
    body = through(TO_ANTHROPIC.stream(asked()), *said, chunk({}, "tool_calls"), LAST).decode()
    data = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    names = [json.loads(line)["type"] for line in data]
    for line in data:
        EVENT.validate_json(line, strict=True)
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert names.count("content_block_start") == names.count("content_block_stop") == 3


def test_a_stream_that_broke_off_claims_no_end() -> None:
    assert b"message_stop" not in through(TO_ANTHROPIC.stream(asked()), chunk({"content": "a"}))


def test_an_error_in_a_stream_is_one_to_anthropics_client() -> None:
    error = b'data: {"error":{"message":"too much","type":"server_error","code":null}}\n\n'
    with pytest.raises(anthropic.APIStatusError, match="too much"):
        seen_by_anthropic(chunk({"content": "a"}), error)


def test_a_stream_without_usage_still_ends() -> None:
    assert seen_by_anthropic(YES, b"data: [DONE]\n\n").usage.output_tokens == 0
