"""Sums and latencies out of the roll-ups: compacted rows plus the deltas that still wait, so exact at any moment.

A delta is in `rollup_delta` or in all compacted tables, never in both; one statement reads both in one snapshot.
Days that are over come from the tables of days, the hours around them from those of hours, then quarters, five minutes
and minutes at the edges (each time the coarsest that knows the dimensions): a month of any size is some thousand rows
(PAINS 34, 36).
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboards.queries.scope import Cursor, Scope
from dashboards.window import DAY, HOUR, MINUTE, QUARTER, Window
from llmobs.core.semconv import ERROR_STATUSES, REFUSED
from llmobs.rollups.sketch import add, merge, percentile_ms

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
CLOSED = "coalesce((SELECT until FROM rollup_closed), '-infinity')"
UTC_NAMES = frozenset({"UTC", "Etc/UTC"})
SMALL_TABLES = frozenset({"rollup_tenant_hour", "rollup_model_hour"})
BIN_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


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


@dataclass(frozen=True)
class Totals:
    """Sums over calls. `key` has a value for each dimension that was asked for; `at` is the bucket, or None.

    `calls` and `errors` count what went to a provider, attempt by attempt, and answers without any attempt. `asked` and
    `failed` count what clients asked, however often it was tried; where provider, model, status or error tell attempts
    apart, they are the same as the others. Refusals are our own no: in `refused` alone, neither calls nor errors.
    """

    key: tuple[Any, ...]
    at: datetime | None
    calls: int = 0
    errors: int = 0
    degraded: int = 0
    refused: int = 0
    asked: int = 0
    failed: int = 0
    uncached_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_5m_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0
    cost_nanousd: int = 0
    estimated_nanousd: int = 0
    estimated_calls: int = 0
    unpriced_calls: int = 0
    retried_calls: int = 0
    retried_attempts: int = 0
    retried_errors: int = 0
    cached_calls: int = 0
    saved_nanousd: int = 0
    streamed_output_tokens: int = 0
    streaming_ms: int = 0

    @property
    def input_tokens(self) -> int:
        """All input, cached tokens included."""
        cached = self.cache_read_input_tokens + self.cache_write_5m_input_tokens + self.cache_write_1h_input_tokens
        return self.uncached_input_tokens + cached

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of what clients asked that came out of our cache."""
        return self.cached_calls / self.asked if self.asked else None

    @property
    def tokens_per_second(self) -> float | None:
        """How fast streams came after their first token: all their tokens in all their time."""
        return 1000 * self.streamed_output_tokens / self.streaming_ms if self.streaming_ms else None


@dataclass(frozen=True)
class Latency:
    """A sketch of durations, mergeable; quantiles are within 1 % of the exact ones."""

    key: tuple[Any, ...]
    at: datetime | None
    counts: dict[int, int]

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    def quantile_ms(self, q: float) -> float | None:
        """Milliseconds below which the share `q` of calls lies; None without calls."""
        return percentile_ms(self.counts, q)


MEASURES = tuple(field.name for field in fields(Totals))[8:]
TELLS_ATTEMPTS_APART = frozenset({"provider", "model", "status", "error"})


def totals(
    cursor: Cursor, scope: Scope, by: Sequence[str] = (), over_time: bool = False, bucket: timedelta | None = None
) -> list[Totals]:
    """Sums by dimensions (names of COLUMNS) and, if asked, by buckets (the window's own, unless one is named).

    Dearest first, or by time.
    """
    size = (bucket or scope.window.bucket) if over_time else None
    levels = _levels(scope, by, size)
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in MEASURES)
    answered = f"coalesce(sum(calls) FILTER (WHERE status <> '{REFUSED}'), 0)::bigint"
    errors = "coalesce(sum(calls) FILTER (WHERE status = ANY(%s)), 0)::bigint"
    degraded = "coalesce(sum(calls + retried_calls) FILTER (WHERE status = 'degraded'), 0)::bigint"
    refused = f"coalesce(sum(spans) FILTER (WHERE status = '{REFUSED}'), 0)::bigint"
    asked, failed = answered, errors
    is_whole = TELLS_ATTEMPTS_APART.isdisjoint({*by, *scope.filters.given})
    if is_whole:  # an attempt may lie in an earlier bucket than the rest of its call
        asked = f"greatest({answered} + coalesce(sum(retried_calls - retried_attempts), 0)::bigint, 0)"
        failed_calls = "coalesce(sum(retried_calls) FILTER (WHERE status = ANY(%s)), 0)"
        failed = f"greatest({errors} + {failed_calls}::bigint - coalesce(sum(retried_errors), 0)::bigint, 0)"
    rows, parameters = _rows(scope, by, levels, f"spans, calls, {', '.join(MEASURES)}")
    at, at_parameters = _bucket(scope.window, size)
    grouped = [COLUMNS[name] for name in by]
    cursor.execute(
        f"SELECT {', '.join([*grouped, at])}, {answered}, {errors}, {degraded}, {refused}, {asked}, {failed}, {sums} "
        f"FROM ({rows}) r "
        + _group_by(len(grouped), over_time)
        + (f"ORDER BY {len(grouped) + 1}" if over_time else "ORDER BY sum(cost_nanousd) DESC, sum(calls) DESC, 1"),
        [*at_parameters, *[sorted(ERROR_STATUSES)] * (3 if is_whole else 2), *parameters],
    )
    n = len(grouped)
    return [Totals(tuple(row[:n]), row[n], *row[n + 1 :]) for row in cursor.fetchall()]


def total(cursor: Cursor, scope: Scope) -> Totals:
    """The sums over everything in scope; zeros where nothing was called."""
    return next(iter(totals(cursor, scope)), Totals((), None))


