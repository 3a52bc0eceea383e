"""Verify, the sums: roll-ups, sketches, users' days and traces against the raw spans and bills."""

# ruff: noqa: S608 -- names in the statements are constants of this module and of rollups

from collections.abc import Iterator
from typing import Any

from llmobs.core import semconv
from llmobs.ops.difference import (
    BILLED_COMPLETE_SINCE,
    COMPLETE_SINCE,
    ROLLED_UP_SINCE,
    Connection,
    Difference,
    compare,
    where,
)
from llmobs.rollups import bills as rolled_up_bills
from llmobs.rollups import sketch
from llmobs.rollups.compact import DAY_TARGETS, TARGETS, Target
from llmobs.rollups.delta import SUMS
from llmobs.rollups.retention import MINUTES_KEPT_DAYS
from llmobs.spans.shown import ALL_SHOWN
from llmobs.spans.trace_deltas import WAITING_OF_ALL

# Spans have no tokens of a class as null.
_READ, _WRITTEN, _WRITTEN_1H = (
    f"COALESCE({name}, 0)"
    for name in ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation_1h_input_tokens")
)
USAGE = {
    "uncached_input_tokens": f"input_tokens - {_READ} - {_WRITTEN}",
    "cache_read_input_tokens": _READ,
    "cache_write_5m_input_tokens": f"{_WRITTEN} - {_WRITTEN_1H}",
    "cache_write_1h_input_tokens": _WRITTEN_1H,
    "output_tokens": "output_tokens",
    "reasoning_output_tokens": "COALESCE(reasoning_output_tokens, 0)",
}
_UNPRICED = "shown_nanousd IS NULL AND (input_tokens IS NOT NULL OR status IN ('ok', 'degraded'))"
_MODEL = (
    f"CASE WHEN source = {semconv.SOURCE_GATEWAY} THEN COALESCE(NULLIF(request_model, ''), response_model) "
    "ELSE COALESCE(NULLIF(response_model, ''), request_model) END"
)
_GATEWAY = f"source = {semconv.SOURCE_GATEWAY}"
_RETRIED = f"{_GATEWAY} AND NOT is_call AND COALESCE(attributes->>'llmobs.attempts', '0') <> '0'"
_CACHED = f"{_GATEWAY} AND is_counted AND attributes->>'llmobs.cache' IN ('hit-exact', 'hit-semantic')"
_STREAMED = (
    "is_counted AND is_stream AND NOT is_estimated AND input_tokens IS NOT NULL "
    "AND COALESCE(reasoning_output_tokens, 0) = 0 AND status IN ('ok', 'degraded') AND duration_ns - ttft_ns >= 1000000"
)
_RAW = {
    "spans": "count(*)",
    "calls": "count(*) FILTER (WHERE is_counted)",
    **{name: f"sum({value}) FILTER (WHERE is_counted)" for name, value in USAGE.items()},
    "cost_nanousd": "sum(shown_nanousd) FILTER (WHERE is_counted)",
    "estimated_nanousd": "sum(shown_nanousd) FILTER (WHERE is_counted AND is_estimated)",
    "estimated_calls": "count(*) FILTER (WHERE is_counted AND is_estimated)",
    "unpriced_calls": f"count(*) FILTER (WHERE is_counted AND {_UNPRICED})",
    "retried_calls": f"count(*) FILTER (WHERE {_RETRIED})",
    "retried_attempts": f"sum((attributes->>'llmobs.attempts')::bigint) FILTER (WHERE {_RETRIED})",
    "retried_errors": f"sum((attributes->>'llmobs.failed_attempts')::bigint) FILTER (WHERE {_RETRIED})",
    "cached_calls": f"count(*) FILTER (WHERE {_CACHED})",
    "saved_nanousd": f"sum((attributes->>'llmobs.saved_nanousd')::bigint) FILTER (WHERE {_CACHED})",
    "streamed_output_tokens": f"sum(output_tokens) FILTER (WHERE {_STREAMED})",
    "streaming_ms": f"sum((duration_ns - ttft_ns) / 1000000) FILTER (WHERE {_STREAMED})",
}
_BILLED = (
    "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens", "cache_write_1h_input_tokens",
    "output_tokens", "reasoning_output_tokens", "cost_nanousd",
)  # fmt: skip


def _since(target: Target) -> str:
    """From when on both sides are there: retention has deleted raw data, and minutes sooner."""
    since = f"at >= {ROLLED_UP_SINCE}"
    if target.is_short_lived:
        since += f" AND at >= date_trunc('day', now()) - interval '{MINUTES_KEPT_DAYS - 2} days'"
    if target.bucket == "day":
        since += " AND at < (SELECT until FROM rollup_closed)"
    return since


