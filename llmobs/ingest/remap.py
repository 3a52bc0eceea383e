"""Reading the past again with today's adapters: `manage.py remap`, which shows the difference before it applies it.

Kept bodies (`raw_bodies`) of a tenant, in the order they came, in lots of some hundred spans: decoded and passed
through the same doors as new ones, then compared with what is stored (`remap_plan`). Applied, each lot is a
transaction of its own under the tenant's lock (`remap_write`): killed anywhere, the next run finds what is left, since
what is done does not differ any more. Of a span that came more than once, the first body is the one that stands.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg import errors

from llmobs.budgets.definition import Budgets
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import current_budgets, fold_of, spent_row
from llmobs.core.clock import utc_from_ns
from llmobs.ingest.commit import lock_tenants
from llmobs.ingest.flips import load_flips
from llmobs.ingest.raw_bodies import FULL, kept
from llmobs.ingest.remap_plan import Plan, plan
from llmobs.ingest.remap_write import write
from llmobs.ingest.translate import Config, Translator
from llmobs.pricing.price import Price
from llmobs.pricing.versions import remember
from llmobs.spans.record import Span

SPANS_PER_LOT = 500
MOST_TRIES = 6

Connection = psycopg.Connection[Any]
Send = Callable[[list[Fold]], None]
Cell = tuple[int, str, str]  # tenant, day in its time zone, model


@dataclass(slots=True)
class Difference:
    """What a run changed, or would. Money is what counts: of calls that bear a bill, with what re-pricings added."""

    bodies: int = 0
    unreadable: int = 0
    read: int = 0
    absent: int = 0  # not stored (any more), or the gateway's own
    changed: int = 0
    newer: int = 0  # the same but for the adapter's version
    columns: Counter[str] = field(default_factory=Counter)
    begin_to_count: int = 0
    count_no_more: int = 0
    before: Counter[Cell] = field(default_factory=Counter)  # nano-USD
    after: Counter[Cell] = field(default_factory=Counter)

    @property
    def nanousd(self) -> int:
        return self.after.total() - self.before.total()

    def cells(self) -> list[tuple[Cell, int, int]]:
        """Cost by tenant, day and model, before and after, where it differs."""
        cells = sorted(self.before.keys() | self.after.keys())
        return [(c, self.before[c], self.after[c]) for c in cells if self.before[c] != self.after[c]]


@dataclass(slots=True)
class Remap:
    """One run over some tenants and a stretch of time (of receiving)."""

    config: Config
    tenant_ids: list[int]
    since: datetime
    until: datetime

    def look(self, conn: Connection) -> Difference:
        """The difference, lot by lot against what is stored; nothing is written."""
        found = Difference()
        for tenant_id, spans, _ in self._lots(conn, found):
            with conn.transaction():
                _tell(conn, plan(conn, tenant_id, spans), self._zone(tenant_id), found)
        return found

    def apply(self, conn: Connection, send: Send) -> Difference:
        """Change what differs. `conn` is in autocommit. What a killed run left untold is told to the ledger, too."""
        found, budgets = Difference(), Budgets(version=-1)
        began_at = datetime.now(UTC)
        for tenant_id, spans, prices in self._lots(conn, found):
            budgets = self._apply_lot(conn, tenant_id, spans, prices, budgets, found)
        send(_folds_since(conn, self.tenant_ids, began_at - timedelta(days=1)))
        return found

    def _apply_lot(
        self, conn: Connection, tenant_id: int, spans: list[Span], prices: list[Price], budgets: Budgets,
        found: Difference,
    ) -> Budgets:  # fmt: skip
        for attempt in range(1, MOST_TRIES + 1):
            try:
                with conn.transaction():
                    budgets = current_budgets(conn, budgets)
                    lock_tenants(conn, [tenant_id])
                    made = plan(conn, tenant_id, spans)
                    told = _told(conn, made, self._zone(tenant_id))
                    remember(conn, prices)
                    write(conn, made, budgets)
            except (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
                if attempt == MOST_TRIES:
                    raise
            else:
                _add(found, told)
                return budgets
        raise AssertionError("unreachable")

    def _lots(self, conn: Connection, found: Difference) -> Iterator[tuple[int, list[Span], list[Price]]]:
        """Spans of one tenant, each once, with the prices they were computed with."""
        translator = Translator(self.config)
        for tenant_id in self.tenant_ids:
            if self.config.door.policy(tenant_id) != FULL:
                continue  # the bodies go within the hour; until then nobody reads them
            seen: set[int] = set()
            spans: list[Span] = []
            prices: list[Price] = []
            for raw in kept(conn, tenant_id, self.since, self.until):
                found.bodies += 1
                try:
                    piece = translator.again(raw)
                except Exception:
                    # A body that today's adapters stumble over stays as it was read; it is counted, and told.
                    found.unreadable += 1
                    continue
                for span in piece.spans:
                    key = hash((span.trace_id, span.span_id))
                    if key not in seen:
                        seen.add(key)
                        spans.append(span)
                prices += piece.prices
                if len(spans) >= SPANS_PER_LOT:
                    yield tenant_id, spans, prices
                    translator.were_kept(prices)
                    spans, prices = [], []
            if spans:
                yield tenant_id, spans, prices

    def _zone(self, tenant_id: int) -> ZoneInfo:
        return ZoneInfo(self.config.roster.tenants[tenant_id].time_zone)


def _told(conn: Connection, made: Plan, zone: ZoneInfo) -> Difference:
    told = Difference()
    _tell(conn, made, zone, told)
    return told


def _tell(conn: Connection, made: Plan, zone: ZoneInfo, found: Difference) -> None:
    found.read += made.read
    found.absent += made.absent
    found.changed += sum(change.is_told for change in made.changes)
    found.newer += sum(not change.is_told for change in made.changes)
    for change in made.changes:
        if change.is_told:
            found.columns.update(change.columns - {"adapter"})
    _tell_counting(conn, made, zone, found)


def _tell_counting(conn: Connection, made: Plan, zone: ZoneInfo, found: Difference) -> None:
    heavy = {change.key: change for change in made.heavy}
    for change in heavy.values():
        found.begin_to_count += change.counts and not change.stored.is_counted
        found.count_no_more += change.stored.is_counted and not change.counts
        if change.counts:
            found.after[_cell(change.new, zone)] += change.new.cost_nanousd or 0
    for flip in load_flips(conn, made.flips):
        shown = (flip.span.cost_nanousd or 0) + sum(each.nanousd for each in flip.adjusted)
        (found.after if flip.calls > 0 else found.before)[_cell(flip.span, zone)] += shown
        if (flip.claim.trace_id, flip.claim.span_id) not in heavy:
            found.begin_to_count += flip.calls > 0
            found.count_no_more += flip.calls < 0


def _cell(span: Span, zone: ZoneInfo) -> Cell:
    return span.tenant_id, utc_from_ns(span.start_ns).astimezone(zone).date().isoformat(), span.model


def _add(found: Difference, told: Difference) -> None:
    for name in ("read", "absent", "changed", "newer", "begin_to_count", "count_no_more"):
        setattr(found, name, getattr(found, name) + getattr(told, name))
    found.columns += told.columns
    for mine, others in ((found.before, told.before), (found.after, told.after)):
        mine.update(others)


def _folds_since(conn: Connection, tenant_ids: list[int], since: datetime) -> list[Fold]:
    rows = conn.execute(
        "SELECT tenant_id, budget_id, revision, value, window_start, spent, version FROM budget_spend "
        "WHERE tenant_id = ANY(%s) AND updated_at >= %s",
        (tenant_ids, since),
    ).fetchall()
    return [fold_of(spent_row(row)) for row in rows]
