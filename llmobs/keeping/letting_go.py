"""Retention: what no tenant keeps any more goes by whole partitions, what single tenants keep no longer in chunks.

1. From when on each kind is complete is written down (`kept_from`), and what a killed run left half done is finished.
2. Content, then spans, then bills, day by day: where a tenant archives, its day is archived and checked first, else it
   waits. A day whose every tenant is past it is detached (CONCURRENTLY: no reader or writer waits) and dropped; of
   other days the tenants' own rows are deleted, some thousand at a time.
3. What is not partitioned by day: claims and what else goes with spans, dead letters, roll-ups, scores.
Each step is its own transaction and looks at what is there, so a run that is killed is gone on with by the next. What
went is counted in `let_go`. Days that were brought back from the archive stay as long as they were asked for.
"""

# ruff: noqa: S608 -- table and column names are constants, values are bound

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import errors, sql

from llmobs.keeping.horizons import BILLS, CONTENT, MINUTES, ROLLUPS, SPANS, Horizon, horizons, remember
from llmobs.spans.partitions import existing_days, partition_name

CHUNK_ROWS = 5000  # of one statement, so that no lock is held for long
LOCK_TIMEOUT = "900ms"  # whoever needs a partition that is being detached waits behind us, for this long at most
LOCK_TRIES = 5  # of a partition that is in use, before it waits for the next run
DETACH_TIMEOUT = "60s"

TABLES = {CONTENT: ("payload_block",), SPANS: ("span", "detail_block", "trace"), BILLS: ("bill",)}
COLUMNS = {"payload_block": "day", "span": "start", "detail_block": "day", "trace": "day", "bill": "begin_at"}
# What goes by rows, with the kind whose days it is kept for.
BY_ROWS = {
    "claim": ("start", SPANS),
    "security_event": ("at", SPANS),
    "braked_session": ("changed_at", SPANS),
    "dead_letter": ("at", SPANS),
    "conformance": ("day", SPANS),
    "rollup_minute": ("minute", MINUTES),
    "rollup_tenant_five": ("five_minutes", MINUTES),
    "rollup_feature_quarter": ("quarter", MINUTES),
    "rollup_error_quarter": ("quarter", MINUTES),
    **{f"rollup_{name}hour": ("hour", ROLLUPS) for name in ("", "tenant_", "model_", "feature_", "error_")},
    "rollup_user_day": ("day", ROLLUPS),
    **{f"rollup_{name}day": ("day", ROLLUPS) for name in ("", "tenant_", "model_", "feature_", "error_")},
    **dict.fromkeys(("rollup_bill", "rollup_bill_user", "bill_chunk"), ("since", BILLS)),
    "evals_score": ("created_at", ROLLUPS),
    "evals_judgement": ("created_at", ROLLUPS),
}

Connection = psycopg.Connection[Any]
# Archives the kind of a tenant's day and checks it: whether it may go now.
Secure = Callable[[Connection, Horizon, date, str], bool]

log = structlog.get_logger()


@dataclass(slots=True)
class Gone:
    """What one run let go. `waiting`: days that could not go yet, each with why."""

    partitions: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def add(self, kind: str, rows: int) -> None:
        if rows:
            self.rows[kind] = self.rows.get(kind, 0) + rows


def let_go(conn: Connection, today: date, secure: Secure) -> Gone:
    """Let go whatever is past its time. `conn` is in autocommit."""
    found = horizons(conn, today)
    remember(conn, found)
    gone = Gone()
    _finish(conn)
    restored = _restored(conn, today)
    for kind in TABLES:
        for day in sorted(existing_days(conn, TABLES[kind][0])):
            if any(each.is_past(kind, day) for each in found.values()):
                _let_go_day(conn, kind, day, found, restored, secure, gone)
    for table, (column, kind) in BY_ROWS.items():
        for tenant in found.values():
            if (oldest := tenant.days[kind]) is not None:
                gone.add(table, _delete(conn, table, column, tenant.tenant_id, None, oldest, table, oldest))
    return gone


def _restored(conn: Connection, today: date) -> set[tuple[int, date]]:
    conn.execute("DELETE FROM restored_day WHERE until <= %s", (today,))
    return {(tenant_id, day) for tenant_id, day in conn.execute("SELECT tenant_id, day FROM restored_day")}


