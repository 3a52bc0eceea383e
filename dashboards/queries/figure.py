"""Which figure is asked about: what it shows, in words, and the bills that it should be the sum of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dashboards.queries.budgets import spend_over_time
from dashboards.queries.costs import BILL_COLUMNS, cost_by
from dashboards.queries.explained import Which, Within
from dashboards.queries.prompts import PromptRow, how_they_did
from dashboards.queries.rollup import Totals, total, totals
from dashboards.queries.scope import Cursor, Scope
from dashboards.queries.trace import spans_of, trace
from llmobs.budgets.definition import TOKENS, BudgetInfo
from llmobs.budgets.scope import COLUMNS
from llmobs.budgets.taken import INPUT_OF_BILL, TOKENS_OF_BILL
from llmobs.budgets.window import counted_since, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LONGEST_TRACE = timedelta(days=8)  # a trace's later calls: as far as pages look for them
UNKNOWN_TO_BILLS = frozenset({"status", "error", "search"})
# What of calls is explained, by its name in REST: (attribute of sums, what of a bill it is the sum of, in words).
METRICS = {
    "cost_usd": ("cost_nanousd", "cost_nanousd", "Cost"),
    "estimated_usd": ("estimated_nanousd", "cost_nanousd", "Cost without reported usage"),
    "tokens": ("tokens", TOKENS_OF_BILL, "Tokens"),
    "input_tokens": ("input_tokens", INPUT_OF_BILL, "Input tokens"),
    "cache_read_input_tokens": ("cache_read_input_tokens", "cache_read_input_tokens", "Tokens read from caches"),
    "output_tokens": ("output_tokens", "output_tokens", "Output tokens"),
    "reasoning_output_tokens": ("reasoning_output_tokens", "reasoning_output_tokens", "Reasoning tokens"),
}
_ESTIMATED = (
    " AND EXISTS (SELECT FROM bill e WHERE (e.tenant_id, e.trace_id, e.span_id, e.begin_at) = "
    "(b.tenant_id, b.trace_id, b.span_id, b.begin_at) AND e.kind IN ('estimated', 'abandoned'))"
)


@dataclass(frozen=True)
class Figure:
    """`shown` is what pages show (None: nothing is priced); `which` are its bills. `unit` usd or tokens.

    `counts_held`: calls without a price are in it by what they held. `measure`: of bills in tokens, what is added up.
    """

    words: str
    shown: int | None
    which: Which
    unit: str = "usd"
    counts_held: bool = False
    measure: str = TOKENS_OF_BILL


def of_window(
    cursor: Cursor, scope: Scope, metric: str = "cost_usd", but: Mapping[str, Sequence[str | int]] | None = None
) -> Figure:
    """A sum over calls with these dimensions; `but`: of one dimension the values that others than are meant.

    Raises ValueError for dimensions that bills do not know, and for two dimensions in `but`.
    """
    given = scope.filters.given
    unknown = sorted(UNKNOWN_TO_BILLS & given.keys())
    if unknown:
        raise ValueError(f"bills do not know {' and '.join(unknown)}: ask without")
    if but and len(but) > 1:
        raise ValueError("the others of one dimension at a time")
    start, end = scope.window.start.replace(second=0, microsecond=0), minute_after(scope.window.end)
    parts = ["b.tenant_id = ANY(%s)", "b.begin_at >= %s", "b.begin_at < %s"]
    parts += [f"b.{BILL_COLUMNS[name]} = %s" for name in given]
    values: list[Any] = [list(scope.tenant_ids), start, end, *given.values()]
    for name, named in (but or {}).items():
        parts.append(f"b.{BILL_COLUMNS[name]} <> ALL(%s)")
        values.append(list(named))
    attribute, measure, words = METRICS[metric]
    condition = " AND ".join(parts) + (_ESTIMATED if metric == "estimated_usd" else "")
    of = [f"{name} {value or 'not named'}" for name, value in given.items()]
    of += [f"{name}s other than {', '.join(str(each) for each in named)}" for name, named in (but or {}).items()]
    unit = "usd" if metric.endswith("_usd") else "tokens"
    shown = _shown(cursor, scope, attribute, but or {})
    columns = [BILL_COLUMNS[name] for name in (*given, *(but or {}))]
    if metric == "estimated_usd":
        columns.append("trace_id")  # by the call: nothing that is added up tells these apart
    which = Which(condition, values, Within(scope.tenant_ids, start, end, columns))
    return Figure(f"{words} of {', '.join(of) or 'all calls'}", shown, which, unit, False, measure)


def _shown(cursor: Cursor, scope: Scope, attribute: str, but: Mapping[str, Sequence[str | int]]) -> int:
    """The sum as pages read it: out of the roll-ups, and by user or session out of what is added up of bills."""
    if not but:
        by = next((name for name in ("user", "session") if name in scope.filters.given), None)
        rows = cost_by(cursor, scope, by) if by else [total(cursor, scope)]
        return _sum(rows, attribute)
    (name, named), *_ = but.items()
    if {"user", "session"} & {name, *scope.filters.given}:
        rows = cost_by(cursor, scope, name)
    else:
        rows = totals(cursor, scope, (name,))
    return _shown(cursor, scope, attribute, {}) - _sum([row for row in rows if row.key[0] in named], attribute)


def _sum(rows: Sequence[Totals], attribute: str) -> int:
    return sum(int(getattr(row, attribute)) for row in rows)


def of_prompt(prompt: PromptRow, number: int, scope: Scope) -> Figure:
    """What calls of a prompt's version cost, whatever the filters."""
    reference, window = prompt.reference(number), scope.window
    found = how_they_did((prompt.tenant_id,), [reference], window.start, window.end)
    result = found.get((prompt.tenant_id, reference))
    which = Which(
        "b.tenant_id = %s AND b.prompt_version = %s AND b.begin_at >= %s AND b.begin_at < %s",
        [prompt.tenant_id, reference, window.start, window.end],
    )
    return Figure(f"Cost of prompt {reference}", result.cost_nanousd if result else 0, which)


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


