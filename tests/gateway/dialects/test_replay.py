"""A stream as one whole answer and back, fresh copies, static answers: the official SDKs read them."""

import json
from typing import Any

import openai
import pydantic
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseStreamEvent

from gateway.dialects.answer_to_responses import response
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.count_tokens import CountTokens
from gateway.dialects.dialect import BadRequest, Dialect
from gateway.dialects.embeddings import Embeddings
from gateway.dialects.openai import OpenAI
from gateway.dialects.replay import as_stream, as_whole, fresh, own_id, static_answer
from gateway.dialects.responses import Responses
from llmobs.pricing.usage import Usage
from tests.gateway.dialects.said import (
    CLAUDES_USAGE,
    HIDDEN,
    LAST,
    OPENAIS_USAGE,
    THOUGHT,
    USES,
    begun,
    block,
    call,
    chunk,
    completion,
    ended,
    event,
    message,
    read_by_anthropic,
    read_by_openai,
    text_block,
)

CHAT, MESSAGES, RESPONSES = OpenAI(), Anthropic(), Responses()
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
LONG = "Ünder the greenwood tree, who loves to lie with me, and turn his merry note. " * 3
CITED = {"type": "text", "text": LONG, "citations": [{"type": "char_location", "cited_text": "x"}]}
SEARCH = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
RESPONSES_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}
OUTPUT: list[dict[str, Any]] = [
    {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": LONG}]},
    {
        "id": "m_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": LONG, "annotations": []},
            {"type": "refusal", "refusal": "no more"},
        ],
    },
    {
        "id": "f_1",
        "type": "function_call",
        "call_id": "c",
        "name": "look",
        "arguments": '{"n":1}',
        "status": "completed",
    },
]
ANSWERED = json.dumps(response("resp_1", "gpt-4o", 1, OUTPUT, RESPONSES_USAGE)).encode()
INCOMPLETE = json.dumps(
    {**json.loads(ANSWERED), "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
).encode()
TWO_CHOICES = json.loads(completion({"content": LONG}))
TWO_CHOICES["choices"].append({"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "length"})


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (CHAT, completion({"content": LONG, "refusal": None, "annotations": []})),
        (CHAT, completion({"tool_calls": [call("c1", "look", '{"n":1}'), call("c2", "stop", "")]}, "tool_calls")),
        (CHAT, completion({"content": "yes", "reasoning_content": LONG, "thinking_blocks": [THOUGHT, HIDDEN]})),
        (CHAT, completion({"refusal": LONG}, "content_filter")),
        (CHAT, json.dumps(TWO_CHOICES).encode()),
        (MESSAGES, message({"type": "text", "text": LONG})),
        (MESSAGES, message(THOUGHT, HIDDEN, CITED, *USES, stop_reason="tool_use")),
        (MESSAGES, message(SEARCH, stop_reason="stop_sequence", stop_sequence="END")),
        (MESSAGES, message({"type": "text", "text": ""})),
        (RESPONSES, ANSWERED),
        (RESPONSES, INCOMPLETE),
    ],
)
def test_there_and_back_is_the_same(dialect: Dialect, body: bytes) -> None:
    """S4-30: one answer, both interfaces."""
    stream = as_stream(dialect, body, True)
    again = as_whole(dialect, stream)
    assert again is not None
    assert json.loads(again) == json.loads(body)
    streamed, answered = dialect.streamed([stream]), dialect.answered(body)
    assert streamed == answered


def test_a_stream_comes_in_several_deltas() -> None:
    stream = as_stream(CHAT, completion({"content": LONG}), False)
    assert stream.count(b'"content":') > 5
    assert b"usage" not in stream


def test_openais_sdk_reads_the_stream() -> None:
    body = completion({"content": LONG, "tool_calls": [call("c1", "look", '{"n":1}')]}, "tool_calls")
    found = read_by_openai(as_stream(CHAT, body, True))
    assert found.choices[0].message.content == LONG
    assert found.choices[0].message.tool_calls[0].function.arguments == '{"n":1}'
    assert found.usage.to_dict() == OPENAIS_USAGE


def test_anthropics_sdk_reads_the_stream() -> None:
    found = read_by_anthropic(as_stream(MESSAGES, message(THOUGHT, {"type": "text", "text": LONG}, *USES), True))
    assert [part.to_dict() for part in found.content] == [THOUGHT, {"type": "text", "text": LONG}, *USES]
    assert found.usage.to_dict() == CLAUDES_USAGE


def test_every_event_of_a_response_is_one_to_openais_types() -> None:
    lines = as_stream(RESPONSES, ANSWERED, True).decode().split("\n")
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    numbers = [EVENT.validate_json(line).sequence_number for line in data]
    assert numbers == list(range(len(data)))


# ---------------------------------------------------------------- what a provider streamed, as a whole


def test_what_openai_streamed_is_a_completion() -> None:
    first, second = call("c1", "look", "", index=0), {"index": 0, "function": {"arguments": "{}"}}
    said: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"content": "so"},
        {"tool_calls": [first]},
        {"tool_calls": [second]},
    ]
    body = as_whole(CHAT, b"".join(chunk(delta) for delta in said) + chunk({}, "tool_calls") + LAST)
    assert body is not None
    found = ChatCompletion.model_validate_json(body, strict=True)
    assert found.usage is not None
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("so", "tool_calls")
    assert found.choices[0].message.to_dict()["tool_calls"] == [call("c1", "look", "{}")]
    assert found.usage.to_dict() == OPENAIS_USAGE


