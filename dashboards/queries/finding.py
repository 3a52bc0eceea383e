"""Which traces pass filters that no index of `trace` knows, without reading a month of them (PAINS 34, 35).

1. The first WALKED traces in the wanted order are looked at one by one: common values fill a page from these.
2. Else the value is rare, and spans tell: days that are over by their index of words and dimensions (`spans.words`),
   newest first; days that are still written to by a scan, within the hours that the roll-ups name for a dimension, and
   for words within the newest MOST_SCANNED spans (`unsearched` says from when on).
3. What the spans name is checked once more against all filters, and put in order.

A short time, or a bound of cost or duration, leads to its own index first (`among_few`): of few each is looked at.
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboards.queries.rollup import COLUMNS, totals
from dashboards.queries.scope import Cursor, Filters, Scope
from llmobs.core.semconv import ERROR_STATUSES, FAILED
from llmobs.spans.words import LETTERS, lexeme

WALKED = 1_500
WALKED_FAILED = 12_000  # in another order than time, where most are passed by for having no failed span
WALKED_BOUND = 2_000  # of those in short a time or beyond a bound: few, or many enough for any other order
SHORT = timedelta(hours=3)
WALKED_FAR = 40_000  # where what spans name is neither rare nor passes the other filters
CANDIDATES = (400, 4_000)
MOST_CANDIDATES = 20_000  # in another order than time, where all must be known
MOST_SCANNED = 30_000
DAY = timedelta(days=1)
HAS_FAILED = "t.error_count > 0"  # an index by time has these alone
OF_SPANS = ("service", "provider", "key", "error", "model")
OF_TRACES = ("feature", "status", "environment")

Known = dict[tuple[int, bytes], datetime]  # a trace, by tenant and id, and when one of its spans began
Head = tuple[int, bytes, Any, Any]  # tenant, trace, day, what it is ordered by


@dataclass(frozen=True)
class Order:
    """By which column of `trace` t, in which direction; `after` is the last row's place, if a page comes before."""

    column: str
    ascending: bool = False
    after: tuple[Any, bytes] | None = None

    @property
    def is_by_time(self) -> bool:
        return self.column == BY_TIME.column

    @property
    def clause(self) -> str:
        # The order of the indexes, ties included: so that a page reads a page, and not the window.
        return f"{self.column} {'ASC' if self.ascending else 'DESC'}, t.trace_id {'DESC' if self.ascending else 'ASC'}"

    @property
    def beyond(self) -> tuple[str, list[Any]]:
        """The condition that skips what earlier pages showed."""
        if self.after is None:
            return "", []
        than, tie = (">", "<") if self.ascending else ("<", ">")
        value, trace_id = self.after
        condition = f" AND {self.column} {than}= %s AND ({self.column} {than} %s OR t.trace_id {tie} %s)"
        return condition, [value, value, trace_id]


BY_TIME = Order("t.start")


@dataclass(frozen=True)
class Conditions:
    """What a trace t must satisfy: `base` is its time, `rest` everything else.

    `is_first`: that its row is its first; this looks at the days before, so that it is asked last, of what is shown.
    `bounds`: least values by column of `trace` t; `has_failed`: only traces with a failed span pass.
    """

    base: str
    base_values: list[Any]
    rest: str
    rest_values: list[Any]
    is_first: str
    bounds: tuple[tuple[str, Any], ...] = ()
    has_failed: bool = False

    @staticmethod
    def beyond(bounds: Sequence[tuple[str, Any]]) -> tuple[str, list[Any]]:
        """That these bounds are kept, to go after another condition."""
        return "".join(f" AND {column} >= %s" for column, _ in bounds), [value for _, value in bounds]

    @property
    def bounded(self) -> tuple[str, list[Any]]:
        """The base, with all bounds."""
        given, values = self.beyond(self.bounds)
        return self.base + given, [*self.base_values, *values]


@dataclass(frozen=True)
class Found:
    """Traces in order. `unsearched`: of today's spans those before this were not looked at for words."""

    heads: list[Head]
    unsearched: datetime | None = None


def is_needed(scope: Scope) -> bool:
    """Whether the filters are such that no order of `trace` leads to what passes them."""
    given = scope.filters.given
    if "user" in given or "session" in given:
        return False
    return "search" in given or bool(_rare_by(scope))


def among_few(cursor: Cursor, scope: Scope, conditions: Conditions, order: Order, limit: int) -> list[Head] | None:
    """Those that pass, where few began in the window, or few are beyond a bound; None where many are.

    In the order of cost or duration a short time would be looked for among all traces of its day.
    """
    columns = [column for column, _ in conditions.bounds]
    if scope.window.length <= SHORT:
        columns.insert(0, BY_TIME.column)
    for column in columns:
        if column != order.column:
            found = _walk(cursor, scope, conditions, order, limit, WALKED_BOUND, Order(column))
            if found is not None:
                return found
    return None


