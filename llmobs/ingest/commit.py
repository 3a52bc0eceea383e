"""One transaction per batch: spans, contents, claims, bills, roll-up deltas, traces, spend, and how far journals are.

 1. Budgets as they are now (a shared lock), then the tenants' locks in order: one writer at a time decides for one.
 2. Copies within the batch leave; claims that may concern the batch are loaded, and what has the ids of a known call
    leaves, whatever else it says: the first of a span is the one that stands.
 3. `count_once.decide` says which calls count. What differs from before is a flip: a bill, or a reversal.
 4. Spans go in by COPY under a savepoint. If one of them is there already, those that are leave, and again from 3.
 5. Contents in blocks, claims, bills, roll-up deltas, traces, spend, offsets.
The transaction is all or nothing: killed anywhere, the batch comes again from the journal. A deadlock, a clash of new
ids or a day without partition repeats the batch.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from time import time_ns
from typing import Any

import psycopg
from psycopg import errors

from llmobs.brake.events import Row as BrakeRow
from llmobs.brake.events import write_events
from llmobs.budgets.definition import Budgets
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import Billed, add_spend, budget_ids, current_budgets, match
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.guards.events import Row as EventRow
from llmobs.guards.events import copy_events
from llmobs.ingest.claims import Related, load_related
from llmobs.ingest.conformance import meter
from llmobs.ingest.content import preview
from llmobs.ingest.copying import (
    Row,
    bill_row,
    claim_row,
    copy_bills,
    copy_blocks,
    copy_claims,
    copy_details,
    copy_spans,
    span_row,
)
from llmobs.ingest.count_once import ClaimInfo, claim_of, decide, has_claim
from llmobs.ingest.entries import Finding, Hold
from llmobs.ingest.flips import Flip, load_flips, write_flips
from llmobs.ingest.log_records import LogRecord, write_records
from llmobs.ingest.placing import Key, place_contents, place_details
from llmobs.ingest.raw_bodies import RawBody, keep
from llmobs.pricing.price import Price
from llmobs.pricing.versions import remember
from llmobs.rollups.bills import mark_late
from llmobs.rollups.delta import Deltas
from llmobs.spans.bill import Bill, bill_of
from llmobs.spans.blocks import make_block
from llmobs.spans.details import make_details
from llmobs.spans.partitions import make_partitions
from llmobs.spans.record import Span
from llmobs.spans.traces import TraceSums

MOST_TRIES = 6

_LOCK = 0x6C6C6D77  # "llmw": writers of one tenant
_DAY_NS = 86_400 * NS_PER_SECOND
_EPOCH_DAY = date(1970, 1, 1)

Connection = psycopg.Connection[Any]
SpanKey = tuple[int, bytes, bytes]  # tenant, trace, span


class OffsetMoved(Exception):
    """Another writer has written this journal meanwhile: read the offsets again."""


@dataclass(frozen=True, slots=True)
class Offset:
    """How far an owner's journal is written with this batch. `was`: what `committed` must be before (None: no row)."""

    owner: str
    host: str
    low_water: int
    committed: int
    was: int | None


