"""`gen_ai.*`: the official conventions, old and new, and the libraries that extend them (traceloop, pydantic-ai …).

Every other adapter ends here too, for what it did not find under its own names: a span may carry both.
"""

from collections.abc import Collection
from dataclasses import dataclass

from llmobs.core import semconv
from llmobs.ingest.otlp import messages
from llmobs.ingest.otlp.flattened import take_nested
from llmobs.ingest.otlp.reading import (
    Attributes,
    Reading,
    add_unit,
    take,
    take_count,
    take_seconds,
    take_text,
    take_texts,
    take_usd,
)
from llmobs.pricing.tiers import tier_name

OPERATION = "gen_ai.operation.name"
REQUEST_MODEL = "gen_ai.request.model"

OPERATIONS = {
    "completion": semconv.CHAT,
    "acompletion": semconv.CHAT,
    "message": semconv.CHAT,
    "messages": semconv.CHAT,
    "responses": semconv.CHAT,
    "aresponses": semconv.CHAT,
    "embedding": semconv.EMBEDDINGS,
    "aembedding": semconv.EMBEDDINGS,
    "atext_completion": semconv.TEXT_COMPLETION,
}

_PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
_REQUEST_MODEL = (REQUEST_MODEL,)
_RESPONSE_MODEL = ("gen_ai.response.model",)
_RESPONSE_ID = ("gen_ai.response.id",)
_FINISH = ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason")
# Where a span has several names of one count, the earlier line is believed.
COUNTS = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.prompt_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.completion_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cache_read",
    "gen_ai.usage.cache_read_input_tokens": "cache_read",
    "gen_ai.usage.details.cache_read_input_tokens": "cache_read",
    "gen_ai.usage.details.cache_read_tokens": "cache_read",
    "gen_ai.usage.cache_write.input_tokens": "cache_write",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write",
    "gen_ai.usage.cache_creation_input_tokens": "cache_write",
    "gen_ai.usage.details.cache_creation_input_tokens": "cache_write",
    "gen_ai.usage.details.cache_write_tokens": "cache_write",
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "gen_ai.usage.reasoning.output_tokens": "reasoning",
    "gen_ai.usage.reasoning_tokens": "reasoning",
    "gen_ai.usage.details.reasoning_tokens": "reasoning",
}
# Counts of other units, as pydantic-ai details them, and the tier that OpenAI answered at.
_UNITS = {
    "gen_ai.usage.details.input_audio_tokens": "audio_input",
    "gen_ai.usage.details.cache_audio_read_tokens": "audio_cache_read",
    "gen_ai.usage.details.output_audio_tokens": "audio_output",
    "gen_ai.usage.details.input_image_tokens": "image_input",
    "gen_ai.usage.details.output_image_tokens": "image_output",
    "gen_ai.usage.details.web_search_requests": "web_search",
    "gen_ai.usage.details.web_searches": "web_search",
}
_TIERS = frozenset(
    {"openai.response.service_tier", "gen_ai.openai.response.service_tier", "anthropic.response.service_tier"}
)
_TOLD_APART = _UNITS.keys() | _TIERS
_TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens")
_COST = ("operation.cost", "gen_ai.cost.total_cost", "gen_ai.usage.cost")
_TTFT = (
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
)
_IS_STREAM = ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming", "gen_ai.request.is_stream")
_ERROR = ("error.type",)
_INPUT = ("gen_ai.input.messages", "pydantic_ai.all_messages", "all_messages_events")
_OUTPUT = ("gen_ai.output.messages",)
_SYSTEM = ("gen_ai.system_instructions",)
_TOOL_INPUT = ("gen_ai.tool.call.arguments", "tool_arguments")
_TOOL_OUTPUT = ("gen_ai.tool.call.result", "tool_response")
_RESULT = ("final_result",)
# A schema of other attributes; repeats of what traceloop's entity attributes hold.
_DROPPED = ("logfire.json_schema", "gen_ai.task.input", "gen_ai.task.output")