def test_log_probabilities_grow_with_the_text() -> None:
    tokens: list[dict[str, Any]] = [
        {"token": token, "logprob": -1.0, "bytes": None, "top_logprobs": []} for token in "ab"
    ]
    parts = [
        {"index": 0, "delta": {"content": token["token"]}, "logprobs": {"content": [token]}, "finish_reason": None}
        for token in tokens
    ]
    chunks = [b"data: " + json.dumps({"id": "c", "choices": [part]}).encode() + b"\n\n" for part in parts]
    body = as_whole(CHAT, b"".join(chunks) + chunk({}, "stop") + LAST)
    assert body is not None
    assert json.loads(body)["choices"][0]["logprobs"] == {"content": tokens}


def test_what_anthropic_streamed_is_a_message() -> None:
    said = ({"type": "input_json_delta", "partial_json": part} for part in ("", '{"n"', ":1}"))
    uses = block(1, {**USES[0], "input": {}}, *said) + block(2, USES[1])
    body = as_whole(MESSAGES, begun() + text_block(0, "Hel", "lo") + uses + ended("tool_use"))
    assert body is not None
    assert json.loads(body) == json.loads(
        message({"type": "text", "text": "Hello"}, *USES, stop_reason="tool_use", usage=CLAUDES_USAGE)
    )


@pytest.mark.parametrize(
    ("dialect", "stream"),
    [
        (CHAT, chunk({"content": "a"}) + chunk({}, "stop")),
        (CHAT, chunk({"content": "a"}) + b'data: {"error":{"message":"m"}}\n\ndata: [DONE]\n\n'),
        (CHAT, b"data: [DONE]\n\n"),
        (MESSAGES, begun() + text_block(0, "a")),
        (MESSAGES, begun() + event("error", error={"type": "overloaded_error"}) + event("message_stop")),
        (MESSAGES, text_block(0, "a") + ended()),
        (RESPONSES, event("response.failed", response={"status": "failed"})),
        (Embeddings(), b"data: [DONE]\n\n"),
    ],
)
def test_what_is_not_complete_is_no_answer(dialect: Dialect, stream: bytes) -> None:
    assert as_whole(dialect, stream) is None


# ---------------------------------------------------------------- fresh and static answers


@pytest.mark.parametrize(
    ("dialect", "body"), [(CHAT, completion({"content": "a"})), (MESSAGES, message()), (RESPONSES, ANSWERED)]
)
def test_a_fresh_copy_has_its_own_id_and_costs_nothing(dialect: Dialect, body: bytes) -> None:
    found = dialect.answered(fresh(dialect, body, "new"))
    assert found is not None
    assert (found.response_id, found.usage) == ("new", Usage())
    assert json.loads(fresh(dialect, body, "new")).keys() == json.loads(body).keys()


def test_a_fresh_copy_of_an_embedding_has_no_id() -> None:
    body = b'{"object":"list","data":[{"embedding":[0.25]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}'
    assert json.loads(fresh(Embeddings(), body, "new")) == {
        **json.loads(body),
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


@pytest.mark.parametrize(("dialect", "kind"), [(CHAT, ChatCompletion), (MESSAGES, Message), (RESPONSES, Response)])
def test_a_static_answer_is_a_whole_one(dialect: Dialect, kind: type[pydantic.BaseModel]) -> None:
    body = static_answer(dialect, "Come back later.", "smart", "x-1")
    assert "Come back later." in kind.model_validate_json(body).model_dump_json()
    found = dialect.answered(body)
    assert found is not None
    assert (found.response_id, found.response_model, found.usage) == ("x-1", "smart", Usage())
    assert as_whole(dialect, as_stream(dialect, body, True)) is not None


def test_openais_sdk_reads_a_static_response() -> None:
    body = static_answer(RESPONSES, "Come back later.", "smart", "x-1")
    assert openai.types.responses.Response.model_validate_json(body).output_text == "Come back later."


def test_an_answer_of_our_own_has_an_id_as_its_format_spells_them() -> None:
    ids = [own_id(dialect, "12ab") for dialect in (CHAT, MESSAGES, RESPONSES, Embeddings())]
    assert ids == ["chatcmpl-12ab", "msg_12ab", "resp_12ab", ""]


@pytest.mark.parametrize("dialect", [Embeddings(), CountTokens()])
def test_what_has_no_words_has_no_static_answer(dialect: Dialect) -> None:
    with pytest.raises(BadRequest):
        static_answer(dialect, "text", "m", "x")
    with pytest.raises(BadRequest):
        as_stream(dialect, b"{}", False)
