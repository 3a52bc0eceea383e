"""Bills added up by day, so that a month's usage is read without its bills: made from the bills, thrown away when late.

1. A *chunk* is a tenant's local day that is over for a day, or an hour of those since: the last 24 hours
   begin within yesterday. `close_bills` adds up its bills into `rollup_bill` (all dimensions but users and sessions)
   and `rollup_bill_user` (users), in one transaction.
2. Who writes a bill that is older than LATE marks its quarter of an hour in `bill_late`, in the bill's own transaction
   (`mark_late`, `mark_all`). A chunk with a mark is not read: its bills are, until it is made anew.
3. A chunk is made CLOSED_AFTER its end, and while no transaction is under way that began before that: whoever did not
   mark a bill, because it was young then, has committed it. Making takes the marks away first and reads bills after.
4. A day that is over has an index by user (`index_users`): one user's bills are found without reading a month of them.
So in each statement's snapshot chunks without marks, and bills outside of these, are all bills, each once. Chunks of
another time zone than the tenant's are made anew.
"""

# ruff: noqa: S608 -- names in the statements are constants of this module, values are bound

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from llmobs.core.clock import NS_PER_SECOND
from llmobs.spans.partitions import existing_days, partition_name

LATE = timedelta(minutes=20)  # an older bill is marked
CLOSED_AFTER = timedelta(minutes=30)
LONGEST_WRITING = timedelta(minutes=5)  # less than lies between the two
DAY_OVER_AFTER = timedelta(hours=26)  # until then its hours are kept: 24 h ago lies within it, also where it has 25
MOST_CHUNKS = 200  # of one run: after an update months of days wait
QUARTER_S = 900  # no time zone's hour begins within one

DIMENSIONS = (
    "service", "environment", "feature", "key_id", "provider_name", "model", "prompt_version", "tier", "kind",
    "price_version",
)  # fmt: skip
# Provider and model are those of bills without a price alone ("" of others): who called what has none (PAINS 12).
USER_DIMENSIONS = ("user_id", "kind", "provider_name", "model")
_ONLY_UNPRICED = {
    name: f"CASE WHEN cost_nanousd IS NULL THEN {name} ELSE '' END" for name in ("provider_name", "model")
}
SUMS = (
    "requests", "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens", "output_tokens", "reasoning_output_tokens",
)  # fmt: skip
TABLES = {"rollup_bill": DIMENSIONS, "rollup_bill_user": USER_DIMENSIONS}

_LOCK = 0x6C6C6D62  # "llmb"
_INDEX_LOCK = 0x6C6C6D75  # "llmu"
_HOUR = timedelta(hours=1)

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class _Chunk:
    tenant_id: int
    since: datetime
    until: datetime
    zone: str


class BillLike(Protocol):
    """What is marked of a bill (`spans.bill.Bill`)."""

    @property
    def tenant_id(self) -> int: ...
    @property
    def begin_ns(self) -> int: ...


