"""Anthropic's request as a chat completion's: golden bodies, what is refused, and that the SDK's types take them."""

import json
from typing import Any

import pydantic
import pytest
from openai.types.chat import completion_create_params

from gateway.dialects.anthropic import Anthropic
from gateway.dialects.dialect import BadRequest
from gateway.dialects.translation import MessagesToChat

CALLER, BETWEEN = Anthropic(), MessagesToChat()
TYPED: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(completion_create_params.CompletionCreateParams)
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
TOOL = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1}}
CALL = {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"n":1}'}}
HI = {"role": "user", "content": "hi"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
PICTURE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}


def sent(*turns: object, model: str = "gpt-4o", **fields: object) -> Any:
    body = json.dumps({"model": "smart", "max_tokens": 50, "messages": turns or [HI], **fields}).encode()
    translated = json.loads(BETWEEN.request(body, model, CALLER.read(body), 8192))
    TYPED.validate_python(translated)
    return translated


def messages(*turns: object, **fields: Any) -> Any:
    return sent(*turns, **fields)["messages"]


# ---------------------------------------------------------------- system prompts and turns


def test_a_plain_question_is_a_plain_question() -> None:
    """S0-05: the same request, another provider, no change in the application."""
    assert sent(HI) == {"model": "gpt-4o", "max_tokens": 50, "messages": [HI]}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("be brief", "be brief"),
        ([{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}], "be brief"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\n\nb"),
    ],
)
def test_a_system_prompt_is_the_first_message(system: object, expected: str) -> None:
    """S0-16: OpenAI caches by itself, and would refuse a marker."""
    assert messages(HI, system=system) == [{"role": "system", "content": expected}, HI]


def test_a_system_turn_stays_in_its_place() -> None:
    turn = {"role": "system", "content": [{"type": "text", "text": "from now on in French"}]}
    assert messages(HI, turn)[1] == {"role": "system", "content": "from now on in French"}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (PICTURE, PICTURE_PART),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
            {"type": "image_url", "image_url": {"url": "https://x.test/i.png"}},
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
            {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "told"}},
            {"type": "text", "text": "told"},
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "told"}]}},
            {"type": "text", "text": "told"},
        ),
        (
            {"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "found"}]},
            {"type": "text", "text": "t\ns\nfound"},
        ),
    ],
)
def test_pictures_and_documents_become_parts(block: object, part: object) -> None:
    question = {"type": "text", "text": "what is it?"}
    assert messages({"role": "user", "content": [question, block]}) == [{"role": "user", "content": [question, part]}]


# ---------------------------------------------------------------- tools


def test_tool_uses_and_their_results_become_messages() -> None:
    found = messages(
        HI,
        {"role": "assistant", "content": [{"type": "text", "text": "let me see"}, USE, {**USE, "id": "toolu_2"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [{"type": "text", "text": "no such thing"}],
                    "is_error": True,
                },
                {"type": "text", "text": "and now?"},
            ],
        },
    )
    assert found == [
        HI,
        {"role": "assistant", "content": "let me see", "tool_calls": [CALL, {**CALL, "id": "toolu_2"}]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "one"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no such thing"},
        {"role": "user", "content": "and now?"},
    ]


def test_a_picture_in_a_result_follows_as_the_users() -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "seen"}, PICTURE]}
    found = messages(HI, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [result]})
    assert found[1] == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert found[2]["content"] == "seen"
    assert found[3]["content"][1] == PICTURE_PART


def test_tools_keep_their_names_descriptions_and_schemas() -> None:
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
    assert sent(HI, tools=[TOOL])["tools"] == [{"type": "function", "function": function}]
    strict = sent(HI, tools=[{**TOOL, "type": "custom", "strict": True}])["tools"]
    assert strict == [{"type": "function", "function": {**function, "strict": True}}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "look"}, {"tool_choice": {"type": "function", "function": {"name": "look"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_a_tool_choice_says_the_same(choice: object, expected: dict[str, object]) -> None:
    found = sent(HI, tools=[TOOL], tool_choice=choice)
    assert {name: found[name] for name in found if name in ("tool_choice", "parallel_tool_calls")} == expected


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0.2, "top_p": 0.9, "top_k": 5}, {"temperature": 0.2, "top_p": 0.9}),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"metadata": {"user_id": "u-1"}}, {"user": "u-1"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {}),  # gpt-4o does not think
        ({"cache_control": {"type": "ephemeral"}, "inference_geo": "eu", "made_up": 1}, {}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
    ],
)
def test_a_parameter_says_the_same_or_is_left_out(fields: dict[str, Any], expected: dict[str, object]) -> None:
    assert sent(HI, **fields) == {"model": "gpt-4o", "max_tokens": 50, "messages": [HI], **expected}


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "high"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}, "temperature": 0.5, "stop_sequences": ["x"]}, None),
    ],
)
def test_a_reasoning_model_gets_an_effort_and_no_sampling(fields: dict[str, Any], effort: str | None) -> None:
    found = sent(HI, model="gpt-5-mini", **fields)
    assert found.pop("reasoning_effort", None) == effort
    assert found == {"model": "gpt-5-mini", "max_completion_tokens": 50, "messages": [HI]}


def test_a_schema_that_strict_mode_would_refuse_is_sent_without_it() -> None:
    loose = {"type": "object", "properties": {"n": {"type": "integer"}}}
    found = sent(HI, output_config={"format": {"type": "json_schema", "schema": loose}})
    assert found["response_format"]["json_schema"]["strict"] is False


def test_thoughts_are_left_out() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "eHg="}
    turn = {"role": "assistant", "content": [thought, hidden, {"type": "text", "text": "yes"}]}
    assert messages(HI, turn, HI)[1] == {"role": "assistant", "content": "yes"}


@pytest.mark.parametrize(
    ("turn", "fields", "said"),
    [
        (HI, {"container": "c"}, "container"),
        (HI, {"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
        (HI, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, r"tools\[0\]"),
        (HI, {"stop_sequences": ["1", "2", "3", "4", "5"]}, "stop_sequences"),
        (HI, {"system": 5}, "system"),
        (HI, {"thinking": {"type": "enabled", "budget_tokens": "x"}}, "type"),
        ({"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}, {}, "file id"),
        ({"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}, {}, "document"),
        ({"role": "user", "content": [{"type": "made_up"}]}, {}, r"content\[0\]"),
        ({"role": "assistant", "content": [{"type": "server_tool_use"}]}, {}, "Anthropic only"),
        ({"role": "tool", "content": "x"}, {}, "role"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_its_name(turn: object, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        sent(turn, model="gemini-2.5", **fields)
