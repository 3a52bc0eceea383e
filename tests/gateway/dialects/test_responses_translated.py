"""Responses for providers that know none: by chat completions, and on to Anthropic's messages."""

import json
from typing import Any

import pydantic
import pytest
from openai.types.chat import completion_create_params
from openai.types.responses import Response, ResponseStreamEvent

from gateway.dialects.dialect import BadRequest
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses
from gateway.dialects.translation import ResponsesToChat, ResponsesToMessages, Translation, Untranslatable, translation
from tests.gateway.dialects.said import (
    CLAUDE,
    HIDDEN,
    LAST,
    THOUGHT,
    USES,
    asked,
    begun,
    block,
    call,
    chunk,
    completion,
    ended,
    message,
    openai_client,
    text_block,
    through,
)

CALLER, CHAT, MESSAGES = Responses(), ResponsesToChat(), ResponsesToMessages(clock=lambda: 1.0)
TYPED: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(completion_create_params.CompletionCreateParams)
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
HI = {"role": "user", "content": "hi"}
USAGE = {
    "input_tokens": 120,
    "input_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 20},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 127,
}


def sent(given: object, between: Translation = CHAT, model: str = "llama-3", **fields: object) -> Any:
    body = json.dumps({"model": "smart", "input": given, **fields}).encode()
    translated = json.loads(between.request(body, model, CALLER.read(body), 8192))
    if between is CHAT:
        TYPED.validate_python(translated)
    return translated


