"""Each span is read by the adapter of its convention, which stands on it with its version; what it says is told.

Bodies of conventions without a captured export are made by hand, of names as their libraries document them: MLflow
(mlflow.spanType, mlflow.chat.tokenUsage), the Vercel AI SDK (its telemetry page), langfuse
(LangfuseOtelSpanAttributes), openlit, litellm's `otel` callback, logfire (request_data, gen_ai.usage.raw),
OpenLLMetry's SpanAttributes.
PAINS 14, 16, 17: cached and reasoning tokens, once; a residual against the stated total is told.
"""

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llmobs.core import semconv
from llmobs.ingest.conformance import OTHERS
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp.adapters import ADAPTERS, VERSIONS_PER_ADAPTER, spelled
from llmobs.ingest.otlp.decode import decode
from llmobs.ingest.otlp.known_names import is_known
from llmobs.ingest.otlp.remains import MOST_ATTRIBUTES_OF_AN_EVENT, MOST_CHARACTERS_OF_AN_ATTRIBUTE, MOST_EVENTS
from llmobs.ingest.otlp.remarks import CORRECTIONS, FLAGS, MORE_UNKNOWN, MOST_NAME_CHARACTERS, MOST_UNKNOWN
from llmobs.spans.record import Span
from tests.ingest.otlp import captured
from tests.ingest.otlp.sent import KEY, NOW_NS, decoded, pairs, read, span

CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 10,
}
OLD = {"gen_ai.system": "openai"} | {name: CHAT[name] for name in CHAT if name != "gen_ai.provider.name"}
NUMBERED = {
    "gen_ai.system": "OpenAI",
    "llm.request.type": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.prompt_tokens": 20,
    "gen_ai.usage.completion_tokens": 10,
}
INFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o-mini",
    "llm.token_count.prompt": 20,
    "llm.token_count.completion": 10,
}
VERCEL = {
    "ai.operationId": "ai.streamText.doStream",
    "gen_ai.system": "openai.chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "ai.usage.inputTokens": 20,
    "ai.usage.outputTokens": 10,
}
LANGFUSE = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "gpt-4o-mini",
    "langfuse.observation.usage_details": '{"input":20,"output":10}',
}
MLFLOW = {
    "mlflow.spanType": '"CHAT_MODEL"',
    "mlflow.llm.model": '"gpt-4o-mini"',
    "mlflow.chat.tokenUsage": '{"input_tokens":20,"output_tokens":10,"total_tokens":30}',
}
SENT = [
    ("gen_ai", "opentelemetry.instrumentation.genai.openai", CHAT),
    ("gen_ai-old", "opentelemetry.instrumentation.openai_v2", OLD),
    ("openinference", "openinference.instrumentation.openai", INFERENCE),
    ("openinference", "google_adk", CHAT | INFERENCE),  # both sets on one span: the kind is looked at first
    ("traceloop", "opentelemetry.instrumentation.openai.v1", CHAT),
    ("traceloop", "", NUMBERED),
    ("vercel-ai", "ai", VERCEL),
    ("langfuse", "langfuse-sdk", LANGFUSE),
    ("mlflow", "mlflow", MLFLOW),
    ("logfire", "logfire.openai", OLD),
    ("pydantic-ai", "pydantic-ai", CHAT),
    ("openlit", "openlit.otel.tracing", CHAT | {"telemetry.sdk.name": "openlit"}),
    ("litellm", "litellm", CHAT),
    ("provider-sdk", "com.anthropic.sdk.python", CHAT | {"gen_ai.provider.name": "anthropic"}),
]


@pytest.mark.parametrize(("name", "scope", "sent"), SENT)
def test_each_convention_has_its_adapter_and_its_usage(name: str, scope: str, sent: dict[str, Any]) -> None:
    found = read(sent, scope)
    assert spelled(found.adapter).partition("@")[0] == name
    assert (found.is_call, found.operation_name) == (True, semconv.CHAT)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output) == (20, 10)
    assert "gpt-4o-mini" in (found.request_model, found.response_model)


