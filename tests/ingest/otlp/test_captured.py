"""Every captured export against what the provider did: spans, usage, names, errors, people, content, and the count."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmobs.ingest.count_once import claim_of, decide
from llmobs.ingest.otlp.check import check
from llmobs.spans.record import Span
from tests.ingest.otlp import captured
from tests.ingest.otlp.captured import CASES, truth

# What a library itself writes wrong (truth.json, `deviations`), in sum: counted minus true.
# openai-v2 sends no cache and reasoning tokens; traceloop adds a stream's first count to its last (Anthropic), and
# leaves out thinking tokens (Anthropic) and cache writes (OpenAI).
DEVIATIONS: dict[str, dict[str, int]] = {
    "otel-openai-v2-latest": {"cache_read": -1280, "cache_write": -1280, "reasoning": -192},
    "traceloop-anthropic": {"output": 4, "reasoning": -13},
    "traceloop-openai": {"cache_write": -1280},
}
# Hidden output, and langchain's streams, hold no response id.
WITHOUT_RESPONSE_ID = {
    "openinference-openai-hidden": 4,
    "openinference-langchain-agent": 1,
    "traceloop-langchain-agent": 1,
}

each_case = pytest.mark.parametrize("case", CASES)


def calls(case: str) -> Iterator[tuple[dict[str, Any], Span]]:
    """Provider calls that have a span, with it. Of an SDK's retries within one span, the last is what it says."""
    by_id = {span.span_id.hex(): span for span in captured.spans(case)}
    last = {call["span_id"]: call for call in truth(case)["calls"] if call["span_id"]}
    yield from ((call, by_id[span_id]) for span_id, call in last.items())


def counted(case: str) -> list[Span]:
    spans = captured.spans(case)
    parents = {(span.trace_id, span.span_id): span.parent_span_id for span in spans}
    keys = decide([claim_of(span) for span in spans if span.is_call], parents)
    return [span for span in spans if (span.trace_id, span.span_id) in keys]


def tokens(span: Span) -> dict[str, int]:
    usage = span.usage
    if usage is None:
        return {}
    return {
        "input": usage.input_tokens,
        "output": usage.output,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_creation,
        "reasoning": usage.reasoning,
    }


def test_all_twenty_exports_are_here() -> None:
    assert len(CASES) == 20


@each_case
def test_each_span_of_the_export_is_decoded_once(case: str) -> None:
    found = [
        (s.span_id.hex(), s.trace_id.hex(), s.parent_span_id and s.parent_span_id.hex(), s.name, s.start_ns, s.end_ns)
        for s in captured.spans(case)
    ]
    expected = [
        (s["span_id"], s["trace_id"], s["parent_id"], s["name"], s["start_ns"], s["end_ns"])
        for s in truth(case)["spans"]
    ]
    assert sorted(found) == sorted(expected)


@each_case
def test_check_rejects_nothing_and_counts_what_is_decoded(case: str) -> None:
    for (body, kind), spans in zip(captured.bodies(case), captured.spans_by_body(case), strict=True):
        checked = check(body, kind, captured.captured_at_ns(case), 400)
        assert (checked.span_count, checked.rejected_spans) == (len(spans), 0)


@each_case
def test_a_calls_usage_is_the_providers_but_for_what_the_library_writes_wrong(case: str) -> None:
    for call, span in calls(case):
        if call["usage"] is None:
            assert span.usage is None
        elif not call["deviations"]:
            assert tokens(span) == call["usage"]
        else:
            wrong = {deviation.split()[0] for deviation in call["deviations"]}
            differing = {name for name, value in tokens(span).items() if value != call["usage"][name]}
            assert differing == wrong


def test_streams_that_are_counted_twice_are_told_though_the_library_hides_which_calls_are_streams() -> None:
    doubled = [found for call, found in calls("traceloop-anthropic") if call["stream"] and found.usage]
    assert {found.is_stream for found in doubled} == {True, False}
    assert all("flag:stream_counted_twice" in found.remarks for found in doubled)


@each_case
def test_a_calls_provider_and_models_are_the_providers(case: str) -> None:
    for call, span in calls(case):
        assert span.provider_name == call["provider"]
        assert span.request_model == call["request_model"]
        if call["http_status"] == 200 and not (call["stream"] and "langchain" in case):
            assert span.response_model == call["response_model"]


