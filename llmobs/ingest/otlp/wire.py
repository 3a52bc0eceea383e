"""An OTLP traces request, protobuf or JSON, as one stream of received spans. Loaded by the gateway: keep it light."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llmobs.ingest import compiled
from llmobs.ingest.otlp import json_form
from llmobs.ingest.references import reference

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ERROR_CODES = (2, "2", "STATUS_CODE_ERROR")

# (name, time in ns, attributes)
Event = tuple[str, int, dict[str, Any]]
# (trace id, span id, parent span id, start, end): ids as bytes, times in ns
Identity = tuple[bytes, bytes, bytes, int, int]

# None where it is not built. It answers None where it does not judge: protobuf's own library does.
_compiled = compiled.loaded()
# How what the compiled reader says of bytes ends, of which it tells only how many they are.
_OF_BYTES = " bytes)"

_json_decoder = msgspec.json.Decoder(json_form.TracesRequest)


class OtlpError(ValueError):
    """What was sent is no OTLP traces request; the message says why, without its contents."""


class UnknownContentType(OtlpError):
    """Neither protobuf nor JSON."""


@dataclass(slots=True)
class Received:
    """One span as the exporter sent it."""

    identity: Identity
    name: str
    attributes: dict[str, Any]
    events: Sequence[Event]
    is_error: bool
    status_message: str
    scope_name: str
    resource: dict[str, Any]
    scope_version: str = ""


def media_type(content_type: str) -> str:
    """`application/x-protobuf` or `application/json`, whatever parameters follow it."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/protobuf":
        return PROTOBUF
    if kind not in (PROTOBUF, JSON):
        raise UnknownContentType(f"content type {kind[:60]!r} is not {PROTOBUF} or {JSON}")
    return kind


def identities(body: bytes, content_type: str) -> Iterable[Identity]:
    """Ids and times of all spans. Raises OtlpError before the first one if the body does not parse."""
    if media_type(content_type) == JSON:
        return _json_identities(_parse_json(body))
    found: list[Identity] | None = None if _compiled is None else _compiled.identities(body)
    if found is not None:
        return found
    return _protobuf_identities(_parse_protobuf(body))


def received(body: bytes, content_type: str) -> Iterator[Received]:
    """All spans, in the order of the body. Raises OtlpError if the body does not parse."""
    if media_type(content_type) == JSON:
        return _json_spans(_parse_json(body))
    found = None if _compiled is None else _compiled.received(body)
    if found is not None and not any(map(has_bytes, found)):
        return (Received(*span) for span in found)
    return _protobuf_spans(_parse_protobuf(body))


def has_bytes(span: tuple[Any, ...]) -> bool:
    """Whether a span, as the compiled reader gives it, may have bytes among its values: the library reads it then."""
    _, _, attributes, events, _, _, _, resource, *_ = span
    return _are_bytes_in((attributes, events, resource))


def _are_bytes_in(values: Iterable[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind is str:
            if value[-len(_OF_BYTES) :] == _OF_BYTES:
                return True
        elif (kind is dict and _are_bytes_in(value.values())) or (kind in (list, tuple) and _are_bytes_in(value)):
            return True
    return False


def _parse_protobuf(body: bytes) -> Any:
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise OtlpError("the body is not a protobuf ExportTraceServiceRequest") from None


def _parse_json(body: bytes) -> json_form.TracesRequest:
    try:
        return _json_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # msgspec names the path and the type it met, never the value.
        raise OtlpError(f"the body is not an OTLP/JSON traces request: {error}") from None


def _protobuf_identities(request: Any) -> Iterator[Identity]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield (
                    span.trace_id,
                    span.span_id,
                    span.parent_span_id,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                )


def _protobuf_spans(request: Any) -> Iterator[Received]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope_name, scope_version = scope_spans.scope.name, scope_spans.scope.version
            for span in scope_spans.spans:
                status = span.status
                yield Received(
                    (
                        span.trace_id,
                        span.span_id,
                        span.parent_span_id,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                    ),
                    span.name,
                    _attributes(span.attributes),
                    [(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events],
                    status.code == 2,
                    status.message,
                    scope_name,
                    resource,
                    scope_version,
                )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    # Reading string_value first costs half of WhichOneof, and four in five attributes are strings.
    plain: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        plain[pair.key] = value.string_value or value.int_value or _other(value)
    return plain


def _other(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_one(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return reference(value.bytes_value)
    return None if kind is None else getattr(value, kind)


def _one(value: Any) -> Any:
    return value.string_value or value.int_value or _other(value)


def _json_identities(request: json_form.TracesRequest) -> Iterator[Identity]:
    for resource_spans in request.resource_spans or ():
        for scope_spans in resource_spans.scope_spans or ():
            for span in scope_spans.spans or ():
                yield _json_identity(span)


def _json_spans(request: json_form.TracesRequest) -> Iterator[Received]:
    for resource_spans in request.resource_spans or ():
        resource = {} if resource_spans.resource is None else _json_attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans or ():
            scope = scope_spans.scope or json_form.Scope()
            scope_name, scope_version = scope.name, scope.version or ""
            for span in scope_spans.spans or ():
                status = span.status or json_form.Status()
                yield Received(
                    _json_identity(span),
                    span.name,
                    _json_attributes(span.attributes),
                    [(e.name, _integer(e.time_unix_nano), _json_attributes(e.attributes)) for e in span.events or ()],
                    status.code in ERROR_CODES,
                    status.message,
                    scope_name,
                    resource,
                    scope_version,
                )


def _json_identity(span: json_form.SpanForm) -> Identity:
    return (
        _unhex(span.trace_id),
        _unhex(span.span_id),
        _unhex(span.parent_span_id or ""),
        _integer(span.start_time_unix_nano),
        _integer(span.end_time_unix_nano),
    )


def _json_attributes(pairs: list[json_form.KeyValue] | None) -> dict[str, Any]:
    try:
        return json_form.attributes(pairs)
    except ValueError:
        # One number that is none costs its neighbours nothing: each attribute by itself.
        return {pair.key: _json_value(pair) for pair in pairs or ()}


def _json_value(pair: json_form.KeyValue) -> Any:
    try:
        return None if pair.value is None else pair.value.plain()
    except ValueError:
        return None


def _unhex(text: str) -> bytes:
    """Bytes of a hex id; what is no hex becomes an id that no check lets pass."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b"?"


def _integer(value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        return 0