def of_stretch(cursor: Cursor, budget: BudgetInfo, since: datetime, until: datetime) -> Figure:
    """What calls in a budget's scope came to from one moment to another, all its values together.

    Of it alone running sums and forecasts are made: what calls without a price held is not in it.
    """
    if not 1970 <= since.year <= until.year < 9999:
        raise ValueError("the budget has no such window")
    since, until = since.replace(second=0, microsecond=0), minute_after(until)
    shown = sum(row.amount for row in spend_over_time(cursor, budget, since, until, MINUTE))
    condition, values = _within(budget, None)
    which = Which(
        f"b.tenant_id = %s AND b.begin_at >= %s AND b.begin_at < %s{condition}",
        [budget.tenant_id, since, until, *values],
    )
    unit = "tokens" if budget.unit == TOKENS else "usd"
    return Figure(
        f"Spent in budget {budget.name}, {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC", shown, which, unit
    )


def _within(budget: BudgetInfo, value: str | None) -> tuple[str, list[Any]]:
    """The budget's bills, of one value; None: of all its values."""
    parts, values = [], []
    scopes = list(budget.scopes)
    if () not in scopes:
        each = [" AND ".join(f"{_column(name)} = %s" for name, _ in scope) for scope in scopes]
        parts.append(f"({' OR '.join(each)})")
        values += [_typed(name, fixed) for scope in scopes for name, fixed in scope]
    names = budget.each
    if names and value is not None:
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


def minute_after(at: datetime) -> datetime:
    """The next whole minute, unless it is one: roll-ups are read by whole minutes."""
    whole = at.replace(second=0, microsecond=0)
    return whole if whole == at else whole + MINUTE
