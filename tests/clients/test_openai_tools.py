"""The official OpenAI client and its tools: calls, results, pieces, several at once, to providers of both formats."""

import json
from typing import Any

import openai
import pytest

from tests.clients.asking import CALL, FUNCTION, HELLO, MOST, TWO_CALLS
from tests.gateway.running import Gateway


def test_a_call_and_its_result_go_round(openai_client: openai.OpenAI, gateway: Gateway, model: str) -> None:
    ask: dict[str, Any] = {"model": model, "tools": [FUNCTION], "max_tokens": MOST}
    first = openai_client.chat.completions.create(messages=CALL, **ask).choices[0]
    (call,) = first.message.tool_calls
    assert (first.finish_reason, call.function.name) == ("tool_calls", "weather")
    assert json.loads(call.function.arguments) == {"city": "Bern", "days": 3}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sun"}
    second = openai_client.chat.completions.create(messages=[*CALL, first.message, result], **ask).choices[0]
    assert (second.finish_reason, len((second.message.content or "").split())) == ("stop", MOST)
    assert len(gateway.ends()) == 2


def test_a_streamed_call_comes_in_pieces(openai_client: openai.OpenAI, model: str) -> None:
    pieces = 0
    with openai_client.chat.completions.stream(model=model, messages=CALL, tools=[FUNCTION], max_tokens=MOST) as stream:
        for event in stream:
            pieces += event.type == "tool_calls.function.arguments.delta"
        choice: Any = stream.get_final_completion().choices[0]
    assert pieces > 1
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Bern", "days": 3}


def test_parallel_calls_and_their_results(openai_client: openai.OpenAI, model: str) -> None:
    ask: dict[str, Any] = {"model": model, "tools": [FUNCTION], "max_tokens": MOST}
    with openai_client.chat.completions.stream(messages=TWO_CALLS, **ask) as stream:
        message: Any = stream.get_final_completion().choices[0].message
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in message.tool_calls]
    after = openai_client.chat.completions.create(messages=[*TWO_CALLS, message, *results], **ask)
    assert cities == ["Bern", "Basel"]
    assert len({call.id for call in message.tool_calls}) == 2
    assert after.choices[0].message.content


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str)
def test_a_tool_is_forced(openai_client: openai.OpenAI, model: str, choice: Any) -> None:
    answer = openai_client.chat.completions.create(
        model=model, messages=HELLO, tools=[FUNCTION], tool_choice=choice, max_tokens=MOST
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city", "days"}


def test_no_tool_is_called_where_none_may_be(openai_client: openai.OpenAI, model: str) -> None:
    answer = openai_client.chat.completions.create(
        model=model, messages=CALL, tools=[FUNCTION], tool_choice="none", max_tokens=MOST
    )
    assert answer.choices[0].message.tool_calls is None


def test_one_call_where_parallel_ones_are_off(openai_client: openai.OpenAI, model: str) -> None:
    answer = openai_client.chat.completions.create(
        model=model, messages=TWO_CALLS, tools=[FUNCTION], parallel_tool_calls=False, max_tokens=MOST
    )
    assert len(answer.choices[0].message.tool_calls or []) == 1
