"""Spellings of providers, models and errors, brought to one."""

import re

# What libraries append to the provider: `openai.chat`, `openai.responses`, `anthropic.messages`.
_SURFACES = frozenset(
    {"chat", "responses", "completion", "completions", "messages", "embedding", "embeddings", "image", "generative-ai"}
)
# Frameworks write themselves as the provider on spans that are no calls.
_FRAMEWORKS = frozenset({"langchain", "langgraph", "llama_index", "haystack", "crewai", "dspy"})
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure-openai": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "amazon-bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "google.vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
_MAKERS = (
    (re.compile(r"gpt-|chatgpt-|o[1-9](-|$)|text-embedding-(3|ada)|davinci|babbage"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-"), "gcp.gemini"),
)
_PREFIXES = frozenset({"openai", "anthropic", "gemini", "azure", "mistral", "groq", "xai", "deepseek", "cohere"})

_ERRORS = {
    "ratelimit": "rate_limit_error",
    "ratelimitexceeded": "rate_limit_error",
    "authentication": "authentication_error",
    "unauthorized": "authentication_error",
    "permissiondenied": "permission_error",
    "permission": "permission_error",
    "notfound": "not_found_error",
    "badrequest": "invalid_request_error",
    "invalidrequest": "invalid_request_error",
    "overloaded": "overloaded_error",
    "internalserver": "server_error",
    "server": "server_error",
    "api": "api_error",
    "apitimeout": "timeout",
    "timeout": "timeout",
    "readtimeout": "timeout",
    "connecttimeout": "timeout",
    "deadlineexceeded": "timeout",
    "apiconnection": "connection_error",
    "connection": "connection_error",
}
_CLASS = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Timeout))\b")


def provider(text: str) -> str:
    """`OpenAI`, `openai.chat` -> `openai`; a framework's own name is no provider."""
    name = text.strip().lower()
    while "." in name and name.rpartition(".")[2] in _SURFACES:
        name = name.rpartition(".")[0]
    if name in _FRAMEWORKS:
        return ""
    return _PROVIDERS.get(name, name)


def provider_of_model(model: str) -> str:
    """Who makes a model with this name, where only one does; "" where unknown."""
    return next((maker for pattern, maker in _MAKERS if pattern.match(model)), "")


def split_model(model: str) -> tuple[str, str]:
    """`openai/gpt-4o-mini` -> ("openai", "gpt-4o-mini"); a model without a known provider before it stays whole."""
    prefix, slash, rest = model.partition("/")
    if slash and rest and prefix.lower() in _PREFIXES:
        return provider(prefix), rest
    return "", model


def error(text: str) -> str:
    """One name for an error that every library spells differently: `openai.RateLimitError` -> `rate_limit_error`."""
    last = text.strip().rpartition(".")[2]
    bare = last.replace("_", "").replace("-", "").lower()
    for ending in ("error", "exception"):
        bare = bare.removesuffix(ending)
    return _ERRORS.get(bare, last)


def error_in(message: str) -> str:
    """The error that a status message begins with (`RateLimitError: …`, `Request timed out.`); "" if none."""
    if message.startswith("Request timed out"):
        return "timeout"
    found = _CLASS.match(message)
    return error(found[1]) if found else ""
