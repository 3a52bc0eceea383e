"""Each span is read by the adapter of its convention, which stands on it with its version; what it says is told.

Bodies of conventions without a captured export are made by hand, of names as their libraries document them: MLflow
(mlflow.spanType, mlflow.chat.tokenUsage), the Vercel AI SDK (its telemetry page), langfuse
(LangfuseOtelSpanAttributes), openlit, litellm's `otel` callback, logfire (request_data, gen_ai.usage.raw),
OpenLLMetry's SpanAttributes.
PAINS 14, 16, 17: cached and reasoning tokens, once; a residual against the stated total is told.
"""

from typing import Any

import pytest

from llmobs.core import semconv
from llmobs.ingest.otlp.adapters import ADAPTERS, VERSIONS_PER_ADAPTER, spelled
from llmobs.ingest.otlp.known_names import is_known
from llmobs.ingest.otlp.remarks import CORRECTIONS, FLAGS
from llmobs.spans.record import Span
from tests.ingest.otlp import captured
from tests.ingest.otlp.sent import decoded, read, span

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
    found = read(CHAT | {"gen_ai.mood.0.score": 0.5, "gen_ai.mood.1.score": 0.7, "app.gen_ai": 1})
    assert set(found.remarks) == {"unknown:gen_ai.mood.N.score"}
    assert found.attributes["gen_ai.mood.1.score"] == 0.7


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
