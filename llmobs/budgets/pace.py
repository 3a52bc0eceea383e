"""How fast something is spent: the pattern of the week, the level it stands at, and how wrong that was before.

1. Each slot of the past (an hour, or five minutes) has an amount. A day of more than ODD_DAY times what such days
   cost is odd: alone it counts as a usual one, so that it decides neither pattern nor level; several in a row, or the
   newest, which may be the first of several, are cut to that.
2. The pattern is the mean of each slot of the week, drawn towards that slot of the day while few weeks are known, and
   towards the mean of all while few days are.
3. The level is what was spent over what the pattern says, the recent past counting more: half as much after the time
   that is to be foretold. A level far from the usual thus fades with the horizon: the trend is damped.
4. The same is asked of earlier moments for as many slots ahead, and compared with what then came. The quantiles of
   these ratios are the range, their median corrects the figure. No distribution is assumed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOW, HIGH = 0.10, 0.90  # quantiles of an 80 % range
ODD_DAY = 3.0  # times what such days cost
SLOTS_OF_WEEK = 168
LEAST_HALF_LIFE = 6  # slots
LONGEST_HALF_LIFE_DAYS = 14
MOST_ORIGINS = 60  # earlier moments that are asked
NEAR_HOURS = 3  # of a horizon under a day: only moments of about the same time of day tell
# Few independent pasts give quantiles that are too narrow. The range is widened by their number, and drawn towards that
# of somebody who knows nothing as if this were a third of a past: chosen so that ranges hold 80 % whatever the window
# and the length of the past (`python -m tests.bench forecast`).
WIDENED, WIDENED_SHORT = 3.0, 1.0  # over the number of pasts; horizons under half a day, whose pasts are many
KNOWS_NOTHING = (1 / 3, 1.0, 3.0)  # a third to three times as much
WEIGHT_OF_NOTHING = 0.3


@dataclass(frozen=True)
class Ratios:
    """What came, over what was foretold: low, median and high, as `moments` earlier moments say."""

    low: float
    middle: float
    high: float
    moments: int = 0


@dataclass(frozen=True)
class Past:
    """Amounts of whole slots up to now, oldest first; `slot_of_week` of each, 0 to 167; `day` slots make one."""

    amounts: Floats
    slot_of_week: Ints
    day: int

    def __len__(self) -> int:
        return len(self.amounts)


class Pace:
    """Foretells sums of the coming slots."""

    def __init__(self, past: Past) -> None:
        self.past = past
        self._cut = _without_odd_days(past)
        self._sums, self._cut_sums = (np.concatenate([[0.0], np.cumsum(row)]) for row in (past.amounts, self._cut))
        self._longest = LONGEST_HALF_LIFE_DAYS * past.day

    def expected(self, coming: Ints) -> Floats:
        """Amounts of the coming slots, given by their slot of the week."""
        patterns, levels = self._known(np.array([len(self.past)]), len(coming))
        found: Floats = patterns[0][coming] * levels[0]
        return found

    def ratios(self, slots: int) -> Ratios:
        """How sums over as many slots differed from what would have been foretold."""
        past, length = self.past, len(self.past)
        least = min(7 * past.day, max(length // 3, 1))
        asked = min(slots, max((length - least) * 2 // 3, 1))
        origins = self._origins(asked, least)
        if len(origins) < 2:
            return Ratios(*KNOWS_NOTHING)
        patterns, levels = self._known(origins, asked)
        coming = _upto(origins + asked, past.slot_of_week) - _upto(origins, past.slot_of_week)
        foretold = levels * (coming * patterns).sum(1)
        is_told = foretold > 0
        # As it came, and without odd days: these shall widen the range, not shift the figure.
        ends = origins + asked
        found, calm = (
            (sums[ends] - sums[origins])[is_told] / foretold[is_told] for sums in (self._sums, self._cut_sums)
        )
        if len(found) < 2:
            return Ratios(*KNOWS_NOTHING)
        low, high = (float(q) for q in np.quantile(found, (LOW, HIGH)))
        middle = float(np.median(calm))
        low, high = min(low, middle), max(high, middle)
        is_short = slots < past.day // 2
        pasts = len(found) / 2 if is_short else float(origins[-1] - origins[0]) / asked + 1
        wider = (1 + (WIDENED_SHORT if is_short else WIDENED) / pasts) * (slots / asked) ** 0.5
        low, high = max(middle - (middle - low) * wider, 0.0), middle + (high - middle) * wider
        low = min(low, _towards(KNOWS_NOTHING[0], low, pasts))
        high = max(high, _towards(KNOWS_NOTHING[2], high, pasts))
        return Ratios(low, middle, high, len(found))

    def _known(self, origins: Ints, horizon: int) -> tuple[Floats, Floats]:
        """At each of these moments the pattern (slots of the week in a row each) and the level, from what was before.

        All at once: a hundred times the work of one would be felt where hundreds of budgets are foretold.
        """
        keys, half_life = self.past.slot_of_week, min(max(horizon, LEAST_HALF_LIFE), self._longest)
        # Weights count from the end, not from each moment: the level is a ratio, in which that cancels.
        weights = 0.5 ** (np.arange(len(keys) - 1, -1, -1) / half_life)
        patterns = _patterns(_upto(origins, keys), _upto(origins, keys, self._cut))
        usual = (_upto(origins, keys, weights) * patterns).sum(1)
        came = np.concatenate([[0.0], np.cumsum(weights * self._cut)])[origins]
        levels: Floats = np.divide(came, usual, out=np.zeros(len(origins)), where=usual > 0)
        return patterns, levels

    def _origins(self, slots: int, least: int) -> Ints:
        """Earlier moments, oldest first, after which `slots` slots are known."""
        length, day = len(self.past), self.past.day
        found = np.arange(length - slots, least - 1, -1, dtype=np.int64)
        if slots < day:  # a short horizon: moments at the time of day at which it now begins
            near = max(NEAR_HOURS * day // 24, 1)
            apart = (length - found) % day
            found = found[np.minimum(apart, day - apart) <= near]
        return found[:: max(len(found) // MOST_ORIGINS, 1)][:MOST_ORIGINS][::-1]


def _upto(moments: Ints, keys: Ints, weights: Floats | None = None) -> Floats:
    """By moment (ascending) and slot of the week: how many slots were before, or the sum of their weights."""
    interval = np.searchsorted(moments, np.arange(len(keys)), side="right")
    size = (len(moments) + 1) * SLOTS_OF_WEEK
    sums = np.bincount(interval * SLOTS_OF_WEEK + keys, weights, size).reshape(-1, SLOTS_OF_WEEK)
    found: Floats = np.cumsum(sums[:-1].astype(np.float64), axis=0)
    return found


def _patterns(counts: Floats, sums: Floats) -> Floats:
    """The mean of each slot of the week, drawn towards that of the day and of all."""
    by_day = (len(counts), 7, 24)
    mean = sums.sum(1) / np.maximum(counts.sum(1), 1)
    of_day = (sums.reshape(by_day).sum(1) + mean[:, None]) / (counts.reshape(by_day).sum(1) + 1)
    drawn = 1 / np.maximum(counts, 1) ** 2  # one week counts half, two eight ninths, four all but all
    found: Floats = (sums + drawn * np.tile(of_day, 7)) / (counts + drawn)
    return found


def _towards(nothing: float, known: float, pasts: float) -> float:
    return (pasts * known + WEIGHT_OF_NOTHING * nothing) / (pasts + WEIGHT_OF_NOTHING)


def _without_odd_days(past: Past) -> Floats:
    """The amounts; a day that cost many times what such days cost is taken as one of them, several in a row in part."""
    days = len(past) // past.day
    if days < 3:
        return past.amounts
    head = len(past) - days * past.day
    sums = past.amounts[head:].reshape(days, past.day).sum(1)
    usual = np.full(days, np.median(sums))
    for weekday in range(min(7, days)):
        same = sums[weekday::7]
        if len(same) >= 3:
            usual[weekday::7] = np.maximum(usual[weekday::7], np.median(same))
    is_odd = (sums > ODD_DAY * usual) & (usual > 0)
    beside = np.concatenate([[False], is_odd, [True]])  # the newest day may be the first of many
    is_alone = is_odd & ~beside[:-2] & ~beside[2:]
    most = usual * np.where(is_alone, 1.0, ODD_DAY)
    factors = np.where(is_odd, most / np.where(is_odd, sums, 1.0), 1.0)
    return np.concatenate([past.amounts[:head], past.amounts[head:] * np.repeat(factors, past.day)])
