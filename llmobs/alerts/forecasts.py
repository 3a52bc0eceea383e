"""Thresholds on forecasts: a budget whose window will end above a share of its limit, told once in that window.

The forecast is the one that pages and REST show (`budgets.outlook`), over the budget's own window, be it an hour, a day
or a month (PAINS 30), and for each value of an "each" budget that has spent.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from llmobs.alerts.kinds import FORECAST
from llmobs.alerts.raising import Connection, raise_alert
from llmobs.alerts.rule_checks import BUDGET
from llmobs.alerts.rules import Rule, TenantRow
from llmobs.alerts.thresholds import amount, budget_link, short
from llmobs.budgets.definition import USD, load
from llmobs.budgets.outlook import Outlook, budget_forecasts
from llmobs.budgets.window import window_start


class _Cursor:
    """What plain modules read with, on a connection that makes a cursor for each statement."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.found: Any = None

    def execute(self, query: str, params: Any = None, /) -> Any:
        self.found = self.conn.execute(query, params)
        return self.found

    def fetchall(self) -> list[Any]:
        return list(self.found.fetchall())

    def fetchone(self) -> Any:
        return self.found.fetchone()


def raise_forecasts(conn: Any, rules: Sequence[Rule], now: datetime, tenants: Mapping[int, TenantRow]) -> int:
    """An alert for each budget and value that will pass a rule's share; how many are new."""
    wanted = {tenant_id for rule in rules for tenant_id in rule.tenant_ids}
    if not wanted:
        return 0
    budgets = [budget for budget in load(conn).infos if budget.tenant_id in wanted]
    new = 0
    for outlook in budget_forecasts(_Cursor(conn), budgets, now):
        for rule in rules:
            if _is_about(rule, outlook) and _percent(outlook) >= rule.threshold:
                new += _raise(conn, rule, outlook, tenants[outlook.budget.tenant_id], now)
    return new


def _is_about(rule: Rule, outlook: Outlook) -> bool:
    return outlook.budget.tenant_id in rule.tenant_ids and rule.filters.get(BUDGET) in (None, outlook.budget.name)


def _percent(outlook: Outlook) -> Decimal:
    """The foretold share of the limit; 0 where nothing is foretold, or the limit was lifted."""
    if outlook.amount is None or not outlook.limit:
        return Decimal(0)
    return Decimal(100 * outlook.amount) / outlook.limit


def _raise(conn: Connection, rule: Rule, outlook: Outlook, tenant: TenantRow, now: datetime) -> bool:
    budget = outlook.budget
    start_s = window_start(budget.window, ZoneInfo(budget.zone), int(now.timestamp()))
    start = datetime.fromtimestamp(start_s, UTC)
    whose = f" for {short(outlook.value)}" if outlook.value else ""
    alert = raise_alert(
        conn,
        budget.tenant_id,
        FORECAST.name,
        f"{rule.key}/{budget.id}/{budget.revision}/{start:%Y%m%dT%H}/{rule.threshold:f}/{outlook.value}",
        rule.severity,
        f"Budget “{budget.name}”{whose} of {tenant.name} will reach {_percent(outlook):.0f} % of its limit",
        {**_body(rule, outlook, tenant), "window_start": start.isoformat()},
        now,
        link=budget_link(tenant.slug, budget.id),
        rule_id=rule.id,
    )
    return alert is not None


def _body(rule: Rule, outlook: Outlook, tenant: TenantRow) -> dict[str, Any]:
    budget, is_usd = outlook.budget, outlook.budget.unit == USD
    unit = "usd" if is_usd else "tokens"
    amounts = {
        "spent": outlook.spent,
        "limit": outlook.limit,
        "forecast": outlook.amount,
        "forecast_low": outlook.low,
        "forecast_high": outlook.high,
    }
    return {
        "kind": FORECAST.name,
        "tenant": tenant.slug,
        "budget": budget.name,
        "budget_id": budget.id,
        "value": outlook.value or None,
        "window": budget.window,
        "threshold_percent": f"{rule.threshold.normalize():f}",
        **{f"{name}_{unit}": None if given is None else amount(given, is_usd) for name, given in amounts.items()},
        "ends_at": outlook.ends_at.isoformat() if outlook.ends_at else None,
        "passes_at": outlook.exhausts_at.isoformat() if outlook.exhausts_at else None,
    }