@dataclass(frozen=True, slots=True)
class Names:
    """What `fill` looks for: of each field the names that it may have, most believed first."""

    provider: tuple[str, ...] = _PROVIDER
    request_model: tuple[str, ...] = _REQUEST_MODEL
    response_model: tuple[str, ...] = _RESPONSE_MODEL
    response_id: tuple[str, ...] = _RESPONSE_ID
    error: tuple[str, ...] = _ERROR
    input: tuple[str, ...] = _INPUT
    system: tuple[str, ...] = _SYSTEM
    output: tuple[str, ...] = _OUTPUT
    finish: tuple[str, ...] = _FINISH
    total: tuple[str, ...] = _TOTAL
    cost: tuple[str, ...] = _COST
    ttft: tuple[str, ...] = _TTFT
    is_stream: tuple[str, ...] = _IS_STREAM
    counts: tuple[str, ...] = tuple(COUNTS)
    # Tools, other units, tiers and repeats, in no order.
    others: frozenset[str] = frozenset(_TOOL_INPUT + _TOOL_OUTPUT + _RESULT + _DROPPED) | _TOLD_APART

    def all(self) -> frozenset[str]:
        """Each name that is taken, with the operation's."""
        return self.others.union({OPERATION}, *(getattr(self, name) for name in self.__slots__ if name != "others"))

    def among(self, names: Collection[str]) -> "Names":
        """Those of them that a span has."""
        fields = {field: tuple(name for name in getattr(self, field) if name in names) for field in self.__slots__[:-1]}
        return Names(**fields, others=self.others.intersection(names))


EVERY_NAME = Names()


def operation(name: str) -> str:
    return OPERATIONS.get(name, name)


def fill(attributes: Attributes, reading: Reading, of: Names | None = None) -> None:
    """Take what these names say (None: every one), for fields that are still unknown."""
    of = of or EVERY_NAME
    name = attributes.pop(OPERATION, None)
    if not reading.operation_name and isinstance(name, str):
        reading.operation_name = operation(name)
    if of.provider:
        reading.provider_name = reading.provider_name or take_text(attributes, of.provider)
    if of.request_model:
        reading.request_model = reading.request_model or take_text(attributes, of.request_model)
    if of.response_model:
        reading.response_model = reading.response_model or take_text(attributes, of.response_model)
    if of.response_id:
        reading.response_id = reading.response_id or take_text(attributes, of.response_id)
    if of.error:
        reading.error_type = reading.error_type or take_text(attributes, of.error)
    _fill_content(attributes, reading, of)
    if reading.is_call:
        _fill_call(attributes, reading, of)


def _fill_call(attributes: Attributes, reading: Reading, of: Names) -> None:
    if of.finish:
        reading.finish_reasons = reading.finish_reasons or take_texts(attributes, of.finish)
    _fill_usage(attributes, reading, of)
    if of.cost and reading.stated_cost_nanousd is None:
        reading.stated_cost_nanousd = take_usd(attributes, of.cost)
    if of.ttft and reading.ttft_ns is None:
        reading.ttft_ns = take_seconds(attributes, of.ttft)
    if of.is_stream:
        reading.is_stream = take(attributes, of.is_stream) in (True, "true") or reading.is_stream


def _fill_usage(attributes: Attributes, reading: Reading, of: Names) -> None:
    for name in of.counts:
        if name in attributes:
            found = take_count(attributes, (name,))
            if getattr(reading, COUNTS[name]) is None:
                setattr(reading, COUNTS[name], found)
    if of.others:
        _fill_apart(attributes, reading)
    if of.total and reading.total_tokens is None:
        reading.total_tokens = take_count(attributes, of.total)


def _fill_apart(attributes: Attributes, reading: Reading) -> None:
    for name in sorted(attributes.keys() & _TOLD_APART):
        if name in _TIERS:  # stays an attribute too: "default" tells as well
            reading.tier = reading.tier or tier_name(attributes[name])
        else:
            add_unit(reading, _UNITS[name], take_count(attributes, (name,)))


def _fill_content(attributes: Attributes, reading: Reading, of: Names) -> None:
    given = take(attributes, of.input) if of.input else None
    system = take(attributes, of.system) if of.system else None
    answer = take(attributes, of.output) if of.output else None
    if reading.input is None and (given is not None or system is not None):
        reading.input = messages.official(given, system, "user")
    if reading.output is None and answer is not None:
        reading.output = messages.official(answer, None, "assistant")
    if of.others:
        if not reading.is_call:
            _fill_tool(attributes, reading)
        for name in _DROPPED:
            attributes.pop(name, None)


def _fill_tool(attributes: Attributes, reading: Reading) -> None:
    arguments, result = take(attributes, _TOOL_INPUT), take(attributes, _TOOL_OUTPUT)
    if reading.input is None:
        reading.input = messages.normal(arguments, "tool")
    if reading.output is None:
        reading.output = messages.normal(result if result is not None else take(attributes, _RESULT), "assistant")


def fill_numbered(attributes: Attributes, reading: Reading) -> None:
    """`gen_ai.prompt.N.*` and `gen_ai.completion.N.*`, as traceloop wrote them up to 0.4x and litellm does."""
    prompts = take_nested(attributes, "gen_ai.prompt.")
    completions = take_nested(attributes, "gen_ai.completion.")
    if reading.input is None and prompts:
        reading.input = messages.normal(prompts, "user")
    if reading.output is None and completions:
        reading.output = messages.normal(completions, "assistant")
