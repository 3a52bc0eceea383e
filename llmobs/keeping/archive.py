"""Archives: a tenant's day as Parquet files, written, read back and compared before any of it may go.

1. Rows are streamed out of one snapshot into a file beside its final name, zstd, a row group per ten thousand.
2. The file is closed, synced, read back, and what it sums up to compared with what the tables say.
3. Only then it gets its line in the manifest, and its name.
A file that is there is never written over: if the tables hold something else than every file of that kind, another is
written beside it (`spans.2.parquet`); a restore takes all of them, each span once.
"""

# ruff: noqa: S608 -- names are constants and columns of the tables, values are bound

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count, groupby
from pathlib import Path
from typing import IO, Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llmobs.ingest.commit import share_tenant
from llmobs.keeping.columns import Column, batch, columns_of, nanousd
from llmobs.keeping.horizons import CONTENT, SPANS, Horizon
from llmobs.keeping.manifest import MAKING, ArchiveError, Sums, add, day_folder, entry_of, is_sound, settle
from llmobs.spans.blocks import read_block
from llmobs.spans.details import Place, details_at
from llmobs.spans.trace_deltas import fold_day

TRACES = "traces"
GROUP_ROWS = 10_000
LEVEL = 9  # written once, read seldom

Connection = psycopg.Connection[Any]

# What the bills of a span come to now, re-pricings included: for who reads the files; a restore leaves it.
BILLED = Column("billed_nanousd", "bigint")
CONTENT_COLUMNS = (
    Column("trace_id", "bytea"), Column("span_id", "bytea"), Column("start", "timestamp with time zone"),
    Column("input", "text"), Column("output", "text"),
)  # fmt: skip


class Archive:
    """The archive in a folder. `is_ours`: made if it is not there; else it must be (a mount that is away is none)."""

    def __init__(self, folder: Path, is_ours: bool) -> None:
        self.folder = folder
        if is_ours:
            folder.mkdir(mode=0o700, exist_ok=True)
        if not folder.is_dir():
            raise ArchiveError(f"the archive's folder {folder} is not there: mount or make it")

    def secure(self, conn: Connection, tenant: Horizon, day: date, kind: str) -> None:
        """Have this kind of the tenant's day in a file that was checked. Raises ArchiveError, OSError."""
        for each in (SPANS, TRACES) if kind == SPANS else (kind,):
            self._secure(conn, tenant, day, each)

    def _secure(self, conn: Connection, tenant: Horizon, day: date, kind: str) -> None:
        folder = day_folder(self.folder, tenant.slug, day)
        if kind == TRACES:
            fold_day(conn, share_tenant, tenant.tenant_id, day)
        due = stored_sums(conn, tenant.tenant_id, day, kind)
        if not due.rows:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = [entry for entry in settle(folder, tenant.slug, day) if entry.kind == kind]
        if any(entry.sums == due and is_sound(folder, entry) for entry in known):
            return
        names = (f"{kind}.parquet" if n == 1 else f"{kind}.{n}.parquet" for n in count(1))
        name = next(name for name in names if not (folder / name).exists())
        making = folder / f".{name}{MAKING}"
        columns, rows = _source(conn, tenant.tenant_id, day, kind)
        with conn.transaction():  # one snapshot: the named cursor's
            write(making, columns, rows)
        written = file_sums(making)
        if written != due:
            making.unlink()
            raise ArchiveError(f"{kind} of {tenant.slug}, {day}: the file has {written}, the tables {due}")
        add(folder, tenant.slug, day, entry_of(making, name, kind, written), making)


