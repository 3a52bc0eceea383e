"""Spans posted to the REST API as JSON: the names that the API answers with, as input.

A body is a list of spans, `{"spans": [...]}`, or one span. Each stands for itself: a wrong one is named by its position
and left out, the others are taken. The same span sent again is the same span (ids and start).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from llmobs.core import semconv
from llmobs.core.clock import ns_from_utc
from llmobs.ingest.entries import NativeSpans
from llmobs.ingest.otlp import messages, names
from llmobs.ingest.otlp.check import DAY_NS, DEFAULT_RETENTION_DAYS, fault
from llmobs.ingest.otlp.reading import Reading, usd
from llmobs.ingest.otlp.remains import tidy
from llmobs.ingest.otlp.tokens import normal_usage
from llmobs.ingest.otlp.wire import OtlpError
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

MOST_SPANS = 10_000
SCOPE = "llmobs.api"
_NS_PER_MS = 1_000_000
_INPUT_STATUSES = frozenset(semconv.STATUSES) - {semconv.REFUSED, semconv.ABANDONED}


class NativeError(OtlpError):
    """The body is no JSON list of spans."""


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why one item of a body was not taken."""

    position: int
    message: str


@dataclass(frozen=True, slots=True)
class NativeChecked:
    """How many spans of a body are taken, and what is wrong with the others."""

    span_count: int
    accepted_spans: int
    errors: list[ItemError]


class Item(msgspec.Struct):
    """One span as the API takes it. `end` or `duration_ms` says how long it took; unknown counts are left out.

    Other fields are ignored, so that what the API answered can be sent back.
    """

    trace_id: str
    span_id: str
    name: str
    start: datetime | int
    parent_span_id: str | None = None
    end: datetime | int | None = None
    duration_ms: float | None = None
    operation_name: str | None = None
    provider_name: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    finish_reasons: list[str] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation_1h_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    cost_usd: str | float | None = None
    ttft_ms: float | None = None
    is_stream: bool | None = None
    status: str | None = None
    error_type: str | None = None
    status_message: str | None = None
    attributes: dict[str, Any] | None = None
    input: Any = None
    output: Any = None
    service: str | None = None
    environment: str | None = None
    feature: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    prompt_version: str | None = None


def check(body: bytes, now_ns: int, retention_days: int = DEFAULT_RETENTION_DAYS) -> NativeChecked:
    """What of a body can be taken. Raises NativeError when it is no JSON list of spans."""
    entry = NativeSpans(tenant_id=0, key_id=0, received_ns=now_ns, body=body)
    taken = list(_spans(entry, Attribution(), retention_days))
    errors = [item for item in taken if isinstance(item, ItemError)]
    return NativeChecked(len(taken), len(taken) - len(errors), errors)


def decode(
    entry: NativeSpans, key_attribution: Attribution, retention_days: int = DEFAULT_RETENTION_DAYS
) -> list[Span]:
    """The spans of a checked body; what `check` named is left out."""
    return [span for span in _spans(entry, key_attribution, retention_days) if isinstance(span, Span)]


def _spans(entry: NativeSpans, key: Attribution, retention_days: int) -> Iterator[Span | ItemError]:
    oldest_ns, newest_ns = entry.received_ns - retention_days * DAY_NS, entry.received_ns + DAY_NS
    for position, raw in enumerate(_items(entry.body)):
        try:
            item = msgspec.json.decode(raw, type=Item)
            yield _span(item, entry.tenant_id, key, (oldest_ns, newest_ns))
        except (msgspec.DecodeError, RecursionError, ValueError, OverflowError) as error:
            # Our own sentences and msgspec's: they name fields and types, never contents.
            yield ItemError(position, str(error))


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        start = body.lstrip()[:1]
        if start == b"[":
            items = msgspec.json.decode(body, type=list[msgspec.Raw])
        elif start == b"{":
            whole = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            wrapped = whole.get("spans")
            items = [msgspec.Raw(body)] if wrapped is None else msgspec.json.decode(wrapped, type=list[msgspec.Raw])
        else:
            raise NativeError("the body is neither a JSON list of spans nor an object with `spans`")
    except (msgspec.DecodeError, RecursionError) as error:
        raise NativeError(f"the body is not JSON: {error}") from None
    if len(items) > MOST_SPANS:
        raise NativeError(f"{len(items)} spans in one body; at most {MOST_SPANS} are taken")
    return items


