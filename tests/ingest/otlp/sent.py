"""Hand-made requests: spans as OTLP/JSON and as protobuf, and what is decoded of them."""

import json
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp.decode import decode
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

NOW_NS = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
KEY = Attribution(service="from-key", environment="from-key", feature="from-key", key_id=7)


def value(plain: Any) -> dict[str, Any]:
    if isinstance(plain, bool):
        return {"boolValue": plain}
    if isinstance(plain, int):
        return {"intValue": str(plain)}
    if isinstance(plain, float):
        return {"doubleValue": plain}
    if isinstance(plain, list):
        return {"arrayValue": {"values": [value(item) for item in plain]}}
    return {"stringValue": plain}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value(plain)} for name, plain in attributes.items()]


def span(attributes: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "call",
        "startTimeUnixNano": str(NOW_NS - 2 * SECOND),
        "endTimeUnixNano": str(NOW_NS - SECOND),
        "attributes": pairs(attributes or {}),
        **fields,
    }


def body(*spans: dict[str, Any], scope: str = "", resource: dict[str, Any] | None = None) -> bytes:
    scoped = {"scope": {"name": scope}, "spans": list(spans)}
    return json.dumps(
        {"resourceSpans": [{"resource": {"attributes": pairs(resource or {})}, "scopeSpans": [scoped]}]}
    ).encode()


def protobuf(count: int = 1, **fields: Any) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(count):
        made = spans.add(
            trace_id=bytes(15) + b"\x01",
            span_id=(number + 1).to_bytes(8),
            name="call",
            start_time_unix_nano=NOW_NS - 2 * SECOND,
            end_time_unix_nano=NOW_NS - SECOND,
        )
        for name, plain in fields.items():
            setattr(made, name, plain)
    return bytes(request.SerializeToString())


def decoded(sent: dict[str, Any], scope: str = "", resource: dict[str, Any] | None = None) -> Span:
    """One span through the door, as JSON."""
    (found,) = decode(OtlpBody(1, 7, NOW_NS, "application/json", body(sent, scope=scope, resource=resource)), KEY)
    return found


def read(attributes: dict[str, Any], scope: str = "", **fields: Any) -> Span:
    return decoded(span(attributes, **fields), scope)