def mark_late(conn: Connection, bills: Iterable[BillLike], now_ns: int) -> None:
    """Mark what is old of these, in the transaction that writes them."""
    latest = now_ns - int(LATE.total_seconds()) * NS_PER_SECOND
    late = {(b.tenant_id, b.begin_ns // NS_PER_SECOND // QUARTER_S * QUARTER_S) for b in bills if b.begin_ns < latest}
    if late:
        conn.execute(
            "INSERT INTO bill_late (tenant_id, at) SELECT t, to_timestamp(s) FROM unnest(%s::bigint[], %s::bigint[]) "
            "AS late (t, s)",
            [list(column) for column in zip(*sorted(late), strict=True)],
        )


def mark_all(conn: Connection, table: str) -> None:
    """Mark all that a table of the transaction's own names by tenant_id and begin_at: corrections of old bills."""
    conn.execute(
        "INSERT INTO bill_late (tenant_id, at) SELECT DISTINCT tenant_id, "
        f"date_bin('15 minutes', begin_at, timestamptz '2000-01-01 00:00+00') FROM {table}"
    )


def rename_user(conn: Connection, tenant_id: int, user_id: str, pseudonym: str) -> int:
    """A user's name out of what is added up, in the transaction that takes it out of the bills."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))  # no chunk is made of the bills as they were
    return conn.execute(
        "UPDATE rollup_bill_user SET user_id = %s WHERE tenant_id = %s AND user_id = %s",
        (pseudonym, tenant_id, user_id),
    ).rowcount


def close_bills(conn: Connection, now: datetime, most: int = MOST_CHUNKS) -> int:
    """Make the chunks that are over and not made yet, or late; how many. `conn` is in autocommit."""
    if _is_writing(conn):
        return 0
    made = 0
    for tenant_id, zone, first in _tenants(conn):
        _forget_other_zones(conn, tenant_id, zone)
        clean = _clean(conn, tenant_id)
        for since, until in _spans_of_time(first, now, ZoneInfo(zone)):
            if (since, until) in clean:
                continue
            if made >= most:
                return made
            made += _make(conn, _Chunk(tenant_id, since, until, zone))
    return made


def index_users(conn: Connection, today: date, most: int | None = None) -> int:
    """Give bills of days before `today` an index by user, newest first; how many. `conn` is in autocommit.

    While a day is written to, the index would cost each bill as much as any of its others.
    """
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (_INDEX_LOCK,)).fetchone()
    if not row or not row[0]:
        return 0
    try:
        missing = sorted((d for d in existing_days(conn, "bill") - _indexed(conn) if d < today), reverse=True)[:most]
        for day in missing:
            table = partition_name("bill", day)
            name = sql.Identifier(f"{table}_users")
            conn.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(name))
            conn.execute(
                sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} (tenant_id, user_id) WHERE user_id <> ''").format(
                    name, sql.Identifier(table)
                )
            )
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (_INDEX_LOCK,))
    return len(missing)


def _indexed(conn: Connection) -> set[date]:
    rows = conn.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE c.relname ~ '^bill_[0-9]{8}_users$' AND i.indisvalid"
    ).fetchall()
    return {date(int(n[5:9]), int(n[9:11]), int(n[11:13])) for (n,) in rows}


def _is_writing(conn: Connection) -> bool:
    """Whether a transaction that wrote bills has been open for long: it may hold some that nobody marked."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'relation' "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND l.relation = 'bill'::regclass AND l.mode = 'RowExclusiveLock' AND a.xact_start < now() - %s)",
        (LONGEST_WRITING,),
    ).fetchone()
    return bool(row and row[0])


def _tenants(conn: Connection) -> list[tuple[int, str, datetime]]:
    """Those with bills: their zone, and when the first began that is kept."""
    rows = conn.execute(
        "SELECT t.id, t.time_zone, b.begin_at FROM tenants_tenant t CROSS JOIN LATERAL (SELECT begin_at FROM bill "
        "WHERE tenant_id = t.id ORDER BY begin_at LIMIT 1) b ORDER BY t.id"
    ).fetchall()
    return [(tenant_id, zone, first.astimezone(UTC)) for tenant_id, zone, first in rows]


def _forget_other_zones(conn: Connection, tenant_id: int, zone: str) -> None:
    with conn.transaction():
        rows = conn.execute(
            "DELETE FROM bill_chunk WHERE tenant_id = %s AND zone <> %s RETURNING since, until", (tenant_id, zone)
        ).fetchall()
        for since, until in rows:
            _clear(conn, tenant_id, since, until)


def _clean(conn: Connection, tenant_id: int) -> set[tuple[datetime, datetime]]:
    rows = conn.execute(
        "SELECT since, until FROM bill_chunk c WHERE tenant_id = %(tenant)s AND NOT EXISTS (SELECT FROM bill_late l "
        "WHERE l.tenant_id = %(tenant)s AND l.at >= c.since AND l.at < c.until)",
        {"tenant": tenant_id},
    ).fetchall()
    return {(since.astimezone(UTC), until.astimezone(UTC)) for since, until in rows}


