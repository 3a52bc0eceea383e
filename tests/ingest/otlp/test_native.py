"""Spans posted to the REST API: each for itself, wrong ones named by position."""

import json
from typing import Any

import pytest

from llmobs.ingest.entries import NativeSpans
from llmobs.ingest.otlp.native import NativeError, check, decode
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from tests.ingest.otlp.sent import KEY, NOW_NS


def item(**fields: Any) -> dict[str, Any]:
    return {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "name": "chat",
        "start": "2027-01-15T08:00:00Z",
        "duration_ms": 1500,
        **fields,
    }


def decoded(*items: dict[str, Any]) -> list[Span]:
    return decode(NativeSpans(1, 7, NOW_NS, json.dumps(items).encode()), KEY)


def test_a_call_is_taken_whole() -> None:
    (span,) = decoded(
        item(
            request_model="gpt-4o-mini",
            input_tokens=21,
            output_tokens=11,
            cache_read_input_tokens=4,
            input="hello",
            output=[{"role": "assistant", "content": "Hi."}],
            feature="search",
            user_id="ada",
            attributes={"plan": "pro"},
        )
    )
    assert (span.is_call, span.operation_name, span.provider_name) == (True, "chat", "openai")
    assert span.usage == Usage(uncached_input=17, cache_read=4, output=11)
    assert (span.duration_ns, span.attribution.feature, span.attribution.service) == (
        1_500_000_000,
        "search",
        "from-key",
    )
    assert json.loads(span.input or "") == [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
    assert span.attributes == {"plan": "pro"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"trace_id": "xyz"}, "trace_id is not hex"),
        ({"span_id": "00"}, "span id"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2027-01-15T08:00:00"}, "time zone"),
        ({"start": "2020-01-15T08:00:00Z"}, "retention"),
        ({"duration_ms": None}, "end or duration_ms is missing"),
        ({"duration_ms": -1}, "duration_ms"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"input_tokens": 1, "cache_read_input_tokens": 2}, "includes cached tokens"),
        ({"status": "sideways"}, "status is none of"),
        ({"name": 3}, "name"),
    ],
)
def test_a_wrong_item_is_named_and_the_others_are_taken(fields: dict[str, Any], sentence: str) -> None:
    body = json.dumps([item(), item(**fields)]).encode()
    checked = check(body, NOW_NS)
    assert (checked.span_count, checked.accepted_spans) == (2, 1)
    assert checked.errors[0].position == 1
    assert sentence in checked.errors[0].message
    assert len(decode(NativeSpans(1, 7, NOW_NS, body), KEY)) == 1


@pytest.mark.parametrize("body", [b"", b"3", b"{", b'{"spans": 3}', b"not json"])
def test_a_body_that_is_no_list_of_spans_is_refused(body: bytes) -> None:
    with pytest.raises(NativeError):
        check(body, NOW_NS)


def test_one_span_and_a_wrapped_list_are_taken_too() -> None:
    assert check(json.dumps(item()).encode(), NOW_NS).accepted_spans == 1
    assert check(json.dumps({"spans": [item()]}).encode(), NOW_NS).accepted_spans == 1


def test_an_error_is_a_failed_span() -> None:
    (span,) = decoded(item(error_type="openai.RateLimitError"))
    assert (span.status, span.error_type, span.is_call) == ("failed", "rate_limit_error", False)
