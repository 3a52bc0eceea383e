"""How budgets stand: limit, spent, held, left. Read by one script in the ledger, never mixed from two stores.

Without the ledger (Valkey is away, or it recovers) the durable spend answers alone, and says so: `is_live` is false,
and what is held or not yet written is unknown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from redis.exceptions import RedisError

from llmobs.budgets import ledger
from llmobs.budgets.definition import Applied, BudgetInfo, apply, apply_at
from llmobs.budgets.ledger import Unavailable
from llmobs.budgets.valkey import AT_ONCE, Client, run, scan
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns

# Values of one "each" budget that are told, the largest spenders first.
MOST_VALUES = 1000
MOST_SCANS = 8  # each brings one tenant's keys; of more tenants one brings all keys


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


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands: each of its values, largest spender first, and all of them together.

    Of many values the largest are told one by one. What the others spent is in `spent` as far as it is
    written, which trails the ledger by a moment; what they hold is not known.
    """

    values: tuple[Status, ...]  # without "each" one: ""
    value_count: int
    spent: int
    is_live: bool

    @property
    def held(self) -> int | None:
        """Of the values that are told; None: unknown."""
        return sum(each.held or 0 for each in self.values) if self.is_live else None


@dataclass(frozen=True, slots=True)
class _Durable:
    """A budget's spend in PostgreSQL: of the largest values, and of those that are not among them."""

    budget: BudgetInfo
    whole: Applied
    spent: dict[Applied, int]
    other_count: int
    other_spent: int

    def standing(self, told: Iterable[Status], most: int, is_live: bool) -> Standing:
        largest_first = sorted(told, key=lambda each: (-each.spent - (each.held or 0), each.applied.value))
        count, spent = len(largest_first) + self.other_count, sum(each.spent for each in largest_first)
        return Standing(tuple(largest_first[:most]), count, spent + self.other_spent, is_live)


def status(cursor: Cursor, client: Client | None, budget: BudgetInfo, at_ns: int) -> Standing:
    """How a budget stands now. `client` None is a Valkey that is known to be away."""
    return statuses(cursor, client, [budget], at_ns)[budget.id]


def statuses(
    cursor: Cursor, client: Client | None, budgets: Sequence[BudgetInfo], at_ns: int, largest: int | None = None
) -> dict[int, Standing]:
    """The same of many budgets, by their ids; PostgreSQL is asked once for all, and so is the ledger for its keys.

    `largest`: only so many values of each, and none without a written call, so that no keys are gone through.
    """
    most = largest or MOST_VALUES
    known = _durable(cursor, budgets, at_ns, most)
    try:
        live = None if client is None else _live(client, known, with_new=largest is None)
    except (RedisError, OSError):
        live = None  # said by is_live
    told = {each.budget.id: _written(each) if live is None else live[each.budget.id] for each in known}
    return {each.budget.id: each.standing(told[each.budget.id], most, live is not None) for each in known}


def _written(durable: _Durable) -> list[Status]:
    return [Status(applied, spent, None, None, is_live=False) for applied, spent in durable.spent.items()]


