"""Whatever stands under a known name, a span is decoded: one library's bug must not cost its neighbours' spans."""

import json
from functools import cache
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.core.ids import SPAN_ID_BYTES
from llmobs.core.semconv import STATUSES
from llmobs.ingest.otlp import genai, wire
from tests.ingest.otlp import captured
from tests.ingest.otlp.sent import decoded, span

KINDS: dict[str, list[Any]] = {
    "openinference.span.kind": ["LLM", "EMBEDDING", "AGENT", "RETRIEVER", 3],
    "langfuse.observation.type": ["generation", "span", ["x"]],
    "mlflow.spanType": ['"CHAT_MODEL"', '"EMBEDDING"', "{"],
    "ai.operationId": ["ai.streamText.doStream", "ai.embed.doEmbed", "ai.toolCall", 7],
    "gen_ai.operation.name": ["chat", "embeddings", "invoke_agent", True],
    "traceloop.span.kind": ["workflow", 1.5],
    "llm.request.type": ["chat", "rerank"],
}
SCOPES = ["", "logfire.openai", "litellm", "openinference.instrumentation.google_adk", "com.anthropic.sdk.python"]
OTHERS = [
    "ai.usage.inputTokens", "ai.response.toolCalls", "ai.prompt.messages", "ai.values", "ai.telemetry.metadata.userId",
    "langfuse.observation.usage_details", "langfuse.observation.cost_details", "langfuse.observation.input",
    "langfuse.observation.completion_start_time", "mlflow.chat.tokenUsage", "mlflow.spanInputs", "mlflow.spanOutputs",
    "request_data", "response_data", "duration", "metadata.usage_object", "gen_ai.usage.cost", "gen_ai.prompt.0.role",
    "gen_ai.prompt.0.content", "gen_ai.prompt.0", "gen_ai.prompt.x", "retrieval.documents.0.document.content",
]  # fmt: skip


@cache
def known_names() -> list[str]:
    """All attribute names of the captured exports, and some of the libraries that are not among them."""
    found = {
        name
        for case in captured.CASES
        for body, kind in captured.bodies(case)
        for received in wire.received(body, kind)
        for name in received.attributes
    }
    return sorted(found | set(OTHERS) | set(genai.COUNTS))


def value() -> st.SearchStrategy[Any]:
    documents = ['{"a": [1]}', '[{"role": "user"}]', '[{"role": "user", "content": [{"type": "image_url"}, 3, null]}]',
                 "[", '"x"', '[{"role": "tool", "tool_call_id": "c", "tool_calls": [{"function": 3}]}]', "[]", "{}",
                 '{"choices": [3, {"message": null}]}', '{"messages": [null]}', "[" * 5000]  # fmt: skip
    return st.one_of(
        st.sampled_from([{"stringValue": text} for text in documents]),
        st.text(max_size=20).map(lambda text: {"stringValue": text}),
        st.integers(-(2**70), 2**70).map(lambda number: {"intValue": str(number)}),
        st.sampled_from([{"doubleValue": "NaN"}, {"doubleValue": "Infinity"}, {"doubleValue": 0.5}, {}, None]),
        st.booleans().map(lambda flag: {"boolValue": flag}),
        st.just({"arrayValue": {"values": [{"stringValue": "a"}, {"kvlistValue": {"values": []}}, {}]}}),
        st.just({"kvlistValue": {"values": [{"key": "role", "value": {"stringValue": "user"}}, {"key": "content"}]}}),
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_span_with_nonsense_under_known_names_is_decoded(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    sent = span({kind: data.draw(st.sampled_from(KINDS[kind]))})
    names = data.draw(st.lists(st.sampled_from(known_names()), max_size=25, unique=True))
    sent["attributes"] += [{"key": name, "value": data.draw(value())} for name in names]
    sent["events"] = [{"name": "exception", "attributes": [{"key": "exception.type", "value": data.draw(value())}]}]
    found = decoded(sent, data.draw(st.sampled_from(SCOPES)))
    assert len(found.span_id) == SPAN_ID_BYTES
    assert found.status in STATUSES
    assert found.duration_ns >= 0
    for text in (found.input, found.output):
        assert text is None or isinstance(json.loads(text), list)
    kept = msgspec.json.encode(found.attributes)
    assert b"\\u0000" not in kept
