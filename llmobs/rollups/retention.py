"""Retention of roll-ups: minutes for a month, hours and users' days as long as the tenant keeps its spans."""

# ruff: noqa: S608 -- table names are constants, values are bound

from datetime import date, timedelta
from typing import Any

import psycopg

MINUTES_KEPT_DAYS = 31
CHUNK_ROWS = 5000

_BY_HOUR = {"rollup_hour": "hour", "rollup_tenant_hour": "hour", "rollup_model_hour": "hour", "rollup_user_day": "day"}


def delete_expired(conn: psycopg.Connection[Any], today: date) -> int:
    """Delete roll-ups beyond their time, in chunks; how many rows. `conn` is in autocommit."""
    tenants = conn.execute("SELECT id, retention_days FROM tenants_tenant ORDER BY id").fetchall()
    deleted = 0
    for tenant_id, days in tenants:
        minutes_from = today - timedelta(days=min(days, MINUTES_KEPT_DAYS))
        deleted += _delete_in_chunks(conn, "rollup_minute", "minute", tenant_id, minutes_from)
        for table, column in _BY_HOUR.items():
            deleted += _delete_in_chunks(conn, table, column, tenant_id, today - timedelta(days=days))
    return deleted


def _delete_in_chunks(conn: psycopg.Connection[Any], table: str, column: str, tenant_id: int, oldest: date) -> int:
    deleted = 0
    while True:
        rows = conn.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE tenant_id = %s "
            f"AND {column} < %s LIMIT %s))",
            (tenant_id, oldest, CHUNK_ROWS),
        ).rowcount
        deleted += rows
        if rows < CHUNK_ROWS:
            return deleted
