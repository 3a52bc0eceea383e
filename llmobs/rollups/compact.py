"""The compactor: deltas into minutes and hours of all dimensions, and into coarser tables of some of them.

One transaction takes some deltas out (DELETE … RETURNING) and adds them to all tables, so that a reader, whose
statement sees one snapshot, finds each delta either pending or compacted. Writers only append deltas and are never
waited for. One compactor works at a time (an advisory lock); a second one finds nothing to do.

Each table is made of the groups of a finer one (`source`), so that a delta is unpacked once.
"""

# ruff: noqa: S608 -- names in the statements come from TARGETS, values are bound

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from llmobs.rollups.delta import DIMENSIONS, MEASURE_TYPES, MEASURES, Measures

MOST_DELTAS = 5000  # of one transaction

_LOCK = 0x6C6C6D63  # "llmc"
_SQL_TYPES = {"key_id": "bigint"}


MINUTE, FIVE, QUARTER, HOUR, DAY = (timedelta(minutes=n) for n in (1, 5, 15, 60, 1440))
STEPS = {"minute": MINUTE, "five_minutes": FIVE, "quarter": QUARTER, "hour": HOUR, "day": DAY}
BIN_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Target:
    """A compacted table: its time column, which of the dimensions it keeps, and the finer table it is made of."""

    table: str
    bucket: str
    dimensions: tuple[str, ...]
    source: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return ("tenant_id", self.bucket, *self.dimensions)

    @property
    def step(self) -> timedelta:
        """How long a bucket is."""
        return STEPS[self.bucket]

    @property
    def is_short_lived(self) -> bool:
        """Whether it is kept for MINUTES_KEPT_DAYS alone."""
        return self.step < HOUR

    def begin(self, at: datetime) -> datetime:
        """The begin of the bucket of a moment (aware, in UTC)."""
        return at - (at - BIN_ORIGIN) % self.step

    def begin_sql(self, at: str) -> str:
        """The same of an expression in SQL."""
        if self.bucket in ("minute", "hour", "day"):
            return f"date_trunc('{self.bucket}', {at}, 'UTC')"
        return f"date_bin(interval '{self.step // MINUTE} minutes', {at}, timestamptz '{BIN_ORIGIN.isoformat()}')"


_ERROR = ("provider_name", "model", "status", "error_type")
# In an order in which each comes after its source.
TARGETS = (
    Target("rollup_minute", "minute", DIMENSIONS),
    Target("rollup_hour", "hour", DIMENSIONS, "rollup_minute"),
    Target("rollup_feature_quarter", "quarter", ("feature", "status"), "rollup_minute"),
    Target("rollup_feature_hour", "hour", ("feature", "status"), "rollup_feature_quarter"),
    Target("rollup_error_quarter", "quarter", _ERROR, "rollup_minute"),
    Target("rollup_error_hour", "hour", _ERROR, "rollup_error_quarter"),
    Target("rollup_model_hour", "hour", ("model", "status"), "rollup_error_hour"),
    Target("rollup_tenant_five", "five_minutes", ("status",), "rollup_minute"),
    Target("rollup_tenant_hour", "hour", ("status",), "rollup_tenant_five"),
)
# Days that are over (`rollups.days`); of a day that runs there are hours alone.
DAY_TARGETS = (
    Target("rollup_day", "day", DIMENSIONS, "rollup_hour"),
    Target("rollup_tenant_day", "day", ("status",), "rollup_tenant_hour"),
    Target("rollup_model_day", "day", ("model", "status"), "rollup_model_hour"),
    Target("rollup_feature_day", "day", ("feature", "status"), "rollup_feature_hour"),
    Target("rollup_error_day", "day", _ERROR, "rollup_error_hour"),
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
    pending = ", ".join(("tenant_id", f"{to.begin_sql('minute')} AS {to.bucket}", *to.dimensions, *MEASURES))
    return (
        f"(SELECT {shape} FROM {table} WHERE tenant_id = %(tenant_id)s "
        f"AND {to.bucket} >= {to.begin_sql('%(since)s::timestamptz')} AND {to.bucket} < %(until)s "
        f"UNION ALL SELECT {pending} FROM rollup_delta WHERE tenant_id = %(tenant_id)s "
        f"AND minute >= {to.begin_sql('%(since)s::timestamptz')} AND minute < %(until)s)"
    )


def compact(conn: psycopg.Connection[Any], most_deltas: int = MOST_DELTAS) -> int:
    """Compact up to so many deltas in one transaction; returns how many (0: none left, or another one works)."""
    with conn.transaction():
        row = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
        if not row or not row[0]:
            return 0
        deltas = _take_deltas(conn, most_deltas)
        if deltas:
            _add_all(conn, deltas)
    return len(deltas)


def _add_all(conn: psycopg.Connection[Any], deltas: list[tuple[Any, ...]]) -> None:
    groups = {TARGETS[0].table: _grouped(deltas)}
    for to in TARGETS[1:]:
        groups[to.table] = _regrouped(to, target(to.source), groups[to.source])
    # Of days that are made already: all groups are made before the first is added to, since adding changes them.
    row = conn.execute("SELECT until FROM rollup_closed").fetchone()
    for to in DAY_TARGETS if row is not None else ():
        late = {key: measures for key, measures in groups[to.source].items() if row and key[1] < row[0]}
        groups[to.table] = _regrouped(to, target(to.source), late)
    for to in (*TARGETS, *DAY_TARGETS):
        if groups.get(to.table):
            _add(conn, to, groups[to.table])


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


Groups = dict[tuple[Any, ...], Measures]


def _grouped(deltas: list[tuple[Any, ...]]) -> Groups:
    first = 2 + len(DIMENSIONS)
    groups: Groups = {}
    for delta in deltas:
        minute: datetime = delta[1].astimezone(UTC)  # the session may be in any zone
        groups.setdefault((delta[0], minute, *delta[2:first]), Measures()).merge(delta[first:])
    return groups


def _regrouped(to: Target, source: Target, finer: Groups) -> Groups:
    places = [2 + source.dimensions.index(name) for name in to.dimensions]
    groups: Groups = {}
    for key, measures in finer.items():
        coarse = (key[0], to.begin(key[1]), *(key[place] for place in places))
        groups.setdefault(coarse, Measures()).merge_measures(measures)
    return groups


def _add(conn: psycopg.Connection[Any], to: Target, groups: Groups) -> None:
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
