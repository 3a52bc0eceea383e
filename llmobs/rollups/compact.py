"""The compactor: deltas into minutes and hours, all dimensions, by tenant, and by tenant and model.

One transaction takes some deltas out (DELETE … RETURNING) and adds them to the four tables, so that a reader, whose
statement sees one snapshot, finds each delta either pending or compacted. Writers only append deltas and are never
waited for. One compactor works at a time (an advisory lock); a second one finds nothing to do.
"""

# ruff: noqa: S608 -- names in the statements come from TARGETS, values are bound

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from llmobs.rollups.delta import DIMENSIONS, MEASURE_TYPES, MEASURES, Measures

MOST_DELTAS = 5000  # of one transaction

_LOCK = 0x6C6C6D63  # "llmc"
_SQL_TYPES = {"key_id": "bigint"}


@dataclass(frozen=True)
class Target:
    """A compacted table: its time column and which of the dimensions it keeps."""

    table: str
    bucket: str
    dimensions: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return ("tenant_id", self.bucket, *self.dimensions)


TARGETS = (
    Target("rollup_minute", "minute", DIMENSIONS),
    Target("rollup_hour", "hour", DIMENSIONS),
    Target("rollup_tenant_hour", "hour", ("status",)),
    Target("rollup_model_hour", "hour", ("model", "status")),
)
# Days that are over (`rollups.days`); of a day that runs there are hours alone.
DAY_TARGETS = (
    Target("rollup_day", "day", DIMENSIONS),
    Target("rollup_tenant_day", "day", ("status",)),
    Target("rollup_model_day", "day", ("model", "status")),
    Target("rollup_feature_day", "day", ("feature", "status")),
    Target("rollup_error_day", "day", ("provider_name", "model", "status", "error_type")),
)


def target(table: str) -> Target:
    """The table by its name."""
    return next(t for t in (*TARGETS, *DAY_TARGETS) if t.table == table)


def compacted_and_pending(table: str) -> str:
    """SQL of a sub-select: the table's rows and the pending deltas in its shape, of one tenant and window.

    Parameters by name: tenant_id, since, until (aware datetimes). Rows of one key may be several: add them up.
    """
    to = target(table)
    shape = ", ".join((*to.key, *MEASURES))
    pending = ", ".join(
        ("tenant_id", f"date_trunc('{to.bucket}', minute, 'UTC') AS {to.bucket}", *to.dimensions, *MEASURES)
    )
    return (
        f"(SELECT {shape} FROM {table} WHERE tenant_id = %(tenant_id)s "
        f"AND {to.bucket} >= date_trunc('{to.bucket}', %(since)s::timestamptz, 'UTC') AND {to.bucket} < %(until)s "
        f"UNION ALL SELECT {pending} FROM rollup_delta WHERE tenant_id = %(tenant_id)s "
        f"AND minute >= date_trunc('{to.bucket}', %(since)s::timestamptz, 'UTC') AND minute < %(until)s)"
    )


def compact(conn: psycopg.Connection[Any], most_deltas: int = MOST_DELTAS) -> int:
    """Compact up to so many deltas in one transaction; returns how many (0: none left, or another one works)."""
    with conn.transaction():
        row = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
        if not row or not row[0]:
            return 0
        deltas = _take_deltas(conn, most_deltas)
        for to in TARGETS if deltas else ():
            _add(conn, to, _grouped(to, deltas))
        if late := _late(conn, deltas):
            for to in DAY_TARGETS:
                _add(conn, to, _grouped(to, late))
    return len(deltas)


def _late(conn: psycopg.Connection[Any], deltas: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of days that are made already."""
    if not deltas:
        return []
    row = conn.execute("SELECT until FROM rollup_closed").fetchone()
    return [delta for delta in deltas if row is not None and delta[1] < row[0]]


def keep_out_all(conn: psycopg.Connection[Any]) -> None:
    """Nothing else is compacted or changed in place until the transaction ends."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def keep_out(conn: psycopg.Connection[Any]) -> None:
    """Nothing is compacted until the transaction ends: for who changes compacted rows in place, several at once."""
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))


def compact_all(conn: psycopg.Connection[Any]) -> int:
    """Compact until nothing is pending."""
    total = 0
    while taken := compact(conn):
        total += taken
    return total


def _take_deltas(conn: psycopg.Connection[Any], most: int) -> list[tuple[Any, ...]]:
    return conn.execute(
        "DELETE FROM rollup_delta d USING (SELECT tenant_id, delta_id FROM rollup_delta "
        "ORDER BY tenant_id, delta_id LIMIT %s) o WHERE d.tenant_id = o.tenant_id AND d.delta_id = o.delta_id "
        f"RETURNING d.tenant_id, d.minute, {', '.join(f'd.{name}' for name in DIMENSIONS + MEASURES)}",
        (most,),
    ).fetchall()


def _grouped(to: Target, deltas: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], Measures]:
    places = [2 + DIMENSIONS.index(name) for name in to.dimensions]
    first = 2 + len(DIMENSIONS)
    groups: dict[tuple[Any, ...], Measures] = {}
    for delta in deltas:
        minute: datetime = delta[1].astimezone(UTC)  # the session may be in any zone
        at = minute if to.bucket == "minute" else minute.replace(minute=0)
        if to.bucket == "day":
            at = at.replace(hour=0)
        key = (delta[0], at, *(delta[place] for place in places))
        groups.setdefault(key, Measures()).merge(delta[first:])
    return groups


def _add(conn: psycopg.Connection[Any], to: Target, groups: dict[tuple[Any, ...], Measures]) -> None:
    """Take the rows of these keys out and put the sums back."""
    keys = list(groups)
    unnested = ", ".join(["%s::bigint[]", "%s::timestamptz[]", *(_array_type(name) for name in to.dimensions)])
    rows = conn.execute(
        f"DELETE FROM {to.table} r USING unnest({unnested}) AS k ({', '.join(to.key)}) "
        f"WHERE {' AND '.join(f'r.{name} = k.{name}' for name in to.key)} "
        f"RETURNING {', '.join(f'r.{name}' for name in (*to.key, *MEASURES))}",
        [list(column) for column in zip(*keys, strict=True)],
    ).fetchall()
    width = len(to.key)
    for row in rows:
        groups[row[:width]].merge(row[width:])
    types = ["int8", "timestamptz", *("int8" if name == "key_id" else "text" for name in to.dimensions)]
    statement = f"COPY {to.table} ({', '.join((*to.key, *MEASURES))}) FROM STDIN (FORMAT BINARY)"
    with conn.cursor() as cur, cur.copy(statement) as copy:
        copy.set_types(types + MEASURE_TYPES)
        for key, measures in groups.items():
            if not measures.is_empty():
                copy.write_row((*key, *measures.row()))


def _array_type(dimension: str) -> str:
    return f"%s::{_SQL_TYPES.get(dimension, 'text')}[]"
