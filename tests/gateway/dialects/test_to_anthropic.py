"""A chat completion's request as Anthropic's: golden bodies, what is refused, and that the SDK's types take them."""

import json
from typing import Any

import pydantic
import pytest
from anthropic.types import message_create_params

from gateway.dialects.dialect import BadRequest
from gateway.dialects.openai import OpenAI
from gateway.dialects.to_anthropic import OUTPUT_TOOL
from gateway.dialects.translation import ChatToMessages

CALLER, BETWEEN = OpenAI(), ChatToMessages()
TYPED: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(message_create_params.MessageCreateParamsNonStreaming)
SONNET, OPUS, OLD = "claude-sonnet-4-5", "claude-opus-4-6", "claude-3-5-haiku-20241022"
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}},
    "required": ["n"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"n":1}'}}
USE = {"type": "tool_use", "id": "call_1", "name": "look", "input": {"n": 1}}
HI = {"role": "user", "content": "hi"}


def sent(*messages: object, model: str = SONNET, **fields: object) -> Any:
    body = json.dumps({"model": "smart", "messages": messages or [HI], **fields}).encode()
    translated = json.loads(BETWEEN.request(body, model, CALLER.read(body), 8192))
    if not {"temperature", "top_p", "top_k", "stream"} & translated.keys():  # older models only: the types know none
        TYPED.validate_python(translated)
    return translated


def turns(*messages: object) -> Any:
    return sent(*messages)["messages"]


# ---------------------------------------------------------------- system prompts and turns


def test_a_plain_question_is_a_plain_question() -> None:
    """S0-05, S0-06: the same request, another provider, no change in the application."""
    assert sent(HI) == {"model": SONNET, "max_tokens": 8192, "messages": [HI]}


@pytest.mark.parametrize(
    ("messages", "system"),
    [
        ([{"role": "system", "content": "be brief"}, HI], "be brief"),
        ([{"role": "developer", "content": "be brief"}, HI], "be brief"),
        ([{"role": "system", "content": [{"type": "text", "text": "be brief"}]}, HI], "be brief"),
        (
            [{"role": "system", "content": "a"}, HI, {"role": "developer", "content": "b"}],
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        ),
    ],
)
def test_system_and_developer_messages_are_the_system_prompt(messages: list[Any], system: object) -> None:
    found = sent(*messages)
    assert (found["system"], found["messages"]) == (system, [HI])


def test_a_system_message_alone_is_the_question() -> None:
    found = sent({"role": "system", "content": "say hi"})
    assert "system" not in found
    assert found["messages"] == [{"role": "user", "content": "say hi"}]


def test_what_stands_in_a_row_is_one_turn() -> None:
    assert turns(HI, {"role": "user", "content": "there"}, {"role": "assistant", "content": "yes"}) == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": "yes"},
    ]


def test_empty_texts_are_left_out() -> None:
    empty = {"role": "user", "content": [{"type": "text", "text": " "}]}
    assert turns(HI, {"role": "assistant", "content": ""}, empty) == [HI]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://x.test/i.png", "detail": "low"}},
            {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
                "title": "a.pdf",
            },
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        ),
    ],
)
def test_pictures_and_files_become_blocks(part: object, block: object) -> None:
    question = {"type": "text", "text": "what is it?"}
    assert turns({"role": "user", "content": [question, part]}) == [{"role": "user", "content": [question, block]}]


# ---------------------------------------------------------------- tools


def test_tool_calls_and_their_results_become_blocks() -> None:
    second = {**CALL, "id": "call:2"}
    found = turns(
        HI,
        {"role": "assistant", "content": "let me see", "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call:2", "content": [{"type": "text", "text": "two"}], "is_error": True},
        {"role": "user", "content": "and now?"},
    )
    assert found == [
        HI,
        {"role": "assistant", "content": [{"type": "text", "text": "let me see"}, USE, {**USE, "id": "call_2"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "content": [{"type": "text", "text": "two"}],
                    "is_error": True,
                },
                {"type": "text", "text": "and now?"},
            ],
        },
    ]


def test_a_picture_in_a_result_stays_in_it() -> None:
    result = {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}],
    }
    found = turns(HI, {"role": "assistant", "tool_calls": [CALL]}, result)
    assert found[2]["content"][0]["content"][0]["type"] == "image"