def test_a_span_of_the_applications_own_is_plain_and_has_nothing_to_explain() -> None:
    found = read({"app.route": "/checkout"})
    assert (spelled(found.adapter), found.remarks) == ("plain@1", ())


def test_numbers_of_adapters_are_their_own_and_fit_a_smallint() -> None:
    assert len({adapter.number for adapter in ADAPTERS}) == len(ADAPTERS)
    for adapter in ADAPTERS:
        assert 0 < adapter.version < VERSIONS_PER_ADAPTER
        assert adapter.code < 2**15
        assert spelled(adapter.code) == f"{adapter.name}@{adapter.version}"
    assert spelled(0) == ""


def test_the_scopes_version_is_the_librarys() -> None:
    assert {s.scope_version for s in captured.spans("openinference-openai") if "openinference" in s.scope_name} == {
        "0.1.66"
    }


@pytest.mark.parametrize("case", captured.CASES)
def test_everything_in_the_captured_exports_is_explained(case: str) -> None:
    for found in captured.spans(case):
        assert [remark for remark in found.remarks if remark.startswith("unknown:")] == []


def test_an_unknown_attribute_is_kept_and_told_without_its_positions() -> None:
    found = read(CHAT | {"gen_ai.mood.0.score": 0.5, "gen_ai.mood.1.score": 0.7, "app.mood": 1})
    assert set(found.remarks) == {"unknown:gen_ai.mood.N.score"}
    assert found.attributes["gen_ai.mood.1.score"] == 0.7


UNHEARD_OF: list[tuple[dict[str, Any], set[str]]] = [
    (
        {"langsmith.span.kind": "llm", "langsmith.usage.input": 20, "acme.mood": "calm"},
        {"langsmith.span.kind", "langsmith.usage.input", "acme.mood"},
    ),
    ({"gcp.vertex.agent.event_id": "e", "http.route": "/"}, {"gcp.vertex.agent.event_id"}),
    ({"acme.inputTokens": 20, "acme.answered": 10, "db.system": "x"}, {"acme.inputTokens", "acme.answered"}),
    ({"acme.llm": "large", "acme.0.size": 3}, {"acme.llm", "acme.N.size"}),
    ({"acme.model": "large", "session.id": "s"}, {"acme.model"}),
    ({"genkit:type": "action", "genkit:path": "/x"}, {"genkit:type", "genkit:path"}),
]


@pytest.mark.parametrize(("sent", "told"), UNHEARD_OF)
def test_of_a_convention_that_nobody_knows_every_name_is_told_and_kept(sent: dict[str, Any], told: set[str]) -> None:
    found = read(sent)
    assert spelled(found.adapter) == "plain@1"
    assert set(found.remarks) == {f"unknown:{name}" for name in told}
    assert {name: found.attributes[name] for name in found.attributes} | sent == found.attributes | sent
    assert "large" not in str(found.remarks)


@pytest.mark.parametrize(
    ("scope", "name"),
    [("langsmith", "step"), ("autogen-core", "step"), ("shop", "crewai.kickoff"), ("shop", "LLM call")],
)
def test_a_librarys_scope_or_span_is_a_sign_too(scope: str, name: str) -> None:
    assert read({"acme.mood": "calm"}, scope, name=name).remarks == ("unknown:acme.mood",)


@pytest.mark.parametrize(
    "attributes",
    [
        {"app.route": "/checkout", "csrf_token": "x", "auth.accessToken": "y"},
        {"http.request.header.x-model": "x", "db.collection.name": "prompts", "system.memory.usage": 1},
        {"order.fulfillment": "done", "diagnostics.memory_usage": 1, "remote.kind": "x"},
    ],
)
def test_what_is_no_models_is_not_told(attributes: dict[str, Any]) -> None:
    assert read(attributes, "opentelemetry.instrumentation.django", name="diagnostics").remarks == ()


def test_beside_a_known_convention_the_applications_own_names_are_not_told() -> None:
    told = read(CHAT | {"app.mood": 1, "acme.cached_tokens": 7, "langsmith.trace.name": "x"}).remarks
    assert set(told) == {"unknown:acme.cached_tokens", "unknown:langsmith.trace.name"}


