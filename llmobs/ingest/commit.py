"""One transaction per batch: spans, contents, claims, bills, roll-up deltas, traces, spend, and how far journals are.

 1. What the batch writes is made ready, by which calls count if nothing stored has to do with it (`ready`).
 2. Budgets as they are now (a shared lock). Spans and blocks go in by COPY.
 3. The tenants' locks in order: from here on one writer at a time decides for a tenant, until its commit.
 4. Claims that may concern the batch are loaded. If they change nothing of what was made ready: claims, bills, roll-up
    deltas, traces, spend, offsets.
Else all of it is taken back, and done in the other order: locks, claims; what has the ids of a known call leaves,
whatever else it says (the first of a span is the one that stands); `count_once.decide` says which calls count, and
what differs from before is a flip: a bill, or a reversal; spans that are there already leave; then the rest as above.
The transaction is all or nothing: killed anywhere, the batch comes again from the journal. A deadlock (two writers with
copies of one span), a clash of new ids or a day without partition repeats the batch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import time_ns
from typing import Any

import psycopg
from psycopg import errors

from llmobs.brake.events import Row as BrakeRow
from llmobs.brake.events import write_events
from llmobs.budgets.definition import Budgets
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import add_spend, current_budgets, match
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.guards.events import Row as EventRow
from llmobs.guards.events import copy_events
from llmobs.ingest.claims import Gathered, Related, gather, load_related
from llmobs.ingest.conformance import meter
from llmobs.ingest.copying import copy_bills, copy_blocks, copy_claims, copy_details, copy_spans
from llmobs.ingest.count_once import decide
from llmobs.ingest.entries import Finding, Hold
from llmobs.ingest.flips import Flip, load_flips, write_flips
from llmobs.ingest.known import SpanKey, is_new, without_copies, without_known
from llmobs.ingest.log_records import LogRecord, write_records
from llmobs.ingest.raw_bodies import RawBody, keep
from llmobs.ingest.ready import Accounts, Ready, bill_rows, billed_by, by_themselves, make_ready, says_the_same
from llmobs.pricing.price import Price
from llmobs.pricing.versions import remember
from llmobs.rollups.bills import mark_late
from llmobs.spans.partitions import make_partitions
from llmobs.spans.record import Span

MOST_TRIES = 6

_LOCK = 0x6C6C6D77  # "llmw": writers of one tenant

Connection = psycopg.Connection[Any]


class OffsetMoved(Exception):
    """Another writer has written this journal meanwhile: read the offsets again."""


class _NotAsGuessed(Exception):
    """What is stored changes which of the batch's spans are written, or count; or budgets have changed."""


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
    `looks_first`: what is made ready goes by the stored claims as they are before the locks: for batches that often
    meet related ones. It says how, not what is written.
    """

    spans: list[Span] = field(default_factory=list)
    holds: dict[tuple[int, bytes], list[Hold]] = field(default_factory=dict)
    prices: list[Price] = field(default_factory=list)  # versions used for the first time
    findings: list[tuple[Span, Finding]] = field(default_factory=list)  # of guards, in spans of the batch
    braked: list[BrakeRow] = field(default_factory=list)  # what the runaway brake did
    raw_bodies: list[RawBody] = field(default_factory=list)  # that the spans were read from, where a tenant keeps them
    log_records: list[LogRecord] = field(default_factory=list)  # content that came apart from its spans
    offsets: list[Offset] = field(default_factory=list)
    looks_first: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of a batch. `folds` are to be sent to the ledger, in their order."""

    spans: int
    duplicates: int
    folds: list[Fold]
    budgets: Budgets
    is_ahead: bool = True  # as it was made ready before the locks


