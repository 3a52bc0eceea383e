"""What OpenAI's operations have in common: credentials, errors, and what its models do unasked."""

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from gateway.dialects.dialect import count, text
from gateway.dialects.wire import Head, Json, with_fields
from llmobs.core.money import MOST_NANOUSD, NANOUSD_PER_USD
from llmobs.pricing.tiers import tier_name
from llmobs.pricing.usage import Usage

_HIDDEN_THINKING = re.compile(r"(^|[^a-z0-9])(o\d|gpt-[5-9]|codex|gemini|grok)|think|reason")
# OpenAI's own reasoning models: their ceiling is max_completion_tokens, and they take no sampling parameters.
_REASONING = re.compile(r"(^|/)(o\d|gpt-[5-9]|codex)")
_CACHE_WRITING = re.compile(r"(^|[^a-z0-9])gpt-(5\.[6-9]|[6-9])")  # as priced since gpt-5.6

_NONE: Json = {}
_OTHER_KINDS = (("audio_tokens", "audio"), ("image_tokens", "image"))
RESEARCHING = "sonar-deep-research"
TICKS_PER_USD = 10_000_000_000  # docs.x.ai, "cost_in_usd_ticks"


class OpenAIHead(Head):
    """What the requests of OpenAI's operations begin with."""

    user: str | None = None
    safety_identifier: str | None = None
    service_tier: Any = None


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


def counted(
    usage: object, given: str, answered: str, tier: object = None, runs: tuple[tuple[str, int], ...] = ()
) -> Usage | None:
    """A usage whose tokens go by these names; None: it does not tell both. `runs`: of the provider's own tools.

    OpenAI's input includes sound, pictures, tokens read from and written to the cache; its output includes reasoning
    and sound. Others (xAI) count reasoning besides the output: then it is in the total.
    """
    if not isinstance(usage, dict):
        return None
    asked, output = count(usage.get(given)), count(usage.get(answered))
    if asked is None or output is None:
        return None
    of_given, of_answered = usage.get(given + "_details"), usage.get(answered + "_details")
    if not isinstance(of_given, dict):
        of_given = _NONE
    if not isinstance(of_answered, dict):
        of_answered = _NONE
    cached = min(_told(of_given, "cached_tokens"), asked)
    written = min(_told(of_given, "cache_write_tokens"), asked - cached)
    thought = _told(of_answered, "reasoning_tokens")
    if thought and count(usage.get("total_tokens")) == asked + output + thought:
        output += thought
    uncached, units = asked - cached - written, runs
    for name, unit in _OTHER_KINDS:
        if heard := min(_told(of_given, name), uncached):
            units, uncached = (*units, (f"{unit}_input", heard)), uncached - heard
        if said := min(_told(of_answered, name), output):
            units, output = (*units, (f"{unit}_output", said)), output - said
    thought = min(thought, output)
    if not units and tier is None:
        return Usage(uncached, cached, written, 0, output, thought)
    return Usage(uncached, cached, written, 0, output, thought, tuple(sorted(units)), tier_name(tier))


def _told(details: Json, name: str) -> int:
    """A count within the details of a usage: most are missing, or zero."""
    found = details.get(name)
    return (count(found) or 0) if found else 0


def researched(found: Usage, usage: Json) -> Usage:
    """Perplexity's deep research counts its thoughts, citations and searches besides the answer, and bills each."""
    thought = count(usage.get("reasoning_tokens")) or 0
    counts = (("citation", usage.get("citation_tokens")), ("web_search", usage.get("num_search_queries")))
    units = dict(found.units) | {unit: n for unit, given in counts if (n := count(given))}
    return replace(found, output=found.output + thought, reasoning=thought, units=tuple(sorted(units.items())))


def stated(usage: object) -> int | None:
    """What a provider says that its answer cost, in nano-USD; None: it says nothing.

    OpenRouter states USD as `cost`, Perplexity as `cost.total_cost`, xAI in ticks of a ten-billionth.
    """
    if not isinstance(usage, dict):
        return None
    amount, ticks = usage.get("cost"), usage.get("cost_in_usd_ticks")
    if amount is None and ticks is None:
        return None
    if isinstance(amount, dict):
        amount = amount.get("total_cost")
    per_usd = 1
    if amount is None:
        amount, per_usd = ticks, TICKS_PER_USD
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= MOST_NANOUSD:
        return None
    exact = Decimal(str(amount)) * NANOUSD_PER_USD / per_usd
    return min(int(exact.to_integral_value(rounding=ROUND_CEILING)), MOST_NANOUSD)


def detail(usage: Json, kind: str, name: str) -> int:
    """A count within the details of a usage; 0 where it is not told."""
    details = usage.get(kind)
    return (count(details.get(name)) or 0) if isinstance(details, dict) else 0


def error_type(error: object) -> str:
    """What an error object calls itself."""
    if isinstance(error, dict):
        return text(error.get("code"), 100) or text(error.get("type"), 100) or "provider_error"
    return "provider_error"