def write(path: Path, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
    """Write a file, synced to disk, readable by its owner alone."""
    schema = pa.schema([column.field for column in columns])
    with synced(path) as file, pq.ParquetWriter(file, schema, compression="zstd", compression_level=LEVEL) as writer:
        for group in _groups(rows):
            writer.write_batch(batch(columns, group))


@contextmanager
def synced(path: Path) -> Iterator[IO[bytes]]:
    """A new file for its owner alone, on disk once the block is left."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _groups(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    group: list[Sequence[Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def file_sums(path: Path) -> Sums:
    """What a file adds up to, read from the file itself. Raises ArchiveError."""
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in ("cost_usd", "input_tokens", "output_tokens") if name in file.schema_arrow.names]
            sums = dict.fromkeys(names, 0)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)  # every column: what cannot be read is found now
                for name in names:
                    found = pc.sum(table[name]).as_py()
                    if found is not None:
                        sums[name] += nanousd(found) if name == "cost_usd" else found
            return Sums(
                file.metadata.num_rows,
                sums.get("cost_usd", 0),
                sums.get("input_tokens", 0),
                sums.get("output_tokens", 0),
            )
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(f"{path} cannot be read back: {type(error).__name__}") from None


# ---------------------------------------------------------------- the tables


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """From and to of a day, UTC."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def stored_sums(conn: Connection, tenant_id: int, day: date, kind: str) -> Sums:
    """What the tables hold of a kind of a tenant's day."""
    if kind == CONTENT:
        return Sums(sum(1 for _ in _contents(conn, tenant_id, day)))
    sums = "count(*), COALESCE(sum(cost_nanousd), 0), COALESCE(sum(input_tokens), 0), COALESCE(sum(output_tokens), 0)"
    if kind == TRACES:
        query = f"SELECT {sums} FROM trace WHERE tenant_id = %s AND day = %s"
        bounds: tuple[date, ...] = (day,)
    else:
        query = f"SELECT {sums} FROM span WHERE tenant_id = %s AND start >= %s AND start < %s"
        bounds = day_bounds(day)
    row = conn.execute(query, (tenant_id, *bounds)).fetchone()
    assert row is not None
    return Sums(*map(int, row))


def _source(conn: Connection, tenant_id: int, day: date, kind: str) -> tuple[Sequence[Column], Iterable[Sequence[Any]]]:
    if kind == CONTENT:
        return CONTENT_COLUMNS, _contents(conn, tenant_id, day)
    if kind == TRACES:
        columns = columns_of(conn, "trace")
        selected = ", ".join(column.selected("t") for column in columns)
        query = f"SELECT {selected} FROM trace t WHERE tenant_id = %s AND day = %s ORDER BY trace_id"
        return columns, _streamed(conn, query, (tenant_id, day))
    columns = columns_of(conn, "span")
    selected = ", ".join(column.selected("s") for column in columns)
    query = (
        f"SELECT {selected}, CASE WHEN is_call THEN (SELECT sum(cost_nanousd)::bigint FROM bill b "
        "WHERE b.tenant_id = s.tenant_id AND b.trace_id = s.trace_id AND b.span_id = s.span_id "
        "AND b.begin_at = s.start) END FROM span s WHERE tenant_id = %s AND start >= %s AND start < %s "
        "ORDER BY detail_id, trace_id, span_id"  # a block's spans together: each is read once
    )
    rows = _streamed(conn, query, (tenant_id, *day_bounds(day)))
    return [*columns, BILLED], _whole(conn, tenant_id, day, [column.name for column in columns], rows)


def _streamed(conn: Connection, query: str, values: tuple[Any, ...]) -> Iterator[Sequence[Any]]:
    with conn.cursor(name="archived", binary=True) as cursor:
        cursor.itersize = GROUP_ROWS // 5
        cursor.execute(query, values)
        yield from cursor


def _whole(
    conn: Connection, tenant_id: int, day: date, names: list[str], rows: Iterable[Sequence[Any]]
) -> Iterator[Sequence[Any]]:
    """The same rows with their details, as if nothing of them lay elsewhere."""
    block, slot = names.index("detail_id"), names.index("detail_slot")
    told = [names.index(name) for name in ("attributes", "scope_name", "finish_reasons", "price_version")]
    for detail_id, together in groupby(rows, key=lambda row: row[block]):
        if detail_id is None:
            yield from together
            continue
        of_block = [list(row) for row in together]
        details = details_at(conn.cursor(), tenant_id, [Place(detail_id, day, row[slot]) for row in of_block])
        for row in of_block:
            if (detail := details.get(Place(detail_id, day, row[slot]))) is not None:
                values = (
                    detail.attributes.decode(),
                    detail.scope_name,
                    list(detail.finish_reasons),
                    detail.price_version,
                )
                for at, value in zip(told, values, strict=True):
                    row[at] = value
            yield row


def _contents(conn: Connection, tenant_id: int, day: date) -> Iterator[tuple[Any, ...]]:
    """Prompts and answers of the day, a block at a time."""
    blocks = conn.execute(
        "SELECT block_id FROM payload_block WHERE tenant_id = %s AND day = %s ORDER BY block_id", (tenant_id, day)
    ).fetchall()
    for at in range(0, len(blocks), 100):
        ids = [block_id for (block_id,) in blocks[at : at + 100]]
        places: dict[int, list[tuple[Any, ...]]] = {}
        for block_id, slot, *key in conn.execute(
            "SELECT block_id, block_slot, trace_id, span_id, start FROM span WHERE tenant_id = %s AND start >= %s "
            "AND start < %s AND block_id = ANY(%s)",
            (tenant_id, *day_bounds(day), ids),
        ):
            places.setdefault(block_id, []).append((slot, *key))
        for block_id in ids:
            yield from _of_block(conn, tenant_id, day, block_id, places.get(block_id, []))


def _of_block(
    conn: Connection, tenant_id: int, day: date, block_id: int, places: list[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    row = conn.execute(
        "SELECT body FROM payload_block WHERE tenant_id = %s AND day = %s AND block_id = %s",
        (tenant_id, day, block_id),
        binary=True,
    ).fetchone()
    contents = read_block(row[0]) if row else []
    for slot, *key in sorted(places):
        if slot < len(contents) and contents[slot] != (None, None):
            yield (*key, *contents[slot])
