"""The durable side of budgets: what the writer adds to `budget_spend` in the transaction that commits the bills.

1. `current_budgets` first in the transaction: a shared lock, and definitions that are not older than it.
2. Bills are written, each with its `budgets`.
3. `add_spend` adds them up per budget, value and window, and records thresholds passed.
4. After the commit the folds go to the ledger (`ledger.fold`), in their order.

`count_new_budgets` takes the same lock alone, so it waits until every commit under way is done, and every later one
knows the budget as counted: each bill is in the sum or is added to it, never both, never neither. All of this asks
for READ COMMITTED, PostgreSQL's default: each statement must see what was committed while it waited for the lock.
"""

# ruff: noqa: S608 - names in the SQL are constants of this file, values are always bound

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from llmobs.budgets.definition import Applied, BudgetInfo, Budgets, Connection, load
from llmobs.budgets.ledger import Fold
from llmobs.budgets.taken import billed_by_value
from llmobs.budgets.window import NEVER_S, counted_since, days_from, rolling_days, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns
from llmobs.spans.bill import HoldLike
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.config_version import config_version

# Advisory lock: shared by every commit of bills, taken alone to count a budget. The number says nothing.
BUDGETS_LOCK = 0x6275646765740001


class Billed(msgspec.Struct, frozen=True, gc=False):
    """What budgets must know of a bill; a reversal has negative figures. `cost_nanousd` of one without a price is what
    its attempt held, so that such calls use a budget up too; None takes nothing.

    `model` is the one that was sent upstream (what the hold was matched by). `attempt` is the span id of a gateway's
    attempt, `holds` what its Begin says it holds. An attempt that cost nothing passes 0 and 0, so that it is dropped.
    """

    tenant_id: int
    attribution: Attribution
    model: str
    provider_name: str
    begin_ns: int
    cost_nanousd: int | None
    tokens: int
    attempt: bytes | None = None
    holds: Sequence[HoldLike] = ()
    prompt_version: str = ""


@dataclass(frozen=True, slots=True)
class SpendKey:
    """A row of `budget_spend`; sorted by all of it (IN_ORDER), so that every writer locks rows in the same order."""

    tenant_id: int
    budget_id: int
    revision: int
    value: str
    window_start_s: int


IN_ORDER = attrgetter("tenant_id", "budget_id", "revision", "value", "window_start_s")


def current_budgets(conn: Connection, budgets: Budgets) -> Budgets:
    """These budgets, or newer ones if the configuration has changed; they stay true until the transaction ends.

    Call it first in the transaction: one that holds other locks while it waits here could deadlock.
    """
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (BUDGETS_LOCK,))
    return budgets if config_version(conn) == budgets.version else load(conn)


CountedIn = list[tuple[SpendKey, BudgetInfo]]


def match(budgets: Budgets, bills: Iterable[Billed]) -> list[CountedIn]:
    """For each bill the keys that it is added to, each with its budget; bills that the same applies to share a list."""
    known: dict[int, tuple[tuple[Applied, ...], CountedIn]] = {}  # by the identity of what applied, which it keeps
    return [_counted_in(budgets, bill) if bill.holds else _alike(budgets, bill, known) for bill in bills]


def _alike(budgets: Budgets, bill: Billed, known: dict[int, tuple[tuple[Applied, ...], CountedIn]]) -> CountedIn:
    """Of a bill that holds nothing: what applies to it says it all."""
    applied = _applying(budgets, bill)
    found = known.get(id(applied))
    if found is None:
        found = known[id(applied)] = applied, _counted_in(budgets, bill)
    return found[1]


def budget_ids(counted: CountedIn) -> list[int]:
    """Which budgets a bill is counted in (`bill.budgets`)."""
    return sorted({key.budget_id for key, _ in counted})


@dataclass(slots=True)
class _Alike:
    """What bills that are counted in the same come to together."""

    counted: CountedIn
    cost_nanousd: int = 0
    tokens: int = 0


