"""Thresholds on forecasts: a budget whose window will end above a share of its limit, told once in that window.

The forecast is the one that the budgets' page shows (`budgets.forecast`), over the budget's own window, be it an hour,
a day or a month (PAINS 30). "Each value of" budgets are not foretold value by value.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from llmobs.alerts.kinds import FORECAST, ROLLED_UP
from llmobs.alerts.raising import Connection, raise_alert
from llmobs.alerts.rule_checks import BUDGET
from llmobs.alerts.rules import Rule, TenantRow
from llmobs.alerts.thresholds import amount, budget_link
from llmobs.budgets.definition import USD, BudgetInfo, load
from llmobs.budgets.forecast import HISTORY, Forecast, Spent, forecast
from llmobs.budgets.window import TOTAL, counted_since, window_bounds

_TOKENS = (
    "uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens + cache_write_1h_input_tokens "
    "+ output_tokens"
)
_COLUMNS = {name: f"r.{column}" for name, column in ROLLED_UP.items()}


@dataclass(frozen=True, slots=True)
class Foretold:
    """A budget's window with its forecast, in the budget's unit."""

    budget: BudgetInfo
    window_start: datetime
    window_end: datetime
    spent: int
    forecast: Forecast

    @property
    def percent(self) -> float:
        return 100 * self.forecast.amount / self.budget.limit if self.budget.limit else 0.0


def raise_forecasts(conn: Any, rules: Sequence[Rule], now: datetime, tenants: Mapping[int, TenantRow]) -> int:
    """An alert for each budget that a rule's share will be passed of; how many are new."""
    if not rules:
        return 0
    new = 0
    wanted = {tenant_id for rule in rules for tenant_id in rule.tenant_ids}
    for budget in load(conn).infos:
        if budget.tenant_id not in wanted or budget.each or budget.window == TOTAL or not budget.is_counted:
            continue
        mine = [rule for rule in rules if budget.tenant_id in rule.tenant_ids and _is_about(rule, budget)]
        found = _foretell(conn, budget, now) if mine else None
        for rule in mine:
            if found is not None and found.percent >= rule.threshold:
                new += _raise(conn, rule, found, tenants[budget.tenant_id], now)
    return new


def _is_about(rule: Rule, budget: BudgetInfo) -> bool:
    return rule.filters.get(BUDGET) in (None, budget.name)


def _foretell(conn: Connection, budget: BudgetInfo, now: datetime) -> Foretold | None:
    zone, now_s = ZoneInfo(budget.zone), int(now.timestamp())
    _, ends_s = window_bounds(budget.window, zone, now_s)
    start = datetime.fromtimestamp(counted_since(budget.window, zone, now_s), UTC)
    end = datetime.fromtimestamp(ends_s, UTC)
    hours = _hours(conn, budget, min(start, now - HISTORY))
    spent = sum(row.amount for row in hours if row.at >= start)
    expected = forecast(spent, hours, now, end, budget.limit, zone)
    return Foretold(budget, start, end, spent, expected) if expected is not None else None


def _hours(conn: Connection, budget: BudgetInfo, since: datetime) -> list[Spent]:
    """What the budget's calls came to by the hour; of users and sessions the bills tell."""
    wanted = {name: value for name, value in budget.scope if name in _COLUMNS}
    is_usd = budget.unit == USD
    where = "".join(f" AND {_COLUMNS[name]}::text = %s" for name in wanted)
    what = "r.cost_nanousd" if is_usd else _TOKENS
    bound = [budget.tenant_id, since, *wanted.values()]
    if len(wanted) < len(budget.scope):
        return _billed_hours(conn, budget, since, what)
    parts = [
        f"SELECT {column} AS at, {what} AS amount FROM {table} r WHERE r.tenant_id = %s AND r.{start} >= %s{where}"
        for table, start, column in (
            ("rollup_hour", "hour", "r.hour"),
            ("rollup_delta", "minute", "date_trunc('hour', r.minute, 'UTC')"),
        )
    ]
    statement = f"SELECT at, sum(amount)::bigint FROM ({' UNION ALL '.join(parts)}) u GROUP BY 1 ORDER BY 1"
    return [Spent(at, value) for at, value in conn.execute(statement, bound * 2).fetchall()]


def _billed_hours(conn: Connection, budget: BudgetInfo, since: datetime, what: str) -> list[Spent]:
    columns = {**ROLLED_UP, "user": "user_id", "session": "session_id"}
    if not {name for name, _ in budget.scope} <= columns.keys():
        return []
    where = "".join(f" AND r.{columns[name]}::text = %s" for name, _ in budget.scope)
    statement = (
        f"SELECT date_trunc('hour', r.begin_at, 'UTC'), coalesce(sum({what}), 0)::bigint FROM bill r "
        f"WHERE r.tenant_id = %s AND r.begin_at >= %s{where} GROUP BY 1 ORDER BY 1"
    )
    bound = [budget.tenant_id, since, *(value for _, value in budget.scope)]
    return [Spent(at, value) for at, value in conn.execute(statement, bound).fetchall()]


def _raise(conn: Connection, rule: Rule, found: Foretold, tenant: TenantRow, now: datetime) -> bool:
    budget, is_usd = found.budget, found.budget.unit == USD
    unit = "usd" if is_usd else "tokens"
    alert = raise_alert(
        conn,
        budget.tenant_id,
        FORECAST.name,
        f"{rule.key}/{budget.id}/{budget.revision}/{found.window_start:%Y%m%dT%H}/{rule.threshold:f}",
        rule.severity,
        f"Budget “{budget.name}” of {tenant.name} will reach {found.percent:.0f} % of its limit",
        {
            "kind": FORECAST.name,
            "tenant": tenant.slug,
            "budget": budget.name,
            "budget_id": budget.id,
            "window": budget.window,
            "window_start": found.window_start.isoformat(),
            "window_end": found.window_end.isoformat(),
            "threshold_percent": f"{rule.threshold:f}",
            f"spent_{unit}": amount(found.spent, is_usd),
            f"forecast_{unit}": amount(found.forecast.amount, is_usd),
            f"forecast_low_{unit}": amount(found.forecast.low, is_usd),
            f"forecast_high_{unit}": amount(found.forecast.high, is_usd),
            f"limit_{unit}": amount(budget.limit, is_usd),
            "passes_at": found.forecast.passes_at.isoformat() if found.forecast.passes_at else None,
        },
        now,
        link=budget_link(tenant.slug, budget.id),
        rule_id=rule.id,
    )
    return alert is not None
