"""traceloop (OpenLLMetry): workflow, task, agent and tool spans, and `llm.request.type` of its versions up to 0.4x."""

from llmobs.core import semconv
from llmobs.ingest.otlp import messages
from llmobs.ingest.otlp.reading import Attributes, Reading, take

KIND = "traceloop.span.kind"
REQUEST_TYPE = "llm.request.type"
ENTITY_INPUT = ("traceloop.entity.input",)
ENTITY_OUTPUT = ("traceloop.entity.output",)

# What OpenLLMetry instruments, as its scopes are called: `opentelemetry.instrumentation.<name>`.
INSTRUMENTED = frozenset(
    {
        "agno", "alephalpha", "anthropic", "bedrock", "chromadb", "cohere", "crewai", "google_generativeai", "groq",
        "haystack", "lancedb", "langchain", "llamaindex", "marqo", "mcp", "milvus", "mistralai", "ollama", "openai",
        "openai_agents", "pinecone", "qdrant", "replicate", "sagemaker", "together", "transformers", "vertexai",
        "voyageai", "watsonx", "weaviate", "writer",
    }
)  # fmt: skip

_KINDS = {
    "workflow": semconv.INVOKE_WORKFLOW,
    "task": "execute_task",
    "agent": semconv.INVOKE_AGENT,
    "tool": semconv.EXECUTE_TOOL,
}
_REQUEST_TYPES = {
    "chat": semconv.CHAT,
    "completion": semconv.TEXT_COMPLETION,
    "embedding": semconv.EMBEDDINGS,
    "rerank": "rerank",
}


def read_kind(attributes: Attributes, reading: Reading) -> None:
    """A decorated function or a framework's step: never a call."""
    kind = str(attributes.pop(KIND, ""))
    reading.operation_name = _KINDS.get(kind, kind)


def read_request_type(attributes: Attributes, reading: Reading) -> None:
    kind = str(attributes.pop(REQUEST_TYPE, ""))
    reading.operation_name = _REQUEST_TYPES.get(kind, kind)
    reading.is_call = reading.operation_name in semconv.CALL_OPERATIONS


def fill_entity(attributes: Attributes, reading: Reading) -> None:
    """What went into and came out of a decorated function."""
    sent, returned = take(attributes, ENTITY_INPUT), take(attributes, ENTITY_OUTPUT)
    if reading.input is None:
        reading.input = messages.normal(sent, "user")
    if reading.output is None:
        reading.output = messages.normal(returned, "assistant")
