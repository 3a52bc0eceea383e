"""Spans that are there already: copies within a batch, and what is known by its ids, whatever else it says."""

from hashlib import sha256
from typing import Any

import psycopg

from llmobs.core.clock import utc_from_ns
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.ingest.claims import Related
from llmobs.ingest.count_once import claim_of, has_claim
from llmobs.spans.record import Span

Connection = psycopg.Connection[Any]
SpanKey = tuple[int, bytes, bytes]  # tenant, trace, span


def without_copies(spans: list[Span]) -> list[Span]:
    """The first of each span in the batch, the gateway's before any report; counting happens after this."""
    seen: dict[SpanKey, Span] = {}
    for span in sorted(spans, key=lambda span: span.source != SOURCE_GATEWAY):
        seen.setdefault((span.tenant_id, span.trace_id, span.span_id), span)
    return list(seen.values())


def is_new(span: Span, related: Related) -> bool:
    known = related.claims.get((span.trace_id, span.span_id))
    return known is None or _moves_aside(span, known.info.source, related)


def _moves_aside(span: Span, known_source: int, related: Related) -> bool:
    """Whether a span whose ids are known is stored all the same: the gateway's own, whose ids a report took first.

    Callers see those ids while the call runs; what they report by them must not take the place of its bill. It goes
    under a trace of its own, the same one each time, so that it is known when it comes again.
    """
    if span.source != SOURCE_GATEWAY or known_source == SOURCE_GATEWAY:
        return False
    span.attributes["llmobs.trace_id"] = span.trace_id.hex()
    span.trace_id = sha256(span.trace_id + span.span_id).digest()[:16]
    span.parent_span_id = None
    if has_claim(span):
        related.own[span.trace_id, span.span_id] = claim_of(span)
    return True


def without_known(conn: Connection, spans: list[Span], related: dict[int, Related]) -> list[Span]:
    """Those that are not stored yet. (Calls are known by their claims; this also finds spans that are no calls.)"""
    columns: tuple[list[Any], ...] = ([], [], [], [])
    for span in spans:
        for column, value in zip(
            columns, (span.tenant_id, span.trace_id, span.span_id, utc_from_ns(span.start_ns)), strict=True
        ):
            column.append(value)
    known = {
        (tenant_id, bytes(trace_id), bytes(span_id)): source
        for tenant_id, trace_id, span_id, source in conn.execute(
            "SELECT s.tenant_id, s.trace_id, s.span_id, s.source "
            "FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[], %s::timestamptz[]) AS k (tenant_id, trace_id, "
            "span_id, start) JOIN span s USING (tenant_id, trace_id, span_id, start)",
            columns,
        )
    }
    return [
        span
        for span in spans
        if (source := known.get((span.tenant_id, span.trace_id, span.span_id))) is None
        or _moves_aside(span, source, related[span.tenant_id])
    ]
