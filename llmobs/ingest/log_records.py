"""Content that came as log records: written as it comes, joined to its span by `ingest.joining`.

Bounded: so many wait for one tenant, each for an hour at most; what is beyond is dropped, and the log says how much.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from llmobs.core.clock import utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.guards.events import copy_events
from llmobs.ingest.copying import clean_text
from llmobs.ingest.entries import Finding

MOST_OF_A_TENANT = 100_000  # records that wait
KEPT = timedelta(hours=1)  # exporters send spans and logs within seconds of each other

Connection = psycopg.Connection[Any]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record's content, past the content policy, with what the guards found in it before."""

    tenant_id: int
    trace_id: bytes
    span_id: bytes
    record_id: bytes
    at_ns: int
    place: int
    received_ns: int
    is_input: bool
    is_whole: bool
    messages: str
    findings: tuple[Finding, ...] = ()


_INSERT = """
INSERT INTO log_record (tenant_id, trace_id, span_id, record_id, at_ns, place, received_at, try_at, is_input, is_whole,
    messages)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


def write_records(conn: Connection, records: list[LogRecord]) -> None:
    """Write records, each once, in the caller's transaction."""
    room = {tenant_id: MOST_OF_A_TENANT - _waiting(conn, tenant_id) for tenant_id in {r.tenant_id for r in records}}
    dropped: Counter[int] = Counter()
    for record in records:
        if room[record.tenant_id] <= 0:
            dropped[record.tenant_id] += 1
        elif conn.execute(_INSERT, _row(record)).rowcount:
            room[record.tenant_id] -= 1
            _write_findings(conn, record)
    for tenant_id, count in dropped.items():
        log.warning("log records dropped: too many wait for their spans", tenant_id=tenant_id, records=count)


def delete_old(conn: Connection, tenant_id: int, now: datetime) -> int:
    """Delete what is past its time; how many of them never met their span."""
    rows = conn.execute(
        "DELETE FROM log_record WHERE tenant_id = %s AND received_at < %s RETURNING is_joined",
        (tenant_id, now - KEPT),
    )
    return sum(not is_joined for (is_joined,) in rows)


def tenants(conn: Connection) -> list[int]:
    """Whose records are kept at the moment, found by one step along the index for each."""
    return [
        tenant_id
        for (tenant_id,) in conn.execute(
            "WITH RECURSIVE known AS ((SELECT tenant_id FROM log_record ORDER BY tenant_id LIMIT 1) UNION ALL "
            "SELECT (SELECT tenant_id FROM log_record WHERE tenant_id > known.tenant_id ORDER BY tenant_id LIMIT 1) "
            "FROM known WHERE known.tenant_id IS NOT NULL) SELECT tenant_id FROM known WHERE tenant_id IS NOT NULL"
        )
    ]


def _waiting(conn: Connection, tenant_id: int) -> int:
    row = conn.execute(
        "SELECT count(*) FROM (SELECT 1 FROM log_record WHERE tenant_id = %s AND NOT is_joined LIMIT %s) AS waiting",
        (tenant_id, MOST_OF_A_TENANT),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _row(record: LogRecord) -> tuple[Any, ...]:
    received_at = utc_from_ns(record.received_ns)
    return (
        record.tenant_id,
        record.trace_id,
        record.span_id,
        record.record_id,
        record.at_ns,
        record.place,
        received_at,
        received_at,
        record.is_input,
        record.is_whole,
        clean_text(record.messages),
    )


def _write_findings(conn: Connection, record: LogRecord) -> None:
    """Of whom and what model the call is nobody knows yet: the span tells."""
    if record.findings:
        copy_events(
            conn,
            (
                (
                    record.tenant_id, new_row_id(), utc_from_ns(record.at_ns), record.trace_id, record.span_id,
                    found.kind, found.where, found.action, found.name, found.score_permille, found.count,
                    found.fingerprint, "", "",
                )
                for found in record.findings
            ),
        )  # fmt: skip