def _kept(target: Target, dimensions: list[str], measures: list[str]) -> str:
    """The table and the pending deltas, added up."""
    columns = ", ".join(["tenant_id", "at", *dimensions])
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in measures)
    names = ", ".join([*dimensions, *measures])
    return (
        f"SELECT {columns}, {sums} FROM (SELECT tenant_id, {target.bucket} AS at, {names} FROM {target.table} "
        f"UNION ALL SELECT tenant_id, {target.begin_sql('minute')}, {names} FROM rollup_delta) k "
        f"GROUP BY {columns}"
    )


def rollup_spans(conn: Connection, target: Target) -> Iterator[Difference]:
    dimensions = list(target.dimensions)
    columns = ", ".join(["tenant_id", "at", *dimensions])
    raw_dimensions = ", ".join(_MODEL if name == "model" else name for name in dimensions)
    raw = (
        f"SELECT tenant_id, {target.begin_sql('start')} AS at, "
        + ", ".join(f"{_MODEL} AS model" if name == "model" else name for name in dimensions)
        + ", "
        + ", ".join(f"COALESCE({value}, 0)::bigint AS {name}" for name, value in _RAW.items())
        + f" FROM {ALL_SHOWN} span GROUP BY tenant_id, {target.begin_sql('start')}, {raw_dimensions}"
    )
    yield from compare(
        conn, f"{target.table} = spans", _kept(target, dimensions, list(SUMS)), raw, columns, list(SUMS), _since(target)
    )


def rollup_bills(conn: Connection, target: Target) -> Iterator[Difference]:
    """A bill knows no status: added up over them."""
    dimensions = [name for name in target.dimensions if name not in ("status", "error_type")]
    columns = ", ".join(["tenant_id", "at", *dimensions])
    raw = (
        f"SELECT tenant_id, {target.begin_sql('begin_at')} AS at, "
        + "".join(f"{name}, " for name in dimensions)
        + ", ".join(f"COALESCE(sum({name}), 0)::bigint AS {name}" for name in _BILLED)
        + " FROM bill GROUP BY "
        + ", ".join(["tenant_id", target.begin_sql("begin_at"), *dimensions])
    )
    yield from compare(
        conn,
        f"{target.table} = bills",
        _kept(target, dimensions, list(_BILLED)),
        raw,
        columns,
        list(_BILLED),
        _since(target),
    )


def sketches(conn: Connection) -> Iterator[Difference]:
    """Each roll-up's buckets, hour by hour, against the durations of the calls that count."""
    for target in (*TARGETS, *DAY_TARGETS):
        unit = "day" if target.bucket == "day" else "hour"
        raw = _raw_sketches(conn, _since(target), unit)
        kept: dict[tuple[Any, ...], sketch.Sketch] = {}
        for kind in ("duration", "ttft"):
            rows = conn.execute(
                f"SELECT tenant_id, date_trunc('{unit}', at), status, b, sum(c)::bigint FROM ("
                f"SELECT tenant_id, {target.bucket} AS at, status, {kind}_buckets AS bs, {kind}_counts AS cs "
                f"FROM {target.table} UNION ALL "
                f"SELECT tenant_id, minute, status, {kind}_buckets, {kind}_counts FROM rollup_delta) k, "
                f"unnest(bs, cs) AS u (b, c) WHERE {_since(target)} GROUP BY 1, 2, 3, 4"
            )
            for tenant_id, hour, status, bucket, count in rows:
                sketch.add(kept.setdefault((tenant_id, hour, status, kind), {}), bucket, count)
        for key in kept.keys() | raw.keys():
            if kept.get(key, {}) != raw.get(key, {}):
                yield Difference(
                    "sketches = durations",
                    f"{target.table}, {where(key)}",
                    f"{sum(kept.get(key, {}).values())} calls",
                    f"{sum(raw.get(key, {}).values())} calls (or other buckets)",
                )


def _raw_sketches(conn: Connection, since: str, unit: str) -> dict[tuple[Any, ...], sketch.Sketch]:
    found: dict[tuple[Any, ...], sketch.Sketch] = {}
    with conn.cursor(name="verify_durations", binary=True) as cursor:
        cursor.itersize = 20_000
        cursor.execute(
            f"SELECT tenant_id, date_trunc('{unit}', at), status, duration_ns, ttft_ns FROM "
            f"(SELECT *, start AS at FROM span WHERE is_counted) s WHERE {since}"
        )
        for tenant_id, hour, status, duration_ns, ttft_ns in cursor:
            sketch.add(found.setdefault((tenant_id, hour, status, "duration"), {}), sketch.bucket(duration_ns))
            if ttft_ns is not None:
                sketch.add(found.setdefault((tenant_id, hour, status, "ttft"), {}), sketch.bucket(ttft_ns))
    return found