@each_case
def test_response_ids_are_the_providers(case: str) -> None:
    missing = 0
    for call, span in calls(case):
        if call["response_id"] and not span.response_id:
            missing += 1
        else:
            assert span.response_id == (call["response_id"] or "")
    assert missing == WITHOUT_RESPONSE_ID.get(case, 0)


@each_case
def test_a_failed_call_is_failed_and_names_its_error(case: str) -> None:
    for call, span in calls(case):
        is_failed = call["http_status"] != 200 or call["error"] is not None
        assert (span.status != "ok") == is_failed, call
        assert bool(span.error_type) == is_failed


def test_one_error_has_one_name_whatever_the_library_calls_it() -> None:
    found = {
        span.error_type
        for case in ("openinference-openai", "traceloop-openai", "otel-genai-anthropic", "otel-openai-v2-errors")
        for call, span in calls(case)
        if call["http_status"] == 429
    }
    assert found == {"rate_limit_error"}


@each_case
def test_exactly_the_spans_that_stand_for_calls_count(case: str) -> None:
    expected = {call["span_id"] for call in truth(case)["calls"] if call["span_id"]}
    assert {span.span_id.hex() for span in counted(case)} == expected


@each_case
def test_counted_usage_adds_up_to_what_the_provider_sent(case: str) -> None:
    true = truth(case)["totals_of_calls_with_a_span"]
    sums = {name: sum(tokens(span).get(name, 0) for span in counted(case)) for name in true}
    off = {name: sums[name] - true[name] for name in true if sums[name] != true[name]}
    assert off == DEVIATIONS.get(case, {})


@each_case
def test_usage_on_spans_that_are_no_further_call_is_never_counted(case: str) -> None:
    repeated = {span["span_id"] for span in truth(case)["usage_on_spans_that_are_not_calls"]}
    assert not repeated & {span.span_id.hex() for span in counted(case)}


@each_case
def test_users_and_sessions_are_those_the_program_set(case: str) -> None:
    spans = {span.span_id.hex(): span for span in captured.spans(case)}
    of_calls = [call["span_id"] for call in truth(case)["calls"]]
    for expected in truth(case)["expected"].get("ids", ()):
        which = range(len(of_calls)) if expected["calls"] == "all" else expected["calls"]
        for index in which:
            found = spans[of_calls[index]].attribution
            assert (found.user_id, found.session_id) == (expected["user"], expected["session"])


@each_case
def test_content_that_was_exported_is_in_input_and_output_and_nowhere_else(case: str) -> None:
    spans = captured.spans(case)
    content = "".join(text for span in spans for text in (span.input, span.output) if text)
    for call in truth(case)["calls"]:
        if call["completion_exported"] and call["completion"] and "content-logs" not in case:
            assert _has(content, call["completion"])
        for span in spans:
            if call["completion"] and len(call["completion"]) > 40:
                # An error's text and a tool's schema are no content; an answer is.
                assert not _has(json.dumps(span.attributes), call["completion"])


def _has(where: str, text: str) -> bool:
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    return once in where or json.dumps(once, ensure_ascii=False)[1:-1] in where


@each_case
def test_messages_are_json_lists_of_roles_and_parts(case: str) -> None:
    for span in captured.spans(case):
        for text in (span.input, span.output):
            for message in json.loads(text) if text else ():
                assert isinstance(message["role"], str)
                assert all(isinstance(part, dict) for part in message["parts"])


def test_service_environment_and_workflow_are_attributed() -> None:
    (service,) = {span.attribution.service for span in captured.spans("openinference-openai")}
    (environment,) = {span.attribution.environment for span in captured.spans("openinference-openai")}
    features = {span.attribution.feature for span in captured.spans("traceloop-sdk-workflow")}
    assert (service, environment) == ("checkout-assistant", "staging")
    assert features == {"refund_workflow", "failing_workflow"}


def test_embedding_vectors_are_nowhere() -> None:
    for span in captured.spans("openinference-openai"):
        assert "0.2132" not in json.dumps(span.attributes) + (span.input or "") + (span.output or "")


def test_a_streams_first_token_is_timed() -> None:
    streams = [span for call, span in calls("openinference-openai") if call["stream"]]
    assert streams
    assert all(span.is_stream and 0 < (span.ttft_ns or 0) <= span.duration_ns for span in streams)
