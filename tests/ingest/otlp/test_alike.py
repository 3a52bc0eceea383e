"""Spans made of others that are like them: whatever came before, they are what reading them in full makes of them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from llmobs.core.clock import now_ns
from llmobs.ingest import compiled
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import alike, decode
from llmobs.ingest.otlp.alike import Kinds
from llmobs.ingest.otlp.wire import PROTOBUF, OtlpError
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from tests.bench.bodies import Bodies
from tests.ingest.otlp import sent
from tests.ingest.otlp.test_usual import NAMES, USUAL, VALUES

MESSAGES = [
    '[{"role": "user", "parts": [{"type": "text", "content": "héllo"}]}]', '[{"role":"user","content":"hi"}]', "[]",
    '[{"role":"user","parts":[{"type":"text","content":"a\\nb"}]}]', '[{"role":"user","parts":[{"type":"text",', "hi",
    '[{"role":"user","parts":[{"type":"text","content":"tab\there"}]}]',
]  # fmt: skip
TEXTS = ["", "chat", "invoke_agent", "execute_tool", "gpt-4.1", "openai/gpt-4.1", "anthropic", "nul\0", "é" * 150]
IDS = [b"", bytes(8), b"12345678", b"1234567"]


def value_of(plain: Any) -> AnyValue:
    value = AnyValue()
    if isinstance(plain, bool):
        value.bool_value = plain
    elif isinstance(plain, int):
        value.int_value = plain
    elif isinstance(plain, float):
        value.double_value = plain
    elif isinstance(plain, list):
        value.array_value.values.extend(map(value_of, plain))
    elif plain is not None:
        value.string_value = plain
    return value


def request(
    *spans: dict[str, Any], scope: str = "", resource: dict[str, Any] | None = None
) -> ExportTraceServiceRequest:
    """Of each span its attributes, and among them under a blank what else it is."""
    made = ExportTraceServiceRequest()
    resource_spans = made.resource_spans.add()
    for name, plain in (resource or {}).items():
        resource_spans.resource.attributes.add(key=name, value=value_of(plain))
    scoped = resource_spans.scope_spans.add()
    scoped.scope.name = scope
    for number, attributes in enumerate(spans):
        given = dict(attributes)
        fields = {
            "trace_id": bytes(15) + b"\x01",
            "span_id": (number + 1).to_bytes(8),
            "name": "call",
            "start_time_unix_nano": sent.NOW_NS - 2 * sent.SECOND + number,
            "end_time_unix_nano": sent.NOW_NS - sent.SECOND,
        } | given.pop(" ", {})
        message, code = fields.pop("message", ""), fields.pop("code", 0)
        event = fields.pop("event", "")
        span = scoped.spans.add(**fields)
        span.status.message, span.status.code = message, code
        if event:
            span.events.add(name=event, time_unix_nano=sent.NOW_NS)
        for name, plain in given.items():
            span.attributes.add(key=name, value=value_of(plain))
    return made


def body(*spans: dict[str, Any], scope: str = "", resource: dict[str, Any] | None = None) -> bytes:
    return bytes(request(*spans, scope=scope, resource=resource).SerializeToString())


def in_full(entry: OtlpBody, key: Attribution = sent.KEY) -> list[Span] | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kinds, "read", lambda *_: None)
        try:
            return decode.decode(entry, key)
        except OtlpError:
            return None


def by_kinds(kinds: Kinds, entry: OtlpBody, key: Attribution = sent.KEY) -> list[Span] | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_KINDS", kinds)
        try:
            return decode.decode(entry, key)
        except OtlpError:
            return None


def assert_alike(kinds: Kinds, given: bytes) -> None:
    entry = OtlpBody(1, 7, sent.NOW_NS, PROTOBUF, given)
    made, expected = by_kinds(kinds, entry), in_full(entry)
    assert made == expected
    assert [list(span.attributes) for span in made or ()] == [list(span.attributes) for span in expected or ()]


fields = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["call", "chat gpt", "raw_gen_ai_request", "x" * 300, "nul\0"]),
        "parent_span_id": st.sampled_from(IDS),
        "span_id": st.sampled_from(IDS),
        "trace_id": st.sampled_from([bytes(16), b"x" * 16, b"x" * 15]),
        "start_time_unix_nano": st.sampled_from([0, 1, sent.NOW_NS - sent.SECOND, 2**63, 2**64 - 1]),
        "end_time_unix_nano": st.sampled_from([0, sent.NOW_NS, 2**64 - 1]),
        "message": st.sampled_from(["", "Error code: 429", "timeout", "x" * 3000]),
        "code": st.sampled_from([0, 1, 2]),
        "event": st.sampled_from(["", "exception"]),
    },
)
of_usual = {
    **{name: st.sampled_from(VALUES) for name in USUAL},
    "gen_ai.operation.name": st.sampled_from(TEXTS),
    "gen_ai.request.model": st.sampled_from(TEXTS),
    "gen_ai.usage.input_tokens": st.sampled_from([0, 1, 39, 50, 10**12, 10**12 + 1, -1, "7", 2**63 - 1]),
    "gen_ai.usage.cache_read.input_tokens": st.sampled_from([0, 1, 40, 10**12]),
    "gen_ai.usage.cache_creation.input_tokens": st.sampled_from([0, 1, 10]),
    "gen_ai.usage.reasoning.output_tokens": st.sampled_from([0, 3, 9]),
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": st.sampled_from([0, 5, 20]),
    "gen_ai.usage.prompt_tokens": st.sampled_from([5, ""]),
    "gen_ai.input.messages": st.sampled_from(MESSAGES),
    "gen_ai.output.messages": st.sampled_from(MESSAGES),
    "gen_ai.request.stream": st.booleans(),
    "error.type": st.sampled_from(["", "RateLimitError", "timeout"]),
    " ": fields,
}


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from([*of_usual, *of_usual, *NAMES]))
    changed = {name: draw(of_usual.get(name, st.sampled_from(VALUES)))}
    left_out = draw(st.sampled_from([None, None, *USUAL]))
    return {key: value for key, value in USUAL.items() if key != left_out} | changed


scopes = st.sampled_from([
    "", "opentelemetry.instrumentation.openai_v2", "opentelemetry.instrumentation.openai.v1",
    "opentelemetry.instrumentation.google_adk", "logfire.openai", "x" * 300,
])  # fmt: skip
resources = st.dictionaries(
    st.sampled_from(["service.name", "llmobs.feature", "deployment.environment", "telemetry.sdk.name"]),
    st.sampled_from(["", "openlit", "unknown_service:python", "shop\0"]),
)


@given(st.lists(st.lists(spans(), min_size=1, max_size=4), min_size=1, max_size=4), scopes, resources)
@settings(max_examples=250, deadline=None)
def test_whatever_came_before_a_span_is_what_it_says(
    sent_spans: list[list[dict[str, Any]]], scope: str, resource: dict[str, Any]
) -> None:
    kinds = Kinds()
    for _ in range(3):  # shapes are learned, then templates, then spans are made of them
        for some in sent_spans:
            assert_alike(kinds, body(*some, scope=scope, resource=resource))


@given(st.lists(spans(), min_size=1, max_size=3), st.data())
@settings(max_examples=250, deadline=None)
def test_of_a_damaged_body_as_much_is_believed_as_in_full(some: list[dict[str, Any]], data: st.DataObject) -> None:
    kinds, whole = Kinds(), body(*some, scope="scope", resource={"service.name": "shop"})
    for _ in range(3):
        assert_alike(kinds, whole)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.sampled_from(("cut", "put", "change", "double"))):
            case "cut":
                del damaged[at:]
            case "put":
                damaged[at:at] = data.draw(st.binary(max_size=4))
            case "double":
                damaged += whole
            case _ if at < len(damaged):
                damaged[at] = data.draw(st.integers(0, 255))
    assert_alike(kinds, bytes(damaged))


@pytest.mark.parametrize("names", [("user.id", "enduser.id"), ("enduser.id", "user.id")])
@pytest.mark.parametrize("value", ["less", "more"])
def test_a_text_that_is_none_is_refused_where_another_name_is_believed_too(names: tuple[str, str], value: str) -> None:
    kinds, whole = Kinds(), body(USUAL | dict(zip(names, ("less", "more"), strict=True)))
    for _ in range(3):
        assert_alike(kinds, whole)
    assert_alike(kinds, whole.replace(value.encode(), b"\xff\xff\xff\xff"))


def test_every_prefix_is_refused_or_read_alike() -> None:
    kinds, whole = Kinds(), body(USUAL, USUAL)
    for _ in range(3):
        assert_alike(kinds, whole)
    for end in range(len(whole)):
        assert_alike(kinds, whole[:end])


def test_a_resource_behind_its_spans_is_read_alike() -> None:
    kinds, made = Kinds(), request(USUAL, resource={"service.name": "shop"})
    first, second = made.resource_spans[0].scope_spans[0], made.resource_spans[0].resource
    spans_first = b"\x12" + bytes([0x80 | first.ByteSize() & 127, first.ByteSize() >> 7]) + first.SerializeToString()
    turned = spans_first + b"\x0a" + bytes([second.ByteSize()]) + second.SerializeToString()
    given = b"\x0a" + bytes([0x80 | len(turned) & 127, len(turned) >> 7]) + turned
    for _ in range(3):
        assert_alike(kinds, given)


def test_tenants_and_keys_do_not_see_each_others() -> None:
    kinds, given = Kinds(), body(USUAL)
    other = Attribution(service="other", environment="e", feature="f", key_id=9)
    for tenant_id, key in ((1, sent.KEY), (1, sent.KEY), (1, sent.KEY), (2, other), (1, sent.KEY)):
        entry = OtlpBody(tenant_id, key.key_id, sent.NOW_NS, PROTOBUF, given)
        made = by_kinds(kinds, entry, key)
        assert made == in_full(entry, key)


def test_what_becomes_of_a_span_does_not_reach_the_next() -> None:
    """Costs, policies and bounds change spans in place."""
    kinds = Kinds()
    entry = OtlpBody(1, 7, sent.NOW_NS, PROTOBUF, body(USUAL, USUAL))
    for _ in range(4):
        for span in by_kinds(kinds, entry) or ():
            assert span == (in_full(entry) or [])[span.span_id[-1] - 1]
            span.attributes["more"] = span.cost_nanousd = 7
            span.input = span.price_version = "changed"
            span.remarks += ("flag:changed",)


def test_what_is_learned_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MOST_SHAPES", 3)
    monkeypatch.setattr(alike, "MOST_TEMPLATES", 5)
    kinds = Kinds()
    for number in range(40):
        name = {" ": {"name": f"call {number // 3}"}}
        assert_alike(kinds, body(USUAL | name, USUAL | {f"app.{number // 8}": "x"} | name))
        assert len(kinds._plans) <= 3
        assert sum(len(plan[2]) for plan in kinds._plans.values() if plan) <= 5


def test_a_body_of_the_benchmark_is_made_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds, maker = Kinds(), Bodies()
    entries = [OtlpBody(1, 7, now_ns(), PROTOBUF, maker.make(100)) for _ in range(4)]
    for entry in entries[:3]:
        by_kinds(kinds, entry)
    expected = in_full(entries[3])
    if compiled.loaded() is None:  # in Python each is read in full
        assert kinds.read(entries[3], 1, 2) is None
        return
    monkeypatch.setattr(decode, "_span", lambda *_: pytest.fail("read in full"))
    assert by_kinds(kinds, entries[3]) == expected