def outstanding_failed(
    cursor: Cursor, scope: Scope, conditions: Conditions, order: Order, limit: int
) -> list[Head] | None:
    """A page of traces with failed spans in another order than time; None where they are too rare to be met so."""
    return _walk(cursor, scope, conditions, order, limit, WALKED_FAILED)


def find(cursor: Cursor, scope: Scope, conditions: Conditions, order: Order, limit: int) -> Found:
    """Up to `limit` traces that pass."""
    is_failed = conditions.has_failed and not order.is_by_time
    walked = _walk(cursor, scope, conditions, order, limit, WALKED_FAILED if is_failed else WALKED)
    if walked is not None:
        return Found(walked)
    heads: list[Head] = []
    unsearched: datetime | None = None
    is_newest = order.is_by_time and not order.ascending
    for most in CANDIDATES if is_newest else (MOST_CANDIDATES,):
        known, oldest, unsearched = _candidates(cursor, scope, order, most)
        heads = _checked(cursor, conditions, order, known, limit, oldest if order.is_by_time else None)
        # In any other order what spans name is right only if it is all.
        if oldest is None or (is_newest and len(heads) >= limit):
            return Found(heads, unsearched)
    walked = _walk(cursor, scope, conditions, order, limit, WALKED_FAR)
    if walked is not None:
        return Found(walked, unsearched)
    return Found(heads, unsearched)


def _walk(
    cursor: Cursor,
    scope: Scope,
    conditions: Conditions,
    order: Order,
    limit: int,
    most: int,
    along: Order | None = None,
) -> list[Head] | None:
    """Those among the first `most` that pass; None if these neither fill the page nor are all there are.

    `along`: the order in which they are taken, where it is not the wanted one: then they have to be all. They are
    taken without the bounds: behind a policy PostgreSQL uses no index for a comparison of differences of times.
    """
    beyond, after = order.beyond
    base, base_values, taken = conditions.base, conditions.base_values, along or order
    bounds, bound_values = conditions.beyond(conditions.bounds)
    counted, counted_values = conditions.beyond([each for each in conditions.bounds if each[0] == taken.column])
    if along is None:
        base, base_values = f"{base}{beyond}{bounds}", [*base_values, *after, *bound_values]
        beyond = bounds = counted = ""
        after, bound_values, counted_values = [], [], []
    if conditions.has_failed and taken.is_by_time:
        base += f" AND {HAS_FAILED}"
    direction = "ASC" if order.ascending else "DESC"
    cursor.execute(
        f"WITH w AS MATERIALIZED (SELECT t.*, {order.column} AS place FROM unnest(%s::bigint[]) AS asked(tenant_id) "
        "CROSS JOIN LATERAL (SELECT t.* FROM trace t "
        f"WHERE t.tenant_id = asked.tenant_id AND {base} "
        f"ORDER BY {taken.clause} LIMIT %s) t) SELECT (SELECT max(n) FROM (SELECT count(*) AS n FROM w t "
        f"WHERE true{counted} GROUP BY tenant_id) counted), f.* FROM (SELECT 1) one LEFT JOIN LATERAL ("
        "SELECT t.tenant_id, t.trace_id, "
        # Sorted first and looked at until a page is full, at the dearest condition last.
        f"t.day, t.place FROM (SELECT t.* FROM (SELECT t.* FROM w t ORDER BY t.place {direction}, t.trace_id "
        f"{'DESC' if order.ascending else 'ASC'} OFFSET 0) t WHERE {conditions.rest}{bounds}{beyond} "
        f"OFFSET 0) t WHERE {conditions.is_first} LIMIT %s) f ON true",
        [
            list(scope.tenant_ids), *base_values, most, *counted_values, *conditions.rest_values, *bound_values,
            *after, limit,
        ],
    )  # fmt: skip
    rows = cursor.fetchall()
    heads = [(row[1], bytes(row[2]), row[3], row[4]) for row in rows if row[1] is not None]
    is_all = (rows[0][0] or 0) < most
    return heads if is_all or (along is None and len(heads) >= limit) else None


def fails_alone(cursor: Cursor, scope: Scope) -> bool:
    """Whether spans with the wanted error have failed, as the roll-ups tell: their traces count failed ones, then."""
    window = replace(scope.window, end=scope.window.end + DAY, last="")  # a trace's spans may begin after it
    by_error = Scope(scope.tenant_ids, window, Filters(error=scope.filters.error))
    statuses = {row.key[0] for row in totals(cursor, by_error, ("status",))}
    return bool(statuses) and statuses <= ERROR_STATUSES


