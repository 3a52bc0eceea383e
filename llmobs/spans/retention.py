"""Retention of raw data: whole days are dropped, the days of tenants that keep less are deleted in chunks.

Bills stay: they are the only money, small, and what budgets are verified by. Claims go with the spans that they
decided about: a span sent again after that is refused at the door. So do security events.
"""

# ruff: noqa: S608 -- table names are constants, values are bound

from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import sql

from llmobs.spans.partitions import existing_days, partition_name

RAW_TABLES = {"span": "start", "trace": "day", "payload_block": "day"}
CHUNK_ROWS = 5000  # of one statement, so that no lock is held for long

Connection = psycopg.Connection[Any]


def drop_days(conn: Connection, today: date) -> int:
    """Drop raw partitions that no tenant keeps any more; how many. `conn` is in autocommit."""
    row = conn.execute("SELECT max(retention_days) FROM tenants_tenant").fetchone()
    if row is None or row[0] is None:
        return 0
    oldest = today - timedelta(days=row[0])
    dropped = 0
    for table in RAW_TABLES:
        for day in sorted(existing_days(conn, table)):
            if day < oldest:
                with conn.transaction():
                    # Waits for readers of the table, and lets none wait long behind it: else another time.
                    conn.execute("SET LOCAL lock_timeout = '5s'")
                    conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(partition_name(table, day))))
                dropped += 1
    return dropped


def delete_expired(conn: Connection, today: date) -> int:
    """Delete what single tenants keep no longer, and claims beyond their tenant's retention; how many rows."""
    tenants = conn.execute("SELECT id, retention_days FROM tenants_tenant ORDER BY id").fetchall()
    deleted = 0
    for tenant_id, days in tenants:
        oldest = today - timedelta(days=days)
        for table, column in (
            *RAW_TABLES.items(),
            ("claim", "start"),
            ("security_event", "at"),
            ("braked_session", "changed_at"),
        ):
            deleted += _delete_in_chunks(conn, table, column, tenant_id, oldest)
    return deleted


def _delete_in_chunks(conn: Connection, table: str, column: str, tenant_id: int, oldest: date) -> int:
    """A ctid is one of its partition alone: the partition is named with it."""
    deleted = 0
    while True:
        rows = conn.execute(
            f"DELETE FROM {table} t USING (SELECT tableoid, ctid FROM {table} WHERE tenant_id = %s AND {column} < %s "
            "LIMIT %s) o WHERE t.tableoid = o.tableoid AND t.ctid = o.ctid",
            (tenant_id, oldest, CHUNK_ROWS),
        ).rowcount
        deleted += rows
        if rows < CHUNK_ROWS:
            return deleted
