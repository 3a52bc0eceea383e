"""Anthropic's format: usage in its normal form, stream and answer alike."""

import json

import pytest

from gateway.dialects.anthropic import Anthropic
from gateway.dialects.dialect import BadRequest
from llmobs.pricing.usage import Usage

DIALECT = Anthropic()
BODY = b'{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":%s}]}'
PLAIN = {"input_tokens": 10, "output_tokens": 4}
CASES = [
    (PLAIN, Usage(10, output=4)),
    ({**PLAIN, "cache_read_input_tokens": 90}, Usage(10, cache_read=90, output=4)),
    ({**PLAIN, "cache_creation_input_tokens": 50}, Usage(10, cache_write_5m=50, output=4)),
    (
        {
            **PLAIN,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        },
        Usage(10, cache_write_5m=20, cache_write_1h=30, output=4),
    ),
    ({**PLAIN, "cache_read_input_tokens": None, "cache_creation": None}, Usage(10, output=4)),
]


def event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


@pytest.mark.parametrize(("usage", "expected"), CASES)
def test_streams_and_answers_of_the_same_usage_are_counted_alike(usage: dict[str, object], expected: Usage) -> None:
    whole = DIALECT.answered(json.dumps({"type": "message", "id": "m", "usage": usage}).encode())
    start = event("message_start", message={"type": "message", "id": "m", "usage": {**usage, "output_tokens": 1}})
    delta = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
    streamed = DIALECT.streamed([start, delta, event("message_stop")])
    assert whole is not None
    assert (whole.usage, streamed.usage) == (expected, expected)
    assert (streamed.response_id, streamed.finish_reasons) == ("m", ("end_turn",))


def test_a_stream_without_its_end_has_no_usage_for_its_first_count_is_a_placeholder() -> None:
    start = event("message_start", message={"type": "message", "id": "m", "usage": {**PLAIN, "output_tokens": 1}})
    assert DIALECT.streamed([start]).usage is None


def test_a_text_that_names_the_last_event_is_not_the_end() -> None:
    text = event("content_block_delta", delta={"type": "text_delta", "text": "event: message_stop"})
    assert not DIALECT.is_last(text)
    assert DIALECT.is_last(text + event("message_stop"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'"hi"', ""),
        (b'[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]', "5m"),
        (b'[{"type":"text","text":"hi","cache_control":{"type":"ephemeral","ttl":"1h"}}]', "1h"),
    ],
)
def test_the_dearest_cache_marker_is_held_for(content: bytes, expected: str) -> None:
    assert DIALECT.read(BODY % content).cache_write == expected


def test_without_max_tokens_it_is_no_request() -> None:
    with pytest.raises(BadRequest, match="max_tokens"):
        DIALECT.read(b'{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"hi"}]}')


def test_what_was_shown_is_counted_by_its_bytes() -> None:
    deltas = event("content_block_delta", delta={"type": "text_delta", "text": "né"})
    deltas += event("content_block_delta", delta={"type": "thinking_delta", "thinking": "abc"})
    assert DIALECT.shown_bytes(deltas) == 3 + 3