def _rare_by(scope: Scope) -> dict[str, Any]:
    """The dimensions that spans are looked for by: all on one span."""
    given = {name: value for name, value in scope.filters.given.items() if name in LETTERS}
    of_spans = {name: given[name] for name in OF_SPANS if name in given}
    if of_spans:
        return of_spans
    first = next((n for n in OF_TRACES if n in given and not (n == "status" and given[n] == FAILED)), None)
    return {first: given[first]} if first else {}


def _candidates(
    cursor: Cursor, scope: Scope, order: Order, most: int
) -> tuple[Known, datetime | None, datetime | None]:
    """Traces that spans name; the oldest span's time if there may be more; and from when on words were looked for."""
    since, until = scope.window.start, scope.window.end + DAY
    if order.is_by_time and not order.ascending and order.after is not None:
        until = min(until, order.after[0] + DAY)
    days = _open_days(cursor, since, until)
    rows, unsearched = _scanned(cursor, scope, days, since, until, most)
    query, words = _asked(scope)
    cursor.execute(
        f"SELECT * FROM spans_found(%s::bigint[], {query}, %s, %s, %s)",
        [list(scope.tenant_ids), *words, since, until, most],
    )
    rows += cursor.fetchall()
    if not rows:
        return {}, None, unsearched
    rows.sort(key=lambda row: row[2], reverse=True)
    known = {(row[0], bytes(row[1])): row[2] for row in rows[:most]}
    return known, rows[min(len(rows), most) - 1][2] if len(rows) >= most else None, unsearched


def _asked(scope: Scope) -> tuple[str, list[Any]]:
    """The question as SQL of a tsquery, with its parameters: words as beginnings of words, or dimensions."""
    tenants = " | ".join(lexeme("tenant", tenant_id) for tenant_id in scope.tenant_ids)
    if scope.filters.search is None:
        labels = " & ".join(lexeme(name, value) for name, value in _rare_by(scope).items())
        return "%s::tsquery", [f"({tenants}) & {labels}"]
    return f"(%s::tsquery && {BEGINNINGS})", [tenants, scope.filters.search]


# 'refund' & 'a' -> 'refund':* & 'a'; of one or two letters only the whole word, since half of all words begin so.
BEGINNINGS = (
    "regexp_replace(plainto_tsquery('simple', span_text(%s))::text, '(''[[:alnum:]]{3,}'')', '\\1:*', 'g')::tsquery"
)


def _open_days(cursor: Cursor, since: datetime, until: datetime) -> list[datetime]:
    """Days of this time that have spans and no index yet, newest first."""
    cursor.execute(
        "SELECT to_timestamp(substr(c.relname, 6, 8) || ' +00', 'YYYYMMDD TZH') FROM pg_inherits h "
        "JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = 'span'::regclass AND NOT EXISTS ("
        "SELECT 1 FROM pg_class x JOIN pg_index i ON i.indexrelid = x.oid "
        "WHERE x.relname = c.relname || '_words' AND i.indisvalid) ORDER BY 1 DESC"
    )
    days = [row[0].astimezone(UTC) for row in cursor.fetchall()]
    return [day for day in days if day < until and day + DAY > since]


def _scanned(
    cursor: Cursor, scope: Scope, days: Sequence[datetime], since: datetime, until: datetime, most: int
) -> tuple[list[Any], datetime | None]:
    """(tenant, trace, newest span) of days without index."""
    ranges = [(max(day, since), min(day + DAY, until)) for day in days]
    if not ranges:
        return [], None
    if scope.filters.search is not None:
        return _scanned_words(cursor, scope, ranges)
    ranges = _hours_of(cursor, scope, ranges)
    if not ranges:
        return [], None
    conditions, values = span_conditions(_rare_by(scope))
    cursor.execute(
        "SELECT tenant_id, trace_id, max(start) FROM (SELECT s.tenant_id, s.trace_id, s.start "
        "FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS hours(low, high) CROSS JOIN LATERAL ("
        "SELECT s.tenant_id, s.trace_id, s.start FROM span s WHERE s.tenant_id = ANY(%s) AND s.start >= %s "
        f"AND s.start < %s AND s.start >= hours.low AND s.start < hours.high AND {conditions}) s LIMIT %s) found "
        "GROUP BY 1, 2",
        [
            [low for low, _ in ranges],
            [high for _, high in ranges],
            list(scope.tenant_ids),
            ranges[-1][0],
            ranges[0][1],
            *values,
            most,
        ],
    )
    return list(cursor.fetchall()), None


