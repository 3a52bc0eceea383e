"""Takes in a report: once, whatever its way, and a newer one of a day in the place of the older.

1. The bytes are read whole before anything is written: a report is taken or refused.
2. Bytes that the account has had already change nothing (`sha256`), also when a newer report has replaced them since.
3. For each day that the report tells of, also one without any line, it becomes the current one of its kind. The older
   ones and their rows stay, as history, with the bytes that came.
4. The months of these days are due to be reconciled.
All in the caller's transaction, with the account's row locked: two who import at once come one after the other.
"""

from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import psycopg
import zstandard

from llmobs.reconcile.reading import read_report
from llmobs.reconcile.rows import Parsed, ReportError, Row

Connection = psycopg.Connection[Any]
ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Came:
    """A report on its way in: the bytes, whence they came, who brought them, and when."""

    data: bytes
    source: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a report. `is_new` False: it was had already, and nothing changed."""

    report_id: int
    kind: str
    form: str
    first_day: date
    last_day: date
    rows: int
    is_new: bool


def import_report(conn: Connection, account_id: int, came: Came) -> Imported:
    """Keep the report and its rows. Raises ReportError; commits nothing itself."""
    account = conn.execute("SELECT kind FROM reconcile_account WHERE id = %s FOR UPDATE", (account_id,)).fetchone()
    if account is None:
        raise ReportError("There is no such account any more.")
    parsed = read_report(came.data, account[0])
    digest = sha256(came.data).hexdigest()
    known = conn.execute(
        "SELECT id FROM reconcile_report WHERE account_id = %s AND sha256 = %s", (account_id, digest)
    ).fetchone()
    report_id = int(known[0]) if known else _keep(conn, account_id, parsed, came, digest)
    if not known:
        _keep_rows(conn, report_id, parsed.rows)
        _take_place(conn, account_id, report_id, parsed)
        ask_for(conn, account_id, {day.replace(day=1) for day in parsed.days})
    first, last = min(parsed.days), max(parsed.days)
    return Imported(report_id, parsed.kind, parsed.form, first, last, len(parsed.rows), not known)


def ask_for(conn: Connection, account_id: int, first_days: set[date]) -> None:
    """Have these months reconciled (again)."""
    for first_day in sorted(first_days):
        conn.execute(
            "INSERT INTO reconcile_month (account_id, first_day, is_due, tenant_ids, compared_days, missing, "
            "theirs_nanousd, ours_nanousd, residual_nanousd, calls) VALUES (%s, %s, true, '[]', 0, '{}', 0, 0, 0, 0) "
            "ON CONFLICT (account_id, first_day) DO UPDATE SET is_due = true",
            (account_id, first_day),
        )


def _keep(conn: Connection, account_id: int, parsed: Parsed, came: Came, digest: str) -> int:
    row = conn.execute(
        "INSERT INTO reconcile_report (account_id, kind, form, source, actor, first_day, last_day, row_count, "
        "amount_step, sha256, raw, fetched_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (
            account_id, parsed.kind, parsed.form, came.source[:200], came.actor[:200], min(parsed.days),
            max(parsed.days), len(parsed.rows), parsed.amount_step, digest,
            zstandard.ZstdCompressor().compress(came.data), came.at,
        ),
    ).fetchone()  # fmt: skip
    assert row is not None, "an INSERT returns its row"
    return int(row[0])


def _keep_rows(conn: Connection, report_id: int, rows: list[Row]) -> None:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        conn.execute(
            "INSERT INTO reconcile_reportrow (report_id, day, model, key, workspace, tier, token_class, quantity, "
            "amount_nanousd, line_item) SELECT %s, * FROM unnest(%s::date[], %s::text[], %s::text[], %s::text[], "
            "%s::text[], %s::text[], %s::bigint[], %s::numeric[], %s::text[])",
            (
                report_id,
                [row.day for row in some],
                [row.model[:200] for row in some],
                [row.key[:200] for row in some],
                [row.workspace[:200] for row in some],
                [row.tier for row in some],
                [row.token_class for row in some],
                [row.quantity for row in some],
                [row.amount for row in some],
                [row.line_item[:300] for row in some],
            ),
        )


def _take_place(conn: Connection, account_id: int, report_id: int, parsed: Parsed) -> None:
    days = sorted(parsed.days)
    conn.execute(
        "UPDATE reconcile_reportday SET is_current = false "
        "WHERE account_id = %s AND kind = %s AND day = ANY(%s) AND is_current",
        (account_id, parsed.kind, days),
    )
    conn.execute(
        "INSERT INTO reconcile_reportday (report_id, account_id, kind, day, is_current) "
        "SELECT %s, %s, %s, unnest(%s::date[]), true",
        (report_id, account_id, parsed.kind, days),
    )
