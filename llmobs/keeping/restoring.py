"""Archived days back into the tables, so that their traces open again.

Spans and traces that are there already stay as they are; contents go into new blocks, where their span has none. No
bill, roll-up or claim is written: those of the day are still there or have gone on their own terms, so that no money
is counted twice, however often a file is restored. Retention leaves restored days alone until `until`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from llmobs.core.ids import new_row_id
from llmobs.keeping.archive import TRACES
from llmobs.keeping.columns import Column, columns_of
from llmobs.keeping.horizons import CONTENT, SPANS
from llmobs.keeping.manifest import ArchiveError, is_sound, read
from llmobs.spans.blocks import BYTES_PER_BLOCK, SPANS_PER_BLOCK, Content, make_block
from llmobs.spans.partitions import make_partitions

BATCH_ROWS = 5000
TABLES = {SPANS: "span", TRACES: "trace"}

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Restored:
    """What one file brought back. `was_there`: rows that needed nothing."""

    file: Path
    kind: str
    rows: int
    was_there: int


def restore(conn: Connection, path: Path, until: date) -> Restored:
    """Bring one file back, a batch per transaction. Raises ArchiveError where it is not what its manifest says."""
    folder = path.parent
    entry = next((each for each in read(folder) if each.file == path.name), None)
    if entry is None or not is_sound(folder, entry):
        raise ArchiveError(f"{path} is not what {folder}/manifest.json says, or it is not named there")
    tenant_id, day = whose(conn, folder)
    with conn.transaction():
        make_partitions(conn, {day})
        conn.execute(
            "INSERT INTO restored_day AS r (tenant_id, day, until) VALUES (%s, %s, %s) "
            "ON CONFLICT (tenant_id, day) DO UPDATE SET until = GREATEST(r.until, excluded.until)",
            (tenant_id, day, until),
        )
    with pq.ParquetFile(path) as file:
        rows = 0
        for batch in file.iter_batches(BATCH_ROWS):
            with conn.transaction():
                if entry.kind == CONTENT:
                    rows += _contents(conn, tenant_id, day, batch)
                else:
                    rows += _rows(conn, tenant_id, TABLES[entry.kind], batch)
    return Restored(path, entry.kind, rows, entry.sums.rows - rows)


def in_order(paths: list[Path]) -> list[Path]:
    """Spans before their contents; a folder stands for all its files."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return sorted(dict.fromkeys(found), key=lambda path: path.name.startswith(CONTENT))


def whose(conn: Connection, folder: Path) -> tuple[int, date]:
    """The tenant and the day of a folder of the archive. Raises ArchiveError."""
    slug = folder.parent.name.removeprefix("tenant=")
    row = conn.execute("SELECT id FROM tenants_tenant WHERE slug = %s", (slug,)).fetchone()
    if row is None or not folder.name.startswith("day="):
        raise ArchiveError(f"{folder}: there is no tenant {slug!r}; a file lies in tenant=SLUG/day=YYYY-MM-DD")
    return row[0], date.fromisoformat(folder.name.removeprefix("day="))


def _rows(conn: Connection, tenant_id: int, table: str, batch: pa.RecordBatch) -> int:
    """Rows into the table, but for those that are there. What the file does not know is left to its default."""
    names = set(batch.schema.names)
    columns = [column for column in columns_of(conn, table) if column.file_name in names]
    listed = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    conn.execute(
        sql.SQL("CREATE TEMP TABLE came ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            listed, sql.Identifier(table)
        )
    )
    with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY came ({}) FROM STDIN").format(listed)) as copy:
        for row in _values(columns, batch, tenant_id):
            copy.write_row(row)
    return conn.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM came ON CONFLICT DO NOTHING").format(
            sql.Identifier(table), listed, listed
        )
    ).rowcount


def _values(columns: list[Column], batch: pa.RecordBatch, tenant_id: int) -> Iterator[list[Any]]:
    given = [batch.column(column.file_name).to_pylist() for column in columns]
    for row in zip(*given, strict=True):
        stored = [column.stored(value) for column, value in zip(columns, row, strict=True)]
        for at, column in enumerate(columns):
            if column.name == "tenant_id":
                stored[at] = tenant_id  # of this installation
            elif column.name in ("block_id", "block_slot", "detail_id", "detail_slot"):
                stored[at] = None  # their blocks are gone; contents make new ones, details stand in the row
        yield stored


def _contents(conn: Connection, tenant_id: int, day: date, batch: pa.RecordBatch) -> int:
    """Contents of spans that have none now."""
    rows = [tuple(row.values()) for row in batch.to_pylist()]
    keys = [[row[at] for row in rows] for at in range(3)]
    lacking = {
        (bytes(trace_id), bytes(span_id))
        for trace_id, span_id in conn.execute(
            "SELECT s.trace_id, s.span_id FROM unnest(%s::bytea[], %s::bytea[], %s::timestamptz[]) "
            "AS k (trace_id, span_id, start) JOIN span s USING (trace_id, span_id, start) "
            "LEFT JOIN payload_block b ON b.tenant_id = s.tenant_id AND b.block_id = s.block_id AND b.day = %s "
            "WHERE s.tenant_id = %s AND b.block_id IS NULL",
            (*keys, day, tenant_id),
        )
    }
    found = [row for row in rows if (row[0], row[1]) in lacking]
    for group in _blocks(found):
        block_id = new_row_id()
        body = make_block([(row[3], row[4]) for row in group])
        conn.execute(
            "INSERT INTO payload_block (tenant_id, block_id, day, body) VALUES (%s, %s, %s, %s)",
            (tenant_id, block_id, day, body),
        )
        conn.execute(
            "UPDATE span s SET block_id = %s, block_slot = k.slot - 1 FROM unnest(%s::bytea[], %s::bytea[], "
            "%s::timestamptz[]) WITH ORDINALITY AS k (trace_id, span_id, start, slot) WHERE s.tenant_id = %s "
            "AND s.trace_id = k.trace_id AND s.span_id = k.span_id AND s.start = k.start",
            (block_id, *([row[at] for row in group] for at in range(3)), tenant_id),
        )
    return len(found)


def _blocks(rows: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    group: list[tuple[Any, ...]] = []
    filled = 0
    for row in rows:
        content: Content = (row[3], row[4])
        size = sum(len(text or "") for text in content)
        if group and (len(group) == SPANS_PER_BLOCK or filled + size > BYTES_PER_BLOCK):
            yield group
            group, filled = [], 0
        group.append(row)
        filled += size
    if group:
        yield group