def add_spend(
    conn: Connection, budgets: Budgets, bills: Sequence[Billed], matched: list[CountedIn] | None = None
) -> list[Fold]:
    """Add bills to the durable spend, in the caller's transaction; answers what the ledger must learn once it commits.

    A budget that an attempt holds is the one it is counted in, under the same key; others are matched. `matched` is
    what `match` said by these budgets; it holds unless the configuration has changed since.
    """
    current = current_budgets(conn, budgets)
    if matched is None or current is not budgets:
        matched = match(current, bills)
    budgets = current
    amounts: dict[SpendKey, int] = {}
    attempts: dict[SpendKey, list[str]] = {}
    alike: dict[int, _Alike] = {}  # by the identity of what they are counted in
    for bill, counted in zip(bills, matched, strict=True):
        if bill.attempt is None and not bill.holds:
            sums = alike.get(id(counted))
            if sums is None:
                sums = alike[id(counted)] = _Alike(counted)
            sums.cost_nanousd += bill.cost_nanousd or 0
            sums.tokens += bill.tokens
            continue
        keys = [_hold_key(bill.tenant_id, hold) for hold in bill.holds]
        for key, budget in counted:
            amounts[key] = amounts.get(key, 0) + budget.amount(bill.cost_nanousd, bill.tokens)
            if key not in keys:
                keys.append(key)
        if bill.attempt is not None:
            for key in keys:
                attempts.setdefault(key, []).append(bill.attempt.hex())
    for sums in alike.values():
        for key, budget in sums.counted:
            amounts[key] = amounts.get(key, 0) + budget.amount(sums.cost_nanousd, sums.tokens)
    rows = _upsert(conn, _ADD, {key: amount for key, amount in amounts.items() if amount})
    _record_thresholds(conn, budgets, rows)
    return _folds(rows, attempts)


def add_amounts(conn: Connection, budgets: Budgets, amounts: Mapping[SpendKey, int]) -> None:
    """Add what is summed up already, by budgets that `current_budgets` gave in this transaction."""
    _record_thresholds(conn, budgets, _upsert(conn, _ADD, {key: amount for key, amount in amounts.items() if amount}))


def _counted_in(budgets: Budgets, bill: Billed) -> CountedIn:
    """Keys that a bill is added to, each with its budget."""
    found: dict[int, tuple[SpendKey, BudgetInfo]] = {}
    for hold in bill.holds:
        budget = budgets.get(hold.budget_id)
        if budget is not None and budget.revision == hold.revision and budget.is_counted:
            found[budget.id] = _hold_key(bill.tenant_id, hold), budget
    for applied in _applying(budgets, bill):
        budget = budgets.get(applied.budget.id)
        if budget is not None and budget.id not in found:
            key = SpendKey(bill.tenant_id, budget.id, budget.revision, applied.value, applied.window_start_s)
            found[budget.id] = key, budget
    return list(found.values())


def _applying(budgets: Budgets, bill: Billed) -> tuple[Applied, ...]:
    return budgets.applying(
        bill.tenant_id, bill.attribution, bill.model, bill.provider_name, bill.begin_ns, bill.prompt_version
    )


def _hold_key(tenant_id: int, hold: HoldLike) -> SpendKey:
    return SpendKey(tenant_id, hold.budget_id, hold.revision, hold.value, hold.window_start_s)


_ROWS = """
INSERT INTO budget_spend AS s (tenant_id, budget_id, revision, value, window_start, spent, version)
SELECT t, b, r, v, w, a, 1
FROM unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::text[], %s::timestamptz[], %s::bigint[])
    AS given (t, b, r, v, w, a)
ON CONFLICT (tenant_id, budget_id, revision, value, window_start)
"""
_RETURNED = "updated_at = now() RETURNING tenant_id, budget_id, revision, value, window_start, spent, version"
_ADD = f"{_ROWS} DO UPDATE SET spent = s.spent + excluded.spent, version = s.version + 1, {_RETURNED}"
_SET = f"{_ROWS} DO UPDATE SET spent = excluded.spent, version = s.version + 1, {_RETURNED}"


@dataclass(frozen=True, slots=True)
class Spent:
    """A row of `budget_spend` after a change."""

    key: SpendKey
    spent: int
    version: int


