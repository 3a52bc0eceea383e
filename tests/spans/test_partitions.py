"""Partitions are made once, by whoever comes first."""

from datetime import date, timedelta
from typing import Any

import psycopg

from llmobs.spans.partitions import DAY_TABLES, existing_days, make_ahead, make_partitions, partition_name

OLD = date(2031, 1, 1)


def test_making_partitions_again_changes_nothing(pg: psycopg.Connection[Any]) -> None:
    for _ in range(2):
        with pg.transaction():
            make_partitions(pg, {OLD, OLD + timedelta(days=1)})
    assert all({OLD, OLD + timedelta(days=1)} <= existing_days(pg, table) for table in DAY_TABLES)
    make_ahead(pg, OLD)
    assert OLD + timedelta(days=3) in existing_days(pg)


def test_a_partition_is_laid_out_without_gaps_and_is_else_what_its_table_is(pg: psycopg.Connection[Any]) -> None:
    make_partitions(pg, {OLD})
    for table in DAY_TABLES:
        name = partition_name(table, OLD)
        assert described(pg, name) == described(pg, table)
        lengths = pg.execute(
            "SELECT typlen FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE attrelid = %s::regclass "
            "AND attnum > 0 ORDER BY attnum",
            (name,),
        ).fetchall()
        fixed = [length for (length,) in lengths if length > 0]
        assert [length for (length,) in lengths][: len(fixed)] == sorted(fixed, reverse=True)


def described(conn: psycopg.Connection[Any], table: str) -> list[set[Any]]:
    """Columns with all that is said of them, constraints, and how many indexes."""
    columns = conn.execute(
        "SELECT attname, atttypid, attnotnull, attstorage, atthasdef FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    ).fetchall()
    checks = conn.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'",
        (table,),
    ).fetchall()
    indexes = conn.execute("SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass", (table,)).fetchall()
    return [set(columns), set(checks), set(indexes)]
