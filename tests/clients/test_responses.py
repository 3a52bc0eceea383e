"""The official OpenAI client at /v1/responses: text, streams, schemas, tools, to providers of both formats."""

import json
from typing import Any

import openai

from tests.clients.asking import CALL, MOST, PARAMETERS, Ticket


def test_a_response_is_answered_whole_and_as_a_stream(openai_client: openai.OpenAI, model: str) -> None:
    whole = openai_client.responses.create(model=model, input="one two three", max_output_tokens=MOST)
    with openai_client.responses.stream(model=model, input="one two three", max_output_tokens=MOST) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    for response in (whole, streamed):
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (3, MOST)
        assert len(response.output_text.split()) == MOST
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert "response.output_text.delta" in kinds


def test_a_response_is_parsed(openai_client: openai.OpenAI, model: str) -> None:
    response = openai_client.responses.parse(model=model, input="one", text_format=Ticket, max_output_tokens=90)
    assert response.output_parsed == Ticket(title="text", urgency="low", hours=1, tags=["text"])


def test_a_response_calls_a_tool_and_takes_its_result(openai_client: openai.OpenAI, model: str) -> None:
    tool = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
    ask: dict[str, Any] = {"model": model, "tools": [tool], "max_output_tokens": MOST}
    with openai_client.responses.stream(input=CALL, **ask) as stream:
        calls = [item for item in stream.get_final_response().output if item.type == "function_call"]
    (call,) = calls
    assert json.loads(call.arguments) == {"city": "Bern", "days": 3}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    given = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    after = openai_client.responses.create(input=[*CALL, given, result], **ask)
    assert len(after.output_text.split()) == MOST
