"""Where sums over bills are read from: days added up where they know the dimensions, the bills themselves elsewhere.

`llmobs.rollups.bills` says which times are added up; one statement reads those and the bills of all other times, so
that each bill is in it once. Rows of the roll-ups look like bills: their sums are sums, `begin_at` is when their day
(or hour) begins, and what has no price has rows of its own, with `cost_nanousd` null.
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from llmobs.rollups.bills import DIMENSIONS, SUMS, USER_DIMENSIONS

COARSE = (
    ("rollup_bill", frozenset(DIMENSIONS)),
    ("rollup_bill_user", frozenset(USER_DIMENSIONS) - {"provider_name", "model"}),
)
UNPRICED_USERS = ("rollup_bill_user", frozenset(USER_DIMENSIONS))
MEASURES = (*SUMS, "cost_nanousd", "held_nanousd", "units")

# Times without an unmarked chunk, tenant by tenant, between the chunks that lie in the window as a whole.
_CLEAN = (
    "clean AS MATERIALIZED (SELECT c.tenant_id, c.since, c.until FROM bill_chunk c "
    "JOIN tenants_tenant z ON z.id = c.tenant_id AND z.time_zone = c.zone "
    "WHERE c.tenant_id = ANY(%s) AND c.since >= %s AND c.until <= %s AND NOT EXISTS (SELECT FROM bill_late l "
    "WHERE l.tenant_id = c.tenant_id AND l.at >= c.since AND l.at < c.until))"
)
_GAPS = (
    "gaps AS MATERIALIZED (SELECT tenant_id, until AS low, high FROM (SELECT tenant_id, until, "
    "lead(since, 1, %s::timestamptz) OVER (PARTITION BY tenant_id ORDER BY since, until) AS high FROM ("
    "SELECT tenant_id, since, until FROM clean UNION ALL SELECT t, %s::timestamptz, %s::timestamptz "
    "FROM unnest(%s::bigint[]) t) x) y WHERE until < high)"
)


def is_small(columns: Iterable[str], by_hour: bool = False, is_one_user: bool = False) -> bool:
    """Whether a whole window is few rows by these columns of bills: added up, and not by user, or of one of them."""
    names = set(columns)
    return not by_hour and any((table == "rollup_bill" or is_one_user) and known >= names for table, known in COARSE)


def rows(
    columns: Iterable[str],
    tenant_ids: Sequence[int],
    start: datetime,
    end: datetime,
    by_hour: bool = False,
    is_unpriced: bool = False,
) -> tuple[str, list[Any]]:
    """SQL of a sub-select of rows like bills, of these tenants and this time, and its parameters.

    `columns`: the dimensions (columns of `bill`) that are asked for besides tenant_id, begin_at and the measures.
    `is_unpriced`: of bills without a price alone, which have an index of their own.
    """
    names = list(dict.fromkeys(columns))
    bills = ", ".join(("tenant_id", *names, *MEASURES, "begin_at", "begin_at AS first_at", "begin_at AS last_at"))
    coarse = (*COARSE, UNPRICED_USERS) if is_unpriced else COARSE
    table = next((table for table, known in coarse if known.issuperset(names)), None)
    tenants = list(tenant_ids)
    unpriced = " AND {}cost_nanousd IS NULL" if is_unpriced else ""
    if table is None or by_hour:
        return (
            f"(SELECT {bills} FROM bill WHERE tenant_id = ANY(%s) AND begin_at >= %s AND begin_at < %s"
            f"{unpriced.format('')})",
            [tenants, start, end],
        )
    added = ", ".join(f"r.{name}" for name in ("tenant_id", *names, *MEASURES, "since", "first_at", "last_at"))
    of_gap = ", ".join(f"b.{name}" for name in ("tenant_id", *names, *MEASURES, "begin_at", "first_at", "last_at"))
    return (
        # Chunks as an array: joined row by row, PostgreSQL keeps their rows for a second look that never comes.
        f"(WITH {_CLEAN}, {_GAPS} SELECT {added.replace('r.since', 'r.since AS begin_at')} FROM (SELECT tenant_id, "
        f"array_agg(since) AS chunks FROM clean GROUP BY tenant_id) k JOIN {table} r ON r.tenant_id = k.tenant_id "
        "AND r.since = ANY(k.chunks) WHERE r.tenant_id = ANY(%s) AND r.since >= %s AND r.since < %s"
        f"{unpriced.format('r.')} UNION ALL SELECT {of_gap} FROM gaps g CROSS JOIN LATERAL (SELECT {bills} FROM bill i "
        # OFFSET 0: each gap is looked up in its own partitions, where a join would read all of the window's.
        "WHERE i.tenant_id = g.tenant_id AND i.begin_at >= g.low AND i.begin_at < g.high"
        f"{unpriced.format('i.')} OFFSET 0) b)",
        [tenants, start, end, end, start, start, tenants, tenants, start, end],
    )