def _span(item: Item, tenant_id: int, key: Attribution, bounds: tuple[int, int]) -> Span:
    """Raises ValueError with what is wrong."""
    start_ns, end_ns = _times(item)
    trace_id, span_id = _id(item.trace_id, "trace_id"), _id(item.span_id, "span_id")
    parent = _id(item.parent_span_id, "parent_span_id") if item.parent_span_id else b""
    reason = fault((trace_id, span_id, parent, start_ns, end_ns), *bounds)
    if reason:
        raise ValueError(reason)
    reading = _reading(item)
    attributes = item.attributes or {}
    tidy(attributes, (), reading, start_ns)
    usage, is_partial = normal_usage(reading)
    status, error_type = _status(item)
    return Span(
        tenant_id=tenant_id,
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent or None,
        start_ns=start_ns,
        duration_ns=end_ns - start_ns,
        name=_label(item.name),
        source=semconv.SOURCE_NATIVE,
        attribution=_attribution(item, key),
        is_call=reading.is_call,
        operation_name=reading.operation_name,
        status=status,
        error_type=error_type,
        status_message=(item.status_message or "")[:2000].replace("\x00", ""),
        provider_name=reading.provider_name,
        request_model=_label(item.request_model),
        response_model=_label(item.response_model),
        response_id=_label(item.response_id),
        finish_reasons=tuple(_label(reason) for reason in (item.finish_reasons or ())[:16]),
        usage=usage,
        is_estimated=is_partial,
        stated_cost_nanousd=usd(item.cost_usd) if reading.is_call else None,
        ttft_ns=_milliseconds(item.ttft_ms, "ttft_ms"),
        is_stream=bool(item.is_stream),
        prompt_version=_label(item.prompt_version),
        scope_name=SCOPE,
        attributes=attributes,
        input=reading.input,
        output=reading.output,
    )


def _reading(item: Item) -> Reading:
    operation = _label(item.operation_name)
    has_model = bool(item.request_model or item.response_model)
    if not operation and has_model:
        operation = semconv.CHAT
    provider = names.provider(_label(item.provider_name))
    is_call = operation in semconv.CALL_OPERATIONS
    if is_call and not provider:
        provider = names.provider_of_model(item.response_model or item.request_model or "")
    reading = Reading(
        is_call=is_call,
        operation_name=operation,
        provider_name=provider,
        input_tokens=_tokens(item.input_tokens, "input_tokens"),
        output_tokens=_tokens(item.output_tokens, "output_tokens"),
        cache_read=_tokens(item.cache_read_input_tokens, "cache_read_input_tokens"),
        cache_write=_tokens(item.cache_creation_input_tokens, "cache_creation_input_tokens"),
        cache_write_1h=_tokens(item.cache_creation_1h_input_tokens, "cache_creation_1h_input_tokens"),
        reasoning=_tokens(item.reasoning_output_tokens, "reasoning_output_tokens"),
        input=messages.normal(item.input, "user"),
        output=messages.normal(item.output, "assistant"),
    )
    _refuse_parts_past_the_whole(reading)
    return reading


def _refuse_parts_past_the_whole(reading: Reading) -> None:
    """Here the sender is told: the API says that input includes cached tokens, and output reasoning."""
    cached = (reading.cache_read or 0) + (reading.cache_write or 0)
    if reading.input_tokens is not None and cached > reading.input_tokens:
        raise ValueError("input_tokens includes cached tokens, but is less than they are")
    if reading.output_tokens is not None and (reading.reasoning or 0) > reading.output_tokens:
        raise ValueError("output_tokens includes reasoning tokens, but is less than they are")


def _attribution(item: Item, key: Attribution) -> Attribution:
    return Attribution(
        service=_label(item.service) or key.service,
        environment=_label(item.environment) or key.environment,
        feature=_label(item.feature) or key.feature,
        user_id=_label(item.user_id) or key.user_id,
        session_id=_label(item.session_id) or key.session_id,
        key_id=key.key_id,
    )


def _status(item: Item) -> tuple[str, str]:
    error_type = _label(names.error(item.error_type or ""))
    status = item.status or (semconv.FAILED if error_type else semconv.OK)
    if status == "error":
        status = semconv.FAILED
    if status not in _INPUT_STATUSES:
        raise ValueError(f"status is none of {', '.join(sorted(_INPUT_STATUSES))}")
    if status == semconv.FAILED and error_type == "timeout":
        status = semconv.TIMED_OUT
    return status, error_type


def _times(item: Item) -> tuple[int, int]:
    start_ns = _instant(item.start, "start")
    if item.end is not None:
        return start_ns, _instant(item.end, "end")
    duration_ns = _milliseconds(item.duration_ms, "duration_ms")
    if duration_ns is None:
        raise ValueError("end or duration_ms is missing")
    return start_ns, start_ns + duration_ns


def _instant(at: datetime | int, field: str) -> int:
    """Nanoseconds since 1970, as which a bare number is taken too."""
    if isinstance(at, int):
        return at
    if at.tzinfo is None:
        raise ValueError(f"{field} has no time zone: write it like 2026-01-31T12:00:00Z")
    return ns_from_utc(at)


def _milliseconds(value: float | None, field: str) -> int | None:
    if value is None:
        return None
    if not 0 <= value <= 1e10:
        raise ValueError(f"{field} is no duration")
    return round(value * _NS_PER_MS)


def _tokens(value: int | None, field: str) -> int | None:
    if value is not None and not 0 <= value <= 1_000_000_000_000:
        raise ValueError(f"{field} is no count of tokens")
    return value


def _id(text: str, field: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{field} is not hex") from None


def _label(text: str | None) -> str:
    return (text or "")[:200].replace("\x00", "")