@dataclass(slots=True)
class Batch:
    """What one transaction writes. Spans have passed the content's door and are priced, whether or not they count.

    `holds`: of gateway attempts, by (tenant, span id); attempts that ended are dropped from the ledger with them.
    """

    spans: list[Span] = field(default_factory=list)
    holds: dict[tuple[int, bytes], list[Hold]] = field(default_factory=dict)
    prices: list[Price] = field(default_factory=list)  # versions used for the first time
    findings: list[tuple[Span, Finding]] = field(default_factory=list)  # of guards, in spans of the batch
    braked: list[BrakeRow] = field(default_factory=list)  # what the runaway brake did
    raw_bodies: list[RawBody] = field(default_factory=list)  # that the spans were read from, where a tenant keeps them
    log_records: list[LogRecord] = field(default_factory=list)  # content that came apart from its spans
    offsets: list[Offset] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of a batch. `folds` are to be sent to the ledger, in their order."""

    spans: int
    duplicates: int
    folds: list[Fold]
    budgets: Budgets


def commit_batch(conn: Connection, batch: Batch, budgets: Budgets) -> Committed:
    """Write a batch, each span once. `conn` is in autocommit. Raises OffsetMoved, and psycopg's errors.

    psycopg.OperationalError: PostgreSQL is away, and the caller does not know whether the batch was written.
    psycopg.DataError and others: something in the batch cannot be written, nothing was.
    """
    for attempt in range(1, MOST_TRIES + 1):
        try:
            with conn.transaction():
                return _commit(conn, batch, budgets)
        except (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == MOST_TRIES:
                raise
        except errors.CheckViolation:  # "no partition of relation found for row"
            if attempt > 2:
                raise
            _make_partitions(conn, batch.spans)
    raise AssertionError("unreachable")


def _commit(conn: Connection, batch: Batch, budgets: Budgets) -> Committed:
    budgets = current_budgets(conn, budgets)
    spans = _without_copies(batch.spans)
    by_tenant = _by_tenant(spans)
    lock_tenants(conn, sorted(by_tenant))
    related = {tenant: load_related(conn, tenant, of_tenant) for tenant, of_tenant in sorted(by_tenant.items())}
    spans = [s for s in spans if _is_new(s, related[s.tenant_id])]
    counted, blocks = _insert_spans(conn, spans, related)
    if counted is None:
        spans = _without_known(conn, spans, related)
        counted, blocks = _insert_spans(conn, spans, related)
        if counted is None:
            raise errors.UniqueViolation("a span that was not there is there: tenant locks did not hold")
    blocks.copy(conn)
    meter(conn, spans)
    if batch.raw_bodies:
        keep(conn, batch.raw_bodies)
    if batch.log_records:
        write_records(conn, batch.log_records)
    if batch.findings:
        copy_events(conn, _events(batch.findings, spans, counted))
    if batch.braked:
        write_events(conn, batch.braked)
    remember(conn, batch.prices)
    folds = _settle_accounts(conn, batch, spans, related, counted, budgets)
    _write_offsets(conn, batch.offsets)
    return Committed(len(spans), len(batch.spans) - len(spans), folds, budgets)


def _without_copies(spans: list[Span]) -> list[Span]:
    """The first of each span in the batch, the gateway's before any report; counting happens after this."""
    seen: dict[SpanKey, Span] = {}
    for span in sorted(spans, key=lambda span: span.source != SOURCE_GATEWAY):
        seen.setdefault((span.tenant_id, span.trace_id, span.span_id), span)
    return list(seen.values())


def _is_new(span: Span, related: Related) -> bool:
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


def _by_tenant(spans: list[Span]) -> dict[int, list[Span]]:
    found: dict[int, list[Span]] = {}
    for span in spans:
        found.setdefault(span.tenant_id, []).append(span)
    return found


def share_tenant(conn: Connection, tenant_id: int) -> None:
    """Until the transaction ends no writer decides for the tenant; several that do not decide go on beside each other.

    After `current_budgets`, as a writer does it.
    """
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_LOCK, tenant_id & 0x7FFFFFFF))


def lock_tenants(conn: Connection, tenants: list[int]) -> None:
    """Until the transaction ends nobody else decides for these; after `current_budgets`, in the order of tenants."""
    for tenant_id in tenants:
        conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, tenant_id & 0x7FFFFFFF))


def _decide(spans: list[Span], related: dict[int, Related]) -> set[SpanKey]:
    """All calls that count, of the batch and of what was there."""
    counted: set[SpanKey] = set()
    new: dict[int, list[ClaimInfo]] = {tenant_id: [] for tenant_id in related}
    for span in spans:
        claim = related[span.tenant_id].own.get((span.trace_id, span.span_id))
        if claim is not None:
            new[span.tenant_id].append(claim)
    for tenant_id, found in related.items():
        claims = [claim.info for claim in found.claims.values()] + new[tenant_id]
        counted |= {(tenant_id, *key) for key in decide(claims, found.parents)}
    return counted


