"""Which calls were these: a page of traces with their totals, keyset-paged, and their outcomes over time."""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dashboards.queries.rollup import TELLS_ATTEMPTS_APART, Totals, totals
from dashboards.queries.scope import Cursor, Scope
from llmobs.core.clock import ns_from_utc
from llmobs.core.semconv import DEGRADED, OK, REFUSED

PAGE_ROWS = 50
SORTS = {
    "start": "t.start",
    "cost": "t.cost_nanousd",
    "duration": "(t.finish - t.start)",
}
SPAN_COLUMNS = {"service": "service", "provider": "provider_name", "key": "key_id", "error": "error_type"}
OUTCOMES = ("ok", "degraded", "refused", "failed")
# A trace's rows lie on the days of its batches: totals are looked for on so many days from its first.
LONGEST_TRACE_DAYS = 7


@dataclass(frozen=True)
class TraceRow:
    """One trace with its totals. `cost_nanousd` None: nothing in it has a price."""

    tenant_id: int
    trace_id: str
    name: str
    start: datetime
    duration_ns: int
    status: str
    cost_nanousd: int | None
    is_estimated: bool
    unpriced_calls: int
    input_tokens: int
    output_tokens: int
    models: tuple[str, ...]
    feature: str
    environment: str
    user_id: str
    session_id: str
    span_count: int
    call_count: int
    error_count: int
    has_root: bool


@dataclass(frozen=True)
class TracePage:
    """Rows in order, and the mark to continue from (None: these were the last)."""

    rows: list[TraceRow]
    older: str | None


@dataclass(frozen=True)
class Outcomes:
    """Calls of one bucket by what became of them."""

    at: datetime
    ok: int
    degraded: int
    refused: int
    failed: int


def traces(
    cursor: Cursor,
    scope: Scope,
    sort: str = "start",
    after: str | None = None,
    limit: int = PAGE_ROWS,
    ascending: bool = False,
    min_cost_nanousd: int | None = None,
    min_duration_ms: int | None = None,
) -> TracePage:
    """Traces that began in the window: newest, dearest or slowest first (SORTS). Raises ValueError on a bad mark."""
    column = SORTS[sort]
    where, parameters = _where(scope, "t.tenant_id = asked.tenant_id")
    if min_cost_nanousd is not None:
        where, parameters = f"{where} AND t.cost_nanousd >= %s", [*parameters, min_cost_nanousd]
    if min_duration_ms is not None:
        least = timedelta(milliseconds=min_duration_ms)
        where, parameters = f"{where} AND (t.finish - t.start) >= %s", [*parameters, least]
    # The order of the indexes, ties included, and tenant by tenant: so that a page reads a page, and not the window.
    direction, ties, beyond = ("ASC", "DESC", ">") if ascending else ("DESC", "ASC", "<")
    if after is not None:
        value, trace_id = _read_mark(sort, after)
        tie = "<" if ascending else ">"
        where += f" AND {column} {beyond}= %s AND ({column} {beyond} %s OR t.trace_id {tie} %s)"
        parameters += [value, value, trace_id]
    cursor.execute(
        "SELECT f.* FROM unnest(%s::bigint[]) AS asked(tenant_id) CROSS JOIN LATERAL ("
        f"SELECT t.tenant_id, t.trace_id, t.day, {column} AS place FROM trace t WHERE {where} "
        f"ORDER BY {column} {direction}, t.trace_id {ties} LIMIT %s) f "
        f"ORDER BY f.place {direction}, f.trace_id {ties} LIMIT %s",
        [list(scope.tenant_ids), *parameters, limit + 1, limit + 1],
    )
    found = cursor.fetchall()
    rows = trace_totals(cursor, [(row[0], bytes(row[1]), row[2]) for row in found[:limit]])
    more = len(found) > limit
    return TracePage(rows, _mark(found[limit - 1][3], bytes(found[limit - 1][1])) if more else None)


