"""What a re-mapping writes, in one transaction under the tenant's lock: the same tables as a batch, by the same ways.

1. Light changes update their rows.
2. Of heavy changes, old calls that counted are taken back (a reversal, and what re-pricings added to them), old spans
   leave the sums; the rows of span and claim are replaced.
3. New spans enter as a batch's do: claim, bill where they count, roll-up deltas. So do other calls whose fate changed.
4. Contents and details are written into the place that they had. Traces that are concerned are added up anew.
"""

from collections.abc import Iterable
from datetime import date
from time import time_ns
from typing import Any

import psycopg

from llmobs.budgets.definition import Budgets
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import add_spend, budget_ids, match
from llmobs.core.clock import utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.ingest.copying import (
    SPAN_COLUMNS,
    Row,
    bill_row,
    claim_row,
    copy_bills,
    copy_blocks,
    copy_claims,
    copy_spans,
    span_row,
)
from llmobs.ingest.count_once import claim_of, has_claim
from llmobs.ingest.flips import load_flips, write_flips
from llmobs.ingest.placing import detail_of
from llmobs.ingest.ready import billed_by
from llmobs.ingest.remap_plan import CONTENT, LIGHT, Blocks, Change, Plan, preview_of
from llmobs.ingest.stored_spans import day_of, load_traces
from llmobs.rollups.bills import mark_late
from llmobs.rollups.delta import Deltas
from llmobs.spans.bill import Bill, bill_of
from llmobs.spans.blocks import make_block
from llmobs.spans.details import Detail, rewrite_details
from llmobs.spans.trace_deltas import forget
from llmobs.spans.traces import TraceSums

REMAPPED = "read again by a better adapter"

Connection = psycopg.Connection[Any]
Place = tuple[int, int] | None


def write(conn: Connection, plan: Plan, budgets: Budgets) -> list[Fold]:
    """Carry out a plan that was made in this transaction; answers what the ledger must learn once it commits."""
    places = _write_contents(conn, plan)
    _write_details(conn, plan)
    _update_light(conn, [change for change in plan.changes if not change.is_heavy], places)
    if not plan.heavy:
        return []
    deltas = Deltas()
    flips = load_flips(conn, plan.flips)
    bills = write_flips(conn, flips)
    for flip in flips:
        deltas.add(flip.span, 0, flip.calls)
    bills += _replace(conn, plan.heavy, places, deltas)
    deltas.write(conn)
    billed = [billed_by(bill) for bill in bills]
    matched = match(budgets, billed)
    copy_bills(conn, (bill_row(bill, budget_ids(found)) for bill, found in zip(bills, matched, strict=True)))
    mark_late(conn, bills, time_ns())
    _add_up_traces(conn, plan, {flip.claim.trace_id for flip in flips} | {change.new.trace_id for change in plan.heavy})
    return add_spend(conn, budgets, billed, matched)


def _replace(conn: Connection, heavy: list[Change], places: dict[int, Place], deltas: Deltas) -> list[Bill]:
    """Old rows out, new ones in; answers the new bills."""
    bills: list[Bill] = []
    claims: list[Row] = []
    rows: list[Row] = []
    for change in heavy:
        old, new = change.stored.span, change.new
        deltas.add(old, -1, 0)  # as a call it was taken back with its bill
        deltas.add(new, 1, int(change.counts))
        bill = bill_of(new, new_row_id(), REMAPPED) if change.counts and new.usage is not None else None
        bills += [bill] if bill else []
        if has_claim(new):
            claims.append(claim_row(new.tenant_id, claim_of(new), change.counts, bill.bill_id if bill else None))
        rows.append(_row(change, places))
    _delete_rows(conn, heavy)
    copy_spans(conn, rows)
    copy_claims(conn, claims)
    return bills


def _delete_rows(conn: Connection, heavy: list[Change]) -> None:
    with conn.cursor() as cursor:
        keys = [(c.new.tenant_id, *c.key, utc_from_ns(c.stored.span.start_ns)) for c in heavy]
        cursor.executemany(
            "DELETE FROM span WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s", keys
        )
        cursor.executemany(
            "DELETE FROM claim WHERE tenant_id = %s AND trace_id = %s AND span_id = %s", [key[:3] for key in keys]
        )


