"""By what a name is known to be about models, though no adapter knows it: libraries' prefixes, and words.

Nothing is read by these. They decide what is told as unexplained (`remarks`); an application's own names are not.
"""

import re

from llmobs.ingest.otlp.remembering import remembering

MOST_CHARACTERS_LOOKED_AT = 200

# Libraries, and products that trace them, whose names or scopes begin so.
LIBRARIES = (
    "agent_framework", "agno", "anthropic", "autogen", "aws.bedrock", "az.ai", "azure.ai", "bedrock", "braintrust",
    "cohere", "crewai", "deepeval", "dify", "dspy", "gcp.vertex.agent", "gcp.vertex_ai", "genkit", "google_adk",
    "google_genai", "groq", "haystack", "helicone", "humanloop", "keywordsai", "langchain", "langchain4j", "langflow",
    "langfuse", "langgraph", "langsmith", "litellm", "llama_index", "llamaindex", "lmnr", "logfire", "lunary", "mcp",
    "mistral", "mistralai", "mlflow", "ollama", "openai", "openai_agents", "openinference", "openlit", "opik",
    "portkey", "promptlayer", "pydantic_ai", "semantic_kernel", "smolagents", "spring.ai", "strands", "traceloop",
    "vertex_ai", "vertexai", "vllm", "watsonx",
)  # fmt: skip
_PREFIXES = (
    "gen_ai.", "llm.", "ai.", "embedding.", "reranker.", "retrieval.", "genkit:",
    *(f"{library}." for library in LIBRARIES),
)  # fmt: skip
# OpenTelemetry's registry for what is no model, what frameworks for requests add, and what we add ourselves.
_GENERAL = (
    "aws.", "az.", "azure.", "browser.", "client.", "cloud.", "code.", "container.", "cpu.", "db.", "deployment.",
    "destination.", "device.", "disk.", "dns.", "enduser.", "error.", "exception.", "faas.", "feature_flag.", "file.",
    "gcp.", "geo.", "graphql.", "host.", "http.", "k8s.", "llmobs.", "log.", "messaging.", "net.", "network.", "os.",
    "otel.", "peer.", "process.", "rpc.", "server.", "service.", "session.", "source.", "system.", "telemetry.",
    "thread.", "tls.", "url.", "user.", "user_agent.",
)  # fmt: skip
_GENERAL_NAMES = frozenset({"events"})  # ours, where a span has some
_CREDENTIAL = r"(?:access|api|auth|bearer|csrf|device|id|refresh|reset|security|session|xsrf)[._-]?token(?!s)"
_WORD = re.compile(r"(?<![a-z])llms?(?![a-z])|gen_?ai(?![a-z])|token|model|prompt|completion|usage")
_NO_WORD = re.compile(rf"{_CREDENTIAL}|(?:cpu|disk|memory)[._-]?usage")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LIBRARY = re.compile(
    rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, LIBRARIES))}|llms?|gen_?ai)(?![a-z0-9])",
)
_POSITION = re.compile(r"\.\d+(?=\.|$)")


@remembering(4096)
def in_name(name: str) -> bool:
    """Whether an attribute is called as what belongs to a model is, or by a library for models."""
    if name.startswith(_PREFIXES):
        return True
    return not is_general(name) and _WORD.search(_NO_WORD.sub("", _plain(name))) is not None


@remembering(2048)
def in_text(text: str) -> bool:
    """Whether a scope's or a span's name tells of a library for models."""
    return _LIBRARY.search(_plain(text)) is not None


def is_general(name: str) -> bool:
    """Whether an attribute is of what is no model, on whatever span it stands."""
    return name in _GENERAL_NAMES or (name.startswith(_GENERAL) and not name.startswith(_PREFIXES))


def without_positions(name: str) -> str:
    """`mood.0.score` -> `mood.N.score`."""
    return _POSITION.sub(".N", name)


def _plain(text: str) -> str:
    """`maxTokens`, `llama-index` -> `max_tokens`, `llama_index`."""
    return _HUMP.sub("_", text[:MOST_CHARACTERS_LOOKED_AT]).lower().replace("-", "_")