def _durable(cursor: Cursor, budgets: Sequence[BudgetInfo], at_ns: int, most: int) -> list[_Durable]:
    """Of each budget the spend in PostgreSQL of its values in the current window."""
    if not budgets:
        return []
    wholes = [apply_at(budget, "", at_ns // NS_PER_SECOND) for budget in budgets]
    starts = [[utc_from_ns(at_s * NS_PER_SECOND) for at_s in sorted(_starts(whole))] for whole in wholes]
    cursor.execute(
        "SELECT a.n, s.* FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::timestamptz[], "
        "%s::timestamptz[]) WITH ORDINALITY AS a (tenant_id, budget_id, revision, low, high, n) CROSS JOIN LATERAL ("
        "SELECT value, sum(spent)::bigint AS spent, count(*) OVER (), (sum(sum(spent)) OVER ())::bigint "
        "FROM budget_spend s WHERE s.tenant_id = a.tenant_id "
        "AND s.budget_id = a.budget_id AND s.revision = a.revision AND s.window_start BETWEEN a.low AND a.high "
        "GROUP BY value HAVING sum(spent) <> 0 ORDER BY 2 DESC, value LIMIT %s) s ORDER BY a.n, s.spent DESC, s.value",
        [
            [budget.tenant_id for budget in budgets],
            [budget.id for budget in budgets],
            [budget.revision for budget in budgets],
            [each[0] for each in starts],
            [each[-1] for each in starts],
            most,
        ],
    )
    spent: list[dict[str, int]] = [{} for _ in budgets]
    of_all = [(0, 0) for _ in budgets]
    for number, value, amount, value_count, total in cursor.fetchall():
        spent[number - 1][value] = amount
        of_all[number - 1] = value_count, total
    return [_with_others(*each) for each in zip(budgets, wholes, spent, of_all, strict=True)]


def _with_others(budget: BudgetInfo, whole: Applied, spent: dict[str, int], of_all: tuple[int, int]) -> _Durable:
    found = {apply(budget, value, whole.window_start_s, whole.window_end_s): n for value, n in spent.items()}
    if not budget.each:
        return _Durable(budget, whole, {whole: found.get(whole, 0)}, 0, 0)
    return _Durable(budget, whole, found, of_all[0] - len(found), of_all[1] - sum(found.values()))


def _starts(whole: Applied) -> set[int]:
    """Begins of the windows in the ledger that a budget's own is made of: one, or a rolling one's days."""
    keys = [ledger.key_parts(key) for key in (whole.key, *whole.days)]
    return {parts.window_start_s for parts in keys if parts is not None}


def _live(client: Client, known: Sequence[_Durable], with_new: bool) -> dict[int, list[Status]] | None:
    """The ledger's word on those values, and on values that so far only hold; None while it recovers."""
    only_held = _only_in_ledger(client, known) if with_new else {}
    found: dict[int, list[Status]] = {}
    for each in known:
        told = _told(client, each.budget, [*each.spent, *only_held.get(each.budget.id, ())])
        if told is None:
            return None
        found[each.budget.id] = told
    return found


def _told(client: Client, budget: BudgetInfo, asked: Sequence[Applied]) -> list[Status] | None:
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


def _sum(days: Sequence[ledger.Standing]) -> ledger.Standing:
    first, *others = days
    for each in others:
        first = ledger.Standing(
            first.base + each.base,
            first.version,
            first.pending + each.pending,
            first.held + each.held,
            first.attempts + each.attempts,
        )
    return first


def _tells(budget: BudgetInfo, standing: ledger.Standing) -> bool:
    """An "each" budget does not tell of values that have neither spent nor held."""
    return not budget.each or bool(standing.base or standing.pending or standing.held)


def _status(applied: Applied, standing: ledger.Standing) -> Status:
    return Status(applied, standing.base + standing.pending, standing.pending, standing.held, is_live=True)


def _only_in_ledger(client: Client, known: Sequence[_Durable]) -> dict[int, set[Applied]]:
    """Values of "each" budgets without written spend; not of those of which MOST_VALUES have some.

    All of the ledger's keys are gone through, once for all budgets of a tenant.
    """
    asked = {(each.budget.id, each.budget.revision): each for each in known if each.budget.each}
    asked = {name: each for name, each in asked.items() if len(each.spent) < MOST_VALUES}
    values = {name: {applied.value for applied in each.spent} for name, each in asked.items()}
    starts = {name: _starts(each.whole) for name, each in asked.items()}
    found: dict[int, set[Applied]] = {}
    patterns = _patterns([each.budget for each in asked.values()]) if asked else []
    for key in chain.from_iterable(scan(client, pattern) for pattern in patterns):
        parts = ledger.key_parts(key)
        name = (parts.budget_id, parts.revision) if parts is not None else (0, 0)
        if parts is None or parts.window_start_s not in starts.get(name, ()) or parts.value in values[name]:
            continue
        values[name].add(parts.value)
        durable = asked[name]
        window = durable.whole.window_start_s, durable.whole.window_end_s
        found.setdefault(durable.budget.id, set()).add(apply(durable.budget, parts.value, *window))
    return found


def _patterns(budgets: Sequence[BudgetInfo]) -> list[str]:
    """What matches the keys to go through: those of one budget, of some tenants, or, of many tenants, all."""
    tenant_ids = sorted({budget.tenant_id for budget in budgets})
    if len(budgets) == 1:
        return [f"{ledger.PREFIX}{{{tenant_ids[0]}}}:{budgets[0].id}:{budgets[0].revision}:*"]
    if len(tenant_ids) > MOST_SCANS:
        return [f"{ledger.PREFIX}{{*"]
    return [f"{ledger.PREFIX}{{{tenant_id}}}:*" for tenant_id in tenant_ids]
