"""Security events as rows: written by the writer alone, in the transaction of the span that they are of."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg

COLUMNS = (
    "tenant_id", "id", "at", "trace_id", "span_id", "kind", "place", "action", "name", "score_permille", "count",
    "fingerprint", "feature", "model",
)  # fmt: skip
_TYPES = (
    "int8", "int8", "timestamptz", "bytea", "bytea", "text", "text", "text", "text", "int2", "int4", "text", "text",
    "text",
)  # fmt: skip

Row = tuple[int, int, datetime, bytes, bytes, str, str, str, str, int, int, str, str, str]


def copy_events(conn: psycopg.Connection[Any], rows: Iterable[Row]) -> None:
    """Write rows, in the order of `COLUMNS`."""
    statement = f"COPY security_event ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    with conn.cursor() as cur, cur.copy(statement) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row(row)
