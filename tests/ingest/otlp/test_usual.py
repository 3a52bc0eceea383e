"""Usual spans, read by their shape: whatever attributes they have, they come to what the long way makes of them."""

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.core.clock import now_ns
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import adapters, decode, genai, remains, remarks, usual, whom
from llmobs.spans.record import Span
from tests.bench.bodies import Bodies
from tests.ingest.otlp import captured, sent

USUAL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "OpenAI",
    "gen_ai.request.model": "gpt-4.1",
    "gen_ai.response.model": "openai/gpt-4.1-2025-04-14",
    "gen_ai.response.id": "resp-1",
    "gen_ai.response.finish_reasons": ["stop", "length"],
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 7,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]',
    "user.id": "ann",
    "session.id": "s-1",
    "gen_ai.conversation.id": "s-2",
    "llmobs.feature": "search",
    "app.label": "x",
}


def _names_in_sources() -> list[str]:
    """Every text that stands in an adapter: among them each name that one of them knows, or begins with."""
    folder = Path(adapters.__file__).parent
    trees = [ast.parse(file.read_text()) for file in sorted(folder.glob("*.py"))]
    nodes = (node for tree in trees for node in ast.walk(tree))
    found = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {name for text in found for name in (text.split() if "\n" in text else [text]) if 0 < len(name) < 80}
    return sorted(names | {f"gen_ai.{name}" for name in names} | {f"{name}0.x" for name in names if name[-1:] == "."})


NAMES = _names_in_sources()
VALUES: list[Any] = [
    "", "7", 7, -1, 0.5, True, ["a", "b"], "x" * 5000, "nul\0", '{"feature": "of json", "user_id": 3}', "tool",
]  # fmt: skip


def _both(body: bytes, at_ns: int = sent.NOW_NS, kind: str = "application/json") -> tuple[list[Span], list[Span]]:
    entry = OtlpBody(1, 7, at_ns, kind, body)
    with pytest.MonkeyPatch.context() as patch:
        by_shape = decode.decode(entry, sent.KEY)
        patch.setattr(decode, "shape_of", lambda names, scope_name: None)
        return by_shape, decode.decode(entry, sent.KEY)


def _assert_alike(attributes: dict[str, Any], scope: str = "", resource: dict[str, Any] | None = None) -> None:
    by_shape, long_way = _both(sent.body(sent.span(attributes), scope=scope, resource=resource))
    assert by_shape == long_way
    assert [list(span.attributes) for span in by_shape] == [list(span.attributes) for span in long_way]


def test_the_usual_span_has_a_shape() -> None:
    assert usual.shape_of(tuple(USUAL), "") is not None
    assert usual.shape_of((*USUAL, "gen_ai.system_instructions", "error.type", "http.method"), "scope") is not None


@pytest.mark.parametrize("value", VALUES, ids=[f"{value!r:.12}" for value in VALUES])
def test_every_name_that_an_adapter_knows_is_read_alike(value: Any) -> None:
    calls = [sent.span({**USUAL, name: value}) for name in NAMES]
    others = [sent.span({**USUAL, "gen_ai.operation.name": "invoke_agent", name: value}) for name in NAMES]
    by_shape, long_way = _both(sent.body(*calls, *others))
    assert len(by_shape) == len(long_way) == 2 * len(NAMES)
    for name, one, other in zip(NAMES * 2, by_shape, long_way, strict=True):
        assert (name, one, list(one.attributes)) == (name, other, list(other.attributes))


@given(
    st.dictionaries(st.sampled_from([*USUAL, *genai.EVERY_NAME.all(), *NAMES]), st.sampled_from(VALUES), max_size=6),
    st.sets(st.sampled_from(list(USUAL)), max_size=6),
    st.sampled_from(["", "opentelemetry.instrumentation.openai_v2", "opentelemetry.instrumentation.anthropic",
                     "opentelemetry.instrumentation.google_adk", "pydantic-ai", "litellm", "logfire.openai",
                     "com.anthropic.sdk.python", "traceloop.tracer"]),
    st.dictionaries(
        st.sampled_from(["service.name", "llmobs.feature", "deployment.environment", "telemetry.sdk.name"]),
        st.sampled_from(["", "openlit", "unknown_service:python", "shop\0", "x" * 300]),
    ),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_any_attributes_are_read_alike(
    changed: dict[str, Any], left_out: set[str], scope: str, resource: dict[str, Any]
) -> None:
    attributes = {name: value for name, value in USUAL.items() if name not in left_out} | changed
    _assert_alike(attributes, scope, resource)


def test_an_event_is_read_the_long_way() -> None:
    event = {"name": "exception", "timeUnixNano": str(sent.NOW_NS), "attributes": sent.pairs({"exception.type": "E"})}
    by_shape, long_way = _both(sent.body(sent.span(USUAL, events=[event])))
    assert by_shape == long_way
    assert by_shape[0].attributes["events"]


def test_names_without_number_are_read_alike() -> None:
    _assert_alike({**USUAL, **{f"app.{number}": number for number in range(300)}})
    _assert_alike({**USUAL, "x" * 300: "long", "nul\0name": "y"})


def test_only_messages_are_content_among_what_is_taken() -> None:
    """Of what is no call, the other names stay."""
    taken = genai.EVERY_NAME
    messages = {*taken.input, *taken.system, *taken.output, *taken.others}
    assert not any(remains.is_content(name) for name in taken.all() - messages)


@pytest.mark.parametrize("case", captured.CASES)
def test_captured_exports_are_read_alike(case: str) -> None:
    at_ns = captured.captured_at_ns(case)
    for body, kind in captured.bodies(case):
        by_shape, long_way = _both(body, at_ns, kind)
        assert by_shape == long_way


def test_a_body_of_the_benchmark_is_usual_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("read the long way")

    monkeypatch.setattr(adapters, "read", refused)
    entry = OtlpBody(1, 7, now_ns(), "application/x-protobuf", Bodies().make(20))
    assert len(decode.decode(entry, sent.KEY)) == 20


LONG, MANY = "gen_ai." + "x" * 10_000, tuple(f"app.{number}" for number in range(200))


@pytest.mark.parametrize(
    ("asked", "question", "small"),
    [
        (usual.shape_of, (MANY, "scope"), (("gen_ai.operation.name", "app.some"), "scope")),
        (usual.shape_of, (("a",), LONG), (("gen_ai.operation.name", "app.some"), "scope")),
        (whom.names_among, (MANY,), (("app.some",),)),
        (remarks.unknown_among, ((LONG,),), (("app.some",),)),
        (adapters._named, ("", LONG, "", True, ""), ("", "gpt-of-some", "", True, "")),
        (adapters._emitter, (LONG,), ("of some",)),
    ],
)
def test_names_that_are_long_or_many_are_not_remembered(asked: Any, question: Any, small: Any) -> None:
    """Else so many of them would be remembered as memory has room for none of."""
    before = asked.cache_info().currsize
    assert asked(*question) == asked(*question)
    assert asked.cache_info().currsize == before
    hits = asked.cache_info().hits
    assert asked(*small) is asked(*small)
    assert asked.cache_info().hits > hits


def test_of_a_long_name_its_beginning_is_remembered() -> None:
    assert remains.is_content("gen_ai.prompt." + "x" * 10_000)
    assert not remains.is_content("gen_ai.prompt.name" + "x" * 10_000)
    assert not remains.is_content("x" * 10_000)
