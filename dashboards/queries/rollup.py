"""Sums and latencies out of the roll-ups: compacted rows plus the deltas that still wait, so exact at any moment.

`levels` says which tables are read. Latencies come as sketches, added up here (`sketches`): PostgreSQL hands them over
as they lie, packed, which takes it a fraction of what unpacking and grouping them would.
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dashboards.queries import levels
from dashboards.queries.levels import levels_of, rows_of
from dashboards.queries.scope import Cursor, Scope
from dashboards.queries.sketches import Sketches, one_of, sketches_of
from dashboards.window import DAY, Window
from llmobs.core.semconv import ERROR_STATUSES, REFUSED
from llmobs.core.sql import AsBytes
from llmobs.rollups import compact
from llmobs.rollups.packed import packed
from llmobs.rollups.sketch import add

COLUMNS, BIN_ORIGIN = levels.COLUMNS, compact.BIN_ORIGIN


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


@dataclass(slots=True)  # not frozen: of tens of thousands that alone would be half the time
class Latency:
    """A sketch of durations, mergeable; quantiles are within 1 % of the exact ones."""

    key: tuple[Any, ...]
    at: datetime | None
    of: Sketches
    group: int

    @property
    def counts(self) -> dict[int, int]:
        return self.of.counts_of(self.group)

    @property
    def n(self) -> int:
        return self.of.sizes[self.group]

    def quantile_ms(self, q: float) -> float | None:
        """Milliseconds below which the share `q` of calls lies; None without calls."""
        return self.of.quantiles_ms(q)[self.group]


FIGURES = tuple(field.name for field in fields(Totals))[2:]
MEASURES = FIGURES[6:]
TELLS_ATTEMPTS_APART = frozenset({"provider", "model", "status", "error"})
_FAILED = f"status IN ({', '.join(repr(status) for status in sorted(ERROR_STATUSES))})"


def totals(
    cursor: Cursor,
    scope: Scope,
    by: Sequence[str] = (),
    over_time: bool = False,
    bucket: timedelta | None = None,
    only: Sequence[str] = FIGURES,
) -> list[Totals]:
    """Sums by dimensions (names of COLUMNS) and, if asked, by buckets (the window's own, unless one is named).

    Dearest first, or by time. `only`: the figures that are added up, all others stay 0: of thousands of rows each
    costs as much as any other.
    """
    return totals_of_each(cursor, [scope], by, over_time, bucket, only)[0]


def totals_of_each(
    cursor: Cursor,
    scopes: Sequence[Scope],
    by: Sequence[str] = (),
    over_time: bool = False,
    bucket: timedelta | None = None,
    only: Sequence[str] = FIGURES,
) -> list[list[Totals]]:
    """The same of several scopes, asked at once; each in no order."""
    if not scopes:
        return []
    asked = [_totals(number, scope, by, over_time, bucket, only) for number, scope in enumerate(scopes)]
    query = " UNION ALL ".join(f"({query})" for query, _ in asked) if len(asked) > 1 else asked[0][0]
    cursor.execute(query, [value for _, parameters in asked for value in parameters])
    n, moments = len(by), _Moments()
    found: list[list[Totals]] = [[] for _ in scopes]
    is_all = tuple(only) == FIGURES
    for row in cursor.fetchall():
        key, at, sums = tuple(row[1 : n + 1]), moments[row[n + 1]], row[n + 2 :]
        found[row[0]].append(
            Totals(key, at, *sums) if is_all else Totals(key, at, **dict(zip(only, sums, strict=True)))
        )
    return found


def _totals(
    number: int,
    scope: Scope,
    by: Sequence[str],
    over_time: bool,
    bucket: timedelta | None,
    only: Sequence[str],
) -> tuple[str, list[Any]]:
    """One scope's question, whose rows begin with its number."""
    size = (bucket or scope.window.bucket) if over_time else None
    figures = _figures(is_whole=TELLS_ATTEMPTS_APART.isdisjoint({*by, *scope.filters.given}))
    rows, parameters = rows_of(scope, by, levels_of(scope, by, size), lambda _: f"spans, calls, {', '.join(MEASURES)}")
    at, at_parameters = _bucket(scope.window, size)
    picked = [str(number), *(COLUMNS[name] for name in by), at, *(figures[name] for name in only)]
    return (
        f"SELECT {', '.join(picked)} FROM ({rows}) r "
        + _group_by(len(by), over_time)
        + (f"ORDER BY {len(by) + 2}" if over_time else "ORDER BY sum(cost_nanousd) DESC, sum(calls) DESC, 2"),
        [*at_parameters, *parameters],
    )


def _figures(is_whole: bool) -> dict[str, str]:
    """Each figure as SQL. `is_whole`: attempts of one call are not told apart."""
    answered = f"coalesce(sum(calls) FILTER (WHERE status <> '{REFUSED}'), 0)::bigint"
    errors = f"coalesce(sum(calls) FILTER (WHERE {_FAILED}), 0)::bigint"
    asked, failed = answered, errors
    if is_whole:  # an attempt may lie in an earlier bucket than the rest of its call
        asked = f"greatest({answered} + coalesce(sum(retried_calls - retried_attempts), 0)::bigint, 0)"
        failed_calls = f"coalesce(sum(retried_calls) FILTER (WHERE {_FAILED}), 0)"
        failed = f"greatest({errors} + {failed_calls}::bigint - coalesce(sum(retried_errors), 0)::bigint, 0)"
    return {
        "calls": answered,
        "errors": errors,
        "degraded": "coalesce(sum(calls + retried_calls) FILTER (WHERE status = 'degraded'), 0)::bigint",
        "refused": f"coalesce(sum(spans) FILTER (WHERE status = '{REFUSED}'), 0)::bigint",
        "asked": asked,
        "failed": failed,
        **{name: f"coalesce(sum({name}), 0)::bigint" for name in MEASURES},
    }


def total(cursor: Cursor, scope: Scope, only: Sequence[str] = FIGURES) -> Totals:
    """The sums over everything in scope; zeros where nothing was called."""
    return next(iter(totals(cursor, scope, only=only)), Totals((), None))


def latencies(
    cursor: Cursor,
    scope: Scope,
    by: Sequence[str] = (),
    over_time: bool = False,
    of: str = "duration",
    bucket: timedelta | None = None,
    among: Sequence[Any] | None = None,
    with_empty: bool = False,
) -> list[Latency]:
    """Latency sketches (`of` duration or ttft) by dimensions and buckets; calls that were refused are not in them.

    `among`: values of the first dimension, of which alone is asked. `with_empty`: also of groups that have no latency.
    """
    size = (bucket or scope.window.bucket) if over_time else None
    query, parameters = _latencies(scope, by, size, of, among, with_empty)
    cursor.execute(AsBytes(query), parameters)
    return _read_latencies(cursor.fetchall(), len(by), over_time, with_empty)


def latencies_of_each(cursor: Cursor, asked: Sequence[tuple[Scope, str]]) -> list[list[Latency]]:
    """The whole of several scopes, each of duration or ttft, asked at once."""
    if not asked:
        return []
    queries = [_latencies(scope, (), None, of) for scope, of in asked]
    each = (f"(SELECT {number}, l.* FROM ({query}) l)" for number, (query, _) in enumerate(queries))
    cursor.execute(
        AsBytes(" UNION ALL ".join(each)),
        [value for _, parameters in queries for value in parameters],
    )
    rows: list[list[Any]] = [[] for _ in asked]
    for number, *row in cursor.fetchall():
        rows[number].append(tuple(row))
    return [_read_latencies(each, 0, over_time=False) for each in rows]


def _latencies(
    scope: Scope,
    by: Sequence[str],
    size: timedelta | None,
    of: str,
    among: Sequence[Any] | None = None,
    with_empty: bool = False,
) -> tuple[str, list[Any]]:
    """SQL of dimensions, begins of buckets and packed sketches, with its parameters.

    Sketches of one group come one after the other in one row: a row costs more than what is in it.
    """
    if of not in ("duration", "ttft"):
        raise ValueError(f"{of!r} is no latency; one is duration or ttft")
    rows, parameters = rows_of(scope, by, levels_of(scope, by, size), lambda table: f"{packed(table, of)} AS packed")
    at, at_parameters = _bucket(scope.window, size)
    grouped = [COLUMNS[name] for name in by]
    only = "" if among is None else f" AND {grouped[0]} = ANY(%s)"
    has_latency = f"status <> '{REFUSED}' AND packed <> ''"
    sent = f"CASE WHEN status <> '{REFUSED}' THEN packed ELSE '' END" if with_empty else "packed"
    numbers = ", ".join(map(str, range(1, len(by) + 2)))
    return (
        f"SELECT {', '.join([*grouped, at])}, string_agg({sent}, '') FROM ({rows}) r "
        f"WHERE {'true' if with_empty else has_latency}{only} GROUP BY {numbers}",
        [*at_parameters, *parameters, *([list(among)] if among is not None else [])],
    )


def _read_latencies(
    rows: Sequence[tuple[Any, ...]], n: int, over_time: bool, with_empty: bool = False
) -> list[Latency]:
    """Of rows with the values of `n` dimensions."""
    moments = _Moments()
    keys, sketches = sketches_of(rows, n + 1)
    if not keys:
        return []
    *dimensions, begins = zip(*keys, strict=True)
    values = list(zip(*dimensions, strict=True)) if dimensions else [()] * len(keys)
    ats = [moments[begin] for begin in begins]
    groups = np.argsort(begins, kind="stable").tolist() if over_time else range(len(keys))
    sizes = sketches.sizes
    return [Latency(values[group], ats[group], sketches, group) for group in groups if with_empty or sizes[group]]


def merged(found: Iterable[Latency]) -> Latency:
    """Several sketches as one: what adding them up gives."""
    counts: dict[int, int] = {}
    for latency in found:
        for bucket, number in latency.counts.items():
            add(counts, bucket, number)
    return Latency((), None, one_of(counts), 0)


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


class _Moments(dict[int | None, datetime | None]):
    """Begins of buckets from seconds: read out of text, thousands of rows would each cost as much as all else of it."""

    def __missing__(self, seconds: int | None) -> datetime | None:
        self[seconds] = found = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return found


def _bucket(window: Window, size: timedelta | None) -> tuple[str, list[Any]]:
    """The begin of a row's bucket in seconds, as SQL, with its parameters."""
    if size is None:
        return "NULL::bigint", []
    if size == DAY:
        return "extract(epoch FROM date_trunc('day', at, %s))::bigint", [window.zone.key]
    return "extract(epoch FROM date_bin(%s, at, %s))::bigint", [size, BIN_ORIGIN]


def _group_by(dimensions: int, over_time: bool) -> str:
    numbers = range(2, dimensions + 2 + over_time)
    return f"GROUP BY {', '.join(map(str, numbers))} " if numbers else ""
