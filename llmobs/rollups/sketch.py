"""The latency sketch: counts in logarithmic buckets of ratio 1.02. Merging is adding; percentiles are within 1 %.

Bucket i holds the durations of m milliseconds with ceil(log(m) / log(1.02)) = i, that is 1.02**(i-1) < m <= 1.02**i.
Its middle, 2 * 1.02**i / 2.02, is at most 0.99 % away from anything in it.
"""

from collections.abc import Iterable
from math import ceil, log

RATIO = 1.02
LEAST_MS = 0.001  # shorter durations share this one's bucket

_LOG_RATIO = log(RATIO)
_NS_PER_MS = 1_000_000

Sketch = dict[int, int]  # bucket: count; a count may be negative in a delta that takes back


def bucket(duration_ns: int) -> int:
    """The bucket of a duration."""
    return ceil(log(max(duration_ns / _NS_PER_MS, LEAST_MS)) / _LOG_RATIO)


def middle_ms(index: int) -> float:
    """What a duration in this bucket is taken to be, in milliseconds."""
    return 2.0 * RATIO**index / (1.0 + RATIO)


def add(sketch: Sketch, index: int, count: int = 1) -> None:
    """Count into a bucket; a bucket at zero leaves."""
    total = sketch.get(index, 0) + count
    if total:
        sketch[index] = total
    else:
        sketch.pop(index, None)


def merge(into: Sketch, buckets: Iterable[int], counts: Iterable[int]) -> None:
    """Add a stored sketch (two arrays side by side)."""
    for index, count in zip(buckets, counts, strict=True):
        add(into, index, count)


def arrays(sketch: Sketch) -> tuple[list[int], list[int]]:
    """The sketch as it is stored: buckets in order, and their counts."""
    order = sorted(sketch)
    return order, [sketch[index] for index in order]


def percentile_ms(sketch: Sketch, fraction: float) -> float | None:
    """The duration that `fraction` of the calls do not exceed, in milliseconds; None when nothing is counted."""
    total = sum(sketch.values())
    if total <= 0:
        return None
    rank = max(1, ceil(fraction * total))
    for index in sorted(sketch):
        rank -= sketch[index]
        if rank <= 0:
            return middle_ms(index)
    return middle_ms(max(sketch))
