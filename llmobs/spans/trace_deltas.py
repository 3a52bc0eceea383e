"""Money that re-pricings have added to traces and that waits to be folded into their rows.

A row of `trace` stands in seven indexes, one of them by cost: to change ten million of them takes longer than all the
rest of a re-pricing. So the difference is appended here, in the transaction that makes it; readers of a trace's totals
add what waits (WAITING), and `fold` moves it into the rows beside all other work. Until then a trace shows its new cost
and stands, in the order by cost, where the old one had put it.
"""

import time
from collections.abc import Callable
from datetime import date
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

MOST_TRACES = 5_000  # of one transaction: a tenth of a second, for which the tenant's writer may have to wait

_LOCK = 0x6C6C6D74  # "llmt"

# For a row of `trace` t: `nanousd` and `gained` (calls that got a price less those that lost theirs), null if none.
WAITING = (
    "LEFT JOIN LATERAL (SELECT sum(d.cost_nanousd) AS nanousd, sum(d.gained) AS gained FROM trace_delta d "
    "WHERE d.tenant_id = t.tenant_id AND d.day = t.day AND d.trace_id = t.trace_id) w ON true"
)

# The same for all rows at once.
WAITING_OF_ALL = (
    "LEFT JOIN (SELECT tenant_id, day, trace_id, sum(cost_nanousd) AS nanousd, sum(gained) AS gained FROM trace_delta "
    "GROUP BY 1, 2, 3) w ON w.tenant_id = t.tenant_id AND w.day = t.day AND w.trace_id = t.trace_id"
)

_NEXT_DAY = "SELECT tenant_id, day FROM trace_delta WHERE (tenant_id, day) > (%s, %s) ORDER BY tenant_id, day LIMIT 1"
_LAST = (
    "SELECT max(trace_id) FROM (SELECT trace_id FROM trace_delta WHERE tenant_id = %s AND day = %s AND trace_id > %s "
    "ORDER BY trace_id LIMIT %s) n"
)
_FOLD = """
WITH taken AS (
    DELETE FROM trace_delta WHERE tenant_id = %(tenant_id)s AND day = %(day)s AND trace_id > %(after)s
        AND trace_id <= %(last)s RETURNING trace_id, cost_nanousd, gained),
summed AS (
    SELECT trace_id, sum(cost_nanousd)::bigint AS nanousd, sum(gained)::integer AS gained FROM taken GROUP BY trace_id
    HAVING sum(cost_nanousd) <> 0 OR sum(gained) <> 0),
folded AS (
    UPDATE trace t SET cost_nanousd = t.cost_nanousd + s.nanousd, priced_count = t.priced_count + s.gained,
        unpriced_count = t.unpriced_count - s.gained
    FROM summed s WHERE t.tenant_id = %(tenant_id)s AND t.day = %(day)s AND t.trace_id = s.trace_id)
SELECT count(*) FROM taken
"""

# Keeps the tenant's writer out until the transaction ends (`ingest.commit.share_tenant`).
Share = Callable[[Connection, int], None]


def forget(conn: Connection, tenant_id: int, trace_ids: list[bytes], days: tuple[date, date]) -> None:
    """These traces are added up anew from spans and bills, in this transaction: what waited is in that."""
    conn.execute(
        "DELETE FROM trace_delta WHERE tenant_id = %s AND trace_id = ANY(%s) AND day BETWEEN %s AND %s",
        (tenant_id, trace_ids, *days),
    )


def fold(conn: Connection, share: Share, most_seconds: float = float("inf")) -> int:
    """Into the rows, transaction by transaction, for about so long; returns how many deltas went.

    One process at a time; another one finds nothing to do. What retention has dropped is not brought back.
    """
    until = time.monotonic() + most_seconds
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    if not row or not row[0]:
        return 0
    folded, tenant_id, day = 0, -1, date.min
    try:
        while time.monotonic() < until:
            found = conn.execute(_NEXT_DAY, (tenant_id, day)).fetchone()
            if found is None:
                break
            tenant_id, day = found
            folded += fold_day(conn, share, tenant_id, day, until)
    finally:
        if not conn.broken:
            conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    return folded


def fold_day(conn: Connection, share: Share, tenant_id: int, day: date, until: float = float("inf")) -> int:
    """What waits for a tenant's day. In the order of traces, as the writer locks their rows."""
    folded, after = 0, b""
    while time.monotonic() < until:
        with conn.transaction():
            share(conn, tenant_id)
            last = conn.execute(_LAST, (tenant_id, day, after, MOST_TRACES)).fetchone()
            if last is None or last[0] is None:
                break
            asked = {"tenant_id": tenant_id, "day": day, "after": after, "last": last[0]}
            row = conn.execute(_FOLD, asked).fetchone()
        folded, after = folded + (row[0] if row else 0), bytes(last[0])
    return folded
