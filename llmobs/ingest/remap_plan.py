"""What reading kept bodies again would change: per span against what is stored, and which calls count then.

1. The stored rows of the spans that were read again. What is not stored (any more) is left alone, and so is a span
   whose content was erased, and whatever the gateway recorded itself.
2. Columns that differ. Where neither usage nor provider nor models differ, the price and the cost stay what they are:
   a re-mapping is no re-pricing. Content that is stored and was not read again (it came by logs) stays.
3. A change that neither bills nor sums know of is light: the row is updated. Any other is heavy: the old claim leaves
   the set, the new one comes in, and `count_once` decides about all claims that either of them may concern.
Nothing is written here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec
import psycopg

from llmobs.core.semconv import SOURCE_OTLP
from llmobs.ingest.claims import Related, gather, load_related
from llmobs.ingest.content import preview
from llmobs.ingest.copying import SPAN_COLUMNS, span_row
from llmobs.ingest.count_once import decide
from llmobs.ingest.flips import Flip
from llmobs.ingest.stored_spans import Key, Stored, day_of, load_stored
from llmobs.pricing.cost import cost
from llmobs.pricing.stated import is_stated
from llmobs.pricing.versions import rates_by_version
from llmobs.spans.blocks import Content, read_block, storable
from llmobs.spans.record import Span

# What neither a bill nor a sum nor a claim says.
LIGHT = frozenset({"operation_name", "status_message", "finish_reasons", "attributes", "adapter"})
# Said of a span once all calls are decided, or by its content.
_DERIVED = frozenset(
    {"is_counted", "cost_nanousd", "price_version", "preview", "block_id", "block_slot", "detail_id", "detail_slot"}
)
CONTENT = "content"

Connection = psycopg.Connection[Any]


@dataclass(slots=True)
class Change:
    """A stored span that today's adapters read otherwise. `columns`: those that differ, and CONTENT."""

    stored: Stored
    new: Span
    columns: frozenset[str]
    is_heavy: bool
    counts: bool = False  # from now on

    @property
    def key(self) -> Key:
        return self.new.trace_id, self.new.span_id

    @property
    def is_told(self) -> bool:
        """Whether anything but the adapter's version differs."""
        return self.columns != {"adapter"}


@dataclass(slots=True)
class Plan:
    """What becomes of one lot of spans of a tenant."""

    tenant_id: int
    read: int = 0
    absent: int = 0  # read again, and not stored (any more)
    changes: list[Change] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)  # of stored claims, those of heavy changes included

    @property
    def heavy(self) -> list[Change]:
        return [change for change in self.changes if change.is_heavy]


def plan(conn: Connection, tenant_id: int, spans: Sequence[Span]) -> Plan:
    """What these spans of one tenant, read again, would change. Reads alone."""
    stored = load_stored(conn, tenant_id, spans)
    found, blocks = Plan(tenant_id, read=len(spans)), Blocks(conn)
    for span in spans:
        before = stored.get((span.trace_id, span.span_id))
        if before is None or before.span.source != SOURCE_OTLP or blocks.is_gone(before):
            found.absent += 1
            continue
        change = _change(blocks, before, span)
        if change is not None:
            found.changes.append(change)
    _keep_prices(conn, found.changes)
    if found.heavy:
        _decide(conn, found)
    return found


def _change(blocks: "Blocks", before: Stored, span: Span) -> Change | None:
    columns = set(_differing(before, span))
    if _content_differs(blocks, before, span):
        columns.add(CONTENT)
    if before.span.usage != span.usage:
        columns.add("usage")
    if not columns:
        return None
    is_heavy = not columns <= LIGHT | {CONTENT} or day_of(span) != day_of(before.span)
    return Change(before, span, frozenset(columns), is_heavy, before.is_counted)


