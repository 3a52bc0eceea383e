"""Flips: a call that counted and no longer does, or the other way round, because of a claim that came later.

A bill is never edited. Who stops counting gets a reversal, who begins gets a bill; the span's row says so too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from msgspec.structs import replace

from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.ingest.count_once import ClaimInfo
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.versions import rates_by_version
from llmobs.spans.bill import Bill, bill_of, reversal_of
from llmobs.spans.record import Span, usage_of_row
from llmobs.tenants.attribution import Attribution

COUNTED_ELSEWHERE = "the same call is counted by a better report"
COUNTED_AFTER_ALL = "the report that counted instead no longer does"

Connection = psycopg.Connection[Any]


def _not_loaded() -> Span:
    return Span(0, b"", b"", None, 0, 0, "", 0)


@dataclass(slots=True)
class Flip:
    """A stored claim whose fate changes. `calls`: 1 counts from now on, -1 no longer. `bill_id`: its bill so far."""

    tenant_id: int
    claim: ClaimInfo
    calls: int
    bill_id: int | None
    span: Span = field(default_factory=_not_loaded)


def load_flips(conn: Connection, flips: Iterable[Flip]) -> list[Flip]:
    """Complete each with its stored span, with the cost that it bears or bore. Claims without a span are left out."""
    found = []
    for flip in sorted(flips, key=lambda f: (f.tenant_id, f.claim.trace_id, f.claim.span_id)):
        span = _load_span(conn, flip)
        if span is not None:
            flip.span = span
            found.append(flip)
    return _priced(conn, found)


def write_flips(conn: Connection, flips: list[Flip]) -> list[Bill]:
    """Mark spans and claims; answers the bills and reversals to write. Commits nothing itself."""
    bills: list[Bill] = []
    for flip in flips:
        bill = _bill(conn, flip)
        if bill is not None:
            bills.append(bill)
        counts = flip.calls > 0
        key = (flip.tenant_id, flip.claim.trace_id, flip.claim.span_id)
        conn.execute(
            "UPDATE span SET is_counted = %s, cost_nanousd = %s "
            "WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s",
            (counts, flip.span.cost_nanousd if counts else None, *key, utc_from_ns(flip.claim.start_ns)),
        )
        conn.execute(
            "UPDATE claim SET is_counted = %s, bill_id = %s WHERE tenant_id = %s AND trace_id = %s AND span_id = %s",
            (counts, bill.bill_id if bill and counts else None, *key),
        )
    return bills


def _bill(conn: Connection, flip: Flip) -> Bill | None:
    if flip.span.usage is None:
        return None
    if flip.calls > 0:
        return bill_of(flip.span, new_row_id(), COUNTED_AFTER_ALL)
    billed = replace(bill_of(flip.span, 0), bill_id=flip.bill_id or 0)
    return reversal_of(billed, new_row_id(), COUNTED_ELSEWHERE)


def _priced(conn: Connection, flips: list[Flip]) -> list[Flip]:
    """A call that begins to count gets the cost by the price version it was seen with."""
    beginning = [flip for flip in flips if flip.calls > 0 and flip.span.usage is not None]
    versions = sorted({flip.span.price_version for flip in beginning if flip.span.price_version})
    prices: dict[str, Price] = rates_by_version(conn, versions) if versions else {}
    for flip in beginning:
        price = prices.get(flip.span.price_version)
        assert flip.span.usage is not None
        flip.span.cost_nanousd = cost(flip.span.usage, price) if price else None
    return flips


_COLUMNS = (
    "start, duration_ns, name, source, status, error_type, is_estimated, provider_name, request_model, response_model, "
    "response_id, input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, "
    "cache_creation_1h_input_tokens, reasoning_output_tokens, cost_nanousd, price_version, held_nanousd, ttft_ns, "
    "is_stream, attributes, prompt_version, service, environment, feature, user_id, session_id, key_id"
)


def _load_span(conn: Connection, flip: Flip) -> Span | None:
    """What bills and roll-ups need of it."""
    row = conn.execute(
        f"SELECT {_COLUMNS} FROM span WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s",  # noqa: S608
        (flip.tenant_id, flip.claim.trace_id, flip.claim.span_id, utc_from_ns(flip.claim.start_ns)),
    ).fetchone()
    if row is None:
        return None
    (start, duration_ns, name, source, status, error_type, is_estimated, provider, asked, answered, response_id,
     given, output, read, creation, creation_1h, reasoning, nanousd, version, held, ttft_ns, is_stream, attributes,
     prompt_version, *who) = row  # fmt: skip
    usage = None
    if given is not None:
        classes = (given - read - creation, read, creation - creation_1h, creation_1h, output, reasoning)
        usage = usage_of_row(classes, attributes)
    return Span(
        tenant_id=flip.tenant_id,
        trace_id=flip.claim.trace_id,
        span_id=flip.claim.span_id,
        parent_span_id=flip.claim.parent_span_id,
        start_ns=ns_from_utc(start),
        duration_ns=duration_ns,
        name=name,
        source=source,
        attribution=Attribution(*who),
        is_call=True,
        status=status,
        error_type=error_type,
        provider_name=provider,
        request_model=asked,
        response_model=answered,
        response_id=response_id,
        usage=usage,
        is_estimated=is_estimated,
        cost_nanousd=nanousd,
        price_version=version,
        held_nanousd=held,
        ttft_ns=ttft_ns,
        is_stream=is_stream,
        attributes=attributes,
        prompt_version=prompt_version,
    )
