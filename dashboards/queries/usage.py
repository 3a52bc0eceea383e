"""Chargeback: what was billed, by any dimensions and by day, hour or month of each tenant's own time zone.

Every sum is over bills, of all kinds: reversals and adjustments are in it, so that it is to the nano-USD what was
spent; days that are over come added up where that is by these dimensions (`billed`). A page of rows is keyset-paged in
the order of its dimensions, time first, and reads no more days than it shows; the whole is read through a server-side
cursor.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dashboards.queries import billed
from dashboards.queries.scope import Cursor, Scope
from llmobs.pricing.units import UNITS

DIMENSIONS = {
    "tenant": "b.tenant_id",
    "feature": "b.feature",
    "user": "b.user_id",
    "service": "b.service",
    "environment": "b.environment",
    "key": "b.key_id",
    "session": "b.session_id",
    "model": "b.model",
    "provider": "b.provider_name",
    "prompt": "b.prompt_version",
    "tier": "b.tier",
}
TIMES = {
    "day": "(b.begin_at AT TIME ZONE t.time_zone)::date",
    "month": "date_trunc('month', b.begin_at AT TIME ZONE t.time_zone)::date",
    # A moment and no clock time: an hour that a clock put back has twice is two.
    "hour": "date_trunc('hour', b.begin_at, t.time_zone)",
}
GROUPS = (*DIMENSIONS, *TIMES)
DEFAULT_GROUPS = ("tenant", "feature", "user", "service", "environment", "model", "provider", "day")
NUMBERS = frozenset({"tenant", "key"})
MEASURES = (
    "requests", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "reasoning_output_tokens", "cost_nanousd", "unpriced_requests",
)  # fmt: skip
SUMS = (
    "sum(b.requests)",
    "sum(b.uncached_input_tokens + b.cache_read_input_tokens + b.cache_write_5m_input_tokens"
    " + b.cache_write_1h_input_tokens)",
    "sum(b.output_tokens)",
    "sum(b.cache_read_input_tokens)",
    "sum(b.cache_write_5m_input_tokens + b.cache_write_1h_input_tokens)",
    "sum(b.reasoning_output_tokens)",
    # What was priced and is no more has bills that add up to 0, of no request.
    "CASE WHEN sum(b.requests) FILTER (WHERE b.cost_nanousd IS NOT NULL) <> 0 OR sum(b.cost_nanousd) <> 0 "
    "THEN sum(b.cost_nanousd) END",
    "coalesce(sum(b.requests) FILTER (WHERE b.cost_nanousd IS NULL), 0)",
)
UNIT_NAMES = tuple(unit.name for unit in UNITS)
UNIT_SUMS = tuple(f"sum((b.units->>'{name}')::bigint)" for name in UNIT_NAMES)
Mark = tuple[Any, ...]
Until = tuple[tuple[str, ...], Mark]  # columns, in order, and their values
BILLS_A_ROW = (8, 64)  # as many are put in order to fill a page; of more the rows are too few, and asked for again


@dataclass(frozen=True)
class Part:
    """The begin of a window: rows up to `last`, a day or an hour, which are those of these bills in their zones."""

    unit: str
    start: datetime
    end: datetime
    last: date


@dataclass(frozen=True)
class UsageRow:
    """What one combination was billed. `cost_nanousd` None: nothing of it has a price. `units`: sound, searches …"""

    key: tuple[Any, ...]
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    reasoning_output_tokens: int
    cost_nanousd: int | None
    unpriced_requests: int
    units: dict[str, int]


def usage(
    cursor: Cursor, scope: Scope, limit: int, after: str = "", groups: Sequence[str] = DEFAULT_GROUPS
) -> tuple[list[UsageRow], str]:
    """Rows in the order of time and dimensions, and the mark to go on from ("" at the end).

    Raises ValueError on a bad mark. The filters of the scope that a bill knows are applied.
    """
    mark = _read_mark(after, groups) if after else None
    rows: list[UsageRow] = []
    for part in _parts(cursor, scope, groups, mark):
        rows = _page(cursor, scope, groups, mark, part, limit)
        if len(rows) > limit:
            break
    return rows[:limit], _mark(rows[limit - 1], groups) if len(rows) > limit else ""


def _page(
    cursor: Cursor, scope: Scope, groups: Sequence[str], mark: Mark | None, part: Part | None, limit: int
) -> list[UsageRow]:
    """The first rows of a part, one more than a page has. Of very many, adding up all would take far longer."""
    rows: list[UsageRow] = []
    is_many = part is not None and bool({"user", "session"} & {*groups} - scope.filters.given.keys())
    for most in BILLS_A_ROW if is_many else ():
        query, parameters = statement(scope, groups, mark, part=part, first=most * limit)
        cursor.execute(f"{query} LIMIT %s", [*parameters, limit + 1])
        found = cursor.fetchall()
        rows = [read(row[:-1], len(groups)) for row in found]
        if len(rows) > limit or any(row[-1] for row in found):
            return rows
    until = _end_of_users(cursor, scope, groups, mark, limit) if part is None else None
    for place in dict.fromkeys((until, None)):
        query, parameters = statement(scope, groups, mark, part=part, until=place)
        cursor.execute(f"{query} LIMIT %s", [*parameters, limit + 1])
        rows = [read(row, len(groups)) for row in cursor.fetchall()]
        if len(rows) > limit:
            break
    return rows


def _parts(cursor: Cursor, scope: Scope, groups: Sequence[str], mark: Mark | None) -> Iterator[Part | None]:
    """From where the page begins, ever longer parts of the window, at last (None) all of it.

    Only where that is many rows, by day or hour: of few, all are quicker read at once.
    """
    unit = next((name for name in ("day", "hour") if name in groups), None)
    is_one_user = "user" in scope.filters.given
    if unit is not None and not billed.is_small(_asked(scope, groups), unit == "hour", is_one_user):
        start, first, zones = _begin(cursor, scope, mark)
        for days in (1, 4, 16, 64):
            last: date = first + timedelta(hours=6 * days)
            end = first + timedelta(hours=6 * days + 1)
            if unit == "day":
                last = first.date() + timedelta(days=days - 1)
                over = last + timedelta(days=1)
                end = max(datetime(over.year, over.month, over.day, tzinfo=zone).astimezone(UTC) for zone in zones)
            if end >= scope.window.end:
                break
            yield Part(unit, start, end, last)
    yield None


def _end_of_users(cursor: Cursor, scope: Scope, groups: Sequence[str], mark: Mark | None, limit: int) -> Until | None:
    """The user after so many that are added up in this window, found by the index, one by one.

    None where rows are not in the order of users, or no user is after these.
    """
    if _in_order(groups)[:1] != ["g_user"] or _asked(scope, groups) != {"user_id"} or TIMES.keys() & {*groups}:
        return None
    after = str(mark[0]) if mark else None
    window = "tenant_id = asked.tenant_id AND since >= %s AND since < %s AND user_id"
    within = [scope.window.start, scope.window.end]
    cursor.execute(
        "SELECT DISTINCT user_id FROM unnest(%s::bigint[]) AS asked (tenant_id) CROSS JOIN LATERAL ("
        "WITH RECURSIVE found (user_id, n) AS ((SELECT user_id, 1 FROM rollup_bill_user "
        f"WHERE {window} {'>=' if after is None else '>'} %s ORDER BY user_id LIMIT 1) "
        "UNION ALL SELECT (SELECT r.user_id FROM rollup_bill_user r "
        f"WHERE {window.replace('user_id', 'r.user_id')} > found.user_id ORDER BY r.user_id LIMIT 1), n + 1 "
        "FROM found WHERE found.user_id IS NOT NULL AND n <= %s) SELECT user_id FROM found WHERE user_id IS NOT NULL"
        ") u ORDER BY user_id OFFSET %s LIMIT 1",
        [list(scope.tenant_ids), *within, after or "", *within, limit, limit],
    )
    row = cursor.fetchone()
    return (("g_user",), tuple(row)) if row else None


def _begin(cursor: Cursor, scope: Scope, mark: Mark | None) -> tuple[datetime, datetime, list[ZoneInfo]]:
    """From when on bills are read, the first moment that the page can show, the mark's or the first bill's; zones.

    Bills are read from the begin of a day on: one that is read in part is not read where it is added up.
    """
    window = scope.window
    cursor.execute(
        "SELECT min(b.begin_at), array_agg(DISTINCT t.time_zone) FROM tenants_tenant t LEFT JOIN LATERAL (SELECT "
        "begin_at FROM bill WHERE tenant_id = t.id AND begin_at >= %s AND begin_at < %s ORDER BY begin_at LIMIT 1) b "
        "ON true WHERE t.id = ANY(%s)",
        [window.start, window.start if mark else window.end, list(scope.tenant_ids)],
    )
    begin, names = cursor.fetchone()
    zones = [ZoneInfo(name) for name in names or ["UTC"]]
    at = mark[0] if mark is not None else (begin or window.start).astimezone(UTC)
    if isinstance(at, datetime):
        first, days = at, {at.astimezone(zone).date() for zone in zones}
    else:
        first, days = datetime(at.year, at.month, at.day, tzinfo=UTC), {at}
    start = min(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for zone in zones for day in days)
    return max(window.start, start), first, zones


def dearest(cursor: Cursor, scope: Scope, groups: Sequence[str], limit: int) -> list[UsageRow]:
    """The rows that cost most; which come first of those that cost the same does not change from time to time."""
    order = ", ".join(["cost_nanousd DESC NULLS LAST", "requests DESC", *_in_order(groups)])
    query, parameters = statement(scope, groups, order=order)
    cursor.execute(f"{query} LIMIT %s", [*parameters, limit])
    return [read(row, len(groups)) for row in cursor.fetchall()]


def usage_total(cursor: Cursor, scope: Scope) -> UsageRow:
    """The sums over everything in scope: what all rows add up to, whatever they are grouped by."""
    query, parameters = statement(scope, ())
    cursor.execute(query, parameters)
    rows = cursor.fetchall()
    return read(rows[0], 0) if rows else UsageRow((), 0, 0, 0, 0, 0, 0, 0, 0, {})


def statement(
    scope: Scope,
    groups: Sequence[str],
    after: Mark | None = None,
    order: str = "",
    part: Part | None = None,
    until: Until | None = None,
    first: int | None = None,
) -> tuple[str, list[Any]]:
    """The question as SQL and its parameters; `read` makes rows of the answer's.

    `part`: of the window alone. `until`: rows up to this place in their order alone. `first`: rows of so many bills in
    that order alone, and after each row whether these are all; the last, which may lack some, is left out if not.
    """
    names = [f"g_{name}" for name in groups]
    bills, parameters = _bills(scope, groups, part, after, billed.MEASURES, until)
    sums = [f"{each}::bigint AS {name}" for name, each in zip(MEASURES, SUMS, strict=True)]
    units = [f"{each}::bigint AS u_{name}" for name, each in zip(UNIT_NAMES, UNIT_SUMS, strict=True)]
    in_order = ", ".join(_in_order(groups))
    ordered = order or in_order
    if first is not None:
        backwards = ", ".join(f"{name} DESC" for name in _in_order(groups))
        bills = (
            f"WITH k AS MATERIALIZED ({bills} ORDER BY {in_order} LIMIT %s) SELECT k.*, n.is_all FROM k CROSS JOIN "
            f"(SELECT count(*) < %s AS is_all FROM k) n WHERE n.is_all OR ({in_order}) < "
            f"(SELECT {in_order} FROM k ORDER BY {backwards} LIMIT 1)"
        )
        parameters = [*parameters, first, first]
        units.append("bool_and(b.is_all) AS is_all")
    grouped = f"GROUP BY {', '.join(names)}" if names else ""
    # A bill and its reversal leave nothing to charge: such rows are left out.
    query = (
        f"SELECT {', '.join([*names, *sums, *units])} FROM ({bills}) b {grouped} "
        "HAVING sum(b.requests) <> 0 OR coalesce(sum(b.cost_nanousd), 0) <> 0 "
        "OR sum(b.uncached_input_tokens + b.cache_read_input_tokens + b.output_tokens) <> 0 "
        f"{f'ORDER BY {ordered}' if ordered else ''}"
    )
    return query, parameters


def _bills(
    scope: Scope,
    groups: Sequence[str],
    part: Part | None,
    after: Mark | None,
    measures: Sequence[str],
    until: Until | None = None,
) -> tuple[str, list[Any]]:
    """Bills between two places in the order of these groups, as SQL with its parameters: groups and measures."""
    columns = {f"g_{name}": TIMES.get(name) or DIMENSIONS[name] for name in groups}
    given = {name: value for name, value in scope.filters.given.items() if name in DIMENSIONS}
    conditions = [f"{DIMENSIONS[name]} = %s" for name in given]
    start, end = (scope.window.start, scope.window.end) if part is None else (part.start, part.end)
    bills, parameters = billed.rows(_asked(scope, groups), scope.tenant_ids, start, end, "hour" in groups)
    parameters = [*parameters, *given.values()]
    if part is not None:
        conditions.append(f"{TIMES[part.unit]} <= %s")
        parameters.append(part.last)
    beyond = (">", tuple(_in_order(groups)), after) if after is not None else None
    for sign, names, place in filter(None, (beyond, ("<=", *until) if until else None)):
        conditions.append(f"({', '.join(columns[name] for name in names)}) {sign} ({', '.join(['%s'] * len(names))})")
        parameters += place
    picked = [*(f"{column} AS {name}" for name, column in columns.items()), *(f"b.{name}" for name in measures)]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT {', '.join(picked)} FROM {bills} b JOIN tenants_tenant t ON t.id = b.tenant_id {where}",
        parameters,
    )


def _asked(scope: Scope, groups: Sequence[str]) -> set[str]:
    """The columns of bills that groups and filters name."""
    named = {*groups, *scope.filters.given} & DIMENSIONS.keys() - {"tenant"}
    return {DIMENSIONS[name].removeprefix("b.") for name in named}


def read(row: Sequence[Any], groups: int) -> UsageRow:
    """One row of the answer."""
    counts = row[groups + len(MEASURES) :]
    units = {name: count for name, count in zip(UNIT_NAMES, counts, strict=True) if count}
    measures = dict(zip(MEASURES, row[groups:], strict=False))
    return UsageRow(key=tuple(row[:groups]), units=units, **measures)


def _in_order(groups: Sequence[str]) -> list[str]:
    """Time first: rows come oldest first."""
    return [f"g_{name}" for name in sorted(groups, key=lambda name: (name not in TIMES, groups.index(name)))]


def _mark(row: UsageRow, groups: Sequence[str]) -> str:
    values = dict(zip([f"g_{name}" for name in groups], row.key, strict=True))
    place = [_plain(values[name]) for name in _in_order(groups)]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _plain(value: Any) -> str | int:
    return value if isinstance(value, int) else value.isoformat() if isinstance(value, date) else str(value)


def _read_mark(mark: str, groups: Sequence[str]) -> Mark:
    try:
        place = json.loads(base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4)))
        names = [name.removeprefix("g_") for name in _in_order(groups)]
        if isinstance(place, list) and len(place) == len(names):
            return tuple(_read(name, value) for name, value in zip(names, place, strict=True))
    except (ValueError, TypeError):
        pass
    raise ValueError("the cursor is none of ours")


def _read(name: str, value: Any) -> Any:
    if name == "hour":
        return datetime.fromisoformat(value).astimezone(UTC)
    if name in TIMES:
        return date.fromisoformat(value)
    if name in NUMBERS:
        return int(value)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    return value
