"""What a batch writes, made ready: rows packed for COPY, blocks compressed, sums added up. Pure.

Made before the tenants' locks, by what the batch's own spans say of which calls count; made again under them where the
stored claims say otherwise. So that writers of one tenant wait for each other's statements alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from llmobs.budgets.definition import Budgets
from llmobs.budgets.spend import Billed, CountedIn, budget_ids, match
from llmobs.core.ids import new_row_id
from llmobs.ingest.claims import Gathered, Related
from llmobs.ingest.conformance import Metered, metered
from llmobs.ingest.content import preview
from llmobs.ingest.copying import Row, Rows
from llmobs.ingest.count_once import ClaimInfo, Key, decide
from llmobs.ingest.entries import Hold
from llmobs.ingest.known import SpanKey
from llmobs.ingest.placing import place_contents, place_details
from llmobs.ingest.short_rows import (
    pack_bills,
    pack_claims,
    pack_spans,
    short_bill_row,
    short_claim_row,
    short_span_row,
)
from llmobs.rollups.delta import Deltas
from llmobs.spans.bill import Bill, bill_of
from llmobs.spans.blocks import make_block
from llmobs.spans.details import make_details
from llmobs.spans.record import Span
from llmobs.spans.traces import TraceSums

Bodies = list[tuple[int, int, date, bytes]]  # tenant, block, day
Holds = Mapping[tuple[int, bytes], list[Hold]]  # by tenant and attempt


@dataclass(slots=True)
class Accounts:
    """What a batch changes of what is added up. `matched`: of each of `billed` what it is counted in."""

    bills: list[Bill] = field(default_factory=list)
    billed: list[Billed] = field(default_factory=list)
    matched: list[CountedIn] = field(default_factory=list)
    deltas: Deltas = field(default_factory=Deltas)
    traces: TraceSums = field(default_factory=TraceSums)


@dataclass(slots=True)
class Ready:
    """All that these spans write, if `counted` are the calls of theirs that count. Written once: ids are in it."""

    spans: list[Span]
    counted: set[SpanKey]
    rows: Rows
    contents: Bodies
    details: Bodies
    claims: Rows
    bill_rows: Rows
    metered: Metered
    accounts: Accounts


def make_ready(
    spans: list[Span], counted: set[SpanKey], own: Mapping[int, Mapping[Key, ClaimInfo]], holds: Holds, budgets: Budgets
) -> Ready:
    """`own`: the claims of these spans, by tenant."""
    places, contents = place_contents(spans)
    asides, details = place_details(spans)
    rows = pack_spans(
        short_span_row(s, s.is_call and (s.tenant_id, s.trace_id, s.span_id) in counted, preview(s), place, aside)
        for s, place, aside in zip(spans, places, asides, strict=True)
    )
    accounts, claims = _accounts(spans, counted, own, holds, budgets)
    return Ready(
        spans=spans,
        counted=counted,
        rows=rows,
        contents=[(*key, make_block(content)) for key, content in contents.items()],
        details=[(*key, make_details(detail)) for key, detail in details.items()],
        claims=pack_claims(claims),
        bill_rows=bill_rows(accounts.bills, accounts.matched),
        metered=metered(spans),
        accounts=accounts,
    )


def bill_rows(bills: Iterable[Bill], matched: Sequence[CountedIn]) -> Rows:
    """Each with the budgets that it is counted in. (`matched` may be longer.)"""
    named: dict[int, list[int]] = {}  # by the identity of what bills are counted in, which many share

    def ids(found: CountedIn) -> list[int]:
        known = named.get(id(found))
        if known is None:
            known = named[id(found)] = budget_ids(found)
        return known

    return pack_bills(short_bill_row(bill, ids(found)) for bill, found in zip(bills, matched, strict=False))


def by_themselves(gathered: Mapping[int, Gathered]) -> set[SpanKey]:
    """The calls that count if nothing that is stored has to do with them."""
    return {(tenant_id, *key) for tenant_id, own in gathered.items() for key in decide(own.own.values(), own.parents)}


def says_the_same(gathered: Gathered, related: Related) -> bool:
    """Whether nothing that is stored has to do with these spans."""
    return not related.claims and related.parents == gathered.parents


def billed_by(bill: Bill) -> Billed:
    """What budgets must know of a bill."""
    is_attempt = bool(bill.holds)
    return Billed(
        tenant_id=bill.tenant_id,
        attribution=bill.attribution,
        model=bill.model,
        provider_name=bill.provider_name,
        begin_ns=bill.begin_ns,
        cost_nanousd=bill.taken_nanousd,
        tokens=bill.tokens,
        attempt=bill.span_id if is_attempt else None,
        holds=bill.holds,
        prompt_version=bill.prompt_version,
    )


def _accounts(
    spans: list[Span], counted: set[SpanKey], own: Mapping[int, Mapping[Key, ClaimInfo]], holds: Holds, budgets: Budgets
) -> tuple[Accounts, list[Row]]:
    """With the claims' rows, which name the bills."""
    accounts = Accounts()
    claims: list[Row] = []
    unbilled: list[Billed] = []
    for span in spans:
        is_counted = span.is_call and (span.tenant_id, span.trace_id, span.span_id) in counted
        bill = None
        held = holds.get((span.tenant_id, span.span_id))
        if is_counted and span.usage is not None:
            bill = bill_of(span, new_row_id(), holds=held or ())
            accounts.bills.append(bill)
        elif held is not None:
            unbilled.append(_nothing_billed(span, held))
        claim = own[span.tenant_id].get((span.trace_id, span.span_id))
        if claim is not None:
            claims.append(short_claim_row(span.tenant_id, claim, is_counted, bill.bill_id if bill else None))
        accounts.deltas.add(span, 1, int(is_counted))
        accounts.traces.add(span, 1, int(is_counted))
    accounts.billed = [billed_by(bill) for bill in accounts.bills] + unbilled
    accounts.matched = match(budgets, accounts.billed)
    return accounts, claims


def _nothing_billed(span: Span, holds: list[Hold]) -> Billed:
    """An attempt that was not charged: the ledger drops it."""
    return Billed(
        tenant_id=span.tenant_id,
        attribution=span.attribution,
        model=span.model,
        provider_name=span.provider_name,
        begin_ns=span.start_ns,
        cost_nanousd=0,
        tokens=0,
        attempt=span.span_id,
        holds=holds,
        prompt_version=span.prompt_version,
    )
