"""Which calls were these: a page of traces with their totals, keyset-paged, and their outcomes over time."""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from string import hexdigits
from typing import Any

from dashboards.queries import finding
from dashboards.queries.finding import Conditions, Found, Head, Order
from dashboards.queries.rollup import TELLS_ATTEMPTS_APART, Totals, totals
from dashboards.queries.scope import Cursor, Scope
from llmobs.core.clock import ns_from_utc
from llmobs.core.semconv import DEGRADED, FAILED, OK, REFUSED
from llmobs.spans.trace_deltas import WAITING

PAGE_ROWS = 50
DEFAULT_SORT = "start"
SORTS = {
    "start": "t.start",
    "cost": "t.cost_nanousd",
    "duration": "(t.finish - t.start)",
}
TRACE_COLUMNS = {"feature": "feature", "environment": "environment", "user": "user_id", "session": "session_id"}
# A trace's rows lie on the days of its batches: totals are looked for on so many days from its first.
LONGEST_TRACE_DAYS = 7
MOST_COUNTED = 1_000  # of traces that words are in: the newest, whose outcomes are counted
OUTCOMES = ("ok", "degraded", "refused", "failed")


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
    """Rows in order, and the mark to continue from (None: these were the last).

    `unsearched`: spans of today before this were not looked at for words; the index of today comes tomorrow.
    """

    rows: list[TraceRow]
    older: str | None
    unsearched: datetime | None = None


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
    newest: Found | None = None,
) -> TracePage:
    """Traces that began in the window: newest, dearest or slowest first (SORTS). Raises ValueError on a bad mark.

    Each row has its totals, by which all can be sorted (PAINS 22). `newest`: what `newest_of` said, where a page asks
    for it besides; the first page of the newest is taken from it.
    """
    order = Order(SORTS[sort], ascending, None if after is None else _read_mark(sort, after))
    conditions = _conditions(scope)
    least: list[tuple[str, Any]] = []
    if min_cost_nanousd is not None:
        least.append((SORTS["cost"], min_cost_nanousd))
    if min_duration_ms is not None:
        least.append((SORTS["duration"], timedelta(milliseconds=min_duration_ms)))
    if newest is not None and sort == DEFAULT_SORT and after is None and not ascending and not least:
        found = _first_of(newest, limit + 1)
    else:
        found = _found(cursor, scope, replace(conditions, bounds=tuple(least)), order, limit + 1)
    heads = found.heads
    rows = trace_totals(cursor, [head[:3] for head in heads[:limit]])
    more = len(heads) > limit
    return TracePage(rows, _mark(heads[limit - 1][3], heads[limit - 1][1]) if more else None, found.unsearched)


def newest_of(cursor: Cursor, scope: Scope) -> Found | None:
    """The newest MOST_COUNTED, where they are looked for among spans: asked once for a list and its outcomes."""
    if not finding.is_needed(scope) or scope.window.length <= finding.SHORT or _is_trace_id(scope.filters.search or ""):
        return None
    return _looked_for(cursor, scope, _conditions(scope), Order(SORTS[DEFAULT_SORT]), MOST_COUNTED)


def _first_of(found: Found, limit: int) -> Found:
    """The first of them. What was not looked at is older than a page that is full."""
    if len(found.heads) < limit:
        return found
    heads = found.heads[:limit]
    is_before = found.unsearched is None or heads[-1][3] >= found.unsearched
    return Found(heads, None if is_before else found.unsearched)


def _looked_for(cursor: Cursor, scope: Scope, conditions: Conditions, order: Order, limit: int) -> Found:
    if "error" in scope.filters.given and finding.fails_alone(cursor, scope):
        conditions = replace(conditions, rest=f"{finding.HAS_FAILED} AND {conditions.rest}", has_failed=True)
    return finding.find(cursor, scope, conditions, order, limit)


def _found(cursor: Cursor, scope: Scope, conditions: Conditions, order: Order, limit: int) -> Found:
    """By the way that leads there soonest."""
    given = scope.filters.given
    has_index = bool({"user", "session"} & given.keys()) or _is_trace_id(scope.filters.search or "")
    if not has_index and (few := finding.among_few(cursor, scope, conditions, order, limit)) is not None:
        return Found(few)
    if not has_index and finding.is_needed(scope):
        return _looked_for(cursor, scope, conditions, order, limit)
    if not has_index and conditions.has_failed and not order.is_by_time:
        failed = finding.outstanding_failed(cursor, scope, conditions, order, limit)
        if failed is not None:
            return Found(failed)
    return Found(_in_order(cursor, scope, conditions, order, limit))


