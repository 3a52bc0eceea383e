"""Days of spans made old, and retention run on them."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from llmobs.core.env import Place
from llmobs.keeping.letting_go import Gone, let_go
from llmobs.keeping.place import secure_in

Connection = psycopg.Connection[Any]
DAY_NS = 86_400 * 10**9


def today() -> date:
    return datetime.now(UTC).date()


def run(conn: Connection, folder: Path = Path("/nonexistent")) -> Gone:
    return let_go(conn, today(), secure_in(Place(folder)))


def count(conn: Connection, table: str, where: str = "true") -> int:
    row = conn.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
    assert row is not None
    return int(row[0])


def read_by_duckdb(query: str) -> list[tuple[Any, ...]]:
    """What people who know nothing of us read of the files."""
    found = duckdb.sql(query)
    assert found is not None
    return found.fetchall()
