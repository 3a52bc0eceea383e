"""Series to try forecasts on: the real trace with its hour stretched, and long seasonal ones made of its pieces.

The trace (llmobs/ops/demo/data/ATTRIBUTION.md) is 58 minutes long, so it has no day and no week. It is read with a
slot of the forecast being so many seconds of it: at 5 seconds, 58 minutes are 700 slots, four weeks of hours. What
that tries is the range under real arrivals and sizes, bursts and drifts. Seasons, growth, odd days and what a weekend
does are tried on the long series.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llmobs.budgets.pace import Floats, Pace, Past
from llmobs.ops.demo.trace import Service, read_trace

# Nano-USD per token of the prompt and of the answer, as of a model at 3 and 15 USD per million.
PROMPT, ANSWER = 3_000, 15_000
SERVICES: tuple[Service, ...] = ("conv", "code")
DAY, WEEK = 24, 168
HISTORY = 56 * DAY
PIECE = 12  # slots of the trace in a row: bursts stay together


@dataclass(frozen=True)
class Kind:
    """A window as a number of slots, and how many slots a day has."""

    name: str
    length: int
    day: int = DAY


HOUR_WINDOW = Kind("hour", 12, 288)  # slots of five minutes
WINDOWS = (HOUR_WINDOW, Kind("day", DAY), Kind("week", WEEK), Kind("month", 30 * DAY))


@dataclass(frozen=True)
class Tried:
    """One forecast and what came: sums of the rest of a window; `whole`, the window's sum, says what they are worth."""

    foretold: float
    low: float
    high: float
    came: float
    whole: float

    @property
    def holds(self) -> bool:
        return self.low <= self.came <= self.high


def real(service: Service, seconds: float) -> Floats:
    """What the trace's requests cost by slots of so many seconds."""
    rows = read_trace(service)
    slots = np.array([int((row.at_s - rows[0].at_s) // seconds) for row in rows])
    costs = np.array([row.context_tokens * PROMPT + row.generated_tokens * ANSWER for row in rows], dtype=float)
    found: Floats = np.bincount(slots, costs)[:-1].astype(np.float64)
    return found


def long_series(seed: int, weeks: int = 16) -> Floats:
    """Hours of office days and quieter weekends, growth, a level that wanders, bursts of the trace, odd days."""
    random = np.random.default_rng(seed)
    pieces = real("conv" if seed % 2 else "code", 5 if seed % 3 else 20)
    pieces = pieces / pieces.mean()
    hours = np.arange(weeks * WEEK)
    hour, weekday = hours % DAY, hours // DAY % 7
    season = 0.35 + 0.65 * np.exp(-(((hour - 14) / 5.0) ** 2))
    season *= np.where(weekday < 5, 1, random.uniform(0.1, 0.8))
    growth = np.exp(random.normal(0.02, 0.03) * hours / WEEK)
    wander = np.exp(np.repeat(np.cumsum(random.normal(0, 0.04, weeks * 7)), DAY))
    starts = random.integers(0, len(pieces) - PIECE, size=len(hours) // PIECE)
    noise = np.concatenate([pieces[start : start + PIECE] for start in starts])
    odd = np.ones(len(hours))
    for day in random.integers(0, weeks * 7, size=weeks // 2):
        odd[day * DAY : (day + 1) * DAY] *= random.uniform(2, 8)
    found: Floats = 1e6 * season * growth * wander * noise * odd
    return found


def rolling_origin(amounts: Floats, kind: Kind, every: int, least: int) -> Iterator[Tried]:
    """A forecast of its window's rest at every so many slots, each from what came before it alone."""
    slot_of_week = np.arange(len(amounts)) * DAY // kind.day % WEEK
    for now in range(least, len(amounts) - 1, every):
        end = (now // kind.length + 1) * kind.length
        if end > len(amounts):
            return
        first = max(now - HISTORY, 0)
        pace = Pace(Past(amounts[first:now], slot_of_week[first:now], kind.day))
        foretold = float(pace.expected(slot_of_week[now:end]).sum())
        ratios = pace.ratios(end - now)
        yield Tried(
            foretold * ratios.middle,
            foretold * ratios.low,
            foretold * ratios.high,
            float(amounts[now:end].sum()),
            float(amounts[end - kind.length : end].sum()),
        )
