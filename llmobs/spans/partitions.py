"""Day partitions of the large tables: made ahead or on demand, dropped whole for retention."""

from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import sql

# Tables partitioned by day, with the column's type: timestamptz bounds are UTC midnights.
DAY_TABLES = ("span", "detail_block", "payload_block", "trace", "bill")
_BY_TIME = ("span", "bill")
DAYS_AHEAD = 3

_LOCK = 0x6C6C6D70  # "llmp": one maker of partitions at a time


def partition_name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def make_partitions(conn: psycopg.Connection[Any], days: set[date]) -> None:
    """Create what is missing for these days; safe from several processes at once. Commits nothing itself.

    A table is made apart and then attached: that lets readers and writers of the others go on, where
    CREATE TABLE … PARTITION OF would wait for all of them.
    """
    with conn.cursor() as cur:
        cur.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for table in DAY_TABLES:
            for day in sorted(days - existing_days(conn, table)):
                name, parent = sql.Identifier(partition_name(table, day)), sql.Identifier(table)
                make_table(cur, table, name)
                cur.execute(
                    sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                        parent, name, *(sql.Literal(bound) for bound in _bounds(table, day))
                    )
                )


_LAID_OUT = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
    CASE a.attstorage WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' WHEN 'x' THEN 'EXTENDED' ELSE 'PLAIN' END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY t.typlen < 0, t.typlen DESC, a.attnum
"""


def make_table(cur: psycopg.Cursor[Any], table: str, name: sql.Identifier) -> None:
    """A day's table, not attached yet: as the table is, with what has a fixed length first.

    Texts between would push it to its alignment each time: 42 bytes of a span and 21 of a bill. Indexes come
    as it is attached.
    """
    cur.execute(_LAID_OUT, (table,))
    columns = [
        sql.SQL("{} {} STORAGE {}{}{}").format(
            sql.Identifier(column),
            sql.SQL(kind),
            sql.SQL(storage),
            sql.SQL(f" DEFAULT {default}" if default else ""),
            sql.SQL(" NOT NULL" if is_required else ""),
        )
        for column, kind, is_required, default, storage in cur.fetchall()
    ]
    cur.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'",
        (table,),
    )
    checks = [sql.SQL("CONSTRAINT {} {}").format(sql.Identifier(c), sql.SQL(told)) for c, told in cur.fetchall()]
    cur.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(columns + checks)))


def make_ahead(conn: psycopg.Connection[Any], today: date) -> None:
    """Today's partitions and those of the next days."""
    with conn.transaction():
        make_partitions(conn, {today + timedelta(days=n) for n in range(-1, DAYS_AHEAD + 1)})


def _bounds(table: str, day: date) -> tuple[str, str]:
    suffix = " 00:00:00+00" if table in _BY_TIME else ""
    return f"{day}{suffix}", f"{day + timedelta(days=1)}{suffix}"


def existing_days(conn: psycopg.Connection[Any], table: str = "span") -> set[date]:
    """The days that have a partition."""
    with conn.cursor() as cur:
        cur.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            (table,),
        )
        names = [str(row[0]) for row in cur.fetchall()]
    return {date(int(n[-8:-4]), int(n[-4:-2]), int(n[-2:])) for n in names}
