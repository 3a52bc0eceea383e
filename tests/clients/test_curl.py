"""curl in both formats: whole answers, streams as they come, errors."""

import json
from typing import Any

import pytest

from tests.clients import apart
from tests.gateway.running import Gateway

FORMATS = ["/v1/chat/completions", "/v1/messages"]


def asked(gateway: Gateway, path: str, key: str, body: dict[str, Any], *options: str) -> str:
    """As a person would type it, by the header that the format's documents name."""
    header = f"authorization: Bearer {key}" if path == FORMATS[0] else f"x-api-key: {key}"
    sends = ["-H", header, "-H", "content-type: application/json", "-d", json.dumps(body)]
    return apart.curl(*options, f"{gateway.url}{path}", *sends)


def body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "one two"}]} | more


@pytest.mark.parametrize("path", FORMATS)
def test_a_whole_answer(gateway: Gateway, secret: str, path: str, model: str) -> None:
    """S4-30: over plain HTTP, whole."""
    answer = json.loads(asked(gateway, path, secret, body(model)))
    text = answer["choices"][0]["message"]["content"] if path == FORMATS[0] else answer["content"][0]["text"]
    assert len(text.split()) == 20


@pytest.mark.parametrize("path", FORMATS)
def test_a_stream_unbuffered(gateway: Gateway, secret: str, path: str, model: str) -> None:
    """S2-43: over plain HTTP, in pieces."""
    text = asked(gateway, path, secret, body(model, stream=True), "-N")
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    if path == FORMATS[0]:
        assert events.pop() == "[DONE]"
        deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
        pieces = [delta.get("content") or "" for delta in deltas]
    else:
        assert json.loads(events[-1])["type"] == "message_stop"
        pieces = [json.loads(event).get("delta", {}).get("text", "") for event in events]
    assert len("".join(pieces).split()) == 20


@pytest.mark.parametrize("path", FORMATS)
def test_a_wrong_key(gateway: Gateway, path: str, model: str) -> None:
    told = asked(gateway, path, "llmobs-wrong", body(model), "-i")
    head, _, text = told.replace("\r", "").partition("\n\n")
    assert "401" in head.splitlines()[0]
    assert "x-llmobs-reason: invalid_key" in head.splitlines()
    error = json.loads(text)["error"]
    assert (error["code"] if path == FORMATS[0] else error["type"]) in ("invalid_api_key", "authentication_error")
