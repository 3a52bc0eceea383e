"""How budgets stand: limit, spent, held, left. Read by one script in the ledger, never mixed from two stores.

Without the ledger (Valkey is away, or it recovers) the durable spend answers alone, and says so: `is_live` is false,
and what is held or not yet written is unknown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import RedisError

from llmobs.budgets import ledger
from llmobs.budgets.definition import Applied, BudgetInfo, apply, apply_at
from llmobs.budgets.ledger import Standing, Unavailable
from llmobs.budgets.valkey import AT_ONCE, Client, run, scan
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns

# Values of one "each" budget that are told, the largest spenders first.
MOST_VALUES = 1000


class Cursor(Protocol):
    """A DB-API cursor on PostgreSQL: psycopg's own, or Django's over it."""

    def execute(self, query: str, params: Sequence[Any] | None = None, /) -> Any: ...

    def fetchall(self) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Status:
    """One budget, for one value, in its window: amounts in its unit. `pending` is within `spent`."""

    applied: Applied
    spent: int
    pending: int | None  # settled and not yet written; None: unknown
    held: int | None  # of calls that run; None: unknown
    is_live: bool

    @property
    def limit(self) -> int:
        """Of this window, with what it was raised by."""
        return self.applied.limit

    @property
    def remaining(self) -> int:
        """What another call may hold; 0 when overspent."""
        return max(self.limit - self.spent - (self.held or 0), 0)

    @property
    def overspent(self) -> int:
        """Spent beyond the limit: what no gateway could refuse."""
        return max(self.spent - self.limit, 0)


def status(cursor: Cursor, client: Client | None, budget: BudgetInfo, at_ns: int) -> list[Status]:
    """How a budget stands now: one entry, or one per value of an "each" budget, largest spender first.

    `client` None is a Valkey that is known to be away.
    """
    return statuses(cursor, client, [budget], at_ns)[budget.id]


def statuses(
    cursor: Cursor, client: Client | None, budgets: Sequence[BudgetInfo], at_ns: int
) -> dict[int, list[Status]]:
    """The same of many budgets, by their ids, whose durable spend is asked for at once."""
    found: dict[int, list[Status]] = {}
    for budget, durable in zip(budgets, _durable(cursor, budgets, at_ns), strict=True):
        found[budget.id] = standing = _standing(client, budget, durable, at_ns)
        if standing and not standing[0].is_live:
            client = None  # away or recovering: not asked again for each budget
    return found


def _standing(client: Client | None, budget: BudgetInfo, durable: dict[Applied, int], at_ns: int) -> list[Status]:
    try:
        if client is not None and (live := _live(client, budget, durable, at_ns)) is not None:
            return _sorted(live)
    except (RedisError, OSError):
        pass  # said by is_live
    return _sorted(Status(applied, spent, None, None, is_live=False) for applied, spent in durable.items())


def _sorted(found: Iterable[Status]) -> list[Status]:
    return sorted(found, key=lambda each: (-each.spent - (each.held or 0), each.applied.value))[:MOST_VALUES]


def _durable(cursor: Cursor, budgets: Sequence[BudgetInfo], at_ns: int) -> list[dict[Applied, int]]:
    """Of each budget the spend in PostgreSQL of each value in the current window."""
    if not budgets:
        return []
    wholes = [apply_at(budget, "", at_ns // NS_PER_SECOND) for budget in budgets]
    starts = [[utc_from_ns(at_s * NS_PER_SECOND) for at_s in sorted(_starts(whole))] for whole in wholes]
    cursor.execute(
        "SELECT a.n, s.value, s.spent FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::timestamptz[], "
        "%s::timestamptz[]) WITH ORDINALITY AS a (tenant_id, budget_id, revision, low, high, n) CROSS JOIN LATERAL ("
        "SELECT value, sum(spent)::bigint AS spent FROM budget_spend s WHERE s.tenant_id = a.tenant_id "
        "AND s.budget_id = a.budget_id AND s.revision = a.revision AND s.window_start BETWEEN a.low AND a.high "
        "GROUP BY value ORDER BY 2 DESC, value LIMIT %s) s ORDER BY a.n, s.spent DESC, s.value",
        [
            [budget.tenant_id for budget in budgets],
            [budget.id for budget in budgets],
            [budget.revision for budget in budgets],
            [each[0] for each in starts],
            [each[-1] for each in starts],
            MOST_VALUES,
        ],
    )
    spent: list[dict[str, int]] = [{} for _ in budgets]
    for number, value, amount in cursor.fetchall():
        spent[number - 1][value] = amount
    return [_applied(*each) for each in zip(budgets, wholes, spent, strict=True)]


def _applied(budget: BudgetInfo, whole: Applied, spent: dict[str, int]) -> dict[Applied, int]:
    found = {apply(budget, value, whole.window_start_s, whole.window_end_s): n for value, n in spent.items()}
    return found if budget.each else {whole: found.get(whole, 0)}


def _starts(whole: Applied) -> set[int]:
    """Begins of the windows in the ledger that a budget's own is made of: one, or a rolling one's days."""
    keys = [ledger.key_parts(key) for key in (whole.key, *whole.days)]
    return {parts.window_start_s for parts in keys if parts is not None}


def _live(client: Client, budget: BudgetInfo, durable: dict[Applied, int], at_ns: int) -> list[Status] | None:
    """The ledger's word on those values, and on values that so far only hold; None while it recovers."""
    asked = list(durable)
    if budget.each:
        asked += _only_in_ledger(client, budget, set(asked), at_ns)
    found: list[Status] = []
    keys_each = 1 + (len(asked[0].days) if asked else 0)
    at_once = max(AT_ONCE // keys_each, 1)
    for first in range(0, len(asked), at_once):
        some = asked[first : first + at_once]
        keys = [key for each in some for key in (each.key, *each.days)]
        standings = ledger.parse_status(run(client, ledger.status(keys)))
        if isinstance(standings, Unavailable):
            return None
        sums = [_sum(standings[at : at + keys_each]) for at in range(0, len(standings), keys_each)]
        found += [_status(*pair) for pair in zip(some, sums, strict=True) if _tells(budget, pair[1])]
    return found


def _sum(days: Sequence[Standing]) -> Standing:
    first, *others = days
    for each in others:
        first = Standing(
            first.base + each.base,
            first.version,
            first.pending + each.pending,
            first.held + each.held,
            first.attempts + each.attempts,
        )
    return first


def _tells(budget: BudgetInfo, standing: Standing) -> bool:
    """An "each" budget does not tell of values that have neither spent nor held."""
    return not budget.each or bool(standing.base or standing.pending or standing.held)


def _status(applied: Applied, standing: Standing) -> Status:
    return Status(applied, standing.base + standing.pending, standing.pending, standing.held, is_live=True)


def _only_in_ledger(client: Client, budget: BudgetInfo, known: set[Applied], at_ns: int) -> list[Applied]:
    whole = apply_at(budget, "", at_ns // NS_PER_SECOND)
    found: set[Applied] = set()
    starts = _starts(whole)
    for key in scan(client, f"{ledger.PREFIX}{{{budget.tenant_id}}}:{budget.id}:{budget.revision}:*"):
        parts = ledger.key_parts(key)
        if parts is None or parts.window_start_s not in starts:
            continue
        each = apply(budget, parts.value, whole.window_start_s, whole.window_end_s)
        if each not in known:
            found.add(each)
        if len(found) >= MOST_VALUES:
            break
    return list(found)
