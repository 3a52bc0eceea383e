"""Figures of the rules: one statement for each kind, whatever the number of its rules and tenants.

Rules go in as rows; each is joined to its tenants' roll-ups in its own window, filtered and grouped as it says. A
window up to WHOLE_MINUTES is read from minutes, a longer one from whole hours and the minutes before the first of them;
deltas that wait to be compacted are in both. Users are added up from bills by day, and by hour of the day that runs
(`rollups.bills`): what is not yet, and what is asked by sessions, or by users and more, bills tell, within seven days.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from llmobs.alerts.kinds import DIMENSIONS, ROLLED_UP
from llmobs.alerts.raising import Connection
from llmobs.alerts.rules import Rule
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.core.semconv import ERROR_STATUSES, REFUSED
from llmobs.rollups.sketch import percentile_ms

WHOLE_MINUTES = timedelta(hours=3)
TELLS_ATTEMPTS_APART = frozenset({"provider", "model"})
USERS = {"user": DIMENSIONS["user"]}


@dataclass(frozen=True)
class Figure:
    """What a rule sees of one tenant, and of one value of what it groups by."""

    rule: Rule
    tenant_id: int
    group: str
    value: Decimal
    count: int
    detail: Mapping[str, Any] = field(default_factory=dict)


def _asked(dimensions: Mapping[str, str]) -> str:
    """The rules as rows: one for each rule and tenant, each filter in a column of its own."""
    names = ", ".join(f"f_{name}" for name in dimensions)
    types = ", ".join("%s::text[]" for _ in dimensions)
    return (
        "rt AS MATERIALIZED (SELECT * FROM unnest(%s::int[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], "
        f"%s::text[], {types}) AS rt(rule, tenant_id, since, hours_from, group_by, {names}))"
    )


def _matches(dimensions: Mapping[str, str]) -> str:
    return " AND ".join(f"(rt.f_{n} IS NULL OR r.{column}::text = rt.f_{n})" for n, column in dimensions.items())


def _group(dimensions: Mapping[str, str]) -> str:
    cases = " ".join(f"WHEN '{name}' THEN r.{column}::text" for name, column in dimensions.items())
    return f"CASE rt.group_by {cases} ELSE '' END"


_COLUMNS = ", ".join(["status", *ROLLED_UP.values()])
_ROWS = (
    f"CROSS JOIN LATERAL (SELECT {_COLUMNS}, {{measures}} FROM rollup_delta d "
    "WHERE d.tenant_id = rt.tenant_id AND d.minute >= rt.since UNION ALL "
    f"SELECT {_COLUMNS}, {{measures}} FROM rollup_minute m "
    "WHERE m.tenant_id = rt.tenant_id AND m.minute >= rt.since AND m.minute < rt.hours_from UNION ALL "
    f"SELECT {_COLUMNS}, {{measures}} FROM rollup_hour h "
    "WHERE h.tenant_id = rt.tenant_id AND h.hour >= rt.hours_from) r"
)
_ERRORS = ", ".join(f"'{status}'" for status in sorted(ERROR_STATUSES))
_SUMMED = ("calls", "unpriced_calls", "cost_nanousd", "retried_calls", "retried_attempts", "retried_errors")

SUMS = (
    f"WITH {_asked(ROLLED_UP)} SELECT rt.rule, rt.tenant_id, {_group(ROLLED_UP)}, "
    f"coalesce(sum(calls) FILTER (WHERE status <> '{REFUSED}'), 0)::bigint, "
    f"coalesce(sum(calls) FILTER (WHERE status IN ({_ERRORS})), 0)::bigint, "
    f"coalesce(sum(retried_calls) FILTER (WHERE status IN ({_ERRORS})), 0)::bigint, "
    "sum(retried_calls - retried_attempts)::bigint, sum(retried_errors)::bigint, sum(unpriced_calls)::bigint, "
    "sum(cost_nanousd)::bigint "
    f"FROM rt {_ROWS.format(measures=', '.join(_SUMMED))} WHERE {_matches(ROLLED_UP)} GROUP BY 1, 2, 3"
)
SKETCHES = (
    f"WITH {_asked(ROLLED_UP)} SELECT rule, tenant_id, part, array_agg(bucket), array_agg(number) FROM ("
    f"SELECT rt.rule, rt.tenant_id, {_group(ROLLED_UP)} AS part, s.bucket, sum(s.count)::bigint AS number "
    f"FROM rt {_ROWS.format(measures='duration_buckets, duration_counts')} "
    "CROSS JOIN LATERAL unnest(r.duration_buckets, r.duration_counts) AS s(bucket, count) "
    f"WHERE {_matches(ROLLED_UP)} AND r.status <> '{REFUSED}' GROUP BY 1, 2, 3, 4) sketches GROUP BY 1, 2, 3"
)
BILLED = (
    f"WITH {_asked(DIMENSIONS)} SELECT rt.rule, rt.tenant_id, {_group(DIMENSIONS)}, sum(r.requests)::bigint, "
    "coalesce(sum(r.cost_nanousd), 0)::bigint FROM rt JOIN bill r ON r.tenant_id = rt.tenant_id "
    f"AND r.begin_at >= rt.since WHERE {_matches(DIMENSIONS)} GROUP BY 1, 2, 3"
)
# Days and hours that are added up, and the bills of all other times; as `dashboards.queries.billed` reads them.
_CHUNKS = (
    "clean AS MATERIALIZED (SELECT rt.rule, c.tenant_id, c.since, c.until FROM rt JOIN bill_chunk c "
    "ON c.tenant_id = rt.tenant_id AND c.since >= rt.since JOIN tenants_tenant z ON z.id = c.tenant_id "
    "AND z.time_zone = c.zone WHERE NOT EXISTS (SELECT FROM bill_late l "
    "WHERE l.tenant_id = c.tenant_id AND l.at >= c.since AND l.at < c.until)), "
    "gaps AS MATERIALIZED (SELECT rule, tenant_id, until AS low, lead(since, 1, 'infinity') OVER "
    "(PARTITION BY rule, tenant_id ORDER BY since, until) AS high "
    "FROM (SELECT rule, tenant_id, since, until FROM clean UNION ALL SELECT rule, tenant_id, since, since FROM rt) x)"
)
BILLED_USERS = (
    f"WITH {_asked(USERS)}, {_CHUNKS} SELECT rt.rule, rt.tenant_id, {_group(USERS)}, sum(r.requests)::bigint, "
    "coalesce(sum(r.cost_nanousd), 0)::bigint FROM rt CROSS JOIN LATERAL ("
    "SELECT u.user_id, u.requests, u.cost_nanousd FROM clean c JOIN rollup_bill_user u ON u.tenant_id = c.tenant_id "
    "AND u.since = c.since WHERE c.rule = rt.rule AND c.tenant_id = rt.tenant_id UNION ALL "
    "SELECT b.user_id, b.requests, b.cost_nanousd FROM gaps g CROSS JOIN LATERAL ("
    "SELECT i.user_id, i.requests, i.cost_nanousd FROM bill i WHERE i.tenant_id = g.tenant_id AND i.begin_at >= g.low "
    # OFFSET 0: each gap is looked up in its own partitions.
    "AND i.begin_at < g.high OFFSET 0) b WHERE g.rule = rt.rule AND g.tenant_id = rt.tenant_id AND g.low < g.high) r "
    f"WHERE {_matches(USERS)} GROUP BY 1, 2, 3"
)
# Of providers on our own ground a price of zero is what is meant.
FREE = (
    f"WITH {_asked(DIMENSIONS)} SELECT rt.rule, rt.tenant_id, {_group(DIMENSIONS)}, sum(r.requests)::bigint, "
    "array_agg(DISTINCT r.provider_name || '/' || r.model) FROM rt JOIN bill r ON r.tenant_id = rt.tenant_id "
    "AND r.begin_at >= rt.since LEFT JOIN providers_provider p ON p.name = r.provider_name "
    f"WHERE {_matches(DIMENSIONS)} AND r.cost_nanousd = 0 AND r.requests > 0 AND NOT coalesce(p.is_local, false) "
    "AND r.uncached_input_tokens + r.cache_read_input_tokens + r.output_tokens > 0 GROUP BY 1, 2, 3"
)


def latency(conn: Connection, rules: Sequence[Rule], now: datetime) -> list[Figure]:
    """p95 in milliseconds, of all that was not refused."""
    found = []
    for index, tenant_id, group, buckets, counts in _read(conn, SKETCHES, rules, now, ROLLED_UP):
        sketch = {bucket: count for bucket, count in zip(buckets, counts, strict=True) if count}
        p95 = percentile_ms(sketch, 0.95)
        if p95 is not None:
            found.append(Figure(rules[index], tenant_id, group, Decimal(round(p95)), sum(sketch.values())))
    return found


def errors(conn: Connection, rules: Sequence[Rule], now: datetime) -> list[Figure]:
    """Failed in percent: of what callers asked, however often it was tried; by provider and model, of attempts."""
    found = []
    for index, tenant_id, group, *sums in _read(conn, SUMS, rules, now, ROLLED_UP):
        answered, failed, retried_failed, retried, retried_errors, _, _ = sums
        rule = rules[index]
        if TELLS_ATTEMPTS_APART.isdisjoint({rule.group_by, *rule.filters}):
            answered, failed = answered + retried, failed + retried_failed - retried_errors
        if answered > 0:
            value = (Decimal(100 * max(failed, 0)) / answered).quantize(Decimal("0.01"))
            found.append(Figure(rule, tenant_id, group, value, answered, {"failed": max(failed, 0)}))
    return found


def unpriced(conn: Connection, rules: Sequence[Rule], now: datetime) -> list[Figure]:
    """Calls without a price (PAINS 12)."""
    rows = [(*row[:3], row[8]) for row in _read(conn, SUMS, rules, now, ROLLED_UP)]
    return [Figure(rules[i], tenant, group, Decimal(n), n) for i, tenant, group, n in rows if n > 0]


def cost(conn: Connection, rules: Sequence[Rule], now: datetime) -> list[Figure]:
    """USD within the window; rules on users and sessions read bills (PAINS 32)."""
    found = []
    summed = [rule for rule in rules if _is_rolled_up(rule)]
    for index, tenant_id, group, calls, *_, nanousd in _read(conn, SUMS, summed, now, ROLLED_UP):
        found.append(Figure(summed[index], tenant_id, group, Decimal(nanousd) / NANOUSD_PER_USD, calls))
    billed = [rule for rule in rules if not _is_rolled_up(rule)]
    by_user = [rule for rule in billed if _dimensions(rule) <= USERS.keys()]
    others = [rule for rule in billed if rule not in by_user]
    for statement, some, dimensions in ((BILLED_USERS, by_user, USERS), (BILLED, others, DIMENSIONS)):
        for index, tenant_id, group, calls, nanousd in _read(conn, statement, some, now, dimensions):
            found.append(Figure(some[index], tenant_id, group, Decimal(nanousd) / NANOUSD_PER_USD, calls))
    return found


def zero_cost(conn: Connection, rules: Sequence[Rule], now: datetime) -> list[Figure]:
    """Calls with tokens at no cost (PAINS 8)."""
    found = []
    for index, tenant_id, group, calls, models in _read(conn, FREE, rules, now, DIMENSIONS):
        found.append(Figure(rules[index], tenant_id, group, Decimal(calls), calls, {"models": sorted(models)[:5]}))
    return found


def _is_rolled_up(rule: Rule) -> bool:
    return _dimensions(rule) <= ROLLED_UP.keys()


def _dimensions(rule: Rule) -> set[str]:
    return {name for name in (rule.group_by, *rule.filters) if name}


def _read(
    conn: Connection, statement: str, rules: Sequence[Rule], now: datetime, dimensions: Mapping[str, str]
) -> list[tuple[Any, ...]]:
    rows = [(index, tenant_id) for index, rule in enumerate(rules) for tenant_id in rule.tenant_ids]
    if not rows:
        return []
    since = {index: (now - rule.window).replace(second=0, microsecond=0) for index, rule in enumerate(rules)}
    columns: list[list[Any]] = [
        [index for index, _ in rows],
        [tenant_id for _, tenant_id in rows],
        [since[index] for index, _ in rows],
        [_hours_from(since[index], rules[index].window, now) for index, _ in rows],
        [rules[index].group_by for index, _ in rows],
        *([rules[index].filters.get(name) for index, _ in rows] for name in dimensions),
    ]
    found: list[tuple[Any, ...]] = conn.execute(statement, columns).fetchall()
    return found


def _hours_from(since: datetime, window: timedelta, now: datetime) -> datetime:
    """The first whole hour that is read as such; past everything for a window that minutes tell."""
    if window <= WHOLE_MINUTES:
        return now + timedelta(days=366)
    whole = since.replace(minute=0)
    return whole if whole == since else whole + timedelta(hours=1)
