"""What an adapter could not explain, what it put right, and what is known to be doubtful: metered, never guessed at.

Each remark is a short text, `unknown:<attribute>`, `correction:<name>` or `flag:<name>`; `ingest.conformance` counts
them by library and day. Names of corrections and flags are here, with what they mean.
"""

import re
from collections.abc import Iterable

from llmobs.core import semconv
from llmobs.guards.redactor import Redactor
from llmobs.ingest.otlp import genai, signs
from llmobs.ingest.otlp.known_names import is_known
from llmobs.ingest.otlp.reading import Attributes, Reading
from llmobs.ingest.otlp.remembering import remembering
from llmobs.pricing.usage import Usage

UNKNOWN, CORRECTION, FLAG = "unknown", "correction", "flag"

CORRECTIONS = {
    "cache_added": "cached tokens were more than the input, so the input left them out: they were added",
    "cache_proven": "only with cached tokens beside the input do input and output make the total: they were added",
    "reasoning_added": "reasoning tokens were more than the output, so the output left them out: they were added",
    "reasoning_proven": "only with reasoning beside the output do input and output make the total: it was added",
    "cache_left_out": "this library leaves cached tokens of Anthropic out of the input: they were added",
    "cache_from_text": "cached tokens stood only in a text attribute, and were read from it",
    "zero_price": "the library states a price of 0 where it knows none: taken as unknown",
}
FLAGS = {
    "total_differs": "input and output do not make the total that the library states",
    "no_cache_or_reasoning": "this library sends no cached and no reasoning tokens: the cost may be off",
    "no_cache_writes": "this library sends no cache writes: the cost may be too low",
    "stream_counted_twice": "this library adds a stream's first count to its last: the output of streams is too high",
    "tokens_by_library": "this library counts a stream's tokens itself where the provider sent none",
    "last_call_only": "this library keeps only the last call of an agent's turn",
    "unreadable_count": "a token count that is no whole number; it stays an attribute",
    "attributes_left_out": "more attributes than are kept",
    "events_left_out": "more events, or more attributes of one, than are kept",
    "text_cut": "a value, a name or a message that is longer than is kept: its beginning is",
    "usage_in_part": "only one of input and output is known",
}

MOST_UNKNOWN = 16  # of one span
MOST_NAME_CHARACTERS = 120
MORE_UNKNOWN = f"{UNKNOWN}:(others)"
_NAME = re.compile(r"[A-Za-z0-9_$.:/\[\]-]+")

_COUNTS = frozenset(
    {
        "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.completion_tokens", "llm.token_count.prompt", "llm.token_count.completion",
        "ai.usage.inputTokens", "ai.usage.outputTokens", "ai.usage.promptTokens", "ai.usage.completionTokens",
    }
)  # fmt: skip
_WITHOUT_DETAILS = frozenset({"opentelemetry.instrumentation.openai_v2", "opentelemetry.util.genai.handler"})
_WITHOUT_CACHE_WRITES = "opentelemetry.instrumentation.openai.v1"
_TWICE = "opentelemetry.instrumentation.anthropic"


def unknown(attributes: Attributes) -> tuple[str, ...]:
    """Remarks on attributes that look like a model library's, and that no convention documents. They are kept."""
    return unknown_among(tuple(attributes))


def unknown_of_plain(attributes: Attributes, scope_name: str, name: str) -> tuple[str, ...]:
    """The same of a span that no adapter has understood: of each attribute, where anything is a sign of a model."""
    if not attributes:
        return ()
    return unknown_among(tuple(attributes), True, signs.in_text(scope_name) or signs.in_text(name))


@remembering(2048)
def unknown_among(names: tuple[str, ...], is_plain: bool = False, is_of_model: bool = False) -> tuple[str, ...]:
    """The same of attributes of these names."""
    # An exporter sends the same few sets of names over and over.
    is_all = is_plain and (is_of_model or any(map(signs.in_name, names)))
    found = tuple(dict.fromkeys(remark for name in names if (remark := _unknown(name, is_all))))
    if len(found) <= MOST_UNKNOWN:
        return found
    return (*(remark for remark in found[:MOST_UNKNOWN] if remark != MORE_UNKNOWN), MORE_UNKNOWN)


def has_counts(names: Iterable[str]) -> bool:
    """Whether a token count is among them."""
    return not _COUNTS.isdisjoint(names)


def flag_unreadable(attributes: Attributes, reading: Reading) -> None:
    """Counts that no adapter could take: they are still attributes."""
    if reading.is_call and has_counts(attributes):
        reading.remarks.append(f"{FLAG}:unreadable_count")


@remembering(4096)
def _unknown(name: str, is_all: bool) -> str:
    """The remark on an attribute's name, without positions in lists; "" where there is none to make.

    Names are told whatever the tenant's policy for content: one that may itself be a text is told as one of more.
    """
    # Sums of an agent's calls are called like a call's counts, and stay on its span.
    if not (signs.in_name(name) or (is_all and not signs.is_general(name))) or is_known(name) or name in genai.COUNTS:
        return ""
    told = signs.without_positions(name[:MOST_NAME_CHARACTERS])
    return f"{UNKNOWN}:{told}" if _NAME.fullmatch(told) and Redactor().redact(told) == told else MORE_UNKNOWN


def flag_known_limits(reading: Reading, usage: Usage | None, scope_name: str) -> None:
    """What the library is known to get wrong without a trace in the span: told, since it cannot be put right."""
    if not reading.is_call or usage is None or reading.operation_name == semconv.EMBEDDINGS:
        return
    if scope_name in _WITHOUT_DETAILS and not (usage.cache_read or usage.cache_creation or usage.reasoning):
        reading.remarks.append(f"{FLAG}:no_cache_or_reasoning")
    elif scope_name == _WITHOUT_CACHE_WRITES and not usage.cache_creation:
        reading.remarks.append(f"{FLAG}:no_cache_writes")
    elif scope_name == _TWICE:  # it says so of some streams only
        reading.remarks.append(f"{FLAG}:stream_counted_twice")
    elif "google_adk" in scope_name:
        reading.remarks.append(f"{FLAG}:last_call_only")
