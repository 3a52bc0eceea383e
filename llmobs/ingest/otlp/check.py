"""The collector's look at a traces request before it is journalled: does it parse, and which spans cannot be.

The gateway loads this: neither Django nor an adapter may be imported here.
"""

from collections import Counter
from dataclasses import dataclass

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llmobs.core.clock import NS_PER_SECOND
from llmobs.ingest.otlp.wire import JSON, Identity, OtlpError, UnknownContentType, identities, media_type

__all__ = ["Checked", "OtlpError", "UnknownContentType", "check", "fault"]

DAY_NS = 86_400 * NS_PER_SECOND
DEFAULT_RETENTION_DAYS = 400

_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)


@dataclass(frozen=True, slots=True)
class Checked:
    """How many spans the body holds, how many of them cannot be, and the answer to send with status 200."""

    span_count: int
    rejected_spans: int
    error_message: str
    content_type: str
    response: bytes

    @property
    def accepted_spans(self) -> int:
        return self.span_count - self.rejected_spans


def check(body: bytes, content_type: str, now_ns: int, retention_days: int = DEFAULT_RETENTION_DAYS) -> Checked:
    """Parse a decompressed OTLP traces request and name what is wrong with its spans.

    Raises OtlpError (UnknownContentType: 415, else 400) when it does not parse.
    """
    kind = media_type(content_type)
    oldest_ns, newest_ns = now_ns - retention_days * DAY_NS, now_ns + DAY_NS
    span_count = 0
    faults: Counter[str] = Counter()
    for identity in identities(body, kind):
        span_count += 1
        reason = fault(identity, oldest_ns, newest_ns)
        if reason:
            faults[reason] += 1
    rejected = faults.total()
    message = _sentence(span_count, rejected, faults) if rejected else ""
    return Checked(span_count, rejected, message, kind, _response(kind, rejected, message))


def fault(identity: Identity, oldest_ns: int, newest_ns: int) -> str:
    """Why a span with these ids and times cannot be; "" if it can."""
    trace_id, span_id, parent_span_id, start_ns, end_ns = identity
    if len(trace_id) != 16 or trace_id == _NO_TRACE:
        return "trace id is not 16 bytes or all zero"
    if len(span_id) != 8 or span_id == _NO_SPAN:
        return "span id is not 8 bytes or all zero"
    if parent_span_id and len(parent_span_id) != 8:
        return "parent span id is not 8 bytes"
    if oldest_ns <= start_ns <= end_ns <= newest_ns:
        return ""
    return _time_fault(start_ns, end_ns, oldest_ns, newest_ns)


def _time_fault(start_ns: int, end_ns: int, oldest_ns: int, newest_ns: int) -> str:
    if start_ns <= 0 or end_ns <= 0:
        return "start or end is missing"
    if start_ns < oldest_ns:
        return "started before the retention period"
    if max(start_ns, end_ns) > newest_ns:
        return "lies more than a day in the future"
    return "ends before it starts"


def _sentence(span_count: int, rejected: int, faults: Counter[str]) -> str:
    reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(faults.items()))
    return f"{rejected} of {span_count} spans rejected: {reasons}"


def _response(kind: str, rejected: int, message: str) -> bytes:
    """An ExportTraceServiceResponse in the caller's content type; empty when nothing was rejected."""
    if kind == JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}} if rejected else {}
        return msgspec.json.encode(partial)
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = message
    return bytes(response.SerializeToString())