def _let_go_day(
    conn: Connection, kind: str, day: date, found: dict[int, Horizon], restored: set[tuple[int, date]],
    secure: Secure, gone: Gone,
) -> None:  # fmt: skip
    tables = [table for table in TABLES[kind] if day in existing_days(conn, table)]
    present = {tenant_id for table in tables for tenant_id in _tenants(conn, partition_name(table, day))}
    due = set()
    for tenant_id in sorted(present):
        tenant = found.get(tenant_id)  # a tenant that is not known any more keeps nothing
        if tenant is not None and (not tenant.is_past(kind, day) or (tenant_id, day) in restored):
            continue
        if tenant is not None and not _is_secured(conn, tenant, day, kind, secure):
            gone.waiting.append(f"{kind} of {tenant.slug}, {day}: it could not be archived")
            continue
        due.add(tenant_id)
    if kind == CONTENT:
        for tenant_id in sorted(due & found.keys()):
            if not found[tenant_id].is_past(SPANS, day):
                _blank_previews(conn, tenant_id, day)
    if due == present:
        if _drop(conn, kind, day, tables):
            gone.partitions += len(tables)
        else:
            gone.waiting.append(f"{kind} of {day}: the partition is in use")
        return
    for tenant_id in sorted(due):
        for table in tables:
            until = day + timedelta(days=1)
            gone.add(table, _delete(conn, table, COLUMNS[table], tenant_id, day, until, kind, day))
        _done(conn, kind, day, [tenant_id])


def _is_secured(conn: Connection, tenant: Horizon, day: date, kind: str, secure: Secure) -> bool:
    """Archived, or nothing to be. A day of which rows have gone was archived before the first of them went."""
    row = conn.execute(
        "SELECT 1 FROM let_go WHERE tenant_id = %s AND kind = %s AND day = %s AND done_at IS NULL AND rows > 0",
        (tenant.tenant_id, kind, day),
    ).fetchone()
    if row is not None:
        return True
    if not secure(conn, tenant, day, kind):
        return False
    conn.execute(
        "INSERT INTO let_go (tenant_id, kind, day, rows, is_archived) VALUES (%s, %s, %s, 0, %s) "
        "ON CONFLICT (tenant_id, kind, day) DO UPDATE SET done_at = NULL, rows = 0, is_archived = excluded.is_archived",
        (tenant.tenant_id, kind, day, is_archived(tenant, kind)),
    )
    return True


def is_archived(tenant: Horizon, kind: str) -> bool:
    """Whether the tenant has this kind archived."""
    return (kind == SPANS and tenant.archive != "off") or (kind == CONTENT and tenant.archive == "full")


def _tenants(conn: Connection, partition: str) -> list[int]:
    """Whose rows are in the partition: one look in the index for each, where DISTINCT would read all rows."""
    name = sql.Identifier(partition)
    query = sql.SQL("SELECT tenant_id FROM {} WHERE tenant_id > %s ORDER BY tenant_id LIMIT 1").format(name)
    found: list[int] = []
    while (row := conn.execute(query, (found[-1] if found else -(2**63),)).fetchone()) is not None:
        found.append(row[0])
    return found


# ---------------------------------------------------------------- whole partitions


def _drop(conn: Connection, kind: str, day: date, tables: list[str]) -> bool:
    """Detach and drop; False: somebody holds it, another time."""
    _count(conn, kind, day, tables)
    for table in tables:
        name = partition_name(table, day)
        if not _detached(conn, table, name):
            return False
        _drop_table(conn, name)
    _done(conn, kind, day, None)
    return True


def _count(conn: Connection, kind: str, day: date, tables: list[str]) -> None:
    counts: dict[int, int] = {}
    size = 0
    for table in tables:
        name = sql.Identifier(partition_name(table, day))
        row = conn.execute(sql.SQL("SELECT pg_total_relation_size({})").format(partition_name(table, day))).fetchone()
        size += row[0] if row else 0
        query = sql.SQL("SELECT tenant_id, count(*) FROM {} GROUP BY 1").format(name)
        for tenant_id, rows in conn.execute(query).fetchall():
            counts[tenant_id] = counts.get(tenant_id, 0) + rows
    total = sum(counts.values())
    for tenant_id, rows in counts.items():
        _note(conn, tenant_id, kind, day, rows, size * rows // total)


def _detached(conn: Connection, table: str, name: str) -> bool:
    """Some tries; between them whoever waited behind us goes on."""
    for _ in range(LOCK_TRIES):
        is_begun = (name,) in _detaching(conn, table)
        if _detach(conn, table, name, "FINALIZE" if is_begun else "CONCURRENTLY"):
            return True
    return False


def _detach(conn: Connection, table: str, name: str, how: str) -> bool:
    try:
        conn.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        conn.execute(f"SET statement_timeout = '{DETACH_TIMEOUT}'")
        statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} " + how)
        conn.execute(statement.format(sql.Identifier(table), sql.Identifier(name)))
    except (errors.LockNotAvailable, errors.QueryCanceled):
        return False
    finally:
        conn.execute("RESET lock_timeout")
        conn.execute("RESET statement_timeout")
    return True


def _drop_table(conn: Connection, name: str) -> None:
    with conn.transaction():
        conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))


