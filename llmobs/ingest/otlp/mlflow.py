"""mlflow (`mlflow.spanType`): every attribute's value is a JSON document in a string."""

from typing import Any

from llmobs.core import semconv
from llmobs.ingest.otlp import messages
from llmobs.ingest.otlp.reading import Attributes, Reading, count, inner, parsed

TYPE = "mlflow.spanType"

_OPERATIONS = {
    "CHAT_MODEL": semconv.CHAT,
    "LLM": semconv.CHAT,
    "EMBEDDING": semconv.EMBEDDINGS,
    "AGENT": semconv.INVOKE_AGENT,
    "TOOL": semconv.EXECUTE_TOOL,
    "RETRIEVER": "retrieval",
}


def read(attributes: Attributes, reading: Reading) -> None:
    kind = str(_document(attributes, TYPE) or "")
    reading.is_call = kind in ("CHAT_MODEL", "LLM", "EMBEDDING")
    reading.operation_name = _OPERATIONS.get(kind, kind.lower())
    reading.provider_name = _text(_document(attributes, "mlflow.llm.provider"))
    reading.request_model = _text(_document(attributes, "model"))
    reading.response_model = _text(_document(attributes, "mlflow.llm.model"))
    sent, answered = _document(attributes, "mlflow.spanInputs"), _document(attributes, "mlflow.spanOutputs")
    reading.is_stream = inner(sent, "stream") is True
    if reading.is_call:
        reading.request_model = reading.request_model or _text(inner(sent, "model"))
        reading.response_model = _text(inner(answered, "model")) or reading.response_model
        reading.response_id = _text(inner(answered, "id"))
        _read_usage(_document(attributes, "mlflow.chat.tokenUsage"), reading)
    reading.input = messages.normal(sent, "user")
    if reading.operation_name != semconv.EMBEDDINGS:
        reading.output = messages.normal(answered, "assistant")
    attributes.pop("mlflow.chat.messages", None)


def _read_usage(usage: Any, reading: Reading) -> None:
    reading.input_tokens = count(inner(usage, "input_tokens"))
    reading.output_tokens = count(inner(usage, "output_tokens"))
    reading.cache_read = count(inner(usage, "cache_read_input_tokens"))
    reading.cache_write = count(inner(usage, "cache_creation_input_tokens"))
    reading.total_tokens = count(inner(usage, "total_tokens"))


def _document(attributes: Attributes, name: str) -> Any:
    value = attributes.pop(name, None)
    read_value = parsed(value)
    return value if read_value is None else read_value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
