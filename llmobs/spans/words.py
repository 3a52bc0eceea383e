"""Which spans say what: an index over the words and dimensions of a day's spans, made when the day is over.

1. `span_words` (SQL) makes a tsvector of a span: the words of its name and its first words, and a lexeme for each
   dimension (`=s:api`) and for the tenant (`=t:7`), so that one index answers words and filters, within a tenant.
2. A day that is over gets its index in the background (`index_days`): while it is written to, the index would cost as
   much as the span itself. A span that comes late is in it all the same.
3. `spans_found` (SQL) goes through such days from the newest on, until enough is found.
Days without the index are read otherwise, within bounds (`dashboards.queries.finding`).
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from llmobs.spans.partitions import existing_days, partition_name

# Dimensions by the letter of their lexeme. A value is cut where the lexeme would be too long.
LETTERS = {
    "tenant": "t",
    "service": "s",
    "environment": "n",
    "feature": "f",
    "key": "k",
    "provider": "p",
    "model": "m",
    "status": "o",
    "error": "e",
}
LONGEST_VALUE = 200
COLUMNS = (
    "tenant_id, service, environment, feature, key_id, provider_name, request_model, response_model, status, "
    "error_type, name, preview"
)

_LOCK = 0x6C6C6D69  # "llmi": one maker of indexes at a time


def lexeme(dimension: str, value: object) -> str:
    """The lexeme of a dimension's value, quoted for a tsquery."""
    text = f"={LETTERS[dimension]}:{str(value)[:LONGEST_VALUE]}"
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def lexemes(given: Mapping[str, object]) -> str:
    """All of these values on one span, as the text of a tsquery."""
    return " & ".join(lexeme(name, value) for name, value in given.items())


def index_name(day: date) -> str:
    return f"{partition_name('span', day)}_words"


def indexed_days(conn: psycopg.Connection[Any]) -> set[date]:
    """Days whose index is there and whole."""
    rows = conn.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE c.relname ~ '^span_[0-9]{8}_words$' AND i.indisvalid"
    ).fetchall()
    return {date(int(n[5:9]), int(n[9:11]), int(n[11:13])) for (n,) in rows}


def index_days(conn: psycopg.Connection[Any], today: date, most: int | None = None) -> int:
    """Make the indexes of days before `today`, newest first; how many. `conn` is in autocommit.

    Writers go on meanwhile. What a broken run left half-made is made again.
    """
    held = conn.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    if not held or not held[0]:
        return 0
    try:
        missing = sorted((d for d in existing_days(conn) - indexed_days(conn) if d < today), reverse=True)[:most]
        for day in missing:
            name, table = sql.Identifier(index_name(day)), sql.Identifier(partition_name("span", day))
            conn.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(name))
            conn.execute(
                sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} USING gin (span_words({}))").format(
                    name, table, sql.SQL(COLUMNS)
                )
            )
        return len(missing)
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