def _upsert(conn: Connection, statement: str, amounts: dict[SpendKey, int]) -> list[Spent]:
    """Write rows in sorted order, which is the order of their locks."""
    if not amounts:
        return []
    keys = sorted(amounts, key=IN_ORDER)
    columns = (
        [key.tenant_id for key in keys],
        [key.budget_id for key in keys],
        [key.revision for key in keys],
        [key.value for key in keys],
        [utc_from_ns(key.window_start_s * NS_PER_SECOND) for key in keys],
        [amounts[key] for key in keys],
    )
    return [spent_row(row) for row in conn.execute(statement, columns)]


def spent_row(row: tuple[Any, ...]) -> Spent:
    """A row of (tenant_id, budget_id, revision, value, window_start, spent, version)."""
    tenant_id, budget_id, revision, value, window_start, spent, version = row
    starts_s = ns_from_utc(window_start) // NS_PER_SECOND
    return Spent(SpendKey(tenant_id, budget_id, revision, value, starts_s), spent, version)


def fold_of(row: Spent, attempts: Sequence[str] = ()) -> Fold:
    """What the ledger must learn of a row."""
    return _fold(row.key, row.spent, row.version, attempts)


def _fold(key: SpendKey, base: int | None, version: int, attempts: Sequence[str], announces: bool = False) -> Fold:
    return Fold(
        key.tenant_id,
        key.budget_id,
        key.revision,
        key.window_start_s,
        key.value,
        base,
        version,
        tuple(dict.fromkeys(attempts)),
        announces,
    )


def _folds(rows: list[Spent], attempts: dict[SpendKey, list[str]]) -> list[Fold]:
    """A fold per row, and one that only drops where attempts held what their bills did not change."""
    changed = {row.key for row in rows}
    folds = [fold_of(row, attempts.get(row.key, ())) for row in rows]
    return folds + [_fold(key, None, -1, names) for key, names in attempts.items() if key not in changed]


_THRESHOLD = """
INSERT INTO threshold_event (tenant_id, budget_id, revision, value, window_start, threshold, spent, limit_amount)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


# Column by column and day by day: an index finds each row, where it finds nothing for a record or behind a range.
_WHOSE = "tenant_id = %s AND budget_id = %s AND revision = %s AND value = %s AND window_start = ANY(%s)"
_NEWEST = f"SELECT max(window_start) FROM budget_spend WHERE {_WHOSE}"
# Of the days of a rolling window: what they come to, and which thresholds were passed in it before.
_ROLLING = f"""
SELECT (SELECT COALESCE(sum(spent), 0)::bigint FROM budget_spend WHERE {_WHOSE}),
       ARRAY(SELECT threshold FROM threshold_event WHERE {_WHOSE})
"""


def _record_thresholds(conn: Connection, budgets: Budgets, rows: list[Spent]) -> None:
    """One event per threshold, value and window, committed with the spend that reached it (an outbox).

    Of a rolling window once in its days: an event of a day speaks for as many days as the window has. What comes late,
    for a day that is over, is told with the newest day that it counts with.
    """
    events = []
    for row in rows:
        budget = budgets.get(row.key.budget_id)
        if budget is None or row.spent <= 0:
            continue
        at_s, spent, told = row.key.window_start_s, row.spent, list[int]()
        if rolling_days(budget.window):
            at_s, spent, told = _rolled(conn, budget, row)
        window_start = utc_from_ns(at_s * NS_PER_SECOND)
        key = (row.key.tenant_id, row.key.budget_id, row.key.revision, row.key.value, window_start)
        limit = budget.limit_in(at_s, row.key.value)
        limit = budget.limit if limit is None else limit
        reached = [each for each in budget.thresholds if spent * 100 >= each * limit and each not in told]
        events += [(*key, percent, spent, limit) for percent in reached]
    if events:
        with conn.cursor() as cursor:
            cursor.executemany(_THRESHOLD, events)


def _rolled(conn: Connection, budget: BudgetInfo, row: Spent) -> tuple[int, int, list[int]]:
    """The newest day that has spend and counts with the row's, what its days come to, and what was told in them."""
    key, days = row.key, rolling_days(budget.window)
    who = (key.tenant_id, key.budget_id, key.revision, key.value)
    newest = conn.execute(_NEWEST, (*who, _days(budget, key.window_start_s, range(days)))).fetchone()
    assert newest is not None
    newest_s = ns_from_utc(newest[0]) // NS_PER_SECOND
    counted = _days(budget, newest_s, range(1 - days, 1))
    found = conn.execute(_ROLLING, (*who, counted, *who, counted)).fetchone()
    assert found is not None
    return newest_s, int(found[0]), list(found[1])


