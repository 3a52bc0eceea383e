"""Day partitions of the large tables: made ahead or on demand, dropped whole for retention."""

from datetime import date, timedelta

import psycopg
from psycopg import sql

# Tables partitioned by day, with the column's type: timestamptz bounds are UTC midnights.
DAY_TABLES = ("span", "payload_block", "trace", "bill")
DAYS_AHEAD = 3

_LOCK = 0x6C6C6D70  # "llmp": one maker of partitions at a time


def partition_name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def make_partitions(conn: psycopg.Connection[object], days: set[date]) -> None:
    """Create what is missing for these days; safe from several processes at once. Commits nothing itself."""
    with conn.cursor() as cur:
        cur.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for day in sorted(days):
            for table in DAY_TABLES:
                cur.execute(
                    sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                        sql.Identifier(partition_name(table, day)),
                        sql.Identifier(table),
                        sql.Literal(f"{day} 00:00:00+00" if table in ("span", "bill") else str(day)),
                        sql.Literal(
                            f"{day + timedelta(days=1)} 00:00:00+00"
                            if table in ("span", "bill")
                            else str(day + timedelta(days=1))
                        ),
                    )
                )


def existing_days(conn: psycopg.Connection[object], table: str = "span") -> set[date]:
    """The days that have a partition."""
    with conn.cursor() as cur:
        cur.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            (table,),
        )
        names = [str(row[0]) for row in cur.fetchall()]  # type: ignore[index]
    return {date(int(n[-8:-4]), int(n[-4:-2]), int(n[-2:])) for n in names}
