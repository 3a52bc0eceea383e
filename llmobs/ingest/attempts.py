"""The gateway's calls and attempts: from journal entries to the spans that are written."""

from typing import Any

from llmobs.core import semconv
from llmobs.ingest.entries import Begin, Called, End, Refused
from llmobs.ingest.messages import request_messages, response_messages
from llmobs.spans.record import Span

MOST_MESSAGE_CHARACTERS = 1000


def ended_span(begin: Begin, end: End) -> Span:
    """An attempt that ended, however it did. Its cost was computed where its usage was first known."""
    span = _begun(begin)
    span.parent_span_id = end.call_span_id or begin.parent_span_id
    span.duration_ns = end.duration_ns
    span.ttft_ns = end.ttft_ns
    span.status = end.status
    span.error_type = end.error_type
    span.response_model = end.response_model
    span.response_id = end.response_id
    span.finish_reasons = tuple(end.finish_reasons)
    span.usage = end.usage
    span.is_estimated = end.is_estimated
    span.cost_nanousd = end.cost_nanousd if end.usage is not None else None
    span.price_version = end.price_version or begin.price_version
    span.stated_cost_nanousd = end.stated_nanousd
    span.input = request_messages(end.request_body)
    span.output = response_messages(end.response_body)
    if end.http_status:
        span.attributes["http.response.status_code"] = end.http_status
    if end.degraded:
        span.attributes["llmobs.degraded"] = end.degraded
        if span.status == semconv.OK:
            span.status = semconv.DEGRADED
    if end.is_truncated:
        span.attributes["llmobs.content_truncated"] = True
    return span


def abandoned_span(begin: Begin, now_ns: int) -> Span:
    """An attempt whose process died: billed at its hold, since nobody knows what the provider charged."""
    span = _begun(begin)
    span.duration_ns = max(0, now_ns - begin.start_ns) if now_ns - begin.start_ns < 600 * 10**9 else 0
    span.status = semconv.ABANDONED
    span.error_type = "abandoned"
    span.status_message = "The gateway died while this call was running; billed at the hold."
    span.usage = begin.held_usage
    span.is_estimated = True
    span.cost_nanousd = begin.held_nanousd if begin.held_usage is not None else None
    return span


def refused_span(refused: Refused) -> Span:
    """A call that we refused: it bears no bill, and counts as one refused request."""
    attributes: dict[str, Any] = {"llmobs.reason": refused.reason}
    attributes |= {f"llmobs.refusal.{name}": value for name, value in refused.details.items()}
    return Span(
        tenant_id=refused.tenant_id,
        trace_id=refused.trace_id,
        span_id=refused.span_id,
        parent_span_id=refused.parent_span_id,
        start_ns=refused.start_ns,
        duration_ns=refused.duration_ns,
        name=refused.name,
        source=semconv.SOURCE_GATEWAY,
        attribution=refused.attribution,
        is_call=True,
        operation_name=refused.operation_name,
        status=semconv.REFUSED,
        error_type=refused.reason,
        status_message=refused.message[:MOST_MESSAGE_CHARACTERS],
        provider_name=refused.provider_name,
        request_model=refused.request_model,
        prompt_version=refused.prompt_version,
        attributes=attributes,
    )


def called_span(called: Called) -> Span:
    """A call's own span. With attempts it only holds them together; without, it is a request that cost nothing.

    What came out of the cache is no call to the provider whose answer it was: that one's figures are its own.
    """
    attributes: dict[str, Any] = {"llmobs.attempts": called.attempts, "llmobs.cache": called.cache}
    if called.request_model != called.model:
        attributes["llmobs.requested_model"] = called.request_model
    if called.provider_name and not called.attempts:
        attributes["llmobs.cached_provider"] = called.provider_name
    if called.failed_attempts:
        attributes["llmobs.failed_attempts"] = called.failed_attempts
    if called.degraded:
        attributes["llmobs.degraded"] = called.degraded
    if called.saved_nanousd is not None or called.saved_output_tokens:
        attributes["llmobs.saved_input_tokens"] = called.saved_input_tokens
        attributes["llmobs.saved_output_tokens"] = called.saved_output_tokens
        attributes["llmobs.saved_nanousd"] = called.saved_nanousd
    if called.is_truncated:
        attributes["llmobs.content_truncated"] = True
    return Span(
        tenant_id=called.tenant_id,
        trace_id=called.trace_id,
        span_id=called.span_id,
        parent_span_id=called.parent_span_id,
        start_ns=called.start_ns,
        duration_ns=called.duration_ns,
        ttft_ns=called.ttft_ns,
        name=called.name,
        source=semconv.SOURCE_GATEWAY,
        attribution=called.attribution,
        is_call=called.attempts == 0,
        operation_name=called.operation_name,
        status=called.status,
        error_type=called.error_type,
        status_message=called.message[:MOST_MESSAGE_CHARACTERS],
        provider_name=called.provider_name if called.attempts else "",
        request_model=called.model or called.request_model,
        response_id=called.response_id,
        finish_reasons=tuple(called.finish_reasons),
        cost_nanousd=0 if called.attempts == 0 else None,
        is_stream=called.is_stream,
        prompt_version=called.prompt_version,
        attributes=attributes,
        input=request_messages(called.request_body),
        output=response_messages(called.response_body),
    )


def _begun(begin: Begin) -> Span:
    attributes: dict[str, Any] = {"llmobs.dialect": begin.dialect}
    if begin.request_model != begin.model:
        attributes["llmobs.requested_model"] = begin.request_model  # the route's name, as the client said it
    if begin.number > 1:
        attributes["llmobs.attempt"] = begin.number
    if begin.client:
        attributes["user_agent.original"] = begin.client
    return Span(
        tenant_id=begin.tenant_id,
        trace_id=begin.trace_id,
        span_id=begin.attempt,
        parent_span_id=begin.parent_span_id,
        start_ns=begin.start_ns,
        duration_ns=0,
        name=begin.name,
        source=semconv.SOURCE_GATEWAY,
        attribution=begin.attribution,
        is_call=True,
        operation_name=begin.operation_name,
        provider_name=begin.provider_name,
        request_model=begin.model,
        held_nanousd=begin.unpriced_nanousd if begin.held_nanousd is None else begin.held_nanousd,
        price_version=begin.price_version,
        is_stream=begin.is_stream,
        prompt_version=begin.prompt_version,
        attributes=attributes,
    )