Bodies = list[tuple[int, int, date, bytes]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """What the spans of a batch have beside their rows."""

    contents: Bodies = field(default_factory=list)
    details: Bodies = field(default_factory=list)

    def copy(self, conn: Connection) -> None:
        if self.contents:
            copy_blocks(conn, self.contents)
        if self.details:
            copy_details(conn, self.details)


def _insert_spans(
    conn: Connection, spans: list[Span], related: dict[int, Related]
) -> tuple[set[SpanKey] | None, Blocks]:
    """Which calls count, and the blocks to write; None when a span was there already (and nothing is written)."""
    counted = _decide(spans, related)
    places, contents = place_contents(spans)
    asides, details = place_details(spans)
    rows = (
        span_row(s, s.is_call and (s.tenant_id, s.trace_id, s.span_id) in counted, preview(s), place, aside)
        for s, place, aside in zip(spans, places, asides, strict=True)
    )
    # Compression leaves the interpreter free: it runs beside the making and copying of rows.
    with ThreadPoolExecutor(1) as pool:
        packed, described = pool.map(make_block, contents.values()), pool.map(make_details, details.values())
        try:
            with conn.transaction():
                copy_spans(conn, rows)
        except errors.UniqueViolation:
            return None, Blocks()
    return counted, Blocks(_bodies(contents, packed), _bodies(details, described))


def _bodies(keys: Iterable[Key], bodies: Iterable[bytes]) -> Bodies:
    return [(*key, body) for key, body in zip(keys, bodies, strict=True)]


def _without_known(conn: Connection, spans: list[Span], related: dict[int, Related]) -> list[Span]:
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


def _events(findings: list[tuple[Span, Finding]], spans: list[Span], counted: set[SpanKey]) -> Iterator[EventRow]:
    """Findings in what is written now; of reports of one call only in the one that counts."""
    written = {id(span) for span in spans}
    for span, found in findings:
        is_counted = span.source == SOURCE_GATEWAY or (span.tenant_id, span.trace_id, span.span_id) in counted
        if id(span) in written and is_counted:
            yield (
                span.tenant_id, new_row_id(), utc_from_ns(span.start_ns), span.trace_id, span.span_id, found.kind,
                found.where, found.action, found.name, found.score_permille, found.count, found.fingerprint,
                span.attribution.feature, span.model,
            )  # fmt: skip


def _settle_accounts(
    conn: Connection,
    batch: Batch,
    spans: list[Span],
    related: dict[int, Related],
    counted: set[SpanKey],
    budgets: Budgets,
) -> list[Fold]:
    """Claims, bills, flips, sums and spend; answers the folds."""
    deltas, traces = Deltas(), TraceSums()
    bills: list[Bill] = []
    claims: list[Row] = []
    unbilled: list[Billed] = []
    for span in spans:
        is_counted = span.is_call and (span.tenant_id, span.trace_id, span.span_id) in counted
        bill = None
        claim = related[span.tenant_id].own.get((span.trace_id, span.span_id))
        if is_counted and span.usage is not None:
            bill = bill_of(span, new_row_id(), holds=batch.holds.get((span.tenant_id, span.span_id), ()))
            bills.append(bill)
        elif (holds := batch.holds.get((span.tenant_id, span.span_id))) is not None:
            unbilled.append(_nothing_billed(span, holds))
        if claim is not None:
            claims.append(claim_row(span.tenant_id, claim, is_counted, bill.bill_id if bill else None))
        deltas.add(span, 1, int(is_counted))
        traces.add(span, 1, int(is_counted))
    copy_claims(conn, claims)
    flips = load_flips(conn, _flipped(related, counted))
    bills += write_flips(conn, flips)
    for flip in flips:
        deltas.add(flip.span, 0, flip.calls)
        traces.add(flip.span, 0, flip.calls)
    billed = [billed_by(bill) for bill in bills]
    matched = match(budgets, billed)
    copy_bills(conn, (bill_row(bill, budget_ids(found)) for bill, found in zip(bills, matched, strict=True)))
    mark_late(conn, bills, time_ns())
    deltas.write(conn)
    traces.write(conn)
    return add_spend(conn, budgets, billed + unbilled, matched + match(budgets, unbilled))


def _flipped(related: dict[int, Related], counted: set[SpanKey]) -> Iterable[Flip]:
    """Stored claims whose fate this batch changes."""
    for tenant_id, found in related.items():
        for key, claim in found.claims.items():
            counts_now = (tenant_id, *key) in counted
            if counts_now != claim.is_counted:
                yield Flip(tenant_id, claim.info, 1 if counts_now else -1, claim.bill_id)


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


def _write_offsets(conn: Connection, offsets: list[Offset]) -> None:
    """Compare and set, so that two writers never both write one stretch of a journal. Raises OffsetMoved."""
    for o in sorted(offsets, key=lambda offset: offset.owner):
        if o.was is None:
            moved = conn.execute(
                "INSERT INTO journal_offset (owner, host, low_water, committed) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (o.owner, o.host, o.low_water, o.committed),
            )
        else:
            moved = conn.execute(
                "UPDATE journal_offset SET low_water = %s, committed = %s, host = %s, updated_at = now() "
                "WHERE owner = %s AND committed = %s",
                (o.low_water, o.committed, o.host, o.owner, o.was),
            )
        if moved.rowcount != 1:
            raise OffsetMoved(f"the journal {o.owner} is not at {o.was} any more")


def _make_partitions(conn: Connection, spans: list[Span]) -> None:
    days = {datetime.fromtimestamp(span.start_ns // NS_PER_SECOND, UTC).date() for span in spans}
    with conn.transaction():
        make_partitions(conn, days)