def _spans_of_time(first: datetime, now: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Local days that are over for long, oldest first, then the hours that are over of those since; in UTC."""
    day = first.astimezone(zone).date()
    while True:
        since, until = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        if until + DAY_OVER_AFTER > now:
            break
        yield since, until
        day += timedelta(days=1)
    while since + _HOUR + CLOSED_AFTER <= now:
        until = min(since + _HOUR, _midnight(day + timedelta(days=1), zone))
        yield since, until
        since = until
        if since == _midnight(day + timedelta(days=1), zone):
            day += timedelta(days=1)


def _midnight(day: Any, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _make(conn: Connection, chunk: _Chunk) -> int:
    with conn.transaction():
        row = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
        if not row or not row[0]:
            return 0
        within = (chunk.tenant_id, chunk.since, chunk.until)
        conn.execute("DELETE FROM bill_late WHERE tenant_id = %s AND at >= %s AND at < %s", within)
        _clear(conn, *within)
        for table, dimensions in TABLES.items():
            conn.execute(_added_up(table, dimensions), dict(zip(("tenant", "since", "until"), within, strict=True)))
        conn.execute("INSERT INTO bill_chunk (tenant_id, since, until, zone) VALUES (%s, %s, %s, %s)",
                     (*within, chunk.zone))  # fmt: skip
    return 1


def _clear(conn: Connection, tenant_id: int, since: datetime, until: datetime) -> None:
    """What is there of this time: a day takes the place of its hours, and an hour that of its day."""
    rows = conn.execute(
        "DELETE FROM bill_chunk WHERE tenant_id = %s AND since < %s AND until > %s RETURNING since, until",
        (tenant_id, until, since),
    ).fetchall()
    since, until = min([since, *(row[0] for row in rows)]), max([until, *(row[1] for row in rows)])
    for table in TABLES:
        conn.execute(
            f"DELETE FROM {table} WHERE tenant_id = %s AND since >= %s AND since < %s", (tenant_id, since, until)
        )


def picked(table: str) -> list[str]:
    """The table's dimensions, as SQL over bills."""
    read = _ONLY_UNPRICED if table == "rollup_bill_user" else {}
    return [f"{read.get(name, name)} AS {name}" for name in TABLES[table]]


def _added_up(table: str, dimensions: tuple[str, ...]) -> str:
    keys = ", ".join((*dimensions, "is_priced"))
    of_bills = ", ".join(picked(table))
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in SUMS)
    return (
        f"WITH raw AS MATERIALIZED (SELECT {of_bills}, {', '.join(SUMS)}, begin_at, cost_nanousd, held_nanousd, "
        "units, cost_nanousd IS NOT NULL AS is_priced FROM bill "
        "WHERE tenant_id = %(tenant)s AND begin_at >= %(since)s AND begin_at < %(until)s), "
        f"g AS (SELECT {keys}, {sums}, sum(cost_nanousd)::bigint AS cost_nanousd, "
        "sum(held_nanousd)::bigint AS held_nanousd, min(begin_at) AS first_at, max(begin_at) AS last_at "
        f"FROM raw GROUP BY {keys}), "
        f"u AS (SELECT {keys}, jsonb_object_agg(key, n) AS units FROM (SELECT {keys}, key, sum(value::bigint) AS n "
        f"FROM raw CROSS JOIN LATERAL jsonb_each_text(units) GROUP BY {keys}, key) x GROUP BY {keys}) "
        f"INSERT INTO {table} (tenant_id, since, {', '.join((*dimensions, *SUMS))}, cost_nanousd, held_nanousd, "
        f"first_at, last_at, units) SELECT %(tenant)s, %(since)s, {', '.join((*dimensions, *SUMS))}, cost_nanousd, "
        f"held_nanousd, first_at, last_at, units FROM g LEFT JOIN u USING ({keys}) ORDER BY {dimensions[0]}"
    )