def _hours_of(
    cursor: Cursor, scope: Scope, ranges: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """The hours within these times in which the roll-ups have such spans, newest first."""
    given = _rare_by(scope)
    where = " AND ".join(f"{COLUMNS[name]} = %s" for name in given)
    of = [list(scope.tenant_ids), ranges[-1][0] - timedelta(hours=1), ranges[0][1], *given.values()]
    cursor.execute(
        f"SELECT hour FROM rollup_hour WHERE tenant_id = ANY(%s) AND hour > %s AND hour < %s AND {where} UNION "
        "SELECT date_trunc('hour', minute, 'UTC') FROM rollup_delta WHERE tenant_id = ANY(%s) AND minute > %s "
        f"AND minute < %s AND {where} ORDER BY 1 DESC",
        [*of, *of],
    )
    hours = [row[0] for row in cursor.fetchall()]
    hour = timedelta(hours=1)
    return [
        (max(at, low), min(at + hour, high)) for at in hours for low, high in ranges if at < high and at + hour > low
    ]


def _scanned_words(
    cursor: Cursor, scope: Scope, ranges: Sequence[tuple[datetime, datetime]]
) -> tuple[list[Any], datetime | None]:
    condition, values = words_condition(str(scope.filters.search))
    cursor.execute(
        "WITH newest AS MATERIALIZED (SELECT s.tenant_id, s.trace_id, s.start, s.name, s.preview "
        "FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS days(low, high) CROSS JOIN LATERAL ("
        "SELECT * FROM span s WHERE s.tenant_id = ANY(%s) AND s.start >= days.low AND s.start < days.high "
        "ORDER BY s.start DESC) s LIMIT %s) SELECT s.tenant_id, s.trace_id, max(s.start), false FROM newest s "
        f"WHERE {condition} GROUP BY 1, 2 UNION ALL SELECT count(*), NULL, min(start), true FROM newest",
        [[low for low, _ in ranges], [high for _, high in ranges], list(scope.tenant_ids), MOST_SCANNED, *values],
    )
    rows = cursor.fetchall()
    scanned = next(row for row in rows if row[3])
    return [row[:3] for row in rows if not row[3]], scanned[2] if scanned[0] >= MOST_SCANNED else None


def _checked(
    cursor: Cursor, conditions: Conditions, order: Order, known: Known, limit: int,
    not_before: datetime | None,
) -> list[Head]:  # fmt: skip
    """Those of the candidates that pass everything, in order. `not_before`: older ones may have others among them.

    A trace is looked for on the day of its span and the one before: each day more is one more look for each candidate.
    """
    if not known:
        return []
    beyond, after = order.beyond
    base, base_values = conditions.bounded
    bound = " AND t.start >= %s" if not_before else ""
    cursor.execute(
        f"SELECT t.tenant_id, t.trace_id, t.day, t.place FROM (SELECT t.*, {order.column} AS place FROM trace t "
        "JOIN unnest(%s::bigint[], %s::bytea[], %s::timestamptz[]) "
        "AS known(tenant_id, trace_id, at) ON t.tenant_id = known.tenant_id AND t.trace_id = known.trace_id "
        "AND t.day BETWEEN known.at::date - 1 AND known.at::date "
        f"WHERE t.tenant_id = ANY(%s) AND {base}{beyond}{bound} AND {conditions.rest} "
        f"ORDER BY {order.clause} OFFSET 0) t WHERE {conditions.is_first} LIMIT %s",
        [
            [tenant for tenant, _ in known], [trace for _, trace in known], list(known.values()),
            sorted({tenant for tenant, _ in known}),
            *base_values, *after, *([not_before] if not_before else []), *conditions.rest_values, limit,
        ],
    )  # fmt: skip
    return [(row[0], bytes(row[1]), row[2], row[3]) for row in cursor.fetchall()]


def span_conditions(given: dict[str, Any]) -> tuple[str, list[Any]]:
    """A span s has all of these dimensions."""
    parts: list[str] = []
    values: list[Any] = []
    for name, value in given.items():
        if name == "model":
            parts.append("(s.response_model = %s OR s.request_model = %s)")
            values += [value, value]
        else:
            parts.append(f"s.{COLUMNS[name]} = %s")
            values.append(value)
    return " AND ".join(parts) or "true", values


def words_condition(text: str) -> tuple[str, list[Any]]:
    """A span s has these words in its name or its first words. The plain comparison spares most the parsing."""
    plain = [word for word in "".join(c if c.isalnum() else " " for c in text).split() if word][:10]
    like = " AND ".join(["(s.name || ' ' || s.preview) ILIKE %s"] * len(plain)) or "true"
    condition = f"({like} AND to_tsvector('simple', span_text(s.name || ' ' || s.preview)) @@ {BEGINNINGS})"
    return condition, [*(f"%{word}%" for word in plain), text]