def events(body: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    for line in lines:
        EVENT.validate_json(line)
    return [json.loads(line) for line in lines]


# ---------------------------------------------------------------- requests


def test_a_plain_question_is_a_plain_question() -> None:
    """S0-06: /v1/responses reaches a provider that knows chat completions only."""
    assert sent("hi") == {"model": "llama-3", "messages": [HI]}
    assert sent([HI], instructions="be brief")["messages"] == [{"role": "system", "content": "be brief"}, HI]


def test_calls_and_their_outputs_are_messages() -> None:
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "another's"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "stop", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
    ]
    assert sent(items)["messages"] == [
        HI,
        {"role": "assistant", "content": "so", "tool_calls": [call("c1", "look", "{}"), call("c2", "stop", "")]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "input_image", "image_url": "https://x.test/i.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "https://x.test/i.png"}},
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        ),
    ],
)
def test_pictures_and_files_become_parts(part: object, expected: object) -> None:
    text = {"type": "input_text", "text": "what is it?"}
    content = sent([{"role": "user", "content": [text, part]}])["messages"][0]["content"]
    assert content == [{"type": "text", "text": "what is it?"}, expected]


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("llama-3", {"max_output_tokens": 9}, {"max_tokens": 9}),
        ("gpt-5", {"max_output_tokens": 9, "temperature": 0.5}, {"max_completion_tokens": 9}),
        ("gpt-5", {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ("llama-3", {"reasoning": {"effort": "low"}, "temperature": 0.5}, {"temperature": 0.5}),
        ("llama-3", {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ("llama-3", {"user": "u", "store": False, "truncation": "auto", "made_up": 1}, {"user": "u"}),
        ("llama-3", {"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        (
            "llama-3",
            {"text": {"format": {"type": "json_schema", "name": "out", "schema": SCHEMA, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "out", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        (
            "llama-3",
            {
                "tools": [{"type": "function", "name": "look", "parameters": SCHEMA, "strict": None}],
                "tool_choice": {"type": "function", "name": "look"},
                "parallel_tool_calls": False,
            },
            {
                "tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}],
                "tool_choice": {"type": "function", "function": {"name": "look"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
def test_a_parameter_says_the_same_or_is_left_out(model: str, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sent("hi", model=model, **fields) == {"model": model, "messages": [HI], **expected}


@pytest.mark.parametrize(
    ("given", "fields", "said"),
    [
        ("hi", {"previous_response_id": "resp_0"}, "previous_response_id"),
        ("hi", {"tools": [{"type": "web_search"}]}, r"tools\[0\]"),
        ([{"type": "item_reference", "id": "x"}], {}, "item_reference"),
        ([{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}], {}, "input_file"),
        (None, {}, "input"),
    ],
)
def test_what_stands_at_openai_is_refused_by_its_name(given: object, fields: dict[str, Any], said: str) -> None:
    for between in (CHAT, MESSAGES):
        with pytest.raises(BadRequest, match=said):
            sent(given, between, **fields)


def test_it_goes_on_to_anthropics_format() -> None:
    found = sent("hi", MESSAGES, CLAUDE, instructions="be brief", reasoning={"effort": "low"}, max_output_tokens=4096)
    assert found == {
        "model": CLAUDE,
        "max_tokens": 4096,
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "system": "be brief",
        "messages": [HI],
    }


# ---------------------------------------------------------------- answers


def whole(body: bytes, between: Translation = CHAT) -> Response:
    return Response.model_validate_json(between.answer(body))


def test_an_answer_is_a_response() -> None:
    """S4-30: whole, as an OpenAI client reads it."""
    body = completion({"content": "so", "reasoning": "hm", "tool_calls": [call("c1", "look", "{}")]}, "tool_calls")
    found = whole(body)
    assert found.usage is not None
    assert (found.id, found.status, found.output_text) == ("c1", "completed", "so")
    assert [item.type for item in found.output] == ["reasoning", "message", "function_call"]
    assert found.usage.to_dict() == USAGE


@pytest.mark.parametrize(
    ("reason", "expected"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_cut_short_is_incomplete(reason: str, expected: str) -> None:
    streamed = through(CHAT.stream(asked()), chunk({"content": "a"}), chunk({}, reason), LAST)
    for found in (whole(completion({"content": "a"}, reason)).to_dict(), events(streamed)[-1]["response"]):
        assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": expected})


SAID = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "h"}) + chunk({"reasoning_content": "m"}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}),
    chunk({"tool_calls": [call("c1", "look", "", index=0)]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    chunk({"tool_calls": [call("c2", "stop", "", index=1)]}),
    chunk({}, "tool_calls"),
    LAST,
]


def test_a_stream_is_one_of_responses() -> None:
    """S2-43, S4-30: streamed, as an OpenAI client reads it."""
    body = through(CHAT.stream(asked()), *SAID)
    found = events(body)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    names = [event["type"].removeprefix("response.") for event in found]
    assert names[:3] == ["created", "in_progress", "output_item.added"]
    assert names.count("output_item.added") == names.count("output_item.done") == 4
    client = openai_client(body, kind="text/event-stream")
    with client.responses.stream(model="m", input="hi") as stream:
        final = stream.get_final_response()
    assert final.output_text == "Hello"
    assert final.usage is not None
    assert final.usage.to_dict() == USAGE
    items = [item.to_dict() for item in final.output]
    assert [(item["name"], item["arguments"]) for item in items[2:]] == [("look", "{}"), ("stop", "")]
    assert items[0]["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_our_own_dialect_finds_the_end_and_the_usage_of_it() -> None:
    body = through(CHAT.stream(asked()), *SAID)
    assert CALLER.is_last(body)
    found = CALLER.streamed([body])
    assert found.usage == OpenAI().streamed(SAID).usage
    assert found.response_id == "c1"


def test_claudes_signed_thoughts_come_back_through_a_response() -> None:
    blocks = begun() + block(0, THOUGHT) + block(1, HIDDEN) + text_block(2, "yes") + block(3, USES[0])
    streamed = events(through(MESSAGES.stream(asked()), blocks, ended("tool_use")))[-1]["response"]["output"]
    answered = json.loads(
        MESSAGES.answer(message(THOUGHT, HIDDEN, {"type": "text", "text": "yes"}, USES[0], stop_reason="tool_use"))
    )["output"]
    result = {"type": "function_call_output", "call_id": "toolu_1", "output": "1"}
    for output in (answered, streamed):
        turn = sent([HI, *output, result], MESSAGES, CLAUDE)["messages"][1]
        assert turn["content"][-2:] == [{"type": "text", "text": "yes"}, USES[0]]
        assert turn["content"][:2] == [THOUGHT, HIDDEN]
        assert sent([HI, *output, result])["messages"][1].keys() == {"role", "content", "tool_calls"}


def test_a_stream_that_broke_off_claims_no_end() -> None:
    assert not CALLER.is_last(through(CHAT.stream(asked()), chunk({"content": "a"})))


def test_an_error_in_a_stream_is_one_to_openais_client() -> None:
    body = through(CHAT.stream(asked()), chunk({"content": "a"}), b'data: {"error":{"message":"m","code":"c"}}\n\n')
    assert CALLER.streamed([body]).error_type == "c"
    with openai_client(body, kind="text/event-stream").responses.create(model="m", input="hi", stream=True) as stream:
        last = list(stream)[-1]
    assert (last.type, last.to_dict()["message"]) == ("error", "m")


# ---------------------------------------------------------------- which pairs there are


def test_what_a_provider_serves_decides() -> None:
    assert translation(CALLER, "openai", ("chat", "responses")) is None
    assert isinstance(translation(CALLER, "openai", ("chat",)), ResponsesToChat)
    assert isinstance(translation(CALLER, "anthropic", ("messages", "count_tokens")), ResponsesToMessages)
    for dialect, serves in (("openai", ("embeddings",)), ("anthropic", ("count_tokens",))):
        with pytest.raises(Untranslatable, match="/responses"):
            translation(CALLER, dialect, serves)
    with pytest.raises(Untranslatable):
        translation(OpenAI(), "openai", ("embeddings",))


def test_errors_keep_the_familys_form() -> None:
    body = b'{"error":{"message":"m"}}'
    assert CHAT.error(503, body) == (503, body)
    assert MESSAGES.error(529, b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}')[0] == 503
