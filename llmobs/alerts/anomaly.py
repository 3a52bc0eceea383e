"""Anomalies of spend: today's against the usual of the same hours, told robustly and taken apart.

1. Whole hours from midnight of the tenant's zone to now, on each of the last 28 days; days before the first call are
   no data. Fewer than seven days: nothing is said.
2. Usual is their median, its spread 1.4826 times the median deviation from it (what is one standard deviation of a
   normal distribution, and is not moved by a single odd day), at least a twentieth of the median.
3. The figure is how many spreads today is above the usual, if it is also half as much again.
4. What it is made of: calls x tokens per call x cost per token, each against the same median days.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from llmobs.alerts.measures import Figure
from llmobs.alerts.raising import Connection
from llmobs.alerts.rules import Rule, TenantRow
from llmobs.core.money import exact_usd

DAYS, LEAST_DAYS = 28, 7
LEAST_SPREAD = 0.05  # of the median: a tenant that spends the same every day is allowed a twentieth more
LEAST_RATIO = 1.5
NORMAL = 1.4826

HOURS = """
WITH hours AS (
    SELECT tenant_id, hour, cost_nanousd, calls, uncached_input_tokens + cache_read_input_tokens
        + cache_write_5m_input_tokens + cache_write_1h_input_tokens + output_tokens AS tokens
    FROM rollup_tenant_hour WHERE tenant_id = ANY(%(tenants)s) AND hour >= %(since)s
    UNION ALL
    SELECT tenant_id, date_trunc('hour', minute, 'UTC'), cost_nanousd, calls, uncached_input_tokens
        + cache_read_input_tokens + cache_write_5m_input_tokens + cache_write_1h_input_tokens + output_tokens
    FROM rollup_delta WHERE tenant_id = ANY(%(tenants)s) AND minute >= %(since)s)
SELECT tenant_id, hour, sum(cost_nanousd)::bigint, sum(calls)::bigint, sum(tokens)::bigint FROM hours GROUP BY 1, 2
"""


@dataclass
class Day:
    """What the compared hours of one day came to."""

    cost_nanousd: int = 0
    calls: int = 0
    tokens: int = 0


def spend_anomaly(
    conn: Connection, rules: Sequence[Rule], now: datetime, tenants: dict[int, TenantRow]
) -> list[Figure]:
    """How far today's spend is above the usual, for each rule and tenant with enough days."""
    wanted = sorted({tenant_id for rule in rules for tenant_id in rule.tenant_ids})
    if not wanted:
        return []
    rows = conn.execute(HOURS, {"tenants": wanted, "since": now - timedelta(days=DAYS + 2)}).fetchall()
    by_tenant: dict[int, list[Any]] = defaultdict(list)
    for tenant_id, *row in rows:
        by_tenant[tenant_id].append(row)
    found = []
    for tenant_id, hours in by_tenant.items():
        measured = measure(hours, now, ZoneInfo(tenants[tenant_id].zone))
        if measured is not None:
            value, calls, detail = measured
            found += [Figure(r, tenant_id, "", value, calls, detail) for r in rules if tenant_id in r.tenant_ids]
    return found


Measured = tuple[Decimal, int, dict[str, Any]]  # spreads above the usual, today's calls, what it is made of


def measure(hours: Iterable[Sequence[Any]], now: datetime, zone: ZoneInfo) -> Measured | None:
    """Today against the days before, from (hour, cost, calls, tokens); None where there are too few."""
    today = now.astimezone(zone).date()
    until = now.astimezone(zone).replace(minute=0, second=0, microsecond=0).time()
    days: dict[date, Day] = {}
    for at, cost, calls, tokens in sorted(hours, key=lambda row: row[0]):
        local = at.astimezone(zone)
        day = days.setdefault(local.date(), Day())
        if local.time() < until:
            day.cost_nanousd, day.calls, day.tokens = day.cost_nanousd + cost, day.calls + calls, day.tokens + tokens
    if not days or until == time(0):
        return None
    first = min(days)
    before = [today - timedelta(days=back) for back in range(1, DAYS + 1)]
    past = [days.get(day, Day()) for day in before if day >= first]
    if len(past) < LEAST_DAYS:
        return None
    return _compared(days.get(today, Day()), past, until)


def _compared(today: Day, past: list[Day], until: time) -> Measured:
    usual = median(day.cost_nanousd for day in past)
    spread = max(NORMAL * median(abs(day.cost_nanousd - usual) for day in past), LEAST_SPREAD * usual, 1.0)
    above = (today.cost_nanousd - usual) / spread if today.cost_nanousd >= LEAST_RATIO * usual else 0.0
    calls, tokens = median(day.calls for day in past), median(day.tokens for day in past)
    detail = {
        "spent_usd": exact_usd(today.cost_nanousd),
        "usual_usd": exact_usd(round(usual)),
        "until_hour": f"{until:%H:%M}",
        "days": len(past),
        "calls_ratio": _ratio(today.calls, calls),
        "tokens_per_call_ratio": _ratio(_per(today.tokens, today.calls), _per(tokens, calls)),
        "cost_per_token_ratio": _ratio(_per(today.cost_nanousd, today.tokens), _per(usual, tokens)),
    }
    return Decimal(f"{max(above, 0.0):.1f}"), today.calls, detail


def _per(value: float, of: float) -> float:
    return value / of if of else 0.0


def _ratio(value: float, usual: float) -> str | None:
    return f"{value / usual:.2f}" if usual else None