def _update_light(conn: Connection, changes: list[Change], places: dict[int, Place]) -> None:
    names = [*sorted(LIGHT), "preview", "block_id", "block_slot"]
    values = []
    for change in changes:
        row = dict(zip(SPAN_COLUMNS, _row(change, places), strict=True))
        attributes, reasons = row["attributes"], row["finish_reasons"]
        row["attributes"] = None if attributes is None else attributes.decode()
        row["finish_reasons"] = None if reasons is None else list(reasons)
        key = (change.new.tenant_id, *change.key, utc_from_ns(change.stored.span.start_ns))
        values.append((*(row[name] for name in names), *key))
    with conn.cursor() as cursor:
        cursor.executemany(
            f"UPDATE span SET {', '.join(f'{name} = %s' for name in names)} "  # noqa: S608 (constants)
            "WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s",
            values,
        )


def _row(change: Change, places: dict[int, Place]) -> Row:
    """As it is stored from now on."""
    detail = change.stored.detail
    stays = detail is not None and not _has_moved(change)
    kept = (detail.detail_id, detail.slot) if detail is not None and stays else None
    return span_row(change.new, change.counts, preview_of(change), places[id(change)], kept)


# ---------------------------------------------------------------- contents and details


def _has_moved(change: Change) -> bool:
    """To another day, where its blocks are not."""
    return day_of(change.new) != day_of(change.stored.span)


def _write_details(conn: Connection, plan: Plan) -> None:
    """Where they were; one that has moved takes its detail along in its row, and leaves none behind."""
    changed = {
        place: Detail(b"{}") if _has_moved(change) else detail_of(change.new)
        for change in plan.changes
        if (place := change.stored.detail) is not None and (_has_moved(change) or change.columns != {"adapter"})
    }
    rewrite_details(conn, plan.tenant_id, changed)


def _write_contents(conn: Connection, plan: Plan) -> dict[int, Place]:
    """Where each change's content is now, by the identity of the change."""
    blocks, places = Blocks(conn), {id(change): change.stored.place for change in plan.changes}
    rewritten: set[tuple[int, date]] = set()
    for change in plan.changes:
        place, day = change.stored.place, change.stored.row["start"].date()
        has_moved = _has_moved(change)
        if CONTENT not in change.columns and not has_moved:
            continue
        content = (change.new.input, change.new.output) if CONTENT in change.columns else blocks.content(change.stored)
        if place is not None:
            blocks.block(plan.tenant_id, place[0], day)[place[1]] = (None, None) if has_moved else content
            rewritten.add((place[0], day))
        if place is None or has_moved:
            places[id(change)] = _new_block(conn, change, content)
    for block_id, day in sorted(rewritten):
        conn.execute(
            "UPDATE payload_block SET body = %s WHERE tenant_id = %s AND block_id = %s AND day = %s",
            (make_block(blocks.block(plan.tenant_id, block_id, day)), plan.tenant_id, block_id, day),
        )
    return places


def _new_block(conn: Connection, change: Change, content: tuple[str | None, str | None]) -> Place:
    if content == (None, None):
        return None
    block_id, day = new_row_id(), utc_from_ns(change.new.start_ns).date()
    copy_blocks(conn, [(change.new.tenant_id, block_id, day, make_block([content]))])
    return block_id, 0


# ---------------------------------------------------------------- traces


def _add_up_traces(conn: Connection, plan: Plan, trace_ids: Iterable[bytes]) -> None:
    """Names, statuses, people and models cannot be taken back from a total: these traces are added up from spans."""
    ids = sorted(trace_ids)
    times = [change.new.start_ns for change in plan.heavy] + [change.stored.span.start_ns for change in plan.heavy]
    times += [flip.claim.start_ns for flip in plan.flips]
    spans = load_traces(conn, plan.tenant_id, ids, min(times), max(times))
    sums, days = TraceSums(), [utc_from_ns(stored.span.start_ns).date() for stored in spans]
    for stored in spans:
        sums.add(stored.span, 1, int(stored.is_counted))
    conn.execute(
        "DELETE FROM trace WHERE tenant_id = %s AND trace_id = ANY(%s) AND day BETWEEN %s AND %s",
        (plan.tenant_id, ids, min(days), max(days)),
    )
    forget(conn, plan.tenant_id, ids, (min(days), max(days)))
    sums.write(conn)
