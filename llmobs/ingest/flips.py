"""Flips: a call that counted and no longer does, or the other way round, because of a claim that came later.

A bill is never edited. Who stops counting gets a reversal, who begins gets a bill; the span's row says so too. What a
re-pricing has added to a bill is taken back in the name of that re-pricing, so that its undoing finds nothing to undo.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from msgspec.structs import replace

from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.ingest.count_once import ClaimInfo
from llmobs.ingest.repricing_reasons import taken_back
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.stated import is_stated
from llmobs.pricing.usage import Usage
from llmobs.pricing.versions import rates_by_version
from llmobs.spans.bill import ADJUSTMENT, Bill, bill_of, reversal_of
from llmobs.spans.details import Place, details_at
from llmobs.spans.record import Span, usage_of_row
from llmobs.tenants.attribution import Attribution

COUNTED_ELSEWHERE = "the same call is counted by a better report"
COUNTED_AFTER_ALL = "the report that counted instead no longer does"

Connection = psycopg.Connection[Any]


def _not_loaded() -> Span:
    return Span(0, b"", b"", None, 0, 0, "", 0)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What one re-pricing has changed of a bill. `gained` 1: it gave the call its first price."""

    repricing_id: int
    nanousd: int
    gained: int
    price_version: str


@dataclass(slots=True)
class Flip:
    """A stored claim whose fate changes. `calls`: 1 counts from now on, -1 no longer. `bill_id`: its bill so far."""

    tenant_id: int
    claim: ClaimInfo
    calls: int
    bill_id: int | None
    span: Span = field(default_factory=_not_loaded)
    adjusted: list[Adjusted] = field(default_factory=list)


def load_flips(conn: Connection, flips: Iterable[Flip]) -> list[Flip]:
    """Complete each with its stored span, with the cost that it bears or bore. Claims without a span are left out."""
    found = []
    for flip in sorted(flips, key=lambda f: (f.tenant_id, f.claim.trace_id, f.claim.span_id)):
        span = _load_span(conn, flip)
        if span is not None:
            flip.span = span
            flip.adjusted = _load_adjusted(conn, flip) if flip.calls < 0 else []
            found.append(flip)
    return _priced(conn, found)


def write_flips(conn: Connection, flips: list[Flip]) -> list[Bill]:
    """Mark spans and claims; answers the bills and reversals to write. Commits nothing itself."""
    bills: list[Bill] = []
    for flip in flips:
        bill = _bill(conn, flip)
        if bill is not None:
            bills += [bill, *_take_back(bill, flip)]
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
        _show_adjusted(flip)
    return bills


def _show_adjusted(flip: Flip) -> None:
    """What the sums counted of it, for who takes it back from them."""
    for each in flip.adjusted:
        flip.span.cost_nanousd = (flip.span.cost_nanousd or 0) + each.nanousd


def _take_back(reversal: Bill, flip: Flip) -> list[Bill]:
    """Adjustments that leave nothing of the adjustments; the reversal is of the bill as it was first."""
    taken: list[Bill] = []
    for each in flip.adjusted:
        bill = replace(
            reversal,
            bill_id=new_row_id(),
            kind=ADJUSTMENT,
            reason=taken_back(each.repricing_id),
            requests=0,
            usage=Usage(),
            cost_nanousd=-each.nanousd,
            price_version=each.price_version,
            held_nanousd=0,
        )
        if each.gained:  # it stood as a bill anew, and as the taking back of one without price
            taken.append(replace(bill, requests=-1, usage=reversal.usage))
            bill = replace(
                bill,
                bill_id=new_row_id(),
                requests=1,
                usage=reversal.usage.negated(),
                cost_nanousd=None,
                held_nanousd=-reversal.held_nanousd,
            )
        taken.append(bill)
    return taken


def _load_adjusted(conn: Connection, flip: Flip) -> list[Adjusted]:
    rows = conn.execute(
        "SELECT substring(reason from '^re-pricing ([0-9]+)')::bigint AS id, "
        "COALESCE(sum(cost_nanousd), 0)::bigint, "
        "-COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0)::integer, "
        "(array_agg(price_version ORDER BY bill_id DESC))[1] FROM bill WHERE tenant_id = %s AND trace_id = %s "
        "AND span_id = %s AND begin_at = %s AND kind = 'adjustment' AND reason LIKE 're-pricing %%' "
        "GROUP BY 1 HAVING sum(cost_nanousd) <> 0 OR sum(requests) FILTER (WHERE cost_nanousd IS NULL) <> 0 "
        "ORDER BY 1",
        (flip.tenant_id, flip.claim.trace_id, flip.claim.span_id, utc_from_ns(flip.claim.start_ns)),
    ).fetchall()
    return [Adjusted(*row) for row in rows]


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
        if is_stated(flip.span.price_version):
            flip.span.cost_nanousd = flip.span.stated_cost_nanousd
            continue
        flip.span.cost_nanousd = cost(flip.span.usage, price) if price else None
    return flips


_COLUMNS = (
    "start, duration_ns, name, source, status, error_type, is_estimated, provider_name, request_model, response_model, "
    "response_id, input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, "
    "cache_creation_1h_input_tokens, reasoning_output_tokens, cost_nanousd, price_version, held_nanousd, ttft_ns, "
    "is_stream, attributes, prompt_version, stated_cost_nanousd, detail_id, detail_slot, "
    "service, environment, feature, user_id, session_id, key_id"
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
     prompt_version, stated, detail_id, detail_slot, *who) = row  # fmt: skip
    if detail_id is not None:
        place = Place(detail_id, utc_from_ns(ns_from_utc(start)).date(), detail_slot)
        version = "".join(d.price_version for d in details_at(conn.cursor(), flip.tenant_id, [place]).values())
    usage = None
    if given is not None:
        read, creation, creation_1h = read or 0, creation or 0, creation_1h or 0  # nothing is null
        classes = (given - read - creation, read, creation - creation_1h, creation_1h, output, reasoning or 0)
        usage = usage_of_row(classes, attributes or {})
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
        held_nanousd=held or 0,
        ttft_ns=ttft_ns,
        is_stream=is_stream,
        attributes=attributes or {},  # of a reported span: what its usage says besides
        prompt_version=prompt_version,
        stated_cost_nanousd=stated,
    )
