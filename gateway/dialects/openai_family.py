"""What OpenAI's operations have in common: credentials, errors, and what its models do unasked."""

import re
from functools import lru_cache

from gateway.dialects.dialect import count, text
from gateway.dialects.wire import Head, Json, with_fields
from llmobs.pricing.usage import Usage

_HIDDEN_THINKING = re.compile(r"(^|[^a-z0-9])(o\d|gpt-[5-9]|codex|gemini|grok)|think|reason")
# OpenAI's own reasoning models: their ceiling is max_completion_tokens, and they take no sampling parameters.
_REASONING = re.compile(r"(^|/)(o\d|gpt-[5-9]|codex)")
_CACHE_WRITING = re.compile(r"(^|[^a-z0-9])gpt-(5\.[6-9]|[6-9])")  # as priced since gpt-5.6


class OpenAIHead(Head):
    """What the requests of OpenAI's operations begin with."""

    user: str | None = None
    safety_identifier: str | None = None


class OpenAIFamily:
    """OpenAI's family of dialects."""

    name = "openai"
    operation_name = "chat"

    def may_think(self, model: str) -> bool:
        return may_think(model)

    def may_write_cache(self, model: str) -> bool:
        return writes_cache(model)

    def credential_headers(self, credential: str) -> bytes:
        return b"authorization: Bearer %s\r\n" % credential.encode() if credential else b""

    def streaming(self, body: bytes, is_stream: bool) -> bytes:
        if is_stream:
            return with_fields(body, stream=True)
        return with_fields(body, stream=None, stream_options=None)

    def without_usage(self, block: bytes) -> bytes:
        return block


@lru_cache(maxsize=1024)
def writes_cache(model: str) -> bool:
    """Whether the model bills what it writes to its cache unasked."""
    return _CACHE_WRITING.search(model.lower()) is not None


def may_think(model: str) -> bool:
    """Whether the model is known to think unasked, whoever serves it."""
    return _HIDDEN_THINKING.search(model.lower()) is not None


def is_reasoning(model: str) -> bool:
    """Whether it is one of OpenAI's own reasoning models."""
    return _REASONING.search(model.lower()) is not None


def counted(usage: object, given: str, answered: str) -> Usage | None:
    """A usage whose tokens go by these names; None: it does not tell both.

    OpenAI's input includes tokens read from and written to the cache, its output includes reasoning.
    """
    if not isinstance(usage, dict):
        return None
    asked, output = count(usage.get(given)), count(usage.get(answered))
    if asked is None or output is None:
        return None
    of_given, of_answered = given + "_details", answered + "_details"
    cached = min(detail(usage, of_given, "cached_tokens"), asked)
    written = min(detail(usage, of_given, "cache_write_tokens"), asked - cached)
    reasoning = min(detail(usage, of_answered, "reasoning_tokens"), output)
    return Usage(asked - cached - written, cached, written, output=output, reasoning=reasoning)


def detail(usage: Json, kind: str, name: str) -> int:
    """A count within the details of a usage; 0 where it is not told."""
    details = usage.get(kind)
    return (count(details.get(name)) or 0) if isinstance(details, dict) else 0


def error_type(error: object) -> str:
    """What an error object calls itself."""
    if isinstance(error, dict):
        return text(error.get("code"), 100) or text(error.get("type"), 100) or "provider_error"
    return "provider_error"