def commit_batch(conn: Connection, batch: Batch, budgets: Budgets) -> Committed:
    """Write a batch, each span once. `conn` is in autocommit. Raises OffsetMoved, and psycopg's errors.

    psycopg.OperationalError: PostgreSQL is away, and the caller does not know whether the batch was written.
    psycopg.DataError and others: something in the batch cannot be written, nothing was.
    """
    for attempt in range(1, MOST_TRIES + 1):
        try:
            if attempt == 1:
                return _commit_ahead(conn, batch, budgets)
            with conn.transaction():
                return _commit_decided(conn, batch, budgets)
        except _NotAsGuessed:
            pass
        except (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == MOST_TRIES:
                raise
        except errors.CheckViolation:  # "no partition of relation found for row"
            if attempt > 2:
                raise
            _make_partitions(conn, batch.spans)
    raise AssertionError("unreachable")


def _commit_ahead(conn: Connection, batch: Batch, budgets: Budgets) -> Committed:
    """All that can be is done before the locks. Raises _NotAsGuessed, and UniqueViolation where a span is there."""
    spans = without_copies(batch.spans)
    gathered = _gathered(spans)
    alone = by_themselves(gathered)
    guess = _own(gathered, _decided(conn, gathered, alone)[1]) if batch.looks_first else alone
    ready = make_ready(spans, guess, {tenant: found.own for tenant, found in gathered.items()}, batch.holds, budgets)
    with conn.transaction():
        if current_budgets(conn, budgets) is not budgets:
            raise _NotAsGuessed
        copy_spans(conn, ready.rows)
        _copy_blocks(conn, ready)
        lock_tenants(conn, list(gathered))
        if _was_repriced(conn, ready):
            raise _NotAsGuessed
        related, counted = _decided(conn, gathered, alone)
        if _own(gathered, counted) != guess:
            raise _NotAsGuessed
        return _write(conn, batch, ready, related, counted, budgets, is_ahead=True)


def _decided(
    conn: Connection, gathered: dict[int, Gathered], alone: set[SpanKey]
) -> tuple[dict[int, Related], set[SpanKey]]:
    """What is stored that has to do with spans of which none is, and all calls that count (`alone`: without it).

    Raises _NotAsGuessed.
    """
    related = {tenant: load_related(conn, tenant, found, are_new=True) for tenant, found in gathered.items()}
    if any(not found.parents.keys().isdisjoint(related[tenant].claims) for tenant, found in gathered.items()):
        raise _NotAsGuessed
    if all(says_the_same(found, related[tenant]) for tenant, found in gathered.items()):
        return related, alone
    return related, _decide(related)


def _was_repriced(conn: Connection, ready: Ready) -> bool:
    """Whether a re-pricing looked at these tenants' bills since ours got their ids: it takes older ones as seen."""
    if not ready.accounts.bills:
        return False
    first = min(bill.bill_id for bill in ready.accounts.bills)
    tenants = list({bill.tenant_id for bill in ready.accounts.bills})
    query = "SELECT 1 FROM repricing_chunk WHERE tenant_id = ANY(%s) AND seen > %s LIMIT 1"
    return conn.execute(query, (tenants, first)).fetchone() is not None


def _own(gathered: dict[int, Gathered], counted: set[SpanKey]) -> set[SpanKey]:
    """Those of the batch."""
    return {key for key in counted if key[1:] in gathered[key[0]].own}


def _commit_decided(conn: Connection, batch: Batch, budgets: Budgets) -> Committed:
    """Nothing is written before it is decided."""
    budgets = current_budgets(conn, budgets)
    gathered = _gathered(without_copies(batch.spans))
    lock_tenants(conn, list(gathered))
    related = {tenant: load_related(conn, tenant, found) for tenant, found in gathered.items()}
    spans = [s for found in gathered.values() for s in found.spans if is_new(s, related[s.tenant_id])]
    counted = _decide(related, spans)
    ready = _insert_spans(conn, spans, counted, related, batch, budgets)
    if ready is None:
        spans = without_known(conn, spans, related)
        counted = _decide(related, spans)
        ready = _insert_spans(conn, spans, counted, related, batch, budgets)
        if ready is None:
            raise errors.UniqueViolation("a span that was not there is there: tenant locks did not hold")
    _copy_blocks(conn, ready)
    return _write(conn, batch, ready, related, counted, budgets, is_ahead=False)


def _insert_spans(
    conn: Connection,
    spans: list[Span],
    counted: set[SpanKey],
    related: dict[int, Related],
    batch: Batch,
    budgets: Budgets,
) -> Ready | None:
    """What these spans write; None when one was there already (and nothing is written)."""
    ready = make_ready(spans, counted, {tenant: found.own for tenant, found in related.items()}, batch.holds, budgets)
    try:
        with conn.transaction():
            copy_spans(conn, ready.rows)
    except errors.UniqueViolation:
        return None
    return ready


def _copy_blocks(conn: Connection, ready: Ready) -> None:
    if ready.contents:
        copy_blocks(conn, ready.contents)
    if ready.details:
        copy_details(conn, ready.details)


def _write(
    conn: Connection,
    batch: Batch,
    ready: Ready,
    related: dict[int, Related],
    counted: set[SpanKey],
    budgets: Budgets,
    is_ahead: bool,
) -> Committed:
    """Everything but spans and blocks, under the locks."""
    meter(conn, ready.metered)
    if batch.raw_bodies:
        keep(conn, batch.raw_bodies)
    if batch.log_records:
        write_records(conn, batch.log_records)
    if batch.findings:
        copy_events(conn, _events(batch.findings, ready.spans, counted))
    if batch.braked:
        write_events(conn, batch.braked)
    remember(conn, batch.prices)
    folds = _settle_accounts(conn, ready, related, counted, budgets)
    _write_offsets(conn, batch.offsets)
    return Committed(len(ready.spans), len(batch.spans) - len(ready.spans), folds, budgets, is_ahead)


def _gathered(spans: list[Span]) -> dict[int, Gathered]:
    """By tenant, in the order of their locks."""
    found: dict[int, list[Span]] = {}
    for span in spans:
        found.setdefault(span.tenant_id, []).append(span)
    return {tenant_id: gather(found[tenant_id]) for tenant_id in sorted(found)}


def share_tenant(conn: Connection, tenant_id: int) -> None:
    """Until the transaction ends no writer decides for the tenant; several that do not decide go on beside each other.

    After `current_budgets`, as a writer does it.
    """
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_LOCK, tenant_id & 0x7FFFFFFF))


