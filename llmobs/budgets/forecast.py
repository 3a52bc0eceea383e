"""Where a budget will end: its spend so far, and the pace of the last days, carried to the window's end.

A thin forecast without seasons or range: the pace is the mean of the last seven days (each weekday weighs the same),
or of the window so far where that is shorter. Too little data gives none, for a wrong figure is worse than no figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmobs.budgets.window import NEVER_S

PACE_S = 7 * 86_400

# Below these nobody can tell a pace: a tenth of the window (at most a day), and three spells in which something came.
LEAST_SHARE = 10
LEAST_S = 86_400
LEAST_SPELLS = 3


@dataclass(frozen=True, slots=True)
class Forecast:
    """Amount at the window's end, if no limit stopped it (None: the window has no end), and when the limit is met."""

    amount: int | None
    exhausts_at_s: int | None  # None: not in this window


def forecast(
    series: Sequence[tuple[int, int]], spent: int, limit: int, window_start_s: int, window_end_s: int, at_s: int
) -> Forecast | None:
    """Forecast from `series`, the amounts by spell (begin in seconds, amount) in this window; None with too little."""
    known = [(begin_s, amount) for begin_s, amount in series if window_start_s <= begin_s < at_s and amount > 0]
    if not known:
        return None
    has_end = window_end_s < NEVER_S
    # A window without end begins where its data does.
    starts_s = window_start_s if has_end else max(window_start_s, min(begin_s for begin_s, _ in known))
    elapsed_s = at_s - starts_s
    least_s = min(LEAST_S, (window_end_s - window_start_s) // LEAST_SHARE) if has_end else LEAST_S
    if elapsed_s < least_s or len(known) < LEAST_SPELLS:
        return None
    pace_s = min(PACE_S, elapsed_s)
    recent = sum(amount for begin_s, amount in known if begin_s >= at_s - pace_s)
    amount = spent + recent * (window_end_s - at_s) // pace_s if has_end else None
    return Forecast(amount, _exhausts_at(spent, limit, recent, pace_s, at_s, window_end_s))


def _exhausts_at(spent: int, limit: int, recent: int, pace_s: int, at_s: int, window_end_s: int) -> int | None:
    if spent >= limit:
        return at_s
    if recent == 0:
        return None
    passes_s = at_s + -(-(limit - spent) * pace_s // recent)
    return passes_s if passes_s < window_end_s else None
