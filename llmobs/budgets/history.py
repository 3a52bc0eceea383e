"""What budgets' scopes cost slot by slot, for all budgets in one statement: out of the roll-ups, which others write.

A roll-up knows neither users nor sessions nor prompts. Budgets of these have the sums of their own past windows
(`budget_spend`), laid out over the slots as all of the tenant's spend was.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from llmobs.budgets.definition import COLUMNS, TOKENS, BudgetInfo, Scope, canonical_value, key_value
from llmobs.budgets.forecast import HOUR, SHORT_STEP, Slots
from llmobs.budgets.pace import Floats
from llmobs.budgets.window import counted_since, window_bounds

ROLLED_UP = ("feature", "environment", "service", "key", "model", "provider")
TENANT_WIDE = 0  # an id that no budget has: the shape of all of a tenant's spend

COUNTED = (  # tokens of a roll-up
    "uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens + cache_write_1h_input_tokens"
    " + output_tokens"
)


class Cursor(Protocol):
    """A DB-API cursor on PostgreSQL: psycopg's own, or Django's over it."""

    def execute(self, query: str, params: Sequence[Any] | None = None, /) -> Any: ...

    def fetchall(self) -> list[Any]: ...


@dataclass(frozen=True)
class Sums:
    """What a budget has counted for one value: in windows that count now, by their begin; and in earlier ones."""

    now: Mapping[datetime, int]
    earlier: Mapping[datetime, int]

    @property
    def spent(self) -> int:
        return sum(self.now.values())


def is_rolled_up(budget: BudgetInfo) -> bool:
    """Whether the roll-ups know all dimensions of its scopes."""
    named = {*budget.each, *(dimension for scope in budget.scopes for dimension, _ in scope)}
    return named <= set(ROLLED_UP)


def sums_of(
    cursor: Cursor, budgets: Sequence[BudgetInfo], now: datetime, history: timedelta
) -> dict[tuple[int, str], Sums]:
    """By budget and value that has spent; of budgets that roll-ups do not know, with the windows before."""
    now_s = int(now.timestamp())
    since: dict[int, datetime] = {}
    starts, ends = [], []
    for budget in budgets:
        zone = ZoneInfo(budget.zone)
        since[budget.id] = datetime.fromtimestamp(counted_since(budget.window, zone, now_s), UTC)
        starts.append(since[budget.id] if is_rolled_up(budget) else min(since[budget.id], now - history))
        ends.append(datetime.fromtimestamp(window_bounds(budget.window, zone, now_s)[0], UTC))
    cursor.execute(
        "SELECT s.budget_id, s.value, array_agg(s.window_start), array_agg(s.spent) FROM "
        "unnest(%s::bigint[], %s::bigint[], %s::int[], %s::timestamptz[], %s::timestamptz[]) "
        "AS a (tenant_id, budget_id, revision, low, high) JOIN budget_spend s ON s.tenant_id = a.tenant_id "
        "AND s.budget_id = a.budget_id AND s.revision = a.revision AND s.window_start BETWEEN a.low AND a.high "
        "GROUP BY 1, 2",
        [[b.tenant_id for b in budgets], [b.id for b in budgets], [b.revision for b in budgets], starts, ends],
    )
    found = {}
    for budget_id, value, begins, amounts in cursor.fetchall():
        rows = dict(zip(begins, amounts, strict=True))
        current = {at: amount for at, amount in rows.items() if at >= since[budget_id]}
        if current:
            earlier = {at: amount for at, amount in rows.items() if at < since[budget_id]}
            found[budget_id, value] = Sums(current, earlier)
    return found


def amounts_of(cursor: Cursor, budgets: Iterable[BudgetInfo], slots: Slots) -> dict[tuple[int, str], Floats]:
    """Amounts by slot of the past, by budget and value; TENANT_WIDE and "tenant id:unit" for the shape of a tenant."""
    asked = [_Asked(b.id, b.tenant_id, b.unit == TOKENS, b.each, b.scopes) for b in budgets if is_rolled_up(b)]
    wide = {(b.tenant_id, b.unit) for b in budgets if not is_rolled_up(b)}
    shapes = [_Asked(-n - 1, tenant_id, unit == TOKENS, (), ((),)) for n, (tenant_id, unit) in enumerate(sorted(wide))]
    names = {shape.id: (TENANT_WIDE, f"{shape.tenant_id}:{shape.unit}") for shape in shapes}
    each_of = {each.id: each.each for each in asked}
    found: dict[tuple[int, str], Floats] = {}
    for budget_id, *values, indexes, amounts in _read(cursor, [*asked, *shapes], slots):
        each = each_of.get(budget_id, ())
        texts = tuple(_text(name, values[ROLLED_UP.index(name)]) for name in each)
        key = names.get(budget_id) or (budget_id, canonical_value(texts[0] if len(texts) == 1 else texts))
        row = found.setdefault(key, np.zeros(slots.past))
        row[np.array(indexes)] += np.array(amounts, dtype=float)
    return found


def laid_out(sums: Sums, shape: Floats, slots: Slots, budget: BudgetInfo) -> Floats:
    """Sums of windows over the slots, as the shape has it; a window in which the shape is empty is laid out evenly."""
    amounts, zone = np.zeros(slots.past), ZoneInfo(budget.zone)
    for begin, amount in (*sums.earlier.items(), *sums.now.items()):
        end_s = min(window_bounds(budget.window, zone, int(begin.timestamp()))[1], int(slots.now.timestamp()))
        first = max(slots.index(begin), 0)
        last = min(slots.index(datetime.fromtimestamp(end_s, UTC)), slots.past)
        if first >= last:
            continue
        part = shape[first:last]
        whole = part.sum()
        amounts[first:last] += amount * (part / whole if whole > 0 else 1 / (last - first))
    return amounts


@dataclass(frozen=True)
class _Asked:
    id: int
    tenant_id: int
    is_tokens: bool
    each: tuple[str, ...]
    scopes: tuple[Scope, ...]

    @property
    def unit(self) -> str:
        return TOKENS if self.is_tokens else "usd"


# A minute's and an hour's rows hold the same calls; what waits as a delta is in neither.
SOURCES = {HOUR: (("rollup_hour", "hour"), ("rollup_delta", "minute")),
           SHORT_STEP: (("rollup_minute", "minute"), ("rollup_delta", "minute"))}  # fmt: skip
_COLUMNS = [COLUMNS[name] for name in ROLLED_UP]
_VALUES = ", ".join(f"v{n}" for n in range(len(_COLUMNS)))
_EACH = ", ".join(
    f"CASE WHEN '{n}' = ANY(a.each_of) THEN r.{COLUMNS[n]}::text END AS v{i}" for i, n in enumerate(ROLLED_UP)
)
_WITHIN = " AND ".join(f"(s.{column} IS NULL OR s.{column} = r.{column}::text)" for column in _COLUMNS)


def _read(cursor: Cursor, asked: Sequence[_Asked], slots: Slots) -> list[Any]:
    """(id, a value for each of ROLLED_UP, slots, amounts) by id and value."""
    if not asked or not slots.past:
        return []
    rows = " UNION ALL ".join(
        f"SELECT tenant_id, {at} AS at, {', '.join(_COLUMNS)}, cost_nanousd, {COUNTED} AS tokens FROM {source} "
        f"WHERE tenant_id = ANY(%s) AND {at} >= %s AND {at} < %s"
        for source, at in SOURCES[slots.step]
    )
    scopes = [(one.id, *[dict(scope).get(name) for name in ROLLED_UP]) for one in asked for scope in one.scopes]
    bounds = [sorted({one.tenant_id for one in asked}), slots.first, slots.first + slots.past * slots.step]
    cursor.execute(
        f"WITH s (id, {', '.join(_COLUMNS)}) AS MATERIALIZED (SELECT * FROM "
        f"unnest(%s::bigint[], {', '.join(['%s::text[]'] * len(_COLUMNS))})), "
        "a (id, tenant_id, is_tokens, each_of) AS MATERIALIZED (SELECT id, tenant_id, is_tokens, "
        "string_to_array(each_of, ',') FROM unnest(%s::bigint[], %s::bigint[], %s::bool[], %s::text[]) "
        "AS a (id, tenant_id, is_tokens, each_of)) "
        f"SELECT id, {_VALUES}, array_agg(slot), array_agg(amount) FROM (SELECT a.id, {_EACH}, "
        "floor(extract(epoch FROM r.at - %s) / %s)::int AS slot, "
        "sum(CASE WHEN a.is_tokens THEN r.tokens ELSE r.cost_nanousd END)::bigint AS amount "
        f"FROM ({rows}) r JOIN a USING (tenant_id) WHERE EXISTS (SELECT 1 FROM s WHERE s.id = a.id AND {_WITHIN}) "
        f"GROUP BY a.id, {_VALUES}, slot) x WHERE amount <> 0 GROUP BY id, {_VALUES}",
        [
            *(list(column) for column in zip(*scopes, strict=True)),
            [one.id for one in asked],
            [one.tenant_id for one in asked],
            [one.is_tokens for one in asked],
            [",".join(one.each) for one in asked],
            slots.first,
            slots.step.total_seconds(),
            *bounds * len(SOURCES[slots.step]),
        ],
    )
    return cursor.fetchall()


def _text(dimension: str, value: str | None) -> str:
    """A value as `definition.applying` sees it."""
    return key_value(int(value or 0)) if dimension == "key" else value or ""