def _days(budget: BudgetInfo, day_starts_s: int, by: range) -> list[datetime]:
    return [utc_from_ns(at_s * NS_PER_SECOND) for at_s in days_from(day_starts_s, ZoneInfo(budget.zone), by)]


# ---------------------------------------------------------------- counting


def count_new_budgets(conn: Connection, at_ns: int) -> list[Fold]:
    """Sum what was billed in the current window of each budget that is not counted yet, and mark it counted.

    In a transaction of its own; answers the folds to send after its commit. Costs one look when there is none.
    """
    if conn.execute(_UNCOUNTED + " LIMIT 1").fetchone() is None or not _uncounted(load(conn)):
        return []
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (BUDGETS_LOCK,))
    new = {budget_id for (budget_id,) in conn.execute(_UNCOUNTED + " FOR UPDATE")}
    # Loaded under the row locks: what is summed is what is marked.
    budgets = load(conn)
    counted = [budget for budget in _uncounted(budgets) if budget.id in new]
    folds = [fold for budget in counted for fold in _count(conn, budgets, budget, at_ns // NS_PER_SECOND)]
    conn.execute(
        "UPDATE budgets_budget SET counted_at = %s WHERE id = ANY(%s)",
        (utc_from_ns(at_ns), [budget.id for budget in counted]),
    )
    return folds


_UNCOUNTED = "SELECT id FROM budgets_budget WHERE is_active AND counted_at IS NULL"


def _uncounted(budgets: Budgets) -> list[BudgetInfo]:
    """Those to count; a faulty definition, which `load` leaves out, is not tried again and again."""
    return [budget for budget in budgets.infos if not budget.is_counted]


def _count(conn: Connection, budgets: Budgets, budget: BudgetInfo, at_s: int) -> list[Fold]:
    zone = ZoneInfo(budget.zone)
    starts_s, ends_s = window_bounds(budget.window, zone, counted_since(budget.window, zone, at_s))
    last_s = _last_bill_s(conn, budget.tenant_id, starts_s)
    amounts: dict[SpendKey, int] = {}
    # The current window (of a rolling one its days), and later ones where clocks ahead of ours have billed already.
    while starts_s <= last_s:
        for value, amount in billed_by_value(conn, budget, starts_s, ends_s).items():
            amounts[SpendKey(budget.tenant_id, budget.id, budget.revision, value, starts_s)] = amount
        if ends_s == NEVER_S:
            break
        starts_s, ends_s = window_bounds(budget.window, zone, ends_s)
    rows = _upsert(conn, _SET, amounts)
    _record_thresholds(conn, budgets, rows)
    return [*(fold_of(row) for row in rows), announcement(budget)]


def announcement(budget: BudgetInfo) -> Fold:
    """Comes after the folds of all its values: from then on, what the ledger has no key for has spent nothing."""
    return _fold(SpendKey(budget.tenant_id, budget.id, budget.revision, "", 0), None, -1, (), announces=True)


def _last_bill_s(conn: Connection, tenant_id: int, from_s: int) -> int:
    row = conn.execute(
        "SELECT max(begin_at) FROM bill WHERE tenant_id = %s AND begin_at >= %s",
        (tenant_id, utc_from_ns(from_s * NS_PER_SECOND)),
    ).fetchone()
    return ns_from_utc(row[0]) // NS_PER_SECOND if row and row[0] else -1
