"""How budgets will stand: for all of them at once, from two statements (three where one is of an hour).

`budget_forecasts` is what pages show, what REST answers and what alerts compare with their thresholds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from llmobs.budgets.definition import BudgetInfo
from llmobs.budgets.forecast import (
    HISTORY,
    HORIZON_OF_LIFETIME,
    HOUR,
    SHORT_HISTORY,
    SHORT_STEP,
    Forecast,
    Slots,
    floor,
    foretell,
)
from llmobs.budgets.history import TENANT_WIDE, Cursor, Sums, amounts_of, is_rolled_up, laid_out, shape_of, sums_of
from llmobs.budgets.pace import Floats
from llmobs.budgets.window import HOUR as HOUR_WINDOW
from llmobs.budgets.window import NEVER_S, other_days, rolling_days, window_bounds

MOST_FORETOLD = 200  # values of one "each" budget, the largest spenders first


@dataclass(frozen=True)
class Outlook:
    """One budget for one value ("" without "each"), in its unit. `amount` … are None where too little is known."""

    budget: BudgetInfo
    value: str
    spent: int
    limit: int | None  # of this window, with what it was raised by; None: released
    ends_at: datetime | None  # when the foretold sum is reached at the latest; None: a lifetime has no end
    forecast: Forecast | None

    @property
    def amount(self) -> int | None:
        """The expected sum at the window's end (of a rolling one, the largest within as many days ahead)."""
        return self.forecast.amount if self.forecast and self.ends_at else None

    @property
    def low(self) -> int | None:
        return self.forecast.low if self.forecast and self.ends_at else None

    @property
    def high(self) -> int | None:
        return self.forecast.high if self.forecast and self.ends_at else None

    @property
    def exhausts_at(self) -> datetime | None:
        """When the limit is expected to be passed; None where it is not, or is passed already."""
        return self.forecast.passes_at if self.forecast else None


def budget_forecasts(
    cursor: Cursor,
    budgets: Iterable[BudgetInfo],
    now: datetime,
    spent: Mapping[tuple[int, str], int] | None = None,
    with_path: bool = False,
) -> list[Outlook]:
    """How each budget, and each value that has spent of one for each, will stand; in the budgets' order.

    `spent`, by budget and value: what the ledger says, where it is known better than by the committed bills.
    """
    counted = [budget for budget in budgets if budget.is_counted]
    short = [budget for budget in counted if budget.window == HOUR_WINDOW]
    long = [budget for budget in counted if budget.window != HOUR_WINDOW]
    found: dict[int, list[Outlook]] = {}
    for some, step, history in ((short, SHORT_STEP, SHORT_HISTORY), (long, HOUR, HISTORY)):
        if some:
            for outlook in _Together(cursor, some, now, step, history, spent or {}, with_path).outlooks():
                found.setdefault(outlook.budget.id, []).append(outlook)
    return [outlook for budget in counted for outlook in found.get(budget.id, [])]


class _Together:
    """Budgets with slots of one length: read at once, then foretold one by one."""

    def __init__(
        self,
        cursor: Cursor,
        budgets: Sequence[BudgetInfo],
        now: datetime,
        step: timedelta,
        history: timedelta,
        spent: Mapping[tuple[int, str], int],
        with_path: bool,
    ) -> None:
        self.budgets, self.now, self.step, self.spent, self.with_path = budgets, now, step, spent, with_path
        self.first = floor(now, step) - history
        self.sums = sums_of(cursor, budgets, now, history)
        self.amounts = amounts_of(cursor, budgets, Slots(self.first, now, now, UTC, step))
        self._slots: dict[tuple[str, datetime], Slots] = {}
        self._empty: Floats = np.zeros(int((floor(now, step) - self.first) / step))

    def outlooks(self) -> list[Outlook]:
        return [self._outlook(budget, value) for budget in self.budgets for value in self._values(budget)]

    def _values(self, budget: BudgetInfo) -> list[str]:
        if not budget.each:
            return [""]
        known = {value for id_, value in (*self.sums, *self.spent) if id_ == budget.id}
        return sorted(known, key=lambda value: (-self._spent(budget, value), value))[:MOST_FORETOLD]

    def _spent(self, budget: BudgetInfo, value: str) -> int:
        key = budget.id, value
        return self.spent[key] if key in self.spent else self.sums[key].spent if key in self.sums else 0

    def _outlook(self, budget: BudgetInfo, value: str) -> Outlook:
        zone = ZoneInfo(budget.zone)
        starts_s, ends_s = window_bounds(budget.window, zone, int(self.now.timestamp()))
        limit, spent = budget.limit_in(starts_s, value), self._spent(budget, value)
        end = None if ends_s == NEVER_S else datetime.fromtimestamp(ends_s, UTC)
        days = rolling_days(budget.window)
        if days:  # until today itself leaves
            end = (datetime.fromtimestamp(starts_s, zone) + timedelta(days=days)).astimezone(UTC)
        slots = self._slots_until(end or self.now + HORIZON_OF_LIFETIME, budget.zone)
        leaving = self._leaving(budget, value, slots, starts_s) if days else None
        amounts = self._amounts(budget, value, slots)
        foretold = foretell(spent, amounts, slots, limit, self.with_path, leaving)
        return Outlook(budget, value, spent, limit, end, foretold)

    def _slots_until(self, end: datetime, zone: str) -> Slots:
        found = self._slots.get((zone, end))
        if found is None:
            found = self._slots[zone, end] = Slots(self.first, self.now, end, ZoneInfo(zone), self.step)
        return found

    def _amounts(self, budget: BudgetInfo, value: str, slots: Slots) -> Floats:
        if is_rolled_up(budget):
            return self.amounts.get((budget.id, value), self._empty)
        shape = self.amounts.get((TENANT_WIDE, shape_of(budget)), self._empty)
        return laid_out(self.sums.get((budget.id, value), Sums({}, {})), shape, slots, budget)

    def _leaving(self, budget: BudgetInfo, value: str, slots: Slots, today_s: int) -> Floats:
        """What leaves a rolling window at each midnight to come: its oldest day first."""
        found, zone = np.zeros(slots.coming), ZoneInfo(budget.zone)
        days = rolling_days(budget.window)
        sums = self.sums.get((budget.id, value), Sums({}, {})).now
        for at_s in other_days(days, zone, today_s)[:-1]:  # but for the next one
            day = datetime.fromtimestamp(at_s, zone)
            leaves = (day + timedelta(days=days)).astimezone(UTC)
            index = slots.index(leaves) - slots.past
            if 0 <= index < slots.coming:
                found[index] += sums.get(day.astimezone(UTC), 0)
        return found
