"""The collector's look at a request: what does not parse is said clearly, what cannot be is named, the rest passes."""

import json
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp.check import OtlpError, UnknownContentType, check
from llmobs.ingest.otlp.decode import decode
from tests.ingest.otlp.sent import KEY, NOW_NS, SECOND, body, protobuf, span

DAY = 86_400 * SECOND
PROTOBUF, JSON = "application/x-protobuf", "application/json"


@pytest.mark.parametrize(
    ("sent", "kind", "sentence"),
    [
        (b"\xff\xff\xff", PROTOBUF, "not a protobuf ExportTraceServiceRequest"),
        (b"hello, this is text", PROTOBUF, "not a protobuf"),
        (b"{", JSON, "not an OTLP/JSON traces request"),
        (b"[]", JSON, "not an OTLP/JSON traces request"),
        (b'{"resourceSpans": 3}', JSON, "resourceSpans"),
        (b"[" * 100_000, JSON, "not an OTLP/JSON traces request"),
    ],
)
def test_what_does_not_parse_is_refused_with_a_sentence(sent: bytes, kind: str, sentence: str) -> None:
    with pytest.raises(OtlpError, match=sentence):
        check(sent, kind, NOW_NS, 400)


def test_another_content_type_is_refused() -> None:
    with pytest.raises(UnknownContentType, match="text/plain"):
        check(b"", "text/plain", NOW_NS, 400)


def test_parameters_of_the_content_type_do_not_matter() -> None:
    assert check(body(span()), "application/json; charset=utf-8", NOW_NS, 400).span_count == 1


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_an_empty_request_is_answered_in_its_own_form(kind: str) -> None:
    checked = check(b"" if kind == PROTOBUF else b"{}", kind, NOW_NS, 400)
    assert (checked.span_count, checked.rejected_spans, checked.content_type) == (0, 0, kind)
    assert checked.response == (b"" if kind == PROTOBUF else b"{}")


WRONG = [
    ({"traceId": "0" * 32}, "trace id"),
    ({"traceId": "0af7"}, "trace id"),
    ({"traceId": "not hex at all"}, "trace id"),
    ({"spanId": "0" * 16}, "span id"),
    ({"spanId": "b7ad6b71692033"}, "span id"),
    ({"parentSpanId": "b7ad"}, "parent span id"),
    ({"startTimeUnixNano": "0"}, "start or end is missing"),
    ({"endTimeUnixNano": 0}, "start or end is missing"),
    ({"startTimeUnixNano": NOW_NS - 401 * DAY}, "before the retention period"),
    ({"startTimeUnixNano": NOW_NS + 2 * DAY, "endTimeUnixNano": NOW_NS + 2 * DAY}, "more than a day in the future"),
    ({"endTimeUnixNano": str(2**64 - 1)}, "more than a day in the future"),
    ({"endTimeUnixNano": NOW_NS - 3 * SECOND}, "ends before it starts"),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG)
def test_a_span_that_cannot_be_is_named_and_left_out(fields: dict[str, Any], reason: str) -> None:
    sent = body(span(), span(**fields))
    checked = check(sent, JSON, NOW_NS, 400)
    answer = json.loads(checked.response)["partialSuccess"]
    assert (checked.accepted_spans, answer["rejectedSpans"]) == (1, "1")
    assert reason in answer["errorMessage"]
    assert len(decode(OtlpBody(1, 7, NOW_NS, JSON, sent), KEY)) == 1


def test_the_protobuf_answer_counts_and_names_them_too() -> None:
    checked = check(protobuf(3, start_time_unix_nano=0), PROTOBUF, NOW_NS, 400)
    answer = ExportTraceServiceResponse.FromString(checked.response).partial_success
    assert answer.rejected_spans == 3
    assert answer.error_message == "3 of 3 spans rejected: 3 start or end is missing"


def test_the_tenants_retention_decides_what_is_too_old() -> None:
    sent = body(span(startTimeUnixNano=NOW_NS - 10 * DAY, endTimeUnixNano=NOW_NS - 10 * DAY))
    assert check(sent, JSON, NOW_NS, 30).rejected_spans == 0
    assert check(sent, JSON, NOW_NS, 7).rejected_spans == 1
    assert decode(OtlpBody(1, 7, NOW_NS, JSON, sent), KEY, retention_days=7) == []


def test_the_gateway_can_load_it_without_django_or_adapters() -> None:
    script = (
        "import sys, llmobs.ingest.otlp.check as c; "
        "print([m for m in sys.modules if m.startswith(('django', 'psycopg', 'llmobs.ingest.otlp.genai', 'numpy'))])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
