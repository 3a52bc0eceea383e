"""The compiled reader against protobuf's own library: the same spans of the same bodies, or no opinion at all.

Where nothing compiles, the plain way is asked the same: a body is read as the library reads it, or refused.
"""

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from llmobs.guards import sieve
from llmobs.ingest import compiled
from llmobs.ingest.otlp import wire
from tests.bench.bodies import Bodies

if compiled.loaded() is None:
    compiled.build()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**32 - 1)
scalars = (
    texts.map(lambda value: AnyValue(string_value=value))
    | st.booleans().map(lambda value: AnyValue(bool_value=value))
    | st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value))
    | st.floats().map(lambda value: AnyValue(double_value=value))
    | st.binary(max_size=9).map(lambda value: AnyValue(bytes_value=value))
    | st.just(AnyValue())
)


def _list(items: list[AnyValue]) -> AnyValue:
    value = AnyValue()
    value.array_value.values.extend(items)
    return value


def _pairs(pairs: list[tuple[str, AnyValue]]) -> AnyValue:
    value = AnyValue()
    value.kvlist_value.values.extend(KeyValue(key=key, value=item) for key, item in pairs)
    return value


values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(_list) | st.lists(st.tuples(texts, inner), max_size=3).map(_pairs),
    max_leaves=8,
)
attributes = st.lists(st.tuples(texts, values), max_size=5)


def _add(target: Any, pairs: list[tuple[str, AnyValue]]) -> None:
    target.extend(KeyValue(key=key, value=value) for key, value in pairs)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        resource_spans = request.resource_spans.add(schema_url=draw(texts))
        _add(resource_spans.resource.attributes, draw(attributes))
        for _ in range(draw(st.integers(0, 2))):
            scope_spans = resource_spans.scope_spans.add(schema_url=draw(texts))
            scope_spans.scope.name, scope_spans.scope.version = draw(texts), draw(texts)
            for _ in range(draw(st.integers(0, 2))):
                _span(draw, scope_spans.spans.add())
    return bytes(request.SerializeToString())


def _span(draw: st.DrawFn, span: Any) -> None:
    span.trace_id, span.span_id = draw(st.binary(max_size=17)), draw(st.binary(max_size=9))
    span.parent_span_id, span.trace_state, span.name = draw(st.binary(max_size=9)), draw(texts), draw(texts)
    span.start_time_unix_nano, span.end_time_unix_nano = draw(times), draw(times)
    span.kind, span.flags = draw(st.integers(0, 5)), draw(counts)
    span.dropped_attributes_count = draw(counts)
    _add(span.attributes, draw(attributes))
    for _ in range(draw(st.integers(0, 2))):
        event = span.events.add(name=draw(texts), time_unix_nano=draw(times))
        _add(event.attributes, draw(attributes))
    for _ in range(draw(st.integers(0, 1))):
        link = span.links.add(trace_id=draw(st.binary(max_size=16)), trace_state=draw(texts))
        _add(link.attributes, draw(attributes))
    if draw(st.booleans()):
        span.status.code, span.status.message = draw(st.integers(0, 3)), draw(texts)


def _comparable(value: Any) -> Any:
    """NaN is what it is."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, dict):
        return [(key, _comparable(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return (type(value), value)


def _fields(span: wire.Received) -> Any:
    return _comparable([getattr(span, name) for name in span.__slots__])


def _by_library(body: bytes) -> list[Any] | None:
    try:
        return [_fields(span) for span in wire._protobuf_spans(wire._parse_protobuf(body))]
    except wire.OtlpError:
        return None


def _plainly(body: bytes) -> list[Any] | None:
    try:
        return [_fields(span) for span in wire.received(body, wire.PROTOBUF)]
    except wire.OtlpError:
        return None


def _agrees(body: bytes) -> bool:
    """Whether both say the same; whether the compiled one said anything."""
    reader, library = compiled.loaded(), _by_library(body)
    if reader is None:
        assert _plainly(body) == library
        return library is not None
    found, ids = reader.received(body), reader.identities(body)
    if found is not None:
        assert library == _plainly(body)  # as it says it, but where there are bytes
    if ids is not None:
        assert library is not None
        assert ids == list(wire._protobuf_identities(wire._parse_protobuf(body)))
    return found is not None


@given(bodies())
@settings(max_examples=150, deadline=None)
def test_it_reads_what_the_library_reads(body: bytes) -> None:
    assert _agrees(body)


@given(bodies(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_body_is_read_alike_or_not_at_all(body: bytes, data: st.DataObject) -> None:
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.sampled_from(("cut", "put", "change"))):
            case "cut":
                del damaged[at:]
            case "put":
                damaged[at:at] = data.draw(st.binary(max_size=4))
            case _ if at < len(damaged):
                damaged[at] = data.draw(st.integers(0, 255))
    _agrees(bytes(damaged))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_bytes_that_are_no_request_do_no_harm(body: bytes) -> None:
    _agrees(body)


def test_it_reads_a_body_of_the_benchmark() -> None:
    assert _agrees(Bodies().make(20))


def test_every_prefix_of_a_body_is_left_to_the_library_or_read_alike() -> None:
    body = Bodies().make(1)
    for end in range(len(body)):
        _agrees(body[:end])


def test_a_deep_nesting_is_left_to_the_library() -> None:
    value = AnyValue(string_value="x")
    for _ in range(40):
        value = _list([value])
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add().attributes.add(key="deep", value=value)
    assert _agrees(request.SerializeToString()) is (compiled.loaded() is None)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_both_paths_refuse_what_does_not_parse(monkeypatch: pytest.MonkeyPatch, is_compiled: bool) -> None:
    monkeypatch.setattr(wire, "_compiled", compiled.loaded() if is_compiled else None)
    with pytest.raises(wire.OtlpError):
        wire.received(b"\x0a\xff", wire.PROTOBUF)


words = st.sampled_from(["user", "assistant", "system", ""]) | st.text(
    st.sampled_from('ab "\\{}[],:\n\u00e9'), max_size=8
)


@given(st.lists(st.tuples(words, words), max_size=3), st.sampled_from(["", " "]), st.data())
@settings(max_examples=200, deadline=None)
def test_messages_are_taken_apart_alike(said: list[tuple[str, str]], blank: str, data: st.DataObject) -> None:
    form = '{{"role":{0}{1},{0}"parts":{0}[{{"type":"text","content":{0}{2}}}]}}'
    each = [form.format(blank, *(f'"{word}"' for word in one)) for one in said]
    text = f"[{blank}{f',{blank}'.join(each)}]{blank}"
    at = data.draw(st.integers(0, len(text)))
    for messages in (text, text[:at], text[:at] + data.draw(st.sampled_from(' "x[]{},')) + text[at:]):
        module = compiled.loaded()
        if module is not None and messages.isascii():
            assert module.plain_texts(messages) == sieve.plain_texts(messages)
