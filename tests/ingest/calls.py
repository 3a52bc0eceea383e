"""Calls as the gateway journals them, made into spans: several attempts, hits of the cache, last resorts."""

from dataclasses import replace
from typing import Any

from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.ingest.attempts import called_span, ended_span
from llmobs.ingest.entries import Called
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import START_NS, begin, end

WHO = Attribution(feature="support", user_id="user-1", key_id=7)
SECOND = 1_000_000_000


def called(tenant_id: int = 1, **changes: Any) -> Called:
    """A call's own entry: by default of two attempts, the second of which answered."""
    values: dict[str, Any] = {
        "span_id": new_span_id(),
        "trace_id": new_trace_id(),
        "parent_span_id": None,
        "tenant_id": tenant_id,
        "attribution": WHO,
        "start_ns": START_NS,
        "duration_ns": SECOND,
        "ttft_ns": None,
        "name": "chat smart",
        "operation_name": "chat",
        "provider_name": "openai",
        "request_model": "smart",
        "model": "gpt-4o-mini",
        "is_stream": False,
        "status": "degraded",
        "error_type": "",
        "message": "",
        "attempts": 2,
        "degraded": "fallback",
        "cache": "off",
        "saved_input_tokens": 0,
        "saved_output_tokens": 0,
        "saved_nanousd": None,
        "response_id": "",
        "finish_reasons": [],
        "request_body": b"",
        "response_body": b"",
        "is_truncated": False,
        "prompt_version": "",
        "findings": [],
        "failed_attempts": 1,
    }
    return Called(**{**values, **changes})


def attempt(of: Called, number: int, **changes: Any) -> Span:
    """An attempt of that call: by default one that answered at gpt-4o-mini."""
    at = {"start_ns": of.start_ns + number * 1_000_000, "number": number, "tenant_id": of.tenant_id}
    named = {name: changes.pop(name) for name in ("provider_name", "model") if name in changes}
    begun = begin(**at, trace_id=of.trace_id, attribution=of.attribution, request_model=of.request_model, **named)
    if "usage" in changes and changes["usage"] is None:
        changes = {"cost_nanousd": None, **changes}
    return ended_span(begun, replace_end(end(begun), call_span_id=of.span_id, **changes))


def replace_end(entry: Any, **changes: Any) -> Any:
    """An End with other fields."""
    return type(entry)(**{**{name: getattr(entry, name) for name in entry.__struct_fields__}, **changes})


def fallen_back(tenant_id: int = 1, **changes: Any) -> list[Span]:
    """A call that failed at anthropic and was answered by openai: its own span first."""
    own = called(tenant_id, **changes)
    failed = {
        "status": "failed",
        "error_type": "overloaded_error",
        "http_status": 529,
        "usage": None,
        "response_model": "",
    }
    first = attempt(own, 1, provider_name="anthropic", model="claude-sonnet-4-5", response_id="", **failed)
    return [called_span(own), first, attempt(own, 2)]


def given_up(tenant_id: int = 1, **changes: Any) -> list[Span]:
    """A call that failed twice."""
    own = called(tenant_id, status="failed", error_type="provider_error", degraded="", failed_attempts=2, **changes)
    failed = {
        "status": "failed",
        "error_type": "overloaded_error",
        "http_status": 529,
        "usage": None,
        "response_model": "",
    }
    return [called_span(own), *(attempt(own, number, response_id="", **failed) for number in (1, 2))]


def hit(tenant_id: int = 1, **changes: Any) -> Span:
    """A call that was answered out of the cache: it saved 4,000 nano-USD."""
    saved = {"saved_input_tokens": 40, "saved_output_tokens": 20, "saved_nanousd": 4000}
    values: dict[str, Any] = {"status": "ok", "attempts": 0, "degraded": "", "failed_attempts": 0, "cache": "hit-exact"}
    return called_span(called(tenant_id, **{**values, **saved, "response_id": new_span_id().hex(), **changes}))


def stream(tenant_id: int = 1, output: int = 50, streaming_ms: int = 500, **changes: Any) -> Span:
    """A stream of so many tokens, which took so long after its first."""
    begun = begin(tenant_id, attribution=WHO, is_stream=True)
    usage = Usage(uncached_input=40, output=output)
    times = {"ttft_ns": 200_000_000, "duration_ns": 200_000_000 + streaming_ms * 1_000_000}
    return replace(ended_span(begun, replace_end(end(begun), **times)), usage=usage, **changes)
