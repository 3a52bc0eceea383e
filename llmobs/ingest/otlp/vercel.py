"""Vercel AI SDK (`ai.operationId`): `ai.generateText` and its like go around the `….doGenerate` that calls."""

from typing import Any

from llmobs.core import semconv
from llmobs.ingest.otlp import messages, vectors
from llmobs.ingest.otlp.reading import Attributes, Reading, parsed, take, take_count, take_seconds, take_text

OPERATION = "ai.operationId"

_NS_PER_MS = 1_000_000
_CALLS = ("doGenerate", "doStream", "doEmbed")
_INPUT_TOKENS = ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens")
_OUTPUT_TOKENS = ("ai.usage.outputTokens", "ai.usage.completionTokens")
_CACHE_READ = ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens")
_CACHE_WRITE = ("ai.usage.inputTokenDetails.cacheWriteTokens",)
_REASONING = ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens")
_PROMPT = ("ai.prompt.messages", "ai.prompt", "ai.values", "ai.value", "ai.toolCall.args")
_TEXT = ("ai.response.text", "ai.response.object", "ai.toolCall.result")
_VECTORS = ("ai.embedding", "ai.embeddings")


def read(attributes: Attributes, reading: Reading) -> None:
    name = str(attributes.pop(OPERATION, ""))
    step = name.rpartition(".")[2]
    reading.is_call = step in _CALLS
    reading.is_stream = step == "doStream"
    reading.operation_name = _operation(name, step)
    reading.provider_name = take_text(attributes, ("gen_ai.system", "ai.model.provider"))
    reading.request_model = take_text(attributes, ("gen_ai.request.model", "ai.model.id"))
    reading.response_model = take_text(attributes, ("gen_ai.response.model", "ai.response.model"))
    reading.response_id = take_text(attributes, ("gen_ai.response.id", "ai.response.id"))
    if reading.is_call:
        _read_call(attributes, reading)
    _read_content(attributes, reading)


def _operation(name: str, step: str) -> str:
    if name == "ai.toolCall":
        return semconv.EXECUTE_TOOL
    if "embed" in name.lower():
        return semconv.EMBEDDINGS if step == "doEmbed" else "chain"
    return semconv.CHAT if step in _CALLS else "chain"


def _read_call(attributes: Attributes, reading: Reading) -> None:
    reading.input_tokens = take_count(attributes, _INPUT_TOKENS)
    reading.output_tokens = take_count(attributes, _OUTPUT_TOKENS)
    reading.cache_read = take_count(attributes, _CACHE_READ)
    reading.cache_write = take_count(attributes, _CACHE_WRITE)
    reading.reasoning = take_count(attributes, _REASONING)
    reading.total_tokens = take_count(attributes, ("ai.usage.totalTokens",))
    reading.ttft_ns = take_seconds(attributes, ("ai.response.msToFirstChunk",), _NS_PER_MS)
    finish = take_text(attributes, ("ai.response.finishReason",))
    reading.finish_reasons = (finish,) if finish else ()


def _read_content(attributes: Attributes, reading: Reading) -> None:
    reading.input = messages.normal(take(attributes, _PROMPT), "user")
    text, calls = take(attributes, _TEXT), parsed(take(attributes, ("ai.response.toolCalls",)))
    answer: dict[str, Any] = {"role": "assistant", "content": text}
    if isinstance(calls, list) and calls:
        answer["tool_calls"] = calls
        reading.output = messages.normal([answer], "assistant")
    else:
        reading.output = messages.normal(text, "assistant")
    one, several = (attributes.pop(name, None) for name in _VECTORS)
    if one is not None or several is not None:
        vectors.note(attributes, [one] if one is not None else several if isinstance(several, list) else [])
