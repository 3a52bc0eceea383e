"""Chargeback: what was billed, by any dimensions and by day, hour or month of each tenant's own time zone.

Every sum is over bills, of all kinds: reversals and adjustments are in it, so that it is to the nano-USD what was
spent; days that are over come added up where that is by these dimensions (`billed`). A page of rows is keyset-paged in
the order of its dimensions, time first, and reads no more days than it shows; the whole is read through a server-side
cursor.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

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
    query, parameters = statement(scope, groups, _read_mark(after, groups) if after else None)
    cursor.execute(f"{query} LIMIT %s", [*parameters, limit + 1])
    rows = [read(row, len(groups)) for row in cursor.fetchall()]
    return rows[:limit], _mark(rows[limit - 1], groups) if len(rows) > limit else ""


def dearest(cursor: Cursor, scope: Scope, groups: Sequence[str], limit: int) -> list[UsageRow]:
    """The rows that cost most."""
    query, parameters = statement(scope, groups, order="cost_nanousd DESC NULLS LAST, requests DESC")
    cursor.execute(f"{query} LIMIT %s", [*parameters, limit])
    return [read(row, len(groups)) for row in cursor.fetchall()]


def usage_total(cursor: Cursor, scope: Scope) -> UsageRow:
    """The sums over everything in scope: what all rows add up to, whatever they are grouped by."""
    query, parameters = statement(scope, ())
    cursor.execute(query, parameters)
    rows = cursor.fetchall()
    return read(rows[0], 0) if rows else UsageRow((), 0, 0, 0, 0, 0, 0, 0, 0, {})


def statement(scope: Scope, groups: Sequence[str], after: Mark | None = None, order: str = "") -> tuple[str, list[Any]]:
    """The question as SQL and its parameters; `read` makes rows of the answer's."""
    columns = {name: TIMES.get(name) or DIMENSIONS[name] for name in groups}
    given = {name: value for name, value in scope.filters.given.items() if name in DIMENSIONS}
    where = f"WHERE {' AND '.join(f'{DIMENSIONS[name]} = %s' for name in given)}" if given else ""
    columns_asked = {DIMENSIONS[name].removeprefix("b.") for name in (*groups, *given) if name in DIMENSIONS}
    bills, of_bills = billed.rows(
        columns_asked - {"tenant_id"}, scope.tenant_ids, scope.window.start, scope.window.end, "hour" in groups
    )
    names = [f"g_{name}" for name in groups]
    sums = [f"{each}::bigint AS {name}" for name, each in zip(MEASURES, SUMS, strict=True)]
    units = [f"{each}::bigint AS u_{name}" for name, each in zip(UNIT_NAMES, UNIT_SUMS, strict=True)]
    picked = [f"{column} AS g_{name}" for name, column in columns.items()]
    grouped = f"GROUP BY {', '.join(names)}" if names else ""
    ordered = order or ", ".join(_in_order(groups))
    beyond = ""
    parameters = [*of_bills, *given.values()]
    if after is not None:
        beyond = f"WHERE ({', '.join(_in_order(groups))}) > ({', '.join(['%s'] * len(names))})"
        parameters += after
    # A bill and its reversal leave nothing to charge: such rows are left out.
    query = (
        f"SELECT * FROM (SELECT {', '.join([*picked, *sums, *units])} FROM {bills} b "
        f"JOIN tenants_tenant t ON t.id = b.tenant_id {where} {grouped} "
        "HAVING sum(b.requests) <> 0 OR coalesce(sum(b.cost_nanousd), 0) <> 0 "
        "OR sum(b.uncached_input_tokens + b.cache_read_input_tokens + b.output_tokens) <> 0) u "
        f"{beyond} {f'ORDER BY {ordered}' if ordered else ''}"
    )
    return query, parameters


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
