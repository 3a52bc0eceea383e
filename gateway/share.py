"""Limits while Valkey is away: each gateway keeps to its share, the limit divided by the number of gateways.

The same sliding windows as in Valkey (limits/scripts.py), in memory, begun anew each time. What the others took before
is not known here, and Valkey does not learn what was taken meanwhile: around an outage up to twice the limit may pass.
Fails neither open (no limit at all) nor closed (every caller refused).
"""

from collections.abc import Sequence

from llmobs.limits.admission import Exceeded, Taken
from llmobs.limits.definition import AppliedLimit
from llmobs.limits.units import CONCURRENT, STEPS

MOST_WINDOWS = 20_000  # some hundred bytes each; when full, the one that was begun first is forgotten


class _Window:
    """What was taken in each step of one limit's window."""

    __slots__ = ("steps", "sum")

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}
        self.sum = 0

    def drop_before(self, first: int) -> None:
        for number in [number for number in self.steps if number < first]:
            self.sum -= self.steps.pop(number)

    def add(self, number: int, amount: int) -> None:
        self.steps[number] = max(0, self.steps.get(number, 0) + amount)
        self.sum = sum(self.steps.values())

    def frees(self, needed: int) -> int | None:
        """The step with whose end so much is given back; None: all of it is not enough."""
        for number in sorted(self.steps):
            needed -= self.steps[number]
            if needed <= 0:
                return number
        return None


class Share:
    """This process's part of every limit."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def take(
        self, asked: Sequence[tuple[AppliedLimit, int]], at_once: Sequence[int], gateways: int, now_s: int
    ) -> Taken | Exceeded:
        """Take of all limits or of none. `at_once`: how many calls of this process are under way under each."""
        left, back = [], []
        for index, (applied, amount) in enumerate(asked):
            limit = _share(applied.limit.limit, gateways)
            if applied.limit.unit == CONCURRENT:
                used, wait, returns = at_once[index], 1 if limit else None, 1
            else:
                used, wait, returns = self._standing(applied, amount, limit, now_s)
            if used + amount > limit:
                return Exceeded(index, used, limit, wait)
            left.append(limit - used - amount)
            back.append(returns)
        for applied, amount in asked:
            if applied.limit.unit != CONCURRENT:
                self._window(applied.key).add(now_s // STEPS[applied.limit.per][0], amount)
        return Taken(now_s, tuple(left), tuple(back))

    def settle(self, taken_at_s: int, changes: Sequence[tuple[AppliedLimit, int]]) -> None:
        """Change what was taken to what was used."""
        for applied, change in changes:
            window = self._windows.get(applied.key)
            if window is not None and change:
                window.add(taken_at_s // STEPS[applied.limit.per][0], change)

    def forget(self) -> None:
        """Valkey is back."""
        self._windows.clear()

    def _standing(self, applied: AppliedLimit, amount: int, limit: int, now_s: int) -> tuple[int, int | None, int]:
        """What is used, seconds until the amount fits (None: never), seconds until something comes back."""
        step_s, steps = STEPS[applied.limit.per]
        now = now_s // step_s
        window = self._window(applied.key)
        window.drop_before(now - steps)

        def seconds(number: int) -> int:
            return max(1, (number + steps + 1) * step_s - now_s)

        frees = window.frees(window.sum + amount - limit) if amount <= limit else None
        oldest = min(window.steps, default=now)
        return window.sum, None if frees is None else seconds(frees), seconds(oldest)

    def _window(self, key: str) -> _Window:
        found = self._windows.get(key)
        if found is None:
            if len(self._windows) >= MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            found = self._windows[key] = _Window()
        return found


def _share(limit: int, gateways: int) -> int:
    """Rounded up, so that a small limit still lets something through; 0 stays 0."""
    return -(-limit // max(gateways, 1))
