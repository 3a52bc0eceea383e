"""Bytes a span on disk, taken apart: by table, of each table by column and by index; and the CPU that writing took.

The same bodies as the ingest benchmark, through the same door. A column's bytes are its values' (`pg_column_size`);
what they do not explain of the table is `rows`: heads of rows and pages, alignment, what is free.
"""

import argparse

import psycopg

from llmobs.core.env import Place
from tests.bench.bodies import Bodies
from tests.bench.ingest import PROCESSES, SENDERS, SPANS_PER_REQUEST, TABLES, Connection, cpu, stored, wait_stored
from tests.bench.platform import free_port, platform
from tests.bench.senders import send_all

SPANS = 50_000
LEAST = 0.5  # bytes a span: what is less is not told

Parts = dict[str, float]


def _one(conn: Connection, query: str, *values: object) -> int:
    row = conn.execute(query, values).fetchone()
    return int(row[0] or 0) if row else 0


def partitions(conn: Connection, table: str) -> list[str]:
    rows = conn.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", (table,)
    )
    return [str(name) for (name,) in rows]


def columns(conn: Connection, table: str) -> Parts:
    """Bytes of all values of each column."""
    names = [
        str(name)
        for (name,) in conn.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum",
            (table,),
        )
    ]
    sums = ", ".join(f"COALESCE(sum(pg_column_size({name})), 0)" for name in names)
    row = conn.execute(f"SELECT {sums} FROM {table}").fetchone()
    return {name: float(size) for name, size in zip(names, row or (), strict=True)}


def indexes(conn: Connection, table: str) -> Parts:
    """Bytes of each index, over all partitions."""
    found: Parts = {}
    for name in partitions(conn, table):
        for definition, size in conn.execute(
            "SELECT pg_get_indexdef(indexrelid), pg_relation_size(indexrelid) FROM pg_index "
            "WHERE indrelid = %s::regclass",
            (name,),
        ):
            told = str(definition).split(" USING ")[1]
            found[told] = found.get(told, 0) + size
    return found


def report(conn: Connection, spans: int) -> float:
    """Print each table, largest parts first; answers the sum of all, in bytes a span."""
    whole = 0.0
    for table in TABLES:
        parts = partitions(conn, table)
        total = sum(_one(conn, "SELECT pg_total_relation_size(%s::regclass)", name) for name in parts)
        heap = sum(_one(conn, "SELECT pg_table_size(%s::regclass)", name) for name in parts)
        rows = _one(conn, f"SELECT count(*) FROM {table}")
        by_column, by_index = columns(conn, table), indexes(conn, table)
        whole += total
        print(f"{table:16} {total / spans:7.1f} B a span, {rows} rows; {total / max(rows, 1):.0f} B a row")
        _tell("columns", by_column | {"rows": heap - sum(by_column.values())}, spans)
        _tell("indexes", by_index, spans)
    print(f"{'all':16} {whole / spans:7.1f} B a span (aim ≤ 2,200)")
    return whole / spans


def _tell(what: str, parts: Parts, spans: int) -> None:
    print(f"  {what:14} {sum(parts.values()) / spans:7.1f}")
    for name, size in sorted(parts.items(), key=lambda part: -part[1]):
        if size / spans >= LEAST:
            print(f"    {size / spans:7.1f} {name}")


def main(words: list[str]) -> None:
    """Ingest, then take apart."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench stored")
    parser.add_argument("--spans", type=int, default=SPANS)
    spans = parser.parse_args(words).spans
    unused, maker = free_port(), Bodies()
    bodies = [maker.make(SPANS_PER_REQUEST) for _ in range(spans // SPANS_PER_REQUEST)]
    with platform(unused, unused) as up, psycopg.connect(Place(up.data).connections().database_url) as conn:
        conn.autocommit = True
        before = cpu(up)
        send_all(up.gateway_port, bodies, SENDERS)
        wait_stored(conn, len(bodies) * SPANS_PER_REQUEST)
        used = {kind: (after - before[kind]) / spans * 1e6 for kind, after in cpu(up).items()}
        conn.execute("ANALYZE")
        report(conn, stored(conn))
    each = ", ".join(f"{kind} {used[kind]:.0f}" for kind in PROCESSES)
    print(f"CPU a span, µs   {sum(used.values()):7.0f} ({each})")
