"""Which tables of roll-ups answer a question: of each length of bucket the coarsest that knows the dimensions.

A delta is in `rollup_delta` or in all compacted tables, never in both; one statement reads both in one snapshot.
Days that are over come from the tables of days, the hours around them from those of hours, then quarters, five minutes
and minutes at the edges: a month of any size is some thousand rows (PAINS 34, 36).
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboards.queries.scope import Scope
from dashboards.window import DAY, HOUR, MINUTE, QUARTER, Window
from llmobs.rollups.compact import BIN_ORIGIN

COLUMNS = {
    "tenant": "tenant_id",
    "service": "service",
    "environment": "environment",
    "feature": "feature",
    "key": "key_id",
    "provider": "provider_name",
    "model": "model",
    "status": "status",
    "error": "error_type",
}
# By length of bucket, each from coarse to fine: the first that knows the dimensions is read.
_ERROR = frozenset({"tenant", "provider", "model", "status", "error"})
HOUR_TABLES = (
    ("rollup_tenant_hour", frozenset({"tenant", "status"})),
    ("rollup_model_hour", frozenset({"tenant", "model", "status"})),
    ("rollup_feature_hour", frozenset({"tenant", "feature", "status"})),
    ("rollup_error_hour", _ERROR),
    ("rollup_hour", frozenset(COLUMNS)),
)
DAY_TABLES = (
    ("rollup_tenant_day", frozenset({"tenant", "status"})),
    ("rollup_model_day", frozenset({"tenant", "model", "status"})),
    ("rollup_feature_day", frozenset({"tenant", "feature", "status"})),
    ("rollup_error_day", _ERROR),
    ("rollup_day", frozenset(COLUMNS)),
)
QUARTER_TABLES = (
    (None, frozenset({"tenant", "status"})),  # three rows of five minutes are fewer than one for each feature
    ("rollup_feature_quarter", frozenset({"tenant", "feature", "status"})),
    ("rollup_error_quarter", _ERROR),
)
FIVE_TABLES = (("rollup_tenant_five", frozenset({"tenant", "status"})),)
MINUTE_TABLES = (("rollup_minute", frozenset(COLUMNS)),)
FIVE = timedelta(minutes=5)
LEVELS = (
    (MINUTE, "minute", MINUTE_TABLES),
    (FIVE, "five_minutes", FIVE_TABLES),
    (QUARTER, "quarter", QUARTER_TABLES),
    (HOUR, "hour", HOUR_TABLES),
    (DAY, "day", DAY_TABLES),
)
# The whole is one sub-select: behind a policy PostgreSQL takes a bare COALESCE for a function that might leak, and
# then for no condition of an index (docs/walls.md).
CLOSED = "(SELECT coalesce(max(until), '-infinity') FROM rollup_closed)"
UTC_NAMES = frozenset({"UTC", "Etc/UTC"})


@dataclass(frozen=True)
class Level:
    """A table that is read, the column of its buckets' begins, and how long they are."""

    step: timedelta
    column: str
    table: str

    def ceil(self, at: datetime) -> datetime:
        return self.floor(at + self.step - timedelta(microseconds=1))

    def floor(self, at: datetime) -> datetime:
        return at - (at - BIN_ORIGIN) % self.step


def levels_of(scope: Scope, by: Sequence[str], size: timedelta | None) -> list[Level]:
    """The tables that together can answer, from minutes on: of each length the coarsest that knows the dimensions."""
    needed = {*by, *(name for name in scope.filters.given if name in COLUMNS)}
    longest = DAY if size is None else _aligned(scope.window, size)
    found = []
    for step, column, tables in LEVELS:
        table = next((table for table, known in tables if needed <= known), None)
        if table is not None and step <= longest:
            found.append(Level(step, column, table))
    return found


def _aligned(window: Window, size: timedelta) -> timedelta:
    """The longest step whose buckets never lie in two of the wanted ones: the days of a zone begin when its own do."""
    if size != DAY or window.zone.key in UTC_NAMES:
        return max((step for step, _, _ in LEVELS if step <= size and not size % step), default=MINUTE)
    offsets = [at.astimezone(window.zone).utcoffset() or timedelta() for at in (window.start, window.end)]
    return QUARTER if any(offset % HOUR for offset in offsets) else HOUR


def rows_of(
    scope: Scope, by: Sequence[str], levels: Sequence[Level], measures: Callable[[str], str]
) -> tuple[str, list[Any]]:
    """The rows in scope as (at, status, dimensions, measures): days that are over, hours, finer edges, deltas.

    `measures`: what is read of a table, by its name.
    """
    names = dict.fromkeys(["status", *(COLUMNS[name] for name in by)])
    dimensions = ", ".join(names)
    start, end = scope.window.start.astimezone(UTC).replace(second=0, microsecond=0), scope.window.end.astimezone(UTC)
    filters, filter_parameters = _filters(scope)
    where = f"tenant_id = ANY(%s){filters}"
    base = [list(scope.tenant_ids), *filter_parameters]
    parts, parameters = [], []

    def read(table: str, column: str, low: datetime, high: datetime, also: str = "") -> None:
        if low < high:
            within = f"{column} >= %s AND {column} < %s{also}"
            columns = f"{column} AS at, {dimensions}, {measures(table)}"
            parts.append(f"SELECT {columns} FROM {table} WHERE {where} AND {within}")
            parameters.extend([*base, low, high])

    def cover(low: datetime, high: datetime, depth: int) -> None:
        """This time, in the longest buckets that lie within it; what they leave at both ends in shorter ones."""
        level = levels[depth]
        first, last = (level.ceil(low), level.floor(high)) if depth else (low, high)
        if first >= last:
            if depth:
                cover(low, high, depth - 1)
            return
        if depth:
            cover(low, first, depth - 1)
            cover(last, high, depth - 1)
        if level.step < DAY:
            read(level.table, level.column, first, last)
            return
        # Which days are over is asked in the same statement: it sees one state of all tables.
        hours = levels[depth - 1]
        read(level.table, level.column, first, last, f" AND day < {CLOSED}")
        read(hours.table, hours.column, first, last, f" AND {hours.column} >= {CLOSED}")

    read("rollup_delta", "minute", start, end)
    cover(start, end, len(levels) - 1)
    return " UNION ALL ".join(parts), parameters


def _filters(scope: Scope) -> tuple[str, list[Any]]:
    given = {name: value for name, value in scope.filters.given.items() if name in COLUMNS}
    return "".join(f" AND {COLUMNS[name]} = %s" for name in given), list(given.values())