def lock_tenants(conn: Connection, tenants: list[int]) -> None:
    """Until the transaction ends nobody else decides for these; after `current_budgets`, in the order of tenants."""
    for tenant_id in tenants:
        conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, tenant_id & 0x7FFFFFFF))


def _decide(related: dict[int, Related], spans: list[Span] | None = None) -> set[SpanKey]:
    """All calls that count, of the batch (of these spans alone) and of what was there."""
    new = None if spans is None else {(span.tenant_id, span.trace_id, span.span_id) for span in spans}
    counted: set[SpanKey] = set()
    for tenant_id, found in related.items():
        own = [claim for key, claim in found.own.items() if new is None or (tenant_id, *key) in new]
        claims = [claim.info for claim in found.claims.values()] + own
        counted |= {(tenant_id, *key) for key in decide(claims, found.parents)}
    return counted


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
    conn: Connection, ready: Ready, related: dict[int, Related], counted: set[SpanKey], budgets: Budgets
) -> list[Fold]:
    """Claims, bills, flips, sums and spend; answers the folds."""
    accounts = ready.accounts
    copy_claims(conn, ready.claims)
    copy_bills(conn, ready.bill_rows)
    flips = load_flips(conn, _flipped(related, counted))
    if flips:
        _flip(conn, flips, accounts, budgets)
    mark_late(conn, accounts.bills, time_ns())
    accounts.deltas.write(conn)
    accounts.traces.write(conn)
    return add_spend(conn, budgets, accounts.billed, accounts.matched)


def _flip(conn: Connection, flips: list[Flip], accounts: Accounts, budgets: Budgets) -> None:
    """Their bills, and what they change of the sums."""
    bills = write_flips(conn, flips)
    billed = [billed_by(bill) for bill in bills]
    matched = match(budgets, billed)
    copy_bills(conn, bill_rows(bills, matched))
    for flip in flips:
        accounts.deltas.add(flip.span, 0, flip.calls)
        accounts.traces.add(flip.span, 0, flip.calls)
    accounts.bills += bills
    accounts.billed += billed
    accounts.matched += matched


def _flipped(related: dict[int, Related], counted: set[SpanKey]) -> Iterable[Flip]:
    """Stored claims whose fate this batch changes."""
    for tenant_id, found in related.items():
        for key, claim in found.claims.items():
            counts_now = (tenant_id, *key) in counted
            if counts_now != claim.is_counted:
                yield Flip(tenant_id, claim.info, 1 if counts_now else -1, claim.bill_id)


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
