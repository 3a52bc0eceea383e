"""langfuse (`langfuse.observation.type`): usage, cost and content as JSON texts."""

from datetime import datetime
from typing import Any

from llmobs.core import semconv
from llmobs.core.clock import ns_from_utc
from llmobs.ingest.otlp import messages
from llmobs.ingest.otlp.reading import Attributes, Reading, add_unit, count, inner, parsed, take, take_text, usd

TYPE = "langfuse.observation.type"

_OPERATIONS = {
    "generation": semconv.CHAT,
    "embedding": semconv.EMBEDDINGS,
    "agent": semconv.INVOKE_AGENT,
    "tool": semconv.EXECUTE_TOOL,
    "retriever": "retrieval",
}
_PROMPT_NAME = ("langfuse.observation.prompt.name",)
_PROMPT_VERSION = ("langfuse.observation.prompt.version",)


def read(attributes: Attributes, reading: Reading, start_ns: int) -> None:
    kind = str(attributes.pop(TYPE, ""))
    reading.operation_name = _OPERATIONS.get(kind, kind)
    reading.is_call = kind in ("generation", "embedding")
    reading.response_model = take_text(attributes, ("langfuse.observation.model.name",))
    reading.request_model = take_text(attributes, ("gen_ai.request.model",)) or reading.response_model
    reading.environment = take_text(attributes, ("langfuse.environment",))
    reading.is_failed = take(attributes, ("langfuse.observation.level",)) == "ERROR"
    name, version = take_text(attributes, _PROMPT_NAME), take_text(attributes, _PROMPT_VERSION)
    reading.prompt_version = f"{name}@{version}" if name and version else name
    reading.input = messages.normal(take(attributes, ("langfuse.observation.input", "langfuse.trace.input")), "user")
    answer = take(attributes, ("langfuse.observation.output", "langfuse.trace.output"))
    reading.output = messages.normal(answer, "assistant")
    if reading.is_call:
        _read_usage(parsed(take(attributes, ("langfuse.observation.usage_details",))), reading)
        reading.stated_cost_nanousd = usd(
            inner(parsed(take(attributes, ("langfuse.observation.cost_details",))), "total")
        )
        began = parsed(take(attributes, ("langfuse.observation.completion_start_time",)))
        reading.ttft_ns = _first_token(began, start_ns)


def _read_usage(details: Any, reading: Reading) -> None:
    def first(*paths: tuple[str, ...]) -> int | None:
        return next((found for found in (count(inner(details, *path)) for path in paths) if found is not None), None)

    reading.input_tokens = first(("input",), ("prompt_tokens",), ("input_tokens",))
    reading.output_tokens = first(("output",), ("completion_tokens",), ("output_tokens",))
    reading.cache_read = first(
        ("prompt_tokens_details", "cached_tokens"), ("input_cache_read",), ("cache_read_input_tokens",)
    )
    reading.cache_write = first(
        ("prompt_tokens_details", "cache_write_tokens"), ("input_cache_creation",), ("cache_creation_input_tokens",)
    )
    reading.reasoning = first(("completion_tokens_details", "reasoning_tokens"), ("output_reasoning",))
    add_unit(reading, "audio_input", first(("prompt_tokens_details", "audio_tokens"), ("input_audio_tokens",)))
    add_unit(reading, "audio_output", first(("completion_tokens_details", "audio_tokens"), ("output_audio_tokens",)))
    reading.total_tokens = first(("total",), ("total_tokens",))


def _first_token(began: object, start_ns: int) -> int | None:
    if not isinstance(began, str):
        return None
    try:
        at = datetime.fromisoformat(began)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    passed = ns_from_utc(at) - start_ns
    return passed if passed >= 0 else None