def latencies(
    cursor: Cursor,
    scope: Scope,
    by: Sequence[str] = (),
    over_time: bool = False,
    of: str = "duration",
    bucket: timedelta | None = None,
    among: Sequence[Any] | None = None,
) -> list[Latency]:
    """Latency sketches (`of` duration or ttft) by dimensions and buckets; calls that were refused are not in them.

    `among`: values of the first dimension, of which alone is asked.
    """
    if of not in ("duration", "ttft"):
        raise ValueError(f"{of!r} is no latency; one is duration or ttft")
    size = (bucket or scope.window.bucket) if over_time else None
    levels = _levels(scope, by, size)
    rows, parameters = _rows(scope, by, levels, f"{of}_buckets, {of}_counts")
    at, at_parameters = _bucket(scope.window, size)
    grouped = [COLUMNS[name] for name in by]
    n = len(grouped)
    only = "" if among is None else f" AND {grouped[0]} = ANY(%s)"
    if size == HOUR and levels[-1].table in SMALL_TABLES and not only:
        # As many rows as there are hours and statuses: adding them up here takes a third of the time.
        cursor.execute(
            f"SELECT {', '.join([*grouped, at])}, {of}_buckets, {of}_counts FROM ({rows}) r "
            f"WHERE status <> '{REFUSED}'",
            [*at_parameters, *parameters],
        )
        return _added_up(cursor.fetchall(), n)
    # A sketch comes as two arrays in one row: reading its time once, and not once per bucket, halves the answer's time.
    cursor.execute(
        f"SELECT {', '.join([*grouped, 'at'])}, array_agg(bucket), array_agg(number) FROM ("
        f"SELECT {', '.join([*grouped, at])} AS at, s.bucket, sum(s.count)::bigint AS number FROM ({rows}) r "
        f"CROSS JOIN LATERAL unnest(r.{of}_buckets, r.{of}_counts) AS s(bucket, count) "
        f"WHERE status <> '{REFUSED}'{only} {_group_by(n, True, also=n + 2)}) sketches {_group_by(n, True)}"
        f"ORDER BY {n + 1}",
        [*at_parameters, *parameters, *([list(among)] if among is not None else [])],
    )
    return [Latency(tuple(r[:n]), r[n], dict(zip(r[n + 1], r[n + 2], strict=True))) for r in cursor.fetchall()]


def _added_up(rows: Sequence[Any], n: int) -> list[Latency]:
    sketches: dict[tuple[Any, ...], dict[int, int]] = {}
    for row in rows:
        merge(sketches.setdefault(tuple(row[: n + 1]), {}), row[n + 1], row[n + 2])
    found = [Latency(key[:n], key[n], counts) for key, counts in sketches.items() if counts]
    return sorted(found, key=lambda latency: latency.at or BIN_ORIGIN)


def merged(found: Iterable[Latency]) -> Latency:
    """Several sketches as one: what adding them up gives."""
    counts: dict[int, int] = {}
    for latency in found:
        for bucket, number in latency.counts.items():
            add(counts, bucket, number)
    return Latency((), None, counts)


def first_call_at(cursor: Cursor, tenant_ids: tuple[int, ...]) -> datetime | None:
    """When the first rolled-up call of these tenants began, to the hour."""
    cursor.execute(
        "SELECT least((SELECT min(hour) FROM rollup_tenant_hour WHERE tenant_id = ANY(%s)), "
        "(SELECT min(minute) FROM rollup_delta WHERE tenant_id = ANY(%s)))",
        [list(tenant_ids), list(tenant_ids)],
    )
    row = cursor.fetchone()
    return row[0] if row else None


def last_call_at(cursor: Cursor, tenant_ids: tuple[int, ...]) -> datetime | None:
    """When the last rolled-up call of these tenants began, to the hour."""
    cursor.execute(
        "SELECT greatest((SELECT max(hour) FROM rollup_tenant_hour WHERE tenant_id = ANY(%s)), "
        "(SELECT max(minute) FROM rollup_delta WHERE tenant_id = ANY(%s)))",
        [list(tenant_ids), list(tenant_ids)],
    )
    row = cursor.fetchone()
    return row[0] if row else None


def _levels(scope: Scope, by: Sequence[str], size: timedelta | None) -> list[Level]:
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


def _rows(scope: Scope, by: Sequence[str], levels: Sequence[Level], measures: str) -> tuple[str, list[Any]]:
    """The rows in scope as (at, status, dimensions, measures): days that are over, hours, finer edges, deltas."""
    names = dict.fromkeys(["status", *(COLUMNS[name] for name in by)])
    columns = f"{', '.join(names)}, {measures}"
    start, end = scope.window.start.astimezone(UTC).replace(second=0, microsecond=0), scope.window.end.astimezone(UTC)
    filters, filter_parameters = _filters(scope)
    where = f"tenant_id = ANY(%s){filters}"
    base = [list(scope.tenant_ids), *filter_parameters]
    parts, parameters = [], []

    def read(table: str, column: str, low: datetime, high: datetime, also: str = "") -> None:
        if low < high:
            within = f"{column} >= %s AND {column} < %s{also}"
            parts.append(f"SELECT {column} AS at, {columns} FROM {table} WHERE {where} AND {within}")
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


def _bucket(window: Window, size: timedelta | None) -> tuple[str, list[Any]]:
    if size is None:
        return "NULL::timestamptz", []
    if size == DAY:
        return "date_trunc('day', at, %s)", [window.zone.key]
    return "date_bin(%s, at, %s)", [size, BIN_ORIGIN]


def _group_by(dimensions: int, over_time: bool, also: int | None = None) -> str:
    numbers = [*range(1, dimensions + 1), *([dimensions + 1] if over_time else []), *([also] if also else [])]
    return f"GROUP BY {', '.join(map(str, numbers))} " if numbers else ""