def has_any(cursor: Cursor, tenant_ids: Sequence[int]) -> bool:
    """Whether these tenants have a trace at all. Days that were restored from archives are in no sum of calls."""
    cursor.execute("SELECT EXISTS (SELECT FROM trace WHERE tenant_id = ANY(%s))", [list(tenant_ids)])
    return bool(cursor.fetchone()[0])


def _in_order(cursor: Cursor, scope: Scope, conditions: Conditions, order: Order, limit: int) -> list[Head]:
    """Tenant by tenant in the order of an index; of one user or session, whose traces are few, sorted."""
    beyond, after = order.beyond
    of_one = {"user", "session"} & scope.filters.given.keys() and not order.is_by_time
    base, base_values = conditions.bounded
    if conditions.has_failed:
        base += f" AND {finding.HAS_FAILED}"
    traces = f"SELECT t.* FROM trace t WHERE t.tenant_id = asked.tenant_id AND {base} AND {conditions.rest}"
    # OFFSET 0: what is within is read by itself, and not in the order that is wanted outside.
    inner = f"({traces} OFFSET 0) t WHERE true{beyond}" if of_one else f"({traces}{beyond}) t"
    cursor.execute(
        "SELECT f.* FROM unnest(%s::bigint[]) AS asked(tenant_id) CROSS JOIN LATERAL ("
        # In order first, so that days before are looked at for those alone that are shown.
        f"SELECT t.* FROM (SELECT t.tenant_id, t.trace_id, t.day, {order.column} AS place FROM {inner} "
        f"ORDER BY {order.clause} OFFSET 0) t WHERE {conditions.is_first} LIMIT %s) f "
        f"ORDER BY f.place {'ASC' if order.ascending else 'DESC'}, f.trace_id {'DESC' if order.ascending else 'ASC'} "
        "LIMIT %s",
        [list(scope.tenant_ids), *base_values, *conditions.rest_values, *after, limit, limit],
    )
    return [(row[0], bytes(row[1]), row[2], row[3]) for row in cursor.fetchall()]


def outcomes_by_bucket(cursor: Cursor, scope: Scope, newest: Found | None = None) -> list[Outcomes]:
    """Calls by outcome for each bucket of the window; of traces where a filter is set that no roll-up knows.

    A call of several attempts counts once, by what became of it in the end.
    """
    counts: dict[datetime, dict[str, int]] = {}
    for at, status, number in _outcome_counts(cursor, scope, newest):
        outcome = status if status in (OK, DEGRADED, REFUSED) else "failed"
        bucket = counts.setdefault(scope.window.floor(at), dict.fromkeys(OUTCOMES, 0))
        bucket[outcome] += number
    # An attempt may lie in an earlier bucket than the rest of its call.
    found = {at: {name: max(number, 0) for name, number in bucket.items()} for at, bucket in counts.items()}
    return [Outcomes(at, **found.get(at, dict.fromkeys(OUTCOMES, 0))) for at in scope.window.starts()]