def _differing(before: Stored, span: Span) -> Iterable[str]:
    if span.start_ns // 1000 != before.span.start_ns // 1000:  # as PostgreSQL keeps times
        yield "start"
    for name, value in zip(SPAN_COLUMNS, span_row(span, False, "", None), strict=True):
        if name in _DERIVED or name == "start":
            continue
        if name == "attributes":
            value = msgspec.json.decode(value)
        elif name == "finish_reasons":
            value = list(value)
        if value != before.row[name]:
            yield name


def _content_differs(blocks: "Blocks", before: Stored, span: Span) -> bool:
    if span.input is None and span.output is None:
        return False
    given, answered = blocks.content(before)
    span.input, span.output = storable((span.input or given, span.output or answered))
    return (span.input, span.output) != (given, answered)


class Blocks:
    """Payload blocks, each read once."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._read: dict[tuple[int, int], list[Content]] = {}

    def content(self, stored: Stored) -> Content:
        """What is stored of a span's content; (None, None) where nothing is."""
        if stored.place is None:
            return None, None
        block_id, slot = stored.place
        contents = self.block(stored.span.tenant_id, block_id, stored.row["start"].date())
        return contents[slot] if slot < len(contents) else (None, None)

    def is_gone(self, stored: Stored) -> bool:
        """Whether a span had content that was erased or let go: nothing of such a span may come back."""
        return stored.place is not None and self.content(stored) == (None, None)

    def block(self, tenant_id: int, block_id: int, day: date) -> list[Content]:
        """All contents of a block; none where it was erased."""
        key = (block_id, day.toordinal())
        if key not in self._read:
            row = self._conn.execute(
                "SELECT body FROM payload_block WHERE tenant_id = %s AND block_id = %s AND day = %s",
                (tenant_id, block_id, day),
                binary=True,
            ).fetchone()
            self._read[key] = read_block(row[0]) if row else []
        return self._read[key]


def _keep_prices(conn: Connection, changes: list[Change]) -> None:
    """Where nothing that a price goes by differs, the version stays, and what it cost by it."""
    same = [change for change in changes if _basis(change.stored.span) == _basis(change.new)]
    rates = rates_by_version(conn, sorted({c.stored.span.price_version for c in same} - {""}))
    for change in same:
        before, new = change.stored.span, change.new
        new.price_version = before.price_version
        price = rates.get(new.price_version)
        if change.stored.is_counted:
            new.cost_nanousd = before.cost_nanousd
        elif is_stated(new.price_version):
            new.cost_nanousd = before.stated_cost_nanousd
        else:
            new.cost_nanousd = cost(new.usage, price) if price is not None and new.usage is not None else None


def _basis(span: Span) -> tuple[Any, ...]:
    return (
        span.is_call, span.provider_name, span.request_model, span.response_model, span.usage,
        span.stated_cost_nanousd, span.start_ns // 1000,
    )  # fmt: skip


def _decide(conn: Connection, found: Plan) -> None:
    heavy = {change.key: change for change in found.heavy}
    before = load_related(conn, found.tenant_id, gather([change.stored.span for change in heavy.values()]))
    after = load_related(conn, found.tenant_id, gather([change.new for change in heavy.values()]))
    related = Related(before.claims | after.claims, after.own, before.parents | after.parents)
    others = {key: claim for key, claim in related.claims.items() if key not in heavy}
    counted = decide([claim.info for claim in others.values()] + list(related.own.values()), related.parents)
    for key, change in heavy.items():
        change.counts = change.new.is_call and key in counted
        claim = related.claims.get(key)
        if claim is not None and claim.is_counted:  # it goes with its bill; the new one comes with its own
            found.flips.append(Flip(found.tenant_id, claim.info, -1, claim.bill_id))
    for key, claim in others.items():
        if (key in counted) != claim.is_counted:
            found.flips.append(Flip(found.tenant_id, claim.info, 1 if key in counted else -1, claim.bill_id))


def preview_of(change: Change) -> str:
    """The first words of a changed span: of its content as it is now."""
    return preview(change.new) or str(change.stored.row["preview"])
