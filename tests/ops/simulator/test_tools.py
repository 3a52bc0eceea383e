"""Tools, schemas, reasoning: what the simulator answers when more than words is asked for."""

import json
from typing import Any, Literal

import anthropic
import jsonschema  # type: ignore[import-untyped]
import openai
import pydantic
import pytest

from llmobs.ops.simulator.instance import instance
from llmobs.ops.simulator.running import Running

MODEL, CLAUDE = "gpt-4o-mini", "claude-sonnet-4-5"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
    "required": ["city"],
}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
OTHER: Any = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
TOOL: Any = {"name": "weather", "input_schema": PARAMETERS}


def user(text: str) -> Any:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_forced_tool_is_called_with_valid_arguments(openai_client: openai.OpenAI, choice: Any) -> None:
    answer = openai_client.chat.completions.create(
        model=MODEL, messages=[user("hi")], tools=[FUNCTION], tool_choice=choice
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "text", "days": 2}
    assert (answer.choices[0].finish_reason, answer.choices[0].message.content) == ("tool_calls", None)


def test_tools_that_nothing_forces_are_not_called(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model=MODEL, messages=[user("hi")], tools=[FUNCTION])
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


def test_scripted_calls_are_parallel_unless_told_otherwise(openai_client: openai.OpenAI) -> None:
    ask = [user('please [[call weather {"city": "Bern", "days": [[1]]}]] and [[call clock]]')]
    answer = openai_client.chat.completions.create(model=MODEL, messages=ask, tools=[FUNCTION, OTHER])
    calls: Any = answer.choices[0].message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("weather", {"city": "Bern", "days": [[1]]}),
        ("clock", {}),
    ]
    one = openai_client.chat.completions.create(
        model=MODEL, messages=ask, tools=[FUNCTION, OTHER], parallel_tool_calls=False
    )
    assert len(one.choices[0].message.tool_calls or []) == 1


@pytest.mark.parametrize("text", ["[[call moon]]", "[[call weather {]]", "[[call weather 3]]", "[[call weather"])
def test_a_call_scripted_wrongly_is_refused(openai_client: openai.OpenAI, text: str) -> None:
    with pytest.raises(openai.BadRequestError):
        openai_client.chat.completions.create(model=MODEL, messages=[user(text)], tools=[FUNCTION])


def test_after_a_tools_result_it_answers_text(
    openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    ask = user('[[call weather {"city": "Bern"}]]')
    first = openai_client.chat.completions.create(model=MODEL, messages=[ask], tools=[FUNCTION])
    message: Any = first.choices[0].message
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sun"}
    second = openai_client.chat.completions.create(model=MODEL, messages=[ask, message, result], tools=[FUNCTION])
    assert second.choices[0].message.content

    used = anthropic_client.messages.create(model=CLAUDE, max_tokens=50, messages=[ask], tools=[TOOL])
    block: Any = {"type": "tool_result", "tool_use_id": used.content[0].id, "content": "sun"}  # type: ignore[union-attr]
    history: list[Any] = [
        ask,
        {"role": "assistant", "content": used.content},
        {"role": "user", "content": [block]},
    ]
    after = anthropic_client.messages.create(model=CLAUDE, max_tokens=50, messages=history, tools=[TOOL])
    assert (used.stop_reason, after.stop_reason, after.content[0].type) == ("tool_use", "end_turn", "text")


def test_streamed_calls_come_in_pieces(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    ask = [user('[[call weather {"city": "Bern", "days": 3}]] [[call weather {"city": "Basel"}]]')]
    pieces = 0
    with openai_client.chat.completions.stream(model=MODEL, messages=ask, tools=[FUNCTION]) as stream:
        for event in stream:
            pieces += event.type == "tool_calls.function.arguments.delta"
        calls: Any = stream.get_final_completion().choices[0].message.tool_calls
    cities = [json.loads(call.function.arguments)["city"] for call in calls]
    with anthropic_client.messages.stream(model=CLAUDE, max_tokens=90, messages=ask, tools=[TOOL]) as events:
        blocks: Any = events.get_final_message().content
    assert pieces >= 8
    assert cities == [block.input["city"] for block in blocks] == ["Bern", "Basel"]


class Leaf(pydantic.BaseModel):
    colour: Literal["green", "red"]
    sizes: list[float]


class Tree(pydantic.BaseModel):
    name: str
    height: int = pydantic.Field(ge=3, le=9)
    is_old: bool
    leaf: Leaf
    parent: "Tree | None"


def test_a_schema_is_honoured(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    parsed = openai_client.chat.completions.parse(model=MODEL, messages=[user("grow")], response_format=Tree)
    tree = parsed.choices[0].message.parsed
    assert tree is not None
    assert (tree.leaf.colour, tree.height) == ("green", 3)
    message = anthropic_client.messages.parse(
        model=CLAUDE, max_tokens=4000, messages=[user("grow")], output_format=Leaf
    )
    assert message.parsed_output == Leaf(colour="green", sizes=[1.0])


def test_an_answer_cut_short_of_its_schema_says_so(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        openai_client.chat.completions.parse(
            model=MODEL, messages=[user("grow")], response_format=Tree, max_completion_tokens=3
        )


SCHEMAS: list[dict[str, Any]] = [
    {"type": ["null", "string"], "minLength": 9, "maxLength": 9},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "integer", "minimum": 11, "multipleOf": 5},
    {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 3},
    {"allOf": [{"type": "object", "properties": {"a": {"const": 4}}, "required": ["a"]}, {"required": ["a"]}]},
    {"oneOf": [{"enum": ["x"]}, {"type": "null"}]},
    Tree.model_json_schema(),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_an_instance_is_valid(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(instance(schema))


def test_reasoning_is_within_the_limit_and_is_told(
    simulator: Running, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-5-mini", messages=[user("think")], reasoning_effort="medium", max_completion_tokens=100
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert (answer.usage.completion_tokens, answer.usage.completion_tokens_details.reasoning_tokens) == (100, 32)
    assert len((answer.choices[0].message.content or "").split()) == 68
    assert simulator.bill.as_dict()["output_tokens"] == 100

    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    whole = anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=[user("think")], thinking=thinking)
    with anthropic_client.messages.stream(
        model=CLAUDE, max_tokens=2000, messages=[user("think")], thinking=thinking
    ) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        thought: Any = message.content[0]
        assert (thought.type, message.content[1].type) == ("thinking", "text")
        assert len(thought.thinking.split()) == 128
        assert thought.signature
        assert message.usage.output_tokens == 2000
    assert simulator.bill.as_dict()["output_tokens"] == 100 + 2000 + 2000


def test_stop_sequences_end_the_text(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    answer = openai_client.chat.completions.create(model=MODEL, messages=[user("hi")], stop=[" "])
    message = anthropic_client.messages.create(
        model=CLAUDE, max_tokens=9, messages=[user("hi")], stop_sequences=["never there", " "]
    )
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (1, "stop")
    assert (message.usage.output_tokens, message.stop_reason, message.stop_sequence) == (1, "stop_sequence", " ")


def test_pictures_are_counted(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    url = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    content: Any = [{"type": "text", "text": "what is"}, url, url]
    answer = openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    block: Any = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    message = anthropic_client.messages.create(
        model=CLAUDE, max_tokens=3, messages=[{"role": "user", "content": [block]}]
    )
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, message.usage.input_tokens) == (2 + 2 * 85, 85)