def test_names_of_a_span_that_are_told_are_bounded_and_the_rest_is_told_as_more() -> None:
    told = read({f"acme.model.{'x' * 200}.of{number}x": 1 for number in range(40)}).remarks
    assert told == (f"unknown:acme.model.{'x' * (MOST_NAME_CHARACTERS - 11)}",)
    told = read({f"acme.model.of{number}x": 1 for number in range(40)}).remarks
    assert len(told) == MOST_UNKNOWN + 1
    assert told[-1] == MORE_UNKNOWN == f"unknown:{OTHERS}"


@pytest.mark.parametrize("name", ["gen_ai.ann@example.com", "acme.prompt.Why is the sky blue?", "gen_ai.\u4f60\u597d"])
def test_a_name_that_may_be_a_text_itself_is_not_told(name: str) -> None:
    assert read({name: 1}).remarks == (MORE_UNKNOWN,)
    many = {f"{name}{number}x": 1 for number in range(9)} | {f"acme.model{number}x": 1 for number in range(20)}
    told = read(many).remarks
    assert (told.count(MORE_UNKNOWN), told[-1], len(told)) == (1, MORE_UNKNOWN, MOST_UNKNOWN)


# ---------------------------------------------------------------- what was cut


def event(**fields: Any) -> dict[str, Any]:
    return {"name": "step", "timeUnixNano": str(NOW_NS), "attributes": [], **fields}


FULL_EVENT = event(attributes=pairs({f"a{number}": 1 for number in range(MOST_ATTRIBUTES_OF_AN_EVENT)}))
FULL_TEXT = "x" * MOST_CHARACTERS_OF_AN_ATTRIBUTE


@pytest.mark.parametrize(
    ("attributes", "events", "told"),
    [
        ({"app.text": FULL_TEXT, "app.list": ["a", "b"]}, [FULL_EVENT] * MOST_EVENTS, ()),
        ({}, [event()] * (MOST_EVENTS + 1), ("flag:events_left_out",)),
        ({}, [event(attributes=[*FULL_EVENT["attributes"], *pairs({"b": 1})])], ("flag:events_left_out",)),
        ({"app.text": FULL_TEXT + "x", "app.more": FULL_TEXT + "x"}, [], ("flag:text_cut",)),
        ({"app.list": [FULL_TEXT, "b"]}, [], ("flag:text_cut",)),
        ({"app." + "x" * 300: 1}, [], ("flag:text_cut",)),
        ({}, [event(attributes=pairs({"a": FULL_TEXT + "x"}))], ("flag:text_cut",)),
        ({}, [event(name="x" * 201)], ("flag:text_cut",)),
        ({f"app.of{number}x": 1 for number in range(257)}, [], ("flag:attributes_left_out",)),
    ],
)
def test_what_is_cut_is_told(attributes: dict[str, Any], events: list[Any], told: tuple[str, ...]) -> None:
    assert decoded(span(CHAT | attributes, events=events)).remarks == told


@pytest.mark.parametrize("fields", [{"name": "x" * 201}, {"status": {"code": 2, "message": "x" * 2001}}])
def test_a_name_or_a_message_that_is_cut_is_told(fields: dict[str, Any]) -> None:
    assert read(CHAT, **fields).remarks == ("flag:text_cut",)