def user_days(conn: Connection) -> Iterator[Difference]:
    measures = ["calls", "errors", "input_tokens", "output_tokens", "cost_nanousd", "unpriced_calls"]
    errors = ", ".join(f"'{status}'" for status in sorted(semconv.ERROR_STATUSES))
    raw = (
        "SELECT tenant_id, start::date AS day, user_id, count(*) AS calls, "
        f"count(*) FILTER (WHERE status IN ({errors})) AS errors, sum(input_tokens)::bigint AS input_tokens, "
        "sum(output_tokens)::bigint AS output_tokens, sum(shown_nanousd)::bigint AS cost_nanousd, "
        f"count(*) FILTER (WHERE {_UNPRICED}) AS unpriced_calls FROM {ALL_SHOWN} span "
        "WHERE is_counted AND user_id <> '' "
        "GROUP BY tenant_id, start::date, user_id"
    )
    yield from compare(
        conn,
        "rollup_user_day = spans",
        "SELECT * FROM rollup_user_day",
        raw,
        "tenant_id, day, user_id",
        measures,
        f"day >= {ROLLED_UP_SINCE}",
    )


_WAITING = {"cost_nanousd": "w.nanousd", "priced_count": "w.gained", "unpriced_count": "-w.gained"}


def added_up_bills(conn: Connection, table: str) -> Iterator[Difference]:
    """Each chunk that is read, by all it tells apart, against the bills of its time."""
    dimensions = rolled_up_bills.TABLES[table]
    measures = [*rolled_up_bills.SUMS, "cost_nanousd", "held_nanousd"]
    columns = ", ".join(["tenant_id", "at", *dimensions, "is_priced"])
    sums = ", ".join(f"COALESCE(sum({name}), 0)::bigint AS {name}" for name in measures)
    picked = ", ".join(rolled_up_bills.picked(table))
    chunks = (
        "(SELECT * FROM bill_chunk c WHERE NOT EXISTS (SELECT FROM bill_late l WHERE l.tenant_id = c.tenant_id "
        "AND l.at >= c.since AND l.at < c.until)) c"
    )
    yield from compare(
        conn,
        f"{table} = bills",
        f"SELECT {columns}, {sums} FROM (SELECT r.*, r.since AS at, r.cost_nanousd IS NOT NULL AS is_priced "
        f"FROM {table} r JOIN {chunks} USING (tenant_id, since)) x GROUP BY {columns}",
        f"SELECT {columns}, {sums} FROM (SELECT c.tenant_id, c.since AS at, {picked}, "
        f"{', '.join(measures)}, cost_nanousd IS NOT NULL AS is_priced FROM {chunks} JOIN bill b "
        "ON b.tenant_id = c.tenant_id AND b.begin_at >= c.since AND b.begin_at < c.until) x "
        f"GROUP BY {columns}",
        columns,
        measures,
        f"at >= {BILLED_COMPLETE_SINCE}",
    )


def traces(conn: Connection) -> Iterator[Difference]:
    """By trace, over its rows: one that crosses midnight has several."""
    errors = ", ".join(f"'{status}'" for status in sorted(semconv.ERROR_STATUSES))
    raw_measures = {
        "span_count": "count(*)",
        "call_count": "count(*) FILTER (WHERE is_counted)",
        "error_count": f"count(*) FILTER (WHERE status IN ({errors}))",
        "input_tokens": "sum(input_tokens) FILTER (WHERE is_counted)",
        "output_tokens": "sum(output_tokens) FILTER (WHERE is_counted)",
        "cost_nanousd": "sum(shown_nanousd) FILTER (WHERE is_counted)",
        "priced_count": "count(*) FILTER (WHERE is_counted AND shown_nanousd IS NOT NULL)",
        "unpriced_count": f"count(*) FILTER (WHERE is_counted AND {_UNPRICED})",
        "estimated_count": "count(*) FILTER (WHERE is_counted AND is_estimated)",
    }
    names = list(raw_measures)
    kept = (
        "SELECT t.tenant_id, t.trace_id, min(t.start) AS start, "
        + ", ".join(f"sum({name} + COALESCE({_WAITING.get(name, '0')}, 0))::bigint AS {name}" for name in names)
        + f" FROM trace t {WAITING_OF_ALL} GROUP BY t.tenant_id, t.trace_id"
    )
    raw = (
        "SELECT tenant_id, trace_id, min(start) AS start, "
        + ", ".join(f"COALESCE({value}, 0)::bigint AS {name}" for name, value in raw_measures.items())
        + f" FROM {ALL_SHOWN} span GROUP BY tenant_id, trace_id"
    )
    yield from compare(
        conn, "trace = spans", kept, raw, "tenant_id, trace_id", names, f"LEAST(k.start, r.start) >= {COMPLETE_SINCE}"
    )
