"""What a period will cost: spent + what the same hours cost before × how the last day compares with them.

Each coming hour costs the mean of the same hour of the week, or of the day while less than a week is known. It is
what would be asked for if no limit stopped it. Absent with under two days of data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, pstdev

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEAST_KNOWN = 2 * DAY
HISTORY = 28 * DAY  # how far back callers should read
RATIO_BOUNDS = (0.25, 4.0)  # one odd day shall not decide a month
Z_80 = 1.2816  # standard deviations on each side that hold 80 %


@dataclass(frozen=True)
class Spent:
    """Money or tokens of one hour, named by its start."""

    at: datetime
    amount: int


@dataclass(frozen=True)
class Point:
    """The running sum at a moment, with its 80 % range."""

    at: datetime
    amount: int
    low: int
    high: int


@dataclass(frozen=True)
class Forecast:
    """The sum at the period's end, when it passes the limit (if it does), and the way there."""

    amount: int
    low: int
    high: int
    passes_at: datetime | None
    points: tuple[Point, ...]


def forecast(
    spent: int, history: Sequence[Spent], now: datetime, end: datetime, limit: int | None = None
) -> Forecast | None:
    """The period's end from its spend so far and the hours before `now`; None where too little is known."""
    by_hour = {row.at: row.amount for row in history if row.at < now}
    if not by_hour or now - min(by_hour) < LEAST_KNOWN or end <= now:
        return None
    pattern = _Pattern(by_hour, now)
    total, at, passes_at = float(spent), now, None
    points = []
    while at < end:
        until = min(at.replace(minute=0, second=0, microsecond=0) + HOUR, end)
        step = pattern.amount(at) * ((until - at) / HOUR)
        if limit is not None and passes_at is None and total <= limit < total + step:
            passes_at = at + (until - at) * ((limit - total) / step)
        total, at = total + step, until
        spread = Z_80 * pattern.daily_spread * ((at - now) / DAY) ** 0.5
        points.append(Point(at, round(total), round(max(total - spread, spent)), round(total + spread)))
    final = points[-1]
    return Forecast(final.amount, final.low, final.high, passes_at, tuple(points))


class _Pattern:
    """The mean of each hour of the week (or day), scaled to the last day."""

    def __init__(self, by_hour: dict[datetime, int], now: datetime) -> None:
        this_hour = now.replace(minute=0, second=0, microsecond=0)
        first = max(min(by_hour), this_hour - HISTORY)
        hours = [first + n * HOUR for n in range((this_hour - first) // HOUR)]
        self.is_by_week = this_hour - first >= 7 * DAY
        groups: dict[tuple[int, int], list[int]] = {}
        for at in hours:
            groups.setdefault(self._key(at), []).append(by_hour.get(at, 0))
        self.means = {key: fmean(amounts) for key, amounts in groups.items()}
        recent = hours[-24:]
        expected = sum(self.means[self._key(at)] for at in recent)
        actual = sum(by_hour.get(at, 0) for at in recent)
        self.ratio = min(max(actual / expected, RATIO_BOUNDS[0]), RATIO_BOUNDS[1]) if expected else 1.0
        days = [sum(by_hour.get(at, 0) for at in hours[i : i + 24]) for i in range(len(hours) % 24, len(hours), 24)]
        self.daily_spread = pstdev(days) if len(days) > 1 else 0.0

    def amount(self, at: datetime) -> float:
        return self.means.get(self._key(at), 0.0) * self.ratio

    def _key(self, at: datetime) -> tuple[int, int]:
        return (at.weekday() if self.is_by_week else 0, at.hour)
