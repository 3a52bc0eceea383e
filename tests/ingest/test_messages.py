"""Messages of a call in one form, from either wire format, whole and streamed."""

import json
from typing import Any

from llmobs.ingest.messages import request_messages, response_messages


def read(text: str | None) -> Any:
    assert text is not None
    return json.loads(text)


def text(content: str) -> dict[str, str]:
    return {"type": "text", "content": content}


def test_an_openai_request_with_tools() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
            {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "w", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ]
    }
    assert read(request_messages(json.dumps(body).encode())) == [
        {"role": "system", "parts": [text("be brief")]},
        {"role": "user", "parts": [text("weather?")]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "w", "arguments": "{}"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "sunny"}]},
    ]


def test_an_anthropic_request() -> None:
    body = {"system": "be brief", "messages": [{"role": "user", "content": "hi"}]}
    assert read(request_messages(json.dumps(body).encode())) == [
        {"role": "system", "parts": [text("be brief")]},
        {"role": "user", "parts": [text("hi")]},
    ]


def test_answers_of_both_formats() -> None:
    openai = {"choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
    anthropic = {"role": "assistant", "content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn"}
    assert read(response_messages(json.dumps(openai).encode())) == [
        {"role": "assistant", "parts": [text("yes")], "finish_reason": "stop"}
    ]
    assert read(response_messages(json.dumps(anthropic).encode()))[0]["parts"] == [text("yes")]


def tool_delta(call: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}


def test_an_openai_stream() -> None:
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "he"}}]},
        {"choices": [{"index": 0, "delta": {"content": "llo"}}]},
        tool_delta({"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}),
        tool_delta({"index": 0, "function": {"arguments": "}"}}),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]  # fmt: skip
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    [message] = read(response_messages(body.encode()))
    assert message["parts"] == [text("hello"), {"type": "tool_call", "id": "c", "name": "f", "arguments": "{}"}]
    assert message["finish_reason"] == "stop"


def test_an_anthropic_stream() -> None:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "he"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    [message] = read(response_messages(body.encode()))
    assert message == {"role": "assistant", "parts": [text("hello")], "finish_reason": "end_turn"}


def test_what_is_no_json_or_of_no_known_shape_is_kept_as_text() -> None:
    for body in (
        b"<html>bad gateway</html>",
        b"[1, 2]",
        b'{"choices": [{"message": 3}]}',
        b'data: {"choices": [3]}\n\n',
    ):
        [message] = read(response_messages(body))
        assert message["parts"][0]["content"] == body.decode()


def test_nothing_kept_is_nothing() -> None:
    assert request_messages(b"") is None
    assert response_messages(b"") is None
