"""The most tokens that a model can answer with, as its provider documents it: data, like prices.

It bounds what a call without a ceiling of its own can cost, and it is the ceiling that is sent where a format demands
one. A model that is not here has its context window for a bound.
"""

import re

_K32, _K64, _K128 = 32_000, 64_000, 128_000

# platform.claude.com/docs/en/about-claude/models/overview, checked 2026-11-21.
_CLAUDE = {
    "claude-3-haiku": 4_096,
    "claude-3-opus": 4_096,
    "claude-3-5-haiku": 8_192,
    "claude-3-5-sonnet": 8_192,
    "claude-3-7-sonnet": _K64,
    "claude-opus-4": _K32,
    "claude-opus-4-0": _K32,
    "claude-opus-4-1": _K32,
    "claude-sonnet-4": _K64,
    "claude-sonnet-4-0": _K64,
    "claude-haiku-4-5": _K64,
    "claude-sonnet-4-5": _K64,
    "claude-opus-4-5": _K64,
    "claude-sonnet-4-6": _K128,
    "claude-opus-4-6": _K128,
    "claude-opus-4-7": _K128,
    "claude-opus-4-8": _K128,
    "claude-fable-5": _K128,
    "claude-opus-5": _K128,
    "claude-sonnet-5": _K128,
    "claude-haiku-5-5": _K128,
    "claude-opus-5-5": _K128,
    "claude-sonnet-5-5": _K128,
}
# platform.openai.com/docs/models, checked 2026-11-21.
_GPT = {
    "gpt-3.5-turbo": 4_096,
    "gpt-4": 8_192,
    "gpt-4-turbo": 4_096,
    "gpt-4o": 16_384,
    "gpt-4o-mini": 16_384,
    "gpt-4.1": 32_768,
    "gpt-4.1-mini": 32_768,
    "gpt-4.1-nano": 32_768,
    "o1": 100_000,
    "o3": 100_000,
    "o3-mini": 100_000,
    "o4-mini": 100_000,
    "gpt-5": _K128,
    "gpt-5-mini": _K128,
    "gpt-5-nano": _K128,
    "gpt-5.1": _K128,
    "gpt-5.2": _K128,
    "gpt-5.4": _K128,
    "gpt-5.4-mini": _K128,
    "gpt-5.4-nano": _K128,
    "gpt-5.5": _K128,
}
DOCUMENTED = {"anthropic": _CLAUDE, "openai": _GPT, "azure": _GPT}

_DATED = re.compile(r"-(?:\d{8}|\d{4}-\d\d-\d\d|latest)$")


def most_output_tokens(provider: str, model: str) -> int | None:
    """Of a model or a dated version of it; `provider` as the price book calls it. None: not documented here."""
    of_provider = DOCUMENTED.get(provider)
    return None if of_provider is None else of_provider.get(_DATED.sub("", model))