def _finish(conn: Connection) -> None:
    """Detachments that were cut short, and tables that were detached and not dropped."""
    for kind, tables in TABLES.items():
        for table in tables:
            for (name,) in _detaching(conn, table):
                if _detach(conn, table, name, "FINALIZE"):
                    _drop_table(conn, name)
        undone = conn.execute("SELECT DISTINCT day FROM let_go WHERE kind = %s AND done_at IS NULL", (kind,)).fetchall()
        for (day,) in undone:
            attached = {table for table in tables if day in existing_days(conn, table)}
            for table in set(tables) - attached:
                _drop_table(conn, partition_name(table, day))
            if not attached:
                _done(conn, kind, day, None)


def _detaching(conn: Connection, table: str) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = %s::regclass AND i.inhdetachpending",
        (table,),
    ).fetchall()


# ---------------------------------------------------------------- rows


def _delete(
    conn: Connection, table: str, column: str, tenant_id: int, since: date | None, until: date, kind: str, day: date
) -> int:
    """Delete a tenant's rows before `until` in chunks, each counted in its own transaction.

    A ctid is one of its partition alone: the partition is named with it.
    """
    bounds = {"tenant_id": tenant_id, "since": _at(table, since), "until": _at(table, until), "rows": CHUNK_ROWS}
    within = f"tenant_id = %(tenant_id)s AND {column} < %(until)s" + (f" AND {column} >= %(since)s" if since else "")
    deleted = 0
    while True:
        with conn.transaction():
            rows = conn.execute(
                f"DELETE FROM {table} t USING (SELECT tableoid, ctid FROM {table} WHERE {within} LIMIT %(rows)s) o "
                "WHERE t.tenant_id = %(tenant_id)s AND t.tableoid = o.tableoid AND t.ctid = o.ctid",
                bounds,
            ).rowcount
            if rows:
                _add(conn, tenant_id, kind, day, rows)
        deleted += rows
        if rows < CHUNK_ROWS:
            return deleted


def _at(table: str, day: date | None) -> date | datetime | None:
    """A bound as the column takes it: midnight UTC of a time, whatever the session's zone."""
    is_date = COLUMNS.get(table) == "day" or table in ("rollup_user_day", "conformance")
    return day if day is None or is_date else datetime(day.year, day.month, day.day, tzinfo=UTC)


def _blank_previews(conn: Connection, tenant_id: int, day: date) -> None:
    """A preview is content too. The spans stay."""
    if day not in existing_days(conn):
        return
    name = sql.Identifier(partition_name("span", day))
    query = sql.SQL(
        "UPDATE {0} SET preview = '' WHERE ctid = ANY(ARRAY(SELECT ctid FROM {0} WHERE tenant_id = %s "
        "AND preview <> '' LIMIT %s))"
    ).format(name)
    while conn.execute(query, (tenant_id, CHUNK_ROWS)).rowcount == CHUNK_ROWS:
        pass


# ---------------------------------------------------------------- figures


def _note(conn: Connection, tenant_id: int, kind: str, day: date, rows: int, size: int) -> None:
    """What is about to be dropped; told again by a run that comes back to it."""
    conn.execute(
        "INSERT INTO let_go AS g (tenant_id, kind, day, rows, bytes) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (tenant_id, kind, day) DO UPDATE SET rows = excluded.rows, bytes = excluded.bytes, done_at = NULL",
        (tenant_id, kind, day, rows, size),
    )


def _add(conn: Connection, tenant_id: int, kind: str, day: date, rows: int) -> None:
    conn.execute(
        "INSERT INTO let_go AS g (tenant_id, kind, day, rows, done_at) VALUES (%s, %s, %s, %s, "
        "CASE WHEN %s THEN now() END) ON CONFLICT (tenant_id, kind, day) DO UPDATE SET rows = g.rows + excluded.rows",
        (tenant_id, kind, day, rows, kind in BY_ROWS),
    )


def _done(conn: Connection, kind: str, day: date, tenants: list[int] | None) -> None:
    conn.execute(
        "UPDATE let_go SET done_at = now() WHERE kind = %s AND day = %s AND done_at IS NULL "
        "AND (%s::bigint[] IS NULL OR tenant_id = ANY(%s))",
        (kind, day, tenants, tenants),
    )


def figures(conn: Connection, tenant_ids: list[int], since: date) -> Iterator[tuple[int, str, int, int, int, bool]]:
    """How much of each kind each tenant let go since a day: (tenant, kind, days, rows, bytes, archived)."""
    yield from conn.execute(
        "SELECT tenant_id, kind, count(*), sum(rows)::bigint, sum(bytes)::bigint, bool_or(is_archived) FROM let_go "
        "WHERE tenant_id = ANY(%s) AND begun_at >= %s AND rows > 0 GROUP BY tenant_id, kind ORDER BY tenant_id, kind",
        (tenant_ids, since),
    ).fetchall()
