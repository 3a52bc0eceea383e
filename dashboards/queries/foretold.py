"""A forecast explained: what was spent, what is expected, and out of which days it was computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from dashboards.queries.rollup import total, totals
from dashboards.queries.scope import Cursor, Scope
from dashboards.window import DAY, HOUR, Window, current_month, floor_to, month_end
from llmobs.budgets.definition import USD, BudgetInfo
from llmobs.budgets.forecast import HISTORY, Forecast, Spent, forecast
from llmobs.budgets.history import is_rolled_up
from llmobs.budgets.outlook import Outlook, budget_forecasts


@dataclass(frozen=True)
class Foretold:
    """What will have been spent by `ends_at`. `forecast` None: too little is known.

    `is_laid_out`: sums of whole windows are known of it alone, laid out over their hours as all of the tenant's spend.
    """

    words: str
    unit: str
    spent: int
    forecast: Forecast | None
    ends_at: datetime | None
    zone: ZoneInfo
    limit: int | None = None
    budget_id: int | None = None
    value: str = ""
    is_laid_out: bool = False

    @property
    def shown(self) -> int | None:
        return self.forecast.amount if self.forecast else None

    @property
    def recomputed(self) -> int | None:
        """The same from the steps that are told."""
        how = self.forecast.how if self.forecast else None
        return None if how is None else how.times(how.ratios.middle)

    @property
    def days(self) -> list[tuple[datetime, datetime, int]]:
        """(from, to, amount) of each day of what it was computed from, newest first."""
        how = self.forecast.how if self.forecast else None
        if how is None or not how.series:
            return []
        found: dict[datetime, int] = {}
        for slot in how.series:
            day = floor_to(slot.at, DAY, self.zone)
            found[day] = found.get(day, 0) + slot.amount
        first, last = how.series[0].at, how.series[-1].at + how.step
        starts = sorted(found)
        spans = zip(starts, [*starts[1:], last], strict=True)
        return [(max(start, first), end, found[start]) for start, end in reversed(list(spans))]


def month_forecast(cursor: Cursor, scope: Scope, now: datetime, zone: ZoneInfo, spent: int) -> Forecast | None:
    """What this calendar month will have cost; `spent`: until now."""
    history = scope.over(Window(now - HISTORY, now, zone))
    rows = totals(cursor, history, over_time=True, bucket=HOUR, only=("cost_nanousd",))
    hours = [Spent(row.at, row.cost_nanousd) for row in rows if row.at]
    return forecast(spent, hours, now, month_end(now, zone), zone=zone)


def of_month(cursor: Cursor, scope: Scope, now: datetime, zone: ZoneInfo) -> Foretold:
    """The calendar month of calls with these dimensions, whatever the scope's window."""
    spent = total(cursor, scope.over(current_month(now, zone)), ("cost_nanousd",)).cost_nanousd
    of = ", ".join(f"{name} {value or 'not named'}" for name, value in scope.filters.given.items()) or "all calls"
    found = month_forecast(cursor, scope, now, zone, spent)
    return Foretold(f"Forecast of {of}, this month", USD, spent, found, month_end(now, zone), zone)


def of_budget(cursor: Cursor, budget: BudgetInfo, now: datetime, value: str, spent: int | None) -> Foretold:
    """A budget's window of now, of one value. `spent`: what the ledger says, None where it cannot be asked."""
    known = None if spent is None else {(budget.id, value): spent}
    found = _of(budget_forecasts(cursor, [budget], now, known, with_path=True), value)
    of = f" of {value}" if value else ""
    return Foretold(
        f"Forecast of budget {budget.name}{of}",
        budget.unit,
        found.spent if found else spent or 0,
        found.forecast if found and found.ends_at else None,
        found.ends_at if found else None,
        ZoneInfo(budget.zone),
        found.limit if found else budget.limit,
        budget.id,
        value,
        not is_rolled_up(budget),
    )


def _of(found: Sequence[Outlook], value: str) -> Outlook | None:
    return next((outlook for outlook in found if outlook.value == value), None)
