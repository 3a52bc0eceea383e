"""What a window will have cost at its end, with an 80 % range, and when it passes a limit.

It is what would be asked for if no limit stopped it: spent + what the coming hours will bring (`budgets.pace`).
None with under LEAST_SLOTS of data: two days, or two hours where slots are of five minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np

from llmobs.budgets.pace import Floats, Ints, Pace, Past, Ratios

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SHORT_STEP = timedelta(minutes=5)  # of an hour's forecast
HISTORY = 56 * DAY  # how far back callers should read
SHORT_HISTORY = 2 * DAY  # in short steps
LEAST_SLOTS = {HOUR: 48, SHORT_STEP: 24}
HORIZON_OF_LIFETIME = 90 * DAY  # a window without an end is looked at this far ahead
PARTS_OF_PATH = (8, 4, 2, 1)  # the range on the way is worked out at these fractions of the horizon


@dataclass(frozen=True)
class Spent:
    """Money or tokens of one slot, named by its start."""

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
class How:
    """How a forecast came about: `rest + expected × middle` is its amount, with `low` and `high` its range.

    `series`: what it was computed from, slot by slot (`amounts`, the first `since`). `rest`: what was spent, less what
    will have left a rolling window at `at`. `ratios.moments`: how many earlier ones they are from; 0: too few, so that
    a third to three times is said.
    """

    at: datetime
    rest: float
    expected: float
    ratios: Ratios
    step: timedelta
    since: datetime
    amounts: tuple[float, ...]

    @property
    def series(self) -> tuple[Spent, ...]:
        return tuple(Spent(self.since + i * self.step, round(amount)) for i, amount in enumerate(self.amounts))

    def times(self, ratio: float) -> int:
        """The sum by one of the ratios."""
        return round(self.rest + self.expected * ratio)


@dataclass(frozen=True)
class Forecast:
    """The sum at the window's end, when it passes the limit (if it does), and the way there.

    Of a rolling window it is the largest sum on the way, since what is old leaves it.
    """

    amount: int
    low: int
    high: int
    passes_at: datetime | None
    points: tuple[Point, ...] = ()
    how: How | None = None  # told with the points


def forecast(
    spent: int,
    history: Sequence[Spent],
    now: datetime,
    end: datetime,
    limit: int | None = None,
    zone: tzinfo = UTC,
    step: timedelta = HOUR,
) -> Forecast | None:
    """The window's end from its spend so far and the slots before `now`; None where too little is known."""
    if not history or end <= now:
        return None
    first = max(min(row.at for row in history), floor(now, step) - HISTORY)
    slots = Slots(first, now, end, zone, step)
    amounts = np.zeros(slots.past)
    for row in history:
        index = slots.index(row.at)
        if 0 <= index < slots.past:
            amounts[index] += row.amount
    return foretell(spent, amounts, slots, limit, with_path=True)


class Slots:
    """The slots of a past and of what is to come, numbered from the past's first; the current one is the first to come.

    Many forecasts of one zone and window share them.
    """

    def __init__(self, first: datetime, now: datetime, end: datetime, zone: tzinfo, step: timedelta) -> None:
        self.first, self.now, self.end, self.step = floor(first, step), now, end, step
        self.past = max((floor(now, step) - self.first) // step, 0)
        self.coming = -((self.first - end) // step) - self.past
        starts = [self.first + index * step for index in range(self.past + self.coming)]
        local = [at.astimezone(zone) for at in starts]
        self.slot_of_week: Ints = np.array([at.weekday() * 24 + at.hour for at in local], dtype=np.int64)
        self.ends = [*starts[self.past + 1 :], end]
        parts = [(min(starts[i] + step, end) - max(starts[i], now)) / step for i in range(self.past, len(starts))]
        self.parts: Floats = np.array(parts)  # of each coming slot that is still to come: 1 but for the first and last

    def index(self, at: datetime) -> int:
        return (at - self.first) // self.step


def floor(at: datetime, step: timedelta) -> datetime:
    """The start of the slot that a moment lies in."""
    seconds = int(at.timestamp()) // int(step.total_seconds()) * int(step.total_seconds())
    return datetime.fromtimestamp(seconds, UTC)


def foretell(
    spent: int,
    amounts: Floats,
    slots: Slots,
    limit: int | None = None,
    with_path: bool = False,
    leaving: Floats | None = None,
) -> Forecast | None:
    """The same from the amounts of the past's slots; those before the first that is not zero tell nothing.

    `leaving`: of a rolling window, what leaves it at the begin of each coming slot.
    """
    known = np.flatnonzero(amounts)
    first = int(known[0]) if len(known) else len(amounts)
    if len(amounts) - first < LEAST_SLOTS[slots.step] or slots.coming < 1:
        return None
    pace = Pace(Past(amounts[first:], slots.slot_of_week[first : slots.past], DAY // slots.step))
    sums = np.cumsum(pace.expected(slots.slot_of_week[slots.past :]) * slots.parts)
    rest = np.full(slots.coming, float(spent)) - (np.cumsum(leaving) if leaving is not None else 0.0)
    at_end = pace.ratios(slots.coming)
    middle = rest + sums * at_end.middle
    top = int(np.argmax(middle))
    low, high = (round(float(rest[top] + sums[top] * ratio)) for ratio in (at_end.low, at_end.high))
    return Forecast(
        amount=round(float(middle[top])),
        low=low,
        high=high,
        passes_at=None if limit is None else _passes_at(spent, middle, slots, limit),
        points=_points(rest, sums, middle, slots, pace, at_end) if with_path else (),
        how=_how(amounts, first, slots, top, rest, sums, at_end) if with_path else None,
    )


def _how(amounts: Floats, first: int, slots: Slots, top: int, rest: Floats, sums: Floats, at_end: Ratios) -> How:
    since = slots.first + first * slots.step
    known = tuple(amounts[first:].tolist())
    return How(slots.ends[top], float(rest[top]), float(sums[top]), at_end, slots.step, since, known)


def _passes_at(spent: int, sums: Floats, slots: Slots, limit: int) -> datetime | None:
    """When the running sum passes the limit, within the slot in which it does."""
    beyond = np.flatnonzero(sums > limit)
    if spent > limit or not len(beyond):
        return None
    index = int(beyond[0])
    before = float(sums[index - 1]) if index else float(spent)
    begin = slots.ends[index - 1] if index else slots.now
    return begin + (slots.ends[index] - begin) * ((limit - before) / (float(sums[index]) - before))


def _points(rest: Floats, sums: Floats, middle: Floats, slots: Slots, pace: Pace, at_end: Ratios) -> tuple[Point, ...]:
    """The way there: the range is worked out at some fractions of the horizon, and drawn straight between them."""
    marks = sorted({max(slots.coming // part, 1) for part in PARTS_OF_PATH})
    known = [at_end if mark == slots.coming else pace.ratios(mark) for mark in marks]
    numbers = np.arange(1, slots.coming + 1)
    low, high = (
        np.maximum.accumulate(sums * np.interp(numbers, marks, [getattr(ratios, name) for ratios in known]))
        for name in ("low", "high")
    )
    rows = zip(slots.ends, middle, rest + low, rest + high, strict=True)
    return tuple(
        Point(at, round(float(amount)), round(float(min(amount, lowest))), round(float(max(amount, highest))))
        for at, amount, lowest, highest in rows
    )
