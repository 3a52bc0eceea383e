"""Tokens that are on the neighbouring day there: their day ends at another hour, or it counts when a call ends.

A boundary between two days is taken as shifted by h hours when our bills of exactly these hours, moved over it, make
one of the two days agree in every class of the model, and worsen nothing on the other. A model is taken as shifted all
through when that makes more of its days agree than before, and at least half of them. Nothing is guessed from sums
alone: the bills' hours must say it. The smallest such h is taken, late calls first.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from llmobs.reconcile import amounts
from llmobs.reconcile.amounts import Books, Group, Hour, Key, Ours, Part, Where, exact

MOST_HOURS = 14  # zones are at most so far from UTC
LEAST_DAYS = 3  # that must agree before a model is taken as shifted all through
_DAY = timedelta(days=1)
Gaps = dict[Where, int]


@dataclass(frozen=True)
class Shift:
    """How far the provider's days are from ours: `is_late`: our last hours are on its next day."""

    hours: int
    is_late: bool

    def over(self, left: date) -> tuple[date, date, Sequence[int]]:
        """What is moved over the boundary behind this day: from, to, hours."""
        right = left + _DAY
        if self.is_late:
            return left, right, range(24 - self.hours, 24)
        return right, left, range(self.hours)


SHIFTS = [Shift(hours, is_late) for hours in range(1, MOST_HOURS + 1) for is_late in (True, False)]


@dataclass
class _Model:
    """A model's days, and by tier and class how many tokens the provider has more on each."""

    books: Books
    name: str
    gaps: dict[date, Gaps] = field(default_factory=lambda: defaultdict(dict))

    @property
    def lefts(self) -> list[date]:
        """The day before each boundary, the one before the first day too."""
        first, last = min(self.books.days), max(self.books.days)
        return [first + n * _DAY for n in range(-1, (last - first).days + 1)]

    def has_bills(self, day: date) -> bool:
        return any(self.books.hours.get(Hour(self.name, day, hour)) for hour in range(24))

    def moved(self, shift: Shift, left: date) -> dict[Where, Ours]:
        source, _, hours = shift.over(left)
        found: dict[Where, Ours] = {}
        for hour in hours:
            for where, here in self.books.hours.get(Hour(self.name, source, hour), {}).items():
                if here.quantity:
                    found.setdefault(where, Ours()).add(here.quantity, here.priced, here.cost)
        return found


def shifted(books: Books) -> list[Part]:
    """Move our bills to the day that the provider has them on; each move is named on both days."""
    models: dict[str, _Model] = {}
    for key in {*books.theirs, *books.ours}:
        if key.day in books.with_usage:
            model = models.setdefault(key.model, _Model(books, key.model))
            if gap := books.gap(key):
                model.gaps[key.day][key.tier, key.token_class] = gap
    parts = []
    for _, model in sorted(models.items()):
        if model.gaps:
            parts += _all_through(model)
            for left in model.lefts:
                parts += _boundary(model, left)
    return parts


def _all_through(model: _Model) -> list[Part]:
    days = [
        day
        for day in sorted(model.books.with_usage)
        if any(model.books.hours.get(Hour(model.name, day, h)) for h in range(24))
    ]
    before = sum(1 for day in days if not model.gaps.get(day))
    for shift in SHIFTS:
        agree = sum(1 for day in days if not _after(model, shift, day))
        if agree > before and agree >= LEAST_DAYS and 2 * agree >= len(days):
            return [part for left in model.lefts for part in _move(model, shift, left)]
    return []


def _after(model: _Model, shift: Shift, day: date) -> bool:
    """Whether a day has gaps once both of its boundaries are moved."""
    gaps: Gaps = dict(model.gaps.get(day, {}))
    for left in (day - _DAY, day):
        sign = 1 if shift.over(left)[0] == day else -1
        for where, here in model.moved(shift, left).items():
            gaps[where] = gaps.get(where, 0) + sign * here.quantity
    return any(gaps.values())


def _boundary(model: _Model, left: date) -> list[Part]:
    if not (model.gaps.get(left) or model.gaps.get(left + _DAY)):
        return []
    for shift in SHIFTS:
        moved = model.moved(shift, left)
        if moved and _explains(model, shift, left, moved):
            return _move(model, shift, left)
    return []


def _explains(model: _Model, shift: Shift, left: date, moved: dict[Where, Ours]) -> bool:
    source, target, _ = shift.over(left)
    agrees = False
    for day, sign in ((source, 1), (target, -1)):
        if day not in model.books.with_usage:
            continue
        before = model.gaps.get(day, {})
        after = {where: before.get(where, 0) + sign * here.quantity for where, here in moved.items()}
        if any(abs(gap) >= abs(before.get(where, 0)) for where, gap in after.items()):
            return False
        agrees |= not any({**before, **after}.values())
    return agrees


def _move(model: _Model, shift: Shift, left: date) -> list[Part]:
    books = model.books
    source, target, hours = shift.over(left)
    calls: dict[str, int] = defaultdict(int)
    for hour in hours:
        for tier, count in books.hour_calls.get(Hour(model.name, source, hour), {}).items():
            calls[tier] += count
    for tier, count in calls.items():
        books.calls[Group(source, model.name, tier)].count -= count
        books.calls[Group(target, model.name, tier)].count += count
    detail: dict[str, object] = {"hours": len(hours), "from": source.isoformat(), "to": target.isoformat()}
    parts = []
    for where, here in sorted(model.moved(shift, left).items()):
        for day, sign in ((source, -1), (target, 1)):
            if day not in books.days:
                continue
            key = Key(day, model.name, *where)
            books.ours[key].add(sign * here.quantity, sign * here.priced, sign * here.cost)
            model.gaps[day][where] = books.gap(key)
            if not model.gaps[day][where]:
                del model.gaps[day][where]
            count = calls.pop(where[0], 0) if sign == 1 else 0
            amount = sign * exact(here.cost)
            parts.append(Part(key, amounts.TIME_ZONE, amount, sign * here.quantity, count, detail))
    return parts
