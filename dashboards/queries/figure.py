"""Which figure is asked about: what it shows, in words, and the bills that it should be the sum of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dashboards.queries.costs import BILL_COLUMNS, cost_by
from dashboards.queries.explained import Which
from dashboards.queries.rollup import total
from dashboards.queries.scope import Cursor, Scope
from dashboards.queries.trace import spans_of, trace
from llmobs.budgets.definition import TOKENS, BudgetInfo
from llmobs.budgets.scope import COLUMNS
from llmobs.budgets.window import counted_since, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LONGEST_TRACE = timedelta(days=8)  # a trace's later calls: as far as pages look for them
UNKNOWN_TO_BILLS = frozenset({"status", "error", "search"})


@dataclass(frozen=True)
class Figure:
    """`shown_nanousd` is what pages show (None: nothing is priced); `which` are its bills. `unit` usd or tokens.

    `counts_held`: calls without a price are in it by what they held.
    """

    words: str
    shown: int | None
    which: Which
    unit: str = "usd"
    counts_held: bool = False


def of_window(cursor: Cursor, scope: Scope) -> Figure:
    """A sum over calls with these dimensions. Raises ValueError for dimensions that bills do not know."""
    given = scope.filters.given
    unknown = sorted(UNKNOWN_TO_BILLS & given.keys())
    if unknown:
        raise ValueError(f"bills do not know {' and '.join(unknown)}: ask without")
    start, end = scope.window.start.replace(second=0, microsecond=0), _minute_after(scope.window.end)
    parts = ["b.tenant_id = ANY(%s)", "b.begin_at >= %s", "b.begin_at < %s"]
    parts += [f"b.{BILL_COLUMNS[name]} = %s" for name in given]
    which = Which(" AND ".join(parts), [list(scope.tenant_ids), start, end, *given.values()])
    by = next((name for name in ("user", "session") if name in given), None)
    shown = sum(row.cost_nanousd for row in cost_by(cursor, scope, by)) if by else total(cursor, scope).cost_nanousd
    of = ", ".join(f"{name} {value or 'not named'}" for name, value in given.items()) or "all calls"
    return Figure(f"Cost of {of}", shown, which)


def of_trace(cursor: Cursor, tenant_ids: tuple[int, ...], trace_id: str) -> Figure | None:
    """A trace's total; None where none of these tenants has it."""
    found = trace(cursor, tenant_ids, trace_id)
    if found is None:
        return None
    which = _of_trace(found.tenant_id, trace_id, found.start, "", [])
    return Figure(f"Cost of trace {trace_id}", found.cost_nanousd, which)


def of_span(cursor: Cursor, tenant_ids: tuple[int, ...], trace_id: str, span_id: str) -> Figure | None:
    """A span's own cost."""
    found = trace(cursor, tenant_ids, trace_id)
    span = next((s for s in spans_of(cursor, found) if s.span_id == span_id), None) if found else None
    if found is None or span is None:
        return None
    which = _of_trace(found.tenant_id, trace_id, found.start, " AND b.span_id = %s", [bytes.fromhex(span_id)])
    return Figure(f"Cost of span {span_id}", span.cost_nanousd, which)


def of_bill(cursor: Cursor, tenant_ids: Sequence[int], bill_id: int) -> Figure | None:
    """The call that a bill is of."""
    cursor.execute(
        "SELECT tenant_id, trace_id, span_id, begin_at FROM bill WHERE tenant_id = ANY(%s) AND bill_id = %s LIMIT 1",
        [list(tenant_ids), bill_id],
    )
    row = cursor.fetchone()
    if row is None:
        return None
    return of_span(cursor, (row[0],), bytes(row[1]).hex(), bytes(row[2]).hex())


def _of_trace(tenant_id: int, trace_id: str, start: datetime, more: str, values: list[Any]) -> Which:
    condition = "b.tenant_id = %s AND b.trace_id = %s AND b.begin_at >= %s AND b.begin_at < %s" + more
    return Which(condition, [tenant_id, bytes.fromhex(trace_id), start - DAY, start + LONGEST_TRACE, *values])


def of_budget(cursor: Cursor, budget: BudgetInfo, at: datetime, value: str) -> Figure:
    """What a budget has spent in the window that holds `at` (of a rolling one in all its days), of one value.

    Raises ValueError for what is no value of this budget, or no time that it can have counted in.
    """
    if not 1970 < at.year < 9999 or "\x00" in value:
        raise ValueError("the budget has no such window or value")
    zone, at_s = ZoneInfo(budget.zone), ns_from_utc(at) // NS_PER_SECOND
    since_s, ends_s = counted_since(budget.window, zone, at_s), window_bounds(budget.window, zone, at_s)[1]
    since, until = (utc_from_ns(each * NS_PER_SECOND) for each in (since_s, ends_s))
    cursor.execute(
        "SELECT COALESCE(sum(spent), 0)::bigint FROM budget_spend WHERE tenant_id = %s AND budget_id = %s "
        "AND revision = %s AND value = %s AND window_start >= %s AND window_start < %s",
        [budget.tenant_id, budget.id, budget.revision, value, since, until],
    )
    spent = cursor.fetchone()[0]
    counted = utc_from_ns((budget.counted_from_s or 0) * NS_PER_SECOND)
    condition, values = _within(budget, value)
    which = Which(
        f"b.tenant_id = %s AND b.begin_at >= %s AND b.begin_at < %s{condition}",
        [budget.tenant_id, max(since, counted), min(until, datetime.now(UTC) + DAY), *values],
    )
    of = f" of {value}" if value else ""
    unit = "tokens" if budget.unit == TOKENS else "usd"
    return Figure(f"Spent in budget {budget.name}{of}, from {since:%Y-%m-%d %H:%M} UTC", spent, which, unit, True)


def _within(budget: BudgetInfo, value: str) -> tuple[str, list[Any]]:
    parts, values = [], []
    scopes = list(budget.scopes)
    if () not in scopes:
        each = [" AND ".join(f"{_column(name)} = %s" for name, _ in scope) for scope in scopes]
        parts.append(f"({' OR '.join(each)})")
        values += [_typed(name, fixed) for scope in scopes for name, fixed in scope]
    names = budget.each
    if names:
        wanted = [value] if len(names) == 1 else _several(value)
        parts += [f"{_column(name)} = %s" for name in names]
        values += [_typed(name, text) for name, text in zip(names, wanted, strict=True)]
    return "".join(f" AND {part}" for part in parts), values


def _several(value: str) -> list[str]:
    """The values of a budget for each combination. Raises ValueError."""
    try:
        found = msgspec.json.decode(value or "[]", type=list[str])
    except msgspec.MsgspecError:
        raise ValueError("the value is no JSON list of texts") from None
    return [text.replace("\x00", "") for text in found]


def _column(name: str) -> str:
    return "split_part(b.prompt_version, '@', 1)" if name == "prompt" else f"b.{COLUMNS[name]}"


def _typed(name: str, text: str) -> str | int:
    return int(text or 0) if name == "key" else text


def _minute_after(at: datetime) -> datetime:
    whole = at.replace(second=0, microsecond=0)
    return whole if whole == at else whole + MINUTE
