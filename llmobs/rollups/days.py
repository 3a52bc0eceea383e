"""Days of roll-ups: made of the hours when a day is over, so that a month is read in days.

1. While a day runs its hours alone are compacted: a day's rows are long, and would be written again every few seconds.
2. When it is over, its hours are added up, in one transaction in which nothing is compacted; `rollup_closed.until`
   moves past it. What comes late (`compact`, re-pricing) goes into hours and days from then on.
3. Readers take days before `until`, and hours from there on: each call is in both, and read in one.
"""

# ruff: noqa: S608 -- names in the statements come from the targets, values are bound

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from llmobs.rollups.compact import DAY_TARGETS, Target, keep_out_all, target
from llmobs.rollups.delta import MEASURES, SUMS

SETTLED = timedelta(hours=1)  # after midnight: what was under way then has been written
_DAY = timedelta(days=1)


def close_days(conn: psycopg.Connection[Any], now: datetime) -> int:
    """Make the days that are over and not made yet, oldest first; how many. `conn` is in autocommit."""
    made = 0
    last = (now - SETTLED).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while _close_next(conn, last):
        made += 1
    return made


def _close_next(conn: psycopg.Connection[Any], last: datetime) -> bool:
    """Whether a day was made."""
    with conn.transaction():
        keep_out_all(conn)
        row = conn.execute(
            "SELECT until, (SELECT min(hour) FROM rollup_hour WHERE hour >= until) FROM "
            "(SELECT coalesce((SELECT until FROM rollup_closed), timestamptz '2000-01-01 00:00:00+00') AS until) c"
        ).fetchone()
        assert row is not None, "an aggregate has a row"
        until, first = row
        if until >= last:
            return False
        # From the first hour there is; where there is none, there is nothing to add up.
        day = max(until, first.astimezone(UTC).replace(hour=0)) if first else last
        is_made = day < last
        if is_made:
            for to in DAY_TARGETS:
                conn.execute(added_up(to), {"day": day, "end": day + _DAY})
            day += _DAY
        conn.execute(
            "INSERT INTO rollup_closed (until) VALUES (%s) ON CONFLICT (only_one) DO UPDATE SET until = excluded.until",
            (min(day, last),),
        )
        return is_made


def added_up(to: Target) -> str:
    """SQL that adds up a day into a table of days; parameters day and end."""
    source = target(to.source)
    keys = ", ".join(["tenant_id", *to.dimensions])
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in SUMS)

    def sketch(name: str, kind: str) -> str:
        return (
            f"{name} AS (SELECT {keys}, array_agg(b ORDER BY b) AS buckets, array_agg(n ORDER BY b) AS counts FROM ("
            f"SELECT {keys}, b, sum(c)::bigint AS n FROM raw, unnest({kind}_buckets, {kind}_counts) AS u (b, c) "
            f"GROUP BY {keys}, b HAVING sum(c) <> 0) x GROUP BY {keys})"
        )

    return (
        f"WITH raw AS MATERIALIZED (SELECT {keys}, {', '.join(MEASURES)} FROM {source.table} "
        f"WHERE {source.bucket} >= %(day)s AND {source.bucket} < %(end)s), "
        f"g AS (SELECT {keys}, {sums} FROM raw GROUP BY {keys}), {sketch('d', 'duration')}, {sketch('t', 'ttft')} "
        f"INSERT INTO {to.table} (tenant_id, day, {', '.join((*to.dimensions, *MEASURES))}) "
        "SELECT g.tenant_id, %(day)s, "
        f"{', '.join(f'g.{name}' for name in (*to.dimensions, *SUMS))}, coalesce(d.buckets, '{{}}'), "
        "coalesce(d.counts, '{}'), coalesce(t.buckets, '{}'), coalesce(t.counts, '{}') "
        f"FROM g LEFT JOIN d USING ({keys}) LEFT JOIN t USING ({keys})"
    )