def test_a_cut_is_told_of_the_span_that_has_it_alone() -> None:
    """Also where the next span of its kind is made like it."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, text in enumerate(("short", FULL_TEXT + "x", "short", FULL_TEXT + "x", "short")):
        made = spans.add(trace_id=b"t" * 16, span_id=(number + 1).to_bytes(8), name="call")
        made.start_time_unix_nano, made.end_time_unix_nano = NOW_NS - 2, NOW_NS - 1
        for name, plain in (CHAT | {"app.text": text}).items():
            pair = made.attributes.add(key=name)
            setattr(pair.value, "int_value" if isinstance(plain, int) else "string_value", plain)
    found = decode(OtlpBody(1, 7, NOW_NS, "application/x-protobuf", request.SerializeToString()), KEY)
    assert [each.remarks for each in found] == [(), ("flag:text_cut",), (), ("flag:text_cut",), ()]


def test_an_unknown_event_is_kept() -> None:
    event = {"name": "gen_ai.evaluation.result", "timeUnixNano": "0", "attributes": []}
    assert [e["name"] for e in decoded(span(CHAT, events=[event])).attributes["events"]] == ["gen_ai.evaluation.result"]


def test_the_details_event_has_the_messages() -> None:
    """`gen_ai.client.inference.operation.details`, where content goes to events alone."""
    said = '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]'
    pair = {"key": "gen_ai.input.messages", "value": {"stringValue": said}}
    event = {"name": "gen_ai.client.inference.operation.details", "timeUnixNano": "0", "attributes": [pair]}
    found = decoded(span(CHAT, events=[event]))
    assert "hello" in (found.input or "")
    assert "hello" not in str(found.attributes)


def test_the_name_of_a_prompt_is_no_prompt() -> None:
    found = read(CHAT | {"gen_ai.prompt.name": "greeting"})
    assert (found.attributes["gen_ai.prompt.name"], found.input) == ("greeting", None)


# ---------------------------------------------------------------- corrections and flags


def corrected(**counts: Any) -> tuple[int, int, int, set[str]]:
    """Input, cached, output, and what was put right or doubted."""
    names = {"given": "input_tokens", "answered": "output_tokens", "read": "cache_read.input_tokens",
             "reasoning": "reasoning.output_tokens", "total": "total_tokens"}  # fmt: skip
    found = read(CHAT | {f"gen_ai.usage.{names[name]}": count for name, count in counts.items()})
    assert found.usage is not None
    return found.usage.input_tokens, found.usage.cache_read, found.usage.output, set(found.remarks)


def test_a_total_that_agrees_says_nothing() -> None:
    assert corrected(given=100, read=60, answered=10, total=110) == (100, 60, 10, set())


def test_cached_tokens_beside_the_input_are_proven_by_the_total() -> None:
    assert corrected(given=100, read=60, answered=10, total=170) == (160, 60, 10, {"correction:cache_proven"})


def test_reasoning_beside_the_output_is_proven_by_the_total() -> None:
    assert corrected(given=100, answered=10, reasoning=7, total=117) == (100, 0, 17, {"correction:reasoning_proven"})


def test_cached_tokens_past_the_input_are_added() -> None:
    assert corrected(given=5, read=60, answered=10) == (65, 60, 10, {"correction:cache_added"})


def test_a_total_that_nothing_explains_is_flagged_and_changes_nothing() -> None:
    assert corrected(given=100, read=60, answered=10, total=123) == (100, 60, 10, {"flag:total_differs"})


def test_a_count_that_is_none_is_unknown_flagged_and_kept() -> None:
    found = read(CHAT | {"gen_ai.usage.input_tokens": "many"})
    assert found.usage is not None
    assert (found.usage.input_tokens, found.is_estimated) == (0, True)
    assert set(found.remarks) == {"flag:unreadable_count", "flag:usage_in_part"}
    assert found.attributes["gen_ai.usage.input_tokens"] == "many"


def test_what_a_library_is_known_to_leave_out_is_flagged() -> None:
    assert read(OLD, "opentelemetry.instrumentation.openai_v2").remarks == ("flag:no_cache_or_reasoning",)


def test_every_remark_that_can_be_made_is_named() -> None:
    def named(found: Span) -> None:
        for remark in found.remarks:
            kind, _, name = remark.partition(":")
            assert name in {"correction": CORRECTIONS, "flag": FLAGS}[kind]

    for case in captured.CASES:
        for found in captured.spans(case):
            named(found)


def test_a_name_that_an_adapter_takes_may_stay_where_it_says_more() -> None:
    assert is_known("gen_ai.aggregated_usage.input_tokens")
    assert not is_known("gen_ai.mood")
