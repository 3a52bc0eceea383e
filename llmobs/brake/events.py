"""What the brake did, as rows: written by the writer alone, in the transaction of the journal's position."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb


class Row(NamedTuple):
    """An episode of one session, as of one event; a later event of the same id is its next state."""

    id: str
    tenant_id: int
    mark: str
    kind: str
    key_id: int
    user_id: str
    session_id: str
    feature: str
    model: str
    trace_id: str
    state: str
    changed_at: datetime
    until: datetime | None
    told: str
    evidence: dict[str, int]


# Read again after a crash an event changes nothing; a pause that a person has ended stays ended.
_WRITE = """
INSERT INTO braked_session (id, tenant_id, mark, kind, key_id, user_id, session_id, feature, model, trace_id, state,
    begun_at, changed_at, until, told, evidence, ended_by)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '')
ON CONFLICT (id) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at, until = excluded.until,
    told = excluded.told, evidence = excluded.evidence, trace_id = excluded.trace_id, alerted_at = NULL
WHERE braked_session.tenant_id = excluded.tenant_id AND braked_session.changed_at < excluded.changed_at
    AND braked_session.state NOT IN ('paused', 'released')
"""


def write_events(conn: psycopg.Connection[Any], rows: Iterable[Row]) -> None:
    """Write events in their order."""
    with conn.cursor() as cursor:
        cursor.executemany(
            _WRITE, [(*row[:12], row.changed_at, row.until, row.told, Jsonb(row.evidence)) for row in rows]
        )