def test_tools_keep_their_names_descriptions_and_schemas() -> None:
    found = sent(HI, tools=[TOOL, {"type": "function", "function": {"name": "stop"}}])
    assert found["tools"] == [
        {"name": "look", "description": "Looks.", "input_schema": SCHEMA},
        {"name": "stop", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in found


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": {"type": "function", "function": {"name": "look"}}}, {"type": "tool", "name": "look"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_a_tool_choice_says_the_same(fields: dict[str, Any], choice: object) -> None:
    assert sent(HI, tools=[TOOL], **fields)["tool_choice"] == choice


def test_of_allowed_tools_only_those_are_sent() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]}
    found = sent(HI, tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["name"] for tool in found["tools"]] == ["look"]
    assert found["tool_choice"] == {"type": "any"}


def test_calls_of_the_past_are_described_where_the_request_brings_no_tools() -> None:
    found = sent(
        HI, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    )
    assert found["tools"] == [{"name": "look", "input_schema": {"type": "object", "properties": {}}}]
    assert found["tool_choice"] == {"type": "none"}


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (SONNET, {"temperature": 1.7}, {"temperature": 1}),
        (SONNET, {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2}),
        (OLD, {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2, "top_p": 0.9}),
        ("claude-opus-4-7", {"temperature": 0.2, "top_p": 0.9}, {}),
        ("a-local-model", {"temperature": 0.2, "top_k": 5}, {"temperature": 0.2, "top_k": 5}),
        (SONNET, {"stop": "END"}, {"stop_sequences": ["END"]}),
        (SONNET, {"stop": ["A", " ", "B"]}, {"stop_sequences": ["A", "B"]}),
        (SONNET, {"max_tokens": 9}, {"max_tokens": 9}),
        (SONNET, {"max_completion_tokens": 9}, {"max_tokens": 9}),
        (SONNET, {"max_tokens": 99_999}, {"max_tokens": 8192}),
        (SONNET, {"user": "u-1"}, {"metadata": {"user_id": "u-1"}}),
        (SONNET, {"metadata": {"user_id": "u-2", "feature": "f"}}, {"metadata": {"user_id": "u-2"}}),
        (SONNET, {"service_tier": "default"}, {"service_tier": "standard_only"}),
        (SONNET, {"stream": True}, {"stream": True}),
        (SONNET, {"seed": 7, "frequency_penalty": 1, "logit_bias": {}, "store": True, "verbosity": "low"}, {}),
        (SONNET, {"made_up": {"a": 1}}, {}),
    ],
)
def test_a_parameter_says_the_same_or_is_left_out(
    model: str, fields: dict[str, Any], expected: dict[str, object]
) -> None:
    assert sent(HI, model=model, **fields) == {"model": model, "max_tokens": 8192, "messages": [HI], **expected}


