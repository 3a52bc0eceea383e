"""The record of a span, whatever way it came in: what `ingest.commit.commit_batch` takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.pricing.usage import Usage, stored_usage
from llmobs.tenants.attribution import Attribution

# Where a stored span keeps what its columns do not: what its usage counts besides text tokens, and its tier.
UNITS = "llmobs.units"
TIER = "llmobs.tier"


@dataclass(slots=True)
class Span:
    """One span in our vocabulary. Ids are raw bytes (16 and 8), times integer nanoseconds since 1970.

    `usage` None is unknown, never zero. `cost_nanousd` None is unpriced or not known. `input` and
    `output` are JSON texts of messages (a list of `{"role", "parts"}`), or None where none was sent.
    """

    tenant_id: int
    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    start_ns: int
    duration_ns: int
    name: str
    source: int
    attribution: Attribution = Attribution()  # noqa: RUF009 (frozen)
    is_call: bool = False
    operation_name: str = ""
    status: str = "ok"
    error_type: str = ""
    status_message: str = ""
    provider_name: str = ""
    request_model: str = ""
    response_model: str = ""
    response_id: str = ""
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    is_estimated: bool = False
    cost_nanousd: int | None = None
    price_version: str = ""
    stated_cost_nanousd: int | None = None
    held_nanousd: int = 0
    ttft_ns: int | None = None
    is_stream: bool = False
    prompt_version: str = ""
    scope_name: str = ""
    scope_version: str = ""
    adapter: int = 0  # which one read it, and in which version (ingest.otlp.adapters); 0: none had to
    remarks: tuple[str, ...] = ()  # what it could not explain, put right or doubts (ingest.otlp.remarks); metered alone
    attributes: dict[str, Any] = field(default_factory=dict)
    input: str | None = None
    output: str | None = None

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns

    @property
    def model(self) -> str:
        """The model that is priced and shown: who answered, else who was asked.

        Of our own gateway's calls it is the one that was sent upstream: it was priced and held before any answer.
        """
        if self.source == SOURCE_GATEWAY:
            return self.request_model or self.response_model
        return self.response_model or self.request_model


def stored_attributes(span: Span) -> dict[str, Any]:
    """The attributes as they are stored: with what the columns do not say of the usage."""
    usage, attributes = span.usage, span.attributes
    if UNITS in attributes or TIER in attributes:  # a sender's own: these names are ours
        attributes = {name: value for name, value in attributes.items() if name not in (UNITS, TIER)}
    if usage is None or not (usage.units or usage.tier):
        return attributes
    return attributes | stored_units(span)


def stored_units(span: Span) -> dict[str, Any]:
    """What the columns do not say of the usage, under the names that it is stored by."""
    if span.usage is None:
        return {}
    units = {UNITS: dict(span.usage.units)} if span.usage.units else {}
    return units | ({TIER: span.usage.tier} if span.usage.tier else {})


def usage_of_row(classes: Sequence[int], attributes: Mapping[str, Any]) -> Usage:
    """The usage of a stored span: its six classes, and what its attributes say besides."""
    return stored_usage(classes, attributes.get(UNITS), attributes.get(TIER, ""))
