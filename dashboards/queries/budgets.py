"""How a budget's spend grew, which thresholds it passed, and what was refused for it.

How it stands now, with what running calls hold, is told by `llmobs.budgets.status`.
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dashboards.queries.costs import cost_of_bills
from dashboards.queries.rollup import COLUMNS, FIGURES, totals
from dashboards.queries.scope import Cursor, Filters, Scope
from dashboards.window import HOUR, Window
from llmobs.budgets.definition import TOKENS, BudgetInfo
from llmobs.budgets.forecast import Spent
from llmobs.budgets.scope import EACH
from llmobs.budgets.taken import TOKENS_OF_BILL, scope_condition, scope_values
from llmobs.budgets.window import counted_since, window_end

MOST_EVENTS = 20


@dataclass(frozen=True)
class ThresholdPassed:
    """A threshold (percent) that a budget's spend passed, once per window."""

    budget_id: int
    value: str
    threshold: int
    spent: int
    limit: int
    at: datetime
    alerted_at: datetime | None


def current_window(budget: BudgetInfo, now: datetime) -> tuple[datetime, datetime | None]:
    """Begin and end of the budget's window that holds `now`; no end for a lifetime.

    A rolling one begins with its oldest day, and ends with today: then that day leaves it.
    """
    zone, now_s = ZoneInfo(budget.zone), int(now.timestamp())
    start_s, end_s = counted_since(budget.window, zone, now_s), window_end(budget.window, zone, now_s)
    end = None if budget.window == "total" else datetime.fromtimestamp(end_s, UTC)
    return datetime.fromtimestamp(start_s, UTC), end


def thresholds_passed(
    cursor: Cursor, tenant_ids: tuple[int, ...], since: datetime, budget_id: int | None = None
) -> list[ThresholdPassed]:
    """Thresholds passed since then, newest first."""
    cursor.execute(
        "SELECT budget_id, value, threshold, spent, limit_amount, at, alerted_at FROM threshold_event "
        f"WHERE tenant_id = ANY(%s) AND at >= %s {'AND budget_id = %s' if budget_id else ''} "
        "ORDER BY at DESC, threshold DESC LIMIT %s",
        [list(tenant_ids), since, *([budget_id] if budget_id else []), MOST_EVENTS],
    )
    return [ThresholdPassed(*row) for row in cursor.fetchall()]


def spend_over_time(
    cursor: Cursor, budget: BudgetInfo, start: datetime, end: datetime, bucket: timedelta = HOUR
) -> list[Spent]:
    """What the calls in the budget's scope cost (or how many tokens) by bucket; those without calls are left out.

    An "each" budget is asked over all its values together.
    """
    window = Window(start, end, ZoneInfo("UTC"))
    if budget.below or any(name == "prompt" for name, _ in budget.scope):
        return _of_bills(cursor, budget, start, end, bucket)
    fixed = {name: value for name, value in budget.scope if value != EACH}
    filters = Filters(**{n: int(v) if n == "key" else v for n, v in fixed.items()})  # type: ignore[arg-type]
    scope = Scope((budget.tenant_id,), window, filters)
    if not fixed.keys() <= COLUMNS.keys():
        found = cost_of_bills(cursor, scope, bucket)
        return [Spent(at, tokens if budget.unit == TOKENS else cost) for at, cost, tokens in found]
    only = FIGURES if budget.unit == TOKENS else ("cost_nanousd",)
    rows = totals(cursor, scope, over_time=True, bucket=bucket, only=only)
    return [Spent(row.at, row.tokens if budget.unit == TOKENS else row.cost_nanousd) for row in rows if row.at]


def _of_bills(cursor: Cursor, budget: BudgetInfo, start: datetime, end: datetime, bucket: timedelta) -> list[Spent]:
    """From the bills themselves: what roll-ups are not kept by, and what budgets below it count."""
    amount = TOKENS_OF_BILL if budget.unit == TOKENS else "cost_nanousd"
    cursor.execute(
        f"SELECT date_bin(%s, begin_at, 'epoch'::timestamptz) AS at, COALESCE(sum({amount}), 0)::bigint FROM bill "
        f"WHERE {scope_condition(budget).as_string(None)} GROUP BY 1 ORDER BY 1",
        [bucket, budget.tenant_id, start, end, *scope_values(budget)],
    )
    return [Spent(at, int(amount)) for at, amount in cursor.fetchall()]


def refusals_by_budget(cursor: Cursor, scope: Scope) -> dict[str, tuple[int, datetime]]:
    """By the budget's name: calls refused for it in the window, and when the first was."""
    cursor.execute(
        "SELECT attributes->>'llmobs.refusal.budget', count(*), min(start) FROM span "
        "WHERE tenant_id = ANY(%s) AND start >= %s AND start < %s AND status = 'refused' "
        "AND error_type = 'budget_exhausted' GROUP BY 1",
        [list(scope.tenant_ids), scope.window.start, scope.window.end],
    )
    return {name or "": (number, at) for name, number, at in cursor.fetchall()}