@pytest.mark.parametrize(
    ("message", "fields", "said"),
    [
        (HI, {"n": 2}, "n"),
        (HI, {"logprobs": True}, "logprobs"),
        (HI, {"modalities": ["text", "audio"]}, "audio"),
        (HI, {"web_search_options": {}}, "web_search_options"),
        (HI, {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, r"tools\[0\]"),
        (HI, {"response_format": {"type": "json_schema"}}, "schema"),
        (HI, {"temperature": "hot"}, "type"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, {}, r"content\[0\]"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, {}, "file_data"),
        ({"role": "user", "content": 5}, {}, r"messages\[0\].content"),
        ({"role": "function", "content": "x"}, {}, "role"),
        ({"role": "tool", "content": "x"}, {}, "tool_call_id"),
        ({"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]}, {}, "arguments"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_its_name(message: object, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        sent(message, **fields)


# ---------------------------------------------------------------- cache markers


def test_cache_markers_are_kept() -> None:
    """S0-16, S3-23: what an OpenAI client marks is cached at Anthropic."""
    marker = {"type": "ephemeral", "ttl": "1h"}
    found = sent(
        {"role": "system", "content": [{"type": "text", "text": "long", "cache_control": marker}]},
        {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one", "cache_control": marker},
        tools=[{**TOOL, "cache_control": marker}],
    )
    assert found["system"] == [{"type": "text", "text": "long", "cache_control": marker}]
    assert found["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert found["messages"][2]["content"][0]["cache_control"] == marker
    assert found["tools"][0]["cache_control"] == marker


def test_openais_own_cache_breakpoint_is_a_marker_too() -> None:
    """S3-23: the prefix up to it is cached, and held for as a cache write."""
    part = {"type": "text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit"}}
    message = {"role": "user", "content": [part]}
    assert turns(message)[0]["content"] == [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]
    assert CALLER.read(json.dumps({"model": "m", "messages": [message]}).encode()).cache_write == "5m"


def test_an_hours_marker_is_held_for_as_such() -> None:
    body = {"model": "m", "messages": [{**HI, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}
    assert CALLER.read(json.dumps(body).encode()).cache_write == "1h"


# ---------------------------------------------------------------- JSON answers


def json_schema(schema: object = SCHEMA) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}}


def test_a_json_schema_is_a_structured_output() -> None:
    """S0-06: `response_format` works whoever answers; what Anthropic's schemas lack becomes a hint."""
    number = {"type": "integer", "description": "{minimum: 1}"}
    assert sent(HI, response_format=json_schema())["output_config"] == {
        "format": {"type": "json_schema", "schema": {**SCHEMA, "properties": {"n": number}}}
    }


@pytest.mark.parametrize(
    ("model", "schema"),
    [(OLD, SCHEMA), (SONNET, {"type": "object", "properties": {"any": {"type": "object"}}})],
)
def test_where_structured_outputs_cannot_a_forced_tool_gives_the_json(model: str, schema: object) -> None:
    found = sent(HI, model=model, response_format=json_schema(schema), reasoning_effort="high")
    assert found["tool_choice"] == {"type": "tool", "name": OUTPUT_TOOL}
    assert found["tools"][0]["input_schema"] == schema
    assert "output_config" not in found
    assert "thinking" not in found


def test_beside_the_callers_tools_the_model_chooses_among_all() -> None:
    found = sent(HI, model=OLD, tools=[TOOL], response_format=json_schema())
    assert [tool["name"] for tool in found["tools"]] == ["look", OUTPUT_TOOL]
    assert found["tool_choice"] == {"type": "any"}


def test_a_json_object_is_asked_for_in_words() -> None:
    found = sent({"role": "system", "content": "be brief"}, HI, response_format={"type": "json_object"})
    assert [block["text"].split()[0] for block in found["system"]] == ["be", "Answer"]


# ---------------------------------------------------------------- thinking


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        (SONNET, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (SONNET, "high", {"thinking": {"type": "enabled", "budget_tokens": 4096}}),  # half of the ceiling at most
        (OPUS, "minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (OPUS, "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ("claude-opus-5", "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
        (OLD, "high", {}),
        (SONNET, "none", {}),
    ],
)
def test_an_effort_is_asked_for_as_the_model_knows_it(model: str, effort: str, expected: dict[str, object]) -> None:
    assert sent(HI, model=model, reasoning_effort=effort) == {
        "model": model,
        "max_tokens": 8192,
        "messages": [HI],
        **expected,
    }


def test_an_effort_and_a_schema_go_together() -> None:
    found = sent(HI, model=OPUS, reasoning_effort="low", response_format=json_schema())
    assert found["output_config"].keys() == {"effort", "format"}


def test_thinking_takes_no_temperature() -> None:
    assert "temperature" not in sent(HI, reasoning_effort="low", temperature=0.1)


def test_signed_thoughts_go_back_as_they_came() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "eHg="}
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    message = {"role": "assistant", "content": "yes", "thinking_blocks": [signed, hidden, unsigned]}
    assert turns(HI, {**message, "reasoning_content": "hm"})[1]["content"] == [
        signed,
        hidden,
        {"type": "text", "text": "yes"},
    ]


def test_calls_whose_thoughts_were_lost_are_gone_on_with_without_thinking() -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    past = [HI, {"role": "assistant", "tool_calls": [CALL]}, result]
    assert "thinking" not in sent(*past, tools=[TOOL], reasoning_effort="low")
    asked_anew = [*past, {"role": "assistant", "content": "one"}, HI]
    assert "thinking" in sent(*asked_anew, tools=[TOOL], reasoning_effort="low")
