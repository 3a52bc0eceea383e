"""What budgets' scopes cost slot by slot, for all budgets in one statement: out of the roll-ups, which others write.

A roll-up knows neither users nor sessions nor prompts. Budgets of these have the sums of their own past windows
(`budget_spend`), laid out over the slots as all of the tenant's spend was.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from llmobs.budgets.definition import TOKENS, BudgetInfo
from llmobs.budgets.forecast import HOUR, Slots
from llmobs.budgets.pace import Floats, Ints
from llmobs.budgets.scope import COLUMNS, Scope, canonical_value, key_value
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
    return _dimensions(budget) <= set(ROLLED_UP)


def _dimensions(budget: BudgetInfo) -> set[str]:
    return {*budget.each, *(dimension for scope in budget.scopes for dimension, _ in scope)}


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


def amounts_of(cursor: Cursor, budgets: Sequence[BudgetInfo], slots: Slots) -> dict[tuple[int, str], Floats]:
    """Amounts by slot of the past, by budget and value; of a tenant's whole spend by TENANT_WIDE and `shape_of`."""
    rolled_up = [budget for budget in budgets if is_rolled_up(budget)]
    shapes = {shape_of(budget) for budget in budgets if not is_rolled_up(budget)}
    found: dict[tuple[int, str], Floats] = {}

    def add(key: tuple[int, str], part: _Part, is_tokens: bool) -> None:
        row = found.setdefault(key, np.zeros(slots.past))
        row[part.slots] += part.tokens if is_tokens else part.costs

    for part in _parts(cursor, budgets, rolled_up, slots):
        for budget in rolled_up:
            if budget.tenant_id == part.tenant_id and any(part.is_within(scope) for scope in budget.scopes):
                texts = tuple(part.values[name] for name in budget.each)
                value = canonical_value(texts[0] if len(texts) == 1 else texts)
                add((budget.id, value), part, budget.unit == TOKENS)
        for shape in shapes:
            tenant_id, _, unit = shape.partition(":")
            if int(tenant_id) == part.tenant_id:
                add((TENANT_WIDE, shape), part, unit == TOKENS)
    return found


def shape_of(budget: BudgetInfo) -> str:
    return f"{budget.tenant_id}:{budget.unit}"


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
class _Part:
    """What one combination of values cost, by slot."""

    tenant_id: int
    values: Mapping[str, str]
    slots: Ints
    costs: Floats
    tokens: Floats

    def is_within(self, scope: Scope) -> bool:
        return all(self.values[name] == value for name, value in scope)


def _parts(
    cursor: Cursor, budgets: Sequence[BudgetInfo], rolled_up: Sequence[BudgetInfo], slots: Slots
) -> Iterator[_Part]:
    """Combinations of the values of those dimensions alone that a scope names."""
    if not budgets or not slots.past:
        return
    named = {
        name for b in rolled_up for name in (*b.each, *(dimension for scope in b.scopes for dimension, _ in scope))
    }
    by = [name for name in ROLLED_UP if name in named]
    columns = "".join(f", {COLUMNS[name]}" for name in by)
    rows = " UNION ALL ".join(
        f"SELECT tenant_id{columns}, {at} AS at, cost_nanousd, {COUNTED} AS tokens FROM {source} "
        f"WHERE tenant_id = ANY(%s) AND {at} >= %s AND {at} < %s"
        for source, at in (_table(named, slots.step), ("rollup_delta", "minute"))
    )
    bounds = [sorted({b.tenant_id for b in budgets}), slots.first, slots.first + slots.past * slots.step]
    cursor.execute(
        f"SELECT tenant_id{columns}, array_agg(slot), array_agg(cost), array_agg(tokens) FROM ("
        f"SELECT tenant_id{columns}, floor(extract(epoch FROM at - %s) / %s)::int AS slot, "
        f"sum(cost_nanousd)::bigint AS cost, sum(tokens)::bigint AS tokens FROM ({rows}) r "
        f"GROUP BY tenant_id{columns}, slot) x GROUP BY tenant_id{columns}",
        [slots.first, slots.step.total_seconds(), *bounds, *bounds],
    )
    for tenant_id, *values, indexes, costs, tokens in cursor.fetchall():
        texts = {name: _text(name, value) for name, value in zip(by, values, strict=True)}
        yield _Part(tenant_id, texts, np.array(indexes), np.array(costs, float), np.array(tokens, float))


def _table(named: set[str], step: timedelta) -> tuple[str, str]:
    """The coarsest roll-up that tells these apart, and its column of time."""
    if step != HOUR:
        return "rollup_minute", "minute"
    if not named:
        return "rollup_tenant_hour", "hour"
    return ("rollup_model_hour" if named == {"model"} else "rollup_hour"), "hour"


def _text(dimension: str, value: Any) -> str:
    """A value as `definition.applying` sees it."""
    return key_value(value) if dimension == "key" else str(value)
