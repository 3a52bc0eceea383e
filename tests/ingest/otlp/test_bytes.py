"""Values that are bytes: the same reference to them, with size and fingerprint, whichever reader meets them."""

from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from llmobs.ingest import compiled
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import alike, wire
from llmobs.ingest.otlp.decode import decode
from llmobs.ingest.otlp.json_form import AnyValue as JsonValue
from tests.ingest.otlp import sent
from tests.ingest.otlp.test_alike import request

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PLAIN = b"\x00\x01\xfe"
PAIRS = [(PNG, "image/png"), (PLAIN, "application/octet-stream"), (b"", "application/octet-stream")]

if compiled.loaded() is None:
    compiled.build()


def reference(body: bytes, media_type: str) -> str:
    return f"media:{media_type};bytes={len(body)};sha256={sha256(body).hexdigest()}"


def made(body: bytes) -> ExportTraceServiceRequest:
    """Bytes as an attribute, within a list and an object of it, and in an event."""
    message = request({"app.name": "x", " ": {"event": "found"}})
    (span,) = message.resource_spans[0].scope_spans[0].spans
    span.attributes.add(key="app.bytes").value.bytes_value = body
    span.attributes.add(key="app.list").value.array_value.values.extend(
        [AnyValue(string_value="x"), AnyValue(bytes_value=body)]
    )
    span.attributes.add(key="app.object").value.kvlist_value.values.add(key="a").value.bytes_value = body
    span.events[0].attributes.add(key="app.bytes").value.bytes_value = body
    return message


def attributes(body: bytes, content_type: str) -> dict[str, Any]:
    (span,) = decode(OtlpBody(1, 7, sent.NOW_NS, content_type, body), sent.KEY)
    return span.attributes


def assert_referred(found: dict[str, Any], expected: str) -> None:
    assert found["app.bytes"] == expected
    assert found["app.list"] == ["x", expected]
    assert found["app.object"] == {"a": expected}
    assert found["events"][0]["app.bytes"] == expected
    assert found["app.name"] == "x"


@pytest.mark.parametrize(("body", "media_type"), PAIRS)
@pytest.mark.parametrize("is_compiled", [True, False])
def test_bytes_in_protobuf_are_their_reference(
    monkeypatch: pytest.MonkeyPatch, is_compiled: bool, body: bytes, media_type: str
) -> None:
    reader = compiled.loaded() if is_compiled else None
    monkeypatch.setattr(wire, "_compiled", reader)
    monkeypatch.setattr(alike, "_compiled", reader)
    for _ in range(3):  # the first of its kind, and those that are like it
        found = attributes(bytes(made(body).SerializeToString()), wire.PROTOBUF)
        assert_referred(found, reference(body, media_type))


@pytest.mark.parametrize(("body", "media_type"), PAIRS)
def test_bytes_in_json_are_the_same_reference(body: bytes, media_type: str) -> None:
    message = made(body)
    (span,) = message.resource_spans[0].scope_spans[0].spans
    trace_id, span_id = span.trace_id, span.span_id
    text = MessageToJson(message)  # which has ids in base64, where OTLP has them in hex
    for of_id in (trace_id, span_id):
        text = text.replace(b64encode(of_id).decode(), of_id.hex())
    assert_referred(attributes(text.encode(), wire.JSON), reference(body, media_type))


def test_bytes_in_json_are_read_in_either_alphabet_with_or_without_padding() -> None:
    body = bytes(range(250, 256)) + b"\xff"
    for text in (b64encode(body), urlsafe_b64encode(body), b64encode(body).rstrip(b"=")):
        assert JsonValue(bytes_value=text.decode()).plain() == reference(body, "application/octet-stream")


def test_a_text_that_says_what_the_compiled_reader_says_of_bytes_stays() -> None:
    message = request({"app.text": "(3 bytes)", "app.list": ["12 bytes)"]})
    found = attributes(bytes(message.SerializeToString()), wire.PROTOBUF)
    assert (found["app.text"], found["app.list"]) == ("(3 bytes)", ["12 bytes)"])