def outcomes_by_bucket(cursor: Cursor, scope: Scope) -> list[Outcomes]:
    """Calls by outcome for each bucket of the window; of traces where a filter is set that no roll-up knows.

    A call of several attempts counts once, by what became of it in the end.
    """
    counts: dict[datetime, dict[str, int]] = {}
    for at, status, number in _outcome_counts(cursor, scope):
        outcome = status if status in (OK, DEGRADED, REFUSED) else "failed"
        bucket = counts.setdefault(scope.window.floor(at), dict.fromkeys(OUTCOMES, 0))
        bucket[outcome] += number
    # An attempt may lie in an earlier bucket than the rest of its call.
    found = {at: {name: max(number, 0) for name, number in bucket.items()} for at, bucket in counts.items()}
    return [Outcomes(at, **found.get(at, dict.fromkeys(OUTCOMES, 0))) for at in scope.window.starts()]


def _outcome_counts(cursor: Cursor, scope: Scope) -> list[tuple[datetime, str, int]]:
    if not scope.filters.needs_traces:
        rows = totals(cursor, scope, ("status",), over_time=True)
        return [each for row in rows if row.at for each in _outcomes(row.at, row, scope)]
    where, parameters = _where(scope, "t.tenant_id = ANY(%s)")
    cursor.execute(
        f"SELECT date_trunc('minute', t.start), t.status, count(*) FROM trace t WHERE {where} GROUP BY 1, 2",
        [list(scope.tenant_ids), *parameters],
    )
    return list(cursor.fetchall())


def _outcomes(at: datetime, row: Totals, scope: Scope) -> list[tuple[datetime, str, int]]:
    """Counts of one status; attempts of a call that has several are taken out, and the call put in."""
    status = row.key[0]
    if status == REFUSED:
        return [(at, status, row.refused)]
    if not TELLS_ATTEMPTS_APART.isdisjoint(scope.filters.given):
        return [(at, status, row.calls)]
    answered = row.retried_attempts - row.retried_errors
    return [(at, status, row.calls + row.retried_calls), (at, OK, -answered), (at, "failed", -row.retried_errors)]


def _where(scope: Scope, whose: str) -> tuple[str, list[Any]]:
    """Traces whose first row lies in the window and that pass the filters; `whose` names the tenants."""
    window, given = scope.window, scope.filters.given
    parts = [
        whose,
        "t.day BETWEEN %s AND %s",
        "t.start >= %s",
        "t.start < %s",
        "NOT EXISTS (SELECT 1 FROM trace e WHERE e.tenant_id = t.tenant_id AND e.trace_id = t.trace_id "
        f"AND e.day < t.day AND e.day >= t.day - {LONGEST_TRACE_DAYS})",
    ]
    days = [window.start.date() - timedelta(days=1), window.end.date() + timedelta(days=1)]
    parameters: list[Any] = [*days, window.start, window.end]
    for name, column in (("feature", "feature"), ("environment", "environment"), ("user", "user_id")):
        if name in given:
            parts.append(f"t.{column} = %s")
            parameters.append(given[name])
    if "session" in given:
        parts.append("t.session_id = %s")
        parameters.append(given["session"])
    if "model" in given:
        parts.append("%s = ANY(t.models)")
        parameters.append(given["model"])
    if "status" in given:
        failed = given["status"] == "failed"
        parts.append("t.error_count > 0" if failed else "t.status = %s")
        parameters += [] if failed else [given["status"]]
    for name, column in SPAN_COLUMNS.items():
        if name in given:
            parts.append(_some_span(f"s.{column} = %s"))
            parameters.append(given[name])
    if "search" in given:
        condition, values = _search(str(given["search"]))
        parts.append(condition)
        parameters += values
    return " AND ".join(parts), parameters


def _some_span(condition: str) -> str:
    return (
        "EXISTS (SELECT 1 FROM span s WHERE s.tenant_id = t.tenant_id AND s.trace_id = t.trace_id "
        f"AND s.start >= t.start AND s.start <= t.finish AND {condition})"
    )


