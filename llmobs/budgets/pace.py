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
    """What came, over what was foretold: low, median and high."""

    low: float
    middle: float
    high: float


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

    def expected(self, coming: Ints) -> Floats:
        """Amounts of the coming slots, given by their slot of the week."""
        return self._expected(coming, len(self.past), self._weights(len(coming)))

    def ratios(self, slots: int) -> Ratios:
        """How sums over as many slots differed from what would have been foretold."""
        past, length = self.past, len(self.past)
        least = min(7 * past.day, max(length // 3, 1))
        asked = min(slots, max((length - least) * 2 // 3, 1))
        weights = self._weights(asked)
        found, calm = [], []  # as it came, and without odd days: these shall widen the range, not shift the figure
        origins = self._origins(asked, least)
        for origin in origins:
            foretold = self._expected(past.slot_of_week[origin : origin + asked], origin, weights).sum()
            if foretold > 0:
                found.append(past.amounts[origin : origin + asked].sum() / foretold)
                calm.append(self._cut[origin : origin + asked].sum() / foretold)
        if len(found) < 2:
            return Ratios(*KNOWS_NOTHING)
        is_short = slots < past.day // 2
        pasts = len(found) / 2 if is_short else (origins[0] - origins[-1]) / asked + 1
        low, high = (float(q) for q in np.quantile(np.array(found), (LOW, HIGH)))
        middle = float(np.median(np.array(calm)))
        low, high = min(low, middle), max(high, middle)
        wider = (1 + (WIDENED_SHORT if is_short else WIDENED) / pasts) * (slots / asked) ** 0.5
        low, high = max(middle - (middle - low) * wider, 0.0), middle + (high - middle) * wider
        return Ratios(
            min(low, _towards(KNOWS_NOTHING[0], low, pasts)), middle, max(high, _towards(KNOWS_NOTHING[2], high, pasts))
        )

    def _expected(self, coming: Ints, end: int, weights: Floats) -> Floats:
        """The same from what came before slot `end` alone."""
        keys, amounts = self.past.slot_of_week[:end], self._cut[:end]
        pattern, recent = _pattern(keys, amounts), weights[len(weights) - end :]
        usual = recent @ pattern[keys]
        found: Floats = pattern[coming] * ((recent @ amounts) / usual if usual > 0 else 0.0)
        return found

    def _weights(self, horizon: int) -> Floats:
        """How much each slot of the past tells of the level, the newest last."""
        half_life = min(max(horizon, LEAST_HALF_LIFE), LONGEST_HALF_LIFE_DAYS * self.past.day)
        found: Floats = 0.5 ** (np.arange(len(self.past) - 1, -1, -1) / half_life)
        return found

    def _origins(self, slots: int, least: int) -> list[int]:
        """Earlier moments, newest first, after which `slots` slots are known."""
        last = len(self.past) - slots
        if last < least:
            return []
        day = self.past.day
        if slots >= day:
            step = max((last - least) // MOST_ORIGINS, 1)
            return list(range(last, least - 1, -step))[:MOST_ORIGINS]
        near = max(NEAR_HOURS * day // 24, 1)
        # Not the newest moments but those at the time of day at which the horizon now begins.
        found = [t for t in range(last, least - 1, -1) if _away(len(self.past) - t, day) <= near]
        return found[:: max(len(found) // MOST_ORIGINS, 1)][:MOST_ORIGINS]


def _towards(nothing: float, known: float, pasts: float) -> float:
    return (pasts * known + WEIGHT_OF_NOTHING * nothing) / (pasts + WEIGHT_OF_NOTHING)


def _away(slots: int, day: int) -> int:
    """How far apart two moments' times of day are."""
    return min(slots % day, -slots % day)


def _pattern(keys: Ints, amounts: Floats) -> Floats:
    """The mean of each slot of the week, drawn towards that of the day and of all."""
    sums = np.bincount(keys, amounts, SLOTS_OF_WEEK)
    counts = np.bincount(keys, minlength=SLOTS_OF_WEEK)
    mean = amounts.mean() if len(amounts) else 0.0
    of_day = (sums.reshape(7, 24).sum(0) + mean) / (counts.reshape(7, 24).sum(0) + 1)
    drawn = 1 / np.maximum(counts, 1) ** 2  # one week counts half, two eight ninths, four all but all
    found: Floats = (sums + drawn * np.tile(of_day, 7)) / (counts + drawn)
    return found


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
