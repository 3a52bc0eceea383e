"""Native spans: the JSON that the REST API's `POST traces/` takes, into our vocabulary.

`{"spans": [...]}`; ids are hexadecimal, times ISO 8601 with an offset, or nanoseconds since 1970, `duration_ms` a
number. Tokens follow OpenTelemetry: `input_tokens` includes what was read from and written to a cache. Usage that is
not given is unknown, never zero.
"""

from datetime import datetime
from typing import Any

import msgspec

from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from llmobs.ingest.entries import NativeSpans
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

DAY_NS = 86_400 * NS_PER_SECOND
MOST_SPANS = 1000  # of one request
_MOST_TOKENS = 10**12  # no call has more; a sum of a billion such still fits PostgreSQL's bigint


class NativeError(ValueError):
    """The body is not what `POST traces/` takes. The message names the field, not its content."""


class NativeSpan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One span as posted. `input` and `output`: text, or a list of messages."""

    trace_id: str
    span_id: str
    name: str
    start: datetime | int
    duration_ms: float = 0.0
    parent_span_id: str | None = None
    operation_name: str = ""
    provider_name: str = ""
    request_model: str = ""
    response_model: str = ""
    response_id: str = ""
    finish_reasons: list[str] = []
    status: str = semconv.OK
    error_type: str = ""
    status_message: str = ""
    ttft_ms: float | None = None
    is_stream: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    reasoning_output_tokens: int = 0
    service: str = ""
    environment: str = ""
    feature: str = ""
    user_id: str = ""
    session_id: str = ""
    prompt_version: str = ""
    attributes: dict[str, Any] = {}
    input: str | list[Any] | None = None
    output: str | list[Any] | None = None


class NativeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is posted."""

    spans: list[NativeSpan]


_decoder = msgspec.json.Decoder(NativeBody)


def check_native(body: bytes, now_ns: int, retention_days: int) -> int:
    """How many spans the body holds, all of them fit to be written; raises NativeError with the first fault."""
    try:
        spans = _decoder.decode(body).spans
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NativeError(str(error)) from None
    if len(spans) > MOST_SPANS:
        raise NativeError(f"{len(spans)} spans at once; send at most {MOST_SPANS}")
    for index, span in enumerate(spans):
        fault = _fault(span, now_ns, retention_days)
        if fault:
            raise NativeError(f"spans[{index}]: {fault}")
    return len(spans)


def decode_native(entry: NativeSpans, key: Attribution) -> list[Span]:
    """The spans of a checked body. Raises msgspec.DecodeError if it does not parse."""
    return [_span(span, entry.tenant_id, key) for span in _decoder.decode(entry.body).spans]


def _fault(span: NativeSpan, now_ns: int, retention_days: int) -> str:
    if _id(span.trace_id, 16) is None or _id(span.span_id, 8) is None:
        return "trace_id is 32 and span_id 16 hexadecimal digits, not all zero"
    if span.parent_span_id and _id(span.parent_span_id, 8) is None:
        return "parent_span_id is 16 hexadecimal digits"
    if isinstance(span.start, datetime) and span.start.tzinfo is None:
        return "start has no offset; write 2026-01-31T12:00:00Z"
    if not now_ns - retention_days * DAY_NS <= _start_ns(span) <= now_ns + DAY_NS:
        return f"start is older than {retention_days} days or more than a day ahead"
    if not 0 <= span.duration_ms <= 86_400_000 or not 0 <= (span.ttft_ms or 0) <= 86_400_000:
        return "duration_ms and ttft_ms are between 0 and a day"
    if span.status not in semconv.STATUSES:
        return f"status is one of {', '.join(semconv.STATUSES)}"
    counts = (
        span.input_tokens or 0,
        span.output_tokens or 0,
        span.cache_read_input_tokens,
        span.cache_creation_input_tokens,
        span.reasoning_output_tokens,
    )
    if any(not 0 <= count <= _MOST_TOKENS for count in counts):
        return "token counts are between 0 and 10**12"
    return ""


def _id(text: str, length: int) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) == length and any(raw) else None


def _start_ns(span: NativeSpan) -> int:
    return ns_from_utc(span.start) if isinstance(span.start, datetime) else span.start


def _span(span: NativeSpan, tenant_id: int, key: Attribution) -> Span:
    return Span(
        tenant_id=tenant_id,
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_span_id) if span.parent_span_id else None,
        start_ns=_start_ns(span),
        duration_ns=round(span.duration_ms * 1_000_000),
        name=span.name,
        source=semconv.SOURCE_NATIVE,
        attribution=Attribution(
            span.service or key.service,
            span.environment or key.environment,
            span.feature or key.feature,
            span.user_id,
            span.session_id,
            key.key_id,
        ),
        is_call=span.operation_name in semconv.CALL_OPERATIONS,
        operation_name=span.operation_name,
        status=span.status,
        error_type=span.error_type,
        status_message=span.status_message,
        provider_name=span.provider_name,
        request_model=span.request_model,
        response_model=span.response_model,
        response_id=span.response_id,
        finish_reasons=tuple(span.finish_reasons),
        usage=_usage(span),
        ttft_ns=None if span.ttft_ms is None else round(span.ttft_ms * 1_000_000),
        is_stream=span.is_stream,
        prompt_version=span.prompt_version,
        attributes=span.attributes,
        input=_messages(span.input, "user"),
        output=_messages(span.output, "assistant"),
    )


def _usage(span: NativeSpan) -> Usage | None:
    if span.input_tokens is None and span.output_tokens is None:
        return None
    cached = span.cache_read_input_tokens + span.cache_creation_input_tokens
    # A total below its parts cannot include them (some libraries leave cached tokens out).
    given = span.input_tokens or 0
    return Usage(
        uncached_input=given - cached if given >= cached else given,
        cache_read=span.cache_read_input_tokens,
        cache_write_5m=span.cache_creation_input_tokens,
        output=span.output_tokens or 0,
        reasoning=min(span.reasoning_output_tokens, span.output_tokens or 0),
    )


def _messages(content: str | list[Any] | None, role: str) -> str | None:
    if content is None:
        return None
    if isinstance(content, str):
        content = [{"role": role, "parts": [{"type": "text", "content": content}]}]
    return msgspec.json.encode(content).decode()