def _search(text: str) -> tuple[str, list[Any]]:
    """A trace by its id, or words in names and previews."""
    try:
        trace_id = bytes.fromhex(text) if len(text) == 32 else None
    except ValueError:
        trace_id = None
    if trace_id is not None:
        return "t.trace_id = %s", [trace_id]
    like = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return f"(t.name ILIKE %s OR {_some_span('(s.name ILIKE %s OR s.preview ILIKE %s)')})", [like, like, like]


def trace_totals(cursor: Cursor, heads: Sequence[tuple[int, bytes, Any]]) -> list[TraceRow]:
    """The rows of these traces, over all their days, in the given order."""
    if not heads:
        return []
    cursor.execute(
        "SELECT t.tenant_id, t.trace_id, "
        "(array_agg(t.name ORDER BY t.root_span_id IS NULL, t.day))[1], "
        "(array_agg(t.status ORDER BY t.root_span_id IS NULL, t.day))[1], min(t.start), max(t.finish), "
        "sum(t.cost_nanousd)::bigint, sum(t.priced_count)::bigint, sum(t.unpriced_count)::bigint, "
        "sum(t.estimated_count)::bigint, sum(t.input_tokens)::bigint, sum(t.output_tokens)::bigint, "
        "array_agg(array_to_string(t.models, E'\\x1f')), max(t.feature), max(t.environment), max(t.user_id), "
        "max(t.session_id), sum(t.span_count)::bigint, sum(t.call_count)::bigint, sum(t.error_count)::bigint, "
        "bool_or(t.root_span_id IS NOT NULL) "
        "FROM trace t JOIN unnest(%s::bigint[], %s::bytea[]) AS wanted(tenant_id, trace_id) "
        "ON t.tenant_id = wanted.tenant_id AND t.trace_id = wanted.trace_id "
        "WHERE t.tenant_id = ANY(%s) AND t.day BETWEEN %s AND %s GROUP BY 1, 2",
        [
            [head[0] for head in heads],
            [head[1] for head in heads],
            sorted({head[0] for head in heads}),
            min(head[2] for head in heads),
            max(head[2] for head in heads) + timedelta(days=LONGEST_TRACE_DAYS),
        ],
    )
    found = {(row[0], bytes(row[1])): _trace_row(row) for row in cursor.fetchall()}
    return [found[head[0], head[1]] for head in heads if (head[0], head[1]) in found]


def _trace_row(row: Any) -> TraceRow:
    tenant_id, trace_id, name, status, start, finish = row[:6]
    cost, priced, unpriced, estimated, tokens_in, tokens_out = row[6:12]
    models, feature, environment, user_id, session_id, spans, calls, errors, has_root = row[12:]
    names = dict.fromkeys(model for day in models for model in day.split("\x1f") if model)
    return TraceRow(
        tenant_id=tenant_id,
        trace_id=bytes(trace_id).hex(),
        name=name,
        start=start,
        duration_ns=ns_from_utc(finish) - ns_from_utc(start),
        status=status,
        cost_nanousd=None if unpriced and not priced else cost,
        is_estimated=estimated > 0,
        unpriced_calls=unpriced,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        models=tuple(names),
        feature=feature,
        environment=environment,
        user_id=user_id,
        session_id=session_id,
        span_count=spans,
        call_count=calls,
        error_count=errors,
        has_root=has_root,
    )


def _mark(value: Any, trace_id: bytes) -> str:
    if isinstance(value, datetime):
        value = ns_from_utc(value) // 1000
    elif isinstance(value, timedelta):
        value = value // timedelta(microseconds=1)
    return f"{value}.{trace_id.hex()}"


def _read_mark(sort: str, mark: str) -> tuple[Any, bytes]:
    try:
        number, trace_id = mark.split(".")
        value, identity = int(number), bytes.fromhex(trace_id)
        if sort == "start":
            return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(microseconds=value), identity
        return (timedelta(microseconds=value) if sort == "duration" else value), identity
    except (ValueError, OverflowError):
        raise ValueError(f"{mark[:60]!r} is no mark of a page of traces") from None
