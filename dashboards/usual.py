"""What is usual, and when something is not: verdicts and spikes.

Usual is the median of the same weekday and clock time in the last four weeks, unknown until there are two of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import median

WEEKS = 4
LEAST_WEEKS = 2
ABOVE_USUAL = 1.3  # × usual, from where on it is worth a look
SPIKE = 3.0  # × usual, by the lower bound of the share
SPIKE_BUCKET = timedelta(minutes=5)
SPIKE_LEAST_CALLS = 20
# While there is no usual, or it is next to none, a lower bound below this is no spike: 2 failures among 20 are none.
SPIKE_FLOOR = 0.03
Z_95 = 1.96
P95_OBJECTIVE_MS = 5_000  # a p95 above 5 s is a problem for real-time use


@dataclass(frozen=True)
class Spike:
    """A run of buckets in which far more calls failed than usual."""

    start: datetime
    end: datetime
    peak: float
    failed: int


@dataclass(frozen=True)
class Share:
    """Calls of a bucket, and how many of them failed."""

    at: datetime
    calls: int
    failed: int


def usual_of(weeks: Sequence[float | None]) -> float | None:
    """The median over the weeks that are known; None until there are LEAST_WEEKS."""
    known = [week for week in weeks if week is not None]
    return median(known) if len(known) >= LEAST_WEEKS else None


def ratio_of(now: float | None, usual: float | None) -> float | None:
    """How many times the usual it is."""
    return now / usual if now is not None and usual else None


def wilson_lower(failed: int, calls: int) -> float:
    """Lower bound of the 95 % interval of a share (Wilson's score interval)."""
    if calls <= 0:
        return 0.0
    share = failed / calls
    centre = share + Z_95**2 / (2 * calls)
    spread = Z_95 * sqrt(share * (1 - share) / calls + Z_95**2 / (4 * calls**2))
    return (centre - spread) / (1 + Z_95**2 / calls)


def spikes(buckets: Iterable[Share], usual: float | None) -> list[Spike]:
    """Runs of spiking buckets; at most one quiet bucket lies between two of a run."""
    threshold = max(SPIKE * (usual or 0.0), SPIKE_FLOOR)
    found: list[Spike] = []
    for bucket in buckets:
        if bucket.calls < SPIKE_LEAST_CALLS or wilson_lower(bucket.failed, bucket.calls) <= threshold:
            continue
        end, share = bucket.at + SPIKE_BUCKET, bucket.failed / bucket.calls
        last = found[-1] if found else None
        if last is not None and bucket.at - last.end <= SPIKE_BUCKET:
            found[-1] = Spike(last.start, end, max(last.peak, share), last.failed + bucket.failed)
        else:
            found.append(Spike(bucket.at, end, share, bucket.failed))
    return found