def _outcome_counts(cursor: Cursor, scope: Scope, newest: Found | None) -> list[tuple[datetime, str, int]]:
    if not scope.filters.needs_traces:
        rows = totals(cursor, scope, ("status",), over_time=True)
        return [each for row in rows if row.at for each in _outcomes(row.at, row, scope)]
    asked = _conditions(scope)
    if finding.is_needed(scope) and not _is_trace_id(scope.filters.search or ""):
        found = newest or finding.find(cursor, scope, asked, Order(SORTS[DEFAULT_SORT]), MOST_COUNTED)
        heads = found.heads
        cursor.execute(
            "SELECT t.start, t.status, 1 FROM trace t JOIN unnest(%s::bigint[], %s::bytea[], %s::date[]) "
            "AS h(tenant_id, trace_id, day) ON t.tenant_id = h.tenant_id AND t.trace_id = h.trace_id "
            "AND t.day = h.day WHERE t.tenant_id = ANY(%s)",
            [*map(list, zip(*(head[:3] for head in heads), strict=True)), list(scope.tenant_ids)]
            if heads
            else [[], [], [], []],
        )
        return list(cursor.fetchall())
    cursor.execute(
        "SELECT date_trunc('minute', t.start), t.status, count(*) FROM trace t "
        f"WHERE t.tenant_id = ANY(%s) AND {asked.base} AND {asked.rest} AND {asked.is_first} GROUP BY 1, 2",
        [list(scope.tenant_ids), *asked.base_values, *asked.rest_values],
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


def _conditions(scope: Scope) -> Conditions:
    """Traces t whose first row lies in the window and that pass the filters."""
    window, given = scope.window, scope.filters.given
    # No day more: all of one without any such trace would be read in the order of cost or duration.
    days = [at.astimezone(UTC).date() for at in (window.start, window.end - timedelta(microseconds=1))]
    parts: list[str] = []
    values: list[Any] = []
    for name, column in TRACE_COLUMNS.items():
        if name in given:
            parts.append(f"t.{column} = %s")
            values.append(given[name])
    if "model" in given:
        parts.append("%s = ANY(t.models)")
        values.append(given["model"])
    if "status" in given and given["status"] != FAILED:
        parts.append("t.status = %s")
        values.append(given["status"])
    of_spans = {name: given[name] for name in finding.OF_SPANS if name in given}
    if of_spans.keys() - {"model"}:  # all of them on one span; a model alone is on the trace
        condition, found = finding.span_conditions(of_spans)
        parts.append(_some_span(condition))
        values += found
    if "search" in given:
        condition, found = _search(str(given["search"]))
        parts.append(condition)
        values += found
    is_first = (
        "(SELECT true FROM trace e WHERE e.tenant_id = t.tenant_id AND e.trace_id = t.trace_id "
        f"AND e.day < t.day AND e.day >= t.day - {LONGEST_TRACE_DAYS} LIMIT 1) IS NULL"
    )
    base = "t.day BETWEEN %s AND %s AND t.start >= %s AND t.start < %s"
    has_failed = given.get("status") == FAILED
    if has_failed:
        parts.insert(0, finding.HAS_FAILED)
    rest = " AND ".join(parts) or "true"
    return Conditions(base, [*days, window.start, window.end], rest, values, is_first, has_failed=has_failed)


def _some_span(condition: str) -> str:
    # No EXISTS: of that the planner makes a join with a month of spans, where a page needs a look at a few traces.
    return (
        "(SELECT true FROM span s WHERE s.tenant_id = t.tenant_id AND s.trace_id = t.trace_id "
        f"AND s.start >= t.start AND s.start <= t.finish AND {condition} LIMIT 1)"
    )


def _search(text: str) -> tuple[str, list[Any]]:
    """A trace by its id, or words (or beginnings of words) in a span's name and first words."""
    if _is_trace_id(text):
        return "t.trace_id = %s", [bytes.fromhex(text)]
    condition, values = finding.words_condition(text)
    return _some_span(condition), values


def _is_trace_id(text: str) -> bool:
    return len(text) == 32 and all(digit in hexdigits for digit in text)


def trace_totals(cursor: Cursor, heads: Sequence[tuple[int, bytes, Any]]) -> list[TraceRow]:
    """The rows of these traces, over all their days, in the given order."""
    if not heads:
        return []
    cursor.execute(
        "SELECT t.tenant_id, t.trace_id, "
        "(array_agg(t.name ORDER BY t.root_span_id IS NULL, t.day))[1], "
        "(array_agg(t.status ORDER BY t.root_span_id IS NULL, t.day))[1], min(t.start), max(t.finish), "
        "(sum(t.cost_nanousd) + COALESCE(sum(w.nanousd), 0))::bigint, "
        "(sum(t.priced_count) + COALESCE(sum(w.gained), 0))::bigint, "
        "(sum(t.unpriced_count) - COALESCE(sum(w.gained), 0))::bigint, "
        "sum(t.estimated_count)::bigint, sum(t.input_tokens)::bigint, sum(t.output_tokens)::bigint, "
        "array_agg(array_to_string(t.models, E'\\x1f')), max(t.feature), max(t.environment), max(t.user_id), "
        "max(t.session_id), sum(t.span_count)::bigint, sum(t.call_count)::bigint, sum(t.error_count)::bigint, "
        "bool_or(t.root_span_id IS NOT NULL) "
        "FROM trace t JOIN unnest(%s::bigint[], %s::bytea[], %s::date[]) AS wanted(tenant_id, trace_id, day) "
        "ON t.tenant_id = wanted.tenant_id AND t.trace_id = wanted.trace_id "
        # Of each trace its own days are looked at, and not all that lie between the first and the last of the page.
        f"AND t.day >= wanted.day AND t.day <= wanted.day + {LONGEST_TRACE_DAYS} {WAITING} "
        "WHERE t.tenant_id = ANY(%s) AND t.day BETWEEN %s AND %s GROUP BY 1, 2",
        [
            [head[0] for head in heads],
            [head[1] for head in heads],
            [head[2] for head in heads],
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
