"""OpenInference (`openinference.span.kind`): Arize's instrumentations of SDKs and frameworks."""

import re
from typing import Any

import msgspec

from llmobs.core import semconv
from llmobs.ingest.otlp import messages, vectors
from llmobs.ingest.otlp.flattened import take_nested
from llmobs.ingest.otlp.reading import (
    Attributes,
    Reading,
    add_unit,
    inner,
    parsed,
    take,
    take_count,
    take_text,
    take_usd,
)

KIND = "openinference.span.kind"

_OPERATIONS = {
    "LLM": semconv.CHAT,
    "EMBEDDING": semconv.EMBEDDINGS,
    "AGENT": semconv.INVOKE_AGENT,
    "TOOL": semconv.EXECUTE_TOOL,
    "RETRIEVER": "retrieval",
    "RERANKER": "rerank",
}
_MODEL = ("llm.model_name", "embedding.model_name", "reranker.model_name")
_PROVIDER = ("llm.provider", "llm.system")
_PARAMETERS = ("llm.invocation_parameters", "embedding.invocation_parameters")
_FINISH = ("llm.finish_reason",)
_FLATTENED = (
    "llm.input_messages.", "llm.output_messages.", "embedding.embeddings.", "retrieval.documents.",
    "reranker.output_documents.",
)  # fmt: skip
_VECTOR = re.compile(r"^embedding\.embeddings\.\d+\.embedding\.vector$")
# The provider's id in a langchain result, which has its own ids beside it; in JSON, a quote inside a text is escaped.
_RESPONSE_ID = re.compile(r'"id":\s*"((?:chatcmpl-|resp_|msg_|cmpl-)[\w-]{4,120})"')


class _Answer(msgspec.Struct):
    id: str = ""


_answer = msgspec.json.Decoder(_Answer)


def read(attributes: Attributes, reading: Reading) -> None:
    kind = str(attributes.pop(KIND, "")).upper()
    reading.is_call = kind in ("LLM", "EMBEDDING")
    reading.operation_name = _OPERATIONS.get(kind, kind.lower())
    reading.provider_name = take_text(attributes, _PROVIDER)
    parameters = parsed(take(attributes, _PARAMETERS))
    _read_models(attributes, reading, parameters)
    if parameters:
        attributes["llm.invocation_parameters"] = parameters
    if reading.is_call:
        _read_usage(attributes, reading)
        finish = take_text(attributes, _FINISH)
        reading.finish_reasons = (finish,) if finish else ()
    _read_content(attributes, reading)


def _read_models(attributes: Attributes, reading: Reading, parameters: Any) -> None:
    # The convention's answered model is dated where a span carries both.
    named, answered = take_text(attributes, _MODEL), take_text(attributes, ("gen_ai.response.model",))
    reading.response_model = answered or named
    asked = inner(parameters, "model") or inner(parameters, "model_name")
    if isinstance(asked, str):
        reading.request_model = asked
    reading.is_stream = inner(parameters, "stream") is True


def _read_usage(attributes: Attributes, reading: Reading) -> None:
    reading.input_tokens = take_count(attributes, ("llm.token_count.prompt",))
    reading.output_tokens = take_count(attributes, ("llm.token_count.completion",))
    reading.cache_read = take_count(attributes, ("llm.token_count.prompt_details.cache_read",))
    reading.cache_write = take_count(attributes, ("llm.token_count.prompt_details.cache_write",))
    reading.reasoning = take_count(attributes, ("llm.token_count.completion_details.reasoning",))
    add_unit(reading, "audio_input", take_count(attributes, ("llm.token_count.prompt_details.audio",)))
    add_unit(reading, "audio_output", take_count(attributes, ("llm.token_count.completion_details.audio",)))
    reading.total_tokens = take_count(attributes, ("llm.token_count.total",))
    reading.stated_cost_nanousd = take_usd(attributes, ("llm.cost.total",))


def _read_content(attributes: Attributes, reading: Reading) -> None:
    sent, answered = take(attributes, ("input.value",)), take(attributes, ("output.value",))
    if reading.is_call and isinstance(answered, str):
        reading.response_id = _response_id(answered)
    if any(name.startswith(_FLATTENED) for name in attributes):
        _read_flattened(attributes, reading)
    if reading.operation_name == semconv.EMBEDDINGS:
        answered = None  # vectors
    if reading.input is None and "gen_ai.input.messages" not in attributes:
        reading.input = messages.normal(sent, "user")
    if reading.output is None and "gen_ai.output.messages" not in attributes:
        reading.output = messages.normal(answered, "assistant")


def _read_flattened(attributes: Attributes, reading: Reading) -> None:
    nested_in = [_message(item) for item in take_nested(attributes, "llm.input_messages.")]
    nested_out = [_message(item) for item in take_nested(attributes, "llm.output_messages.")]
    reading.input = messages.normal(nested_in or None, "user")
    reading.output = messages.normal(nested_out or None, "assistant")
    if reading.operation_name == semconv.EMBEDDINGS:
        _read_embedded(attributes, reading)
    documents = take_nested(attributes, "retrieval.documents.") or take_nested(attributes, "reranker.output_documents.")
    if reading.output is None and documents:
        reading.output = messages.normal(msgspec.json.encode(documents).decode(), "assistant")


def _read_embedded(attributes: Attributes, reading: Reading) -> None:
    """The texts that were embedded; of the vectors how many there are, and how long."""
    vectors.note(attributes, [attributes.pop(name) for name in [name for name in attributes if _VECTOR.match(name)]])
    items = take_nested(attributes, "embedding.embeddings.")
    texts = [text for text in (inner(item, "embedding", "text") for item in items) if isinstance(text, str)]
    if texts:
        reading.input = messages.encoded([{"role": "user", "parts": [{"type": "text", "content": t}]} for t in texts])


def _response_id(answer: str) -> str:
    """The provider's response id in a whole answer that was kept as JSON text; "" if there is none."""
    if not answer.startswith("{"):
        return ""
    try:
        found = _answer.decode(answer).id
    except (msgspec.DecodeError, RecursionError):
        found = ""
    if found:
        return found
    match = _RESPONSE_ID.search(answer)
    return match[1] if match else ""


def _message(item: Any) -> dict[str, Any]:
    """`{"message": {"role", "content", "contents", "tool_calls"}}`, as un-flattened, in OpenAI's shape."""
    message = inner(item, "message")
    if not isinstance(message, dict):
        return {"content": item}
    contents = message.get("contents")
    made = {"role": message.get("role"), "content": message.get("content")}
    if isinstance(contents, list):
        made["content"] = [_content(inner(part, "message_content")) for part in contents]
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        made["tool_calls"] = [call for call in (inner(call, "tool_call") for call in calls) if call]
    if message.get("tool_call_id"):
        made["tool_call_id"] = message["tool_call_id"]
    return made


def _content(part: Any) -> Any:
    image = inner(part, "image", "image", "url")
    if image:
        return {"type": "image_url", "image_url": {"url": image}}
    return part if part is not None else ""
