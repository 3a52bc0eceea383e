"""Latency sketches by the thousand: read packed (llmobs.rollups.packed), added up and asked for quantiles at once.

A month of hours by feature is a hundred thousand rows with millions of buckets: nothing here works sketch by sketch.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmobs.rollups.packed import ABOVE, BITS, LOWEST, ZERO
from llmobs.rollups.sketch import middle_ms

_WORD = np.dtype(">i4")
_SIGN = 1 << (BITS - 1)
MOST_EMPTY = 4  # places to a bucket that is stored, up to which adding into all of them beats putting these in order

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sketches:
    """The sketch of each group, one after the other: its buckets, ascending, their counts, and where it ends."""

    buckets: Integers
    counts: Integers
    ends: Integers
    _asked: dict[float, list[float | None]] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> list[int]:
        """How many calls are in each."""
        found: list[int] = np.diff(self._up_to(self.ends), prepend=0).tolist()
        return found

    def quantiles_ms(self, q: float) -> list[float | None]:
        """Of each group the milliseconds below which the share `q` of its calls lies; None without calls."""
        if q not in self._asked:
            self._asked[q] = self._quantiles_ms(q)
        return self._asked[q]

    def counts_of(self, group: int) -> dict[int, int]:
        """One group's sketch as `llmobs.rollups.sketch` has it."""
        part = slice(int(self.ends[group - 1]) if group else 0, int(self.ends[group]))
        return dict(zip(self.buckets[part].tolist(), self.counts[part].tolist(), strict=True))

    def _up_to(self, ends: Integers) -> Integers:
        """Calls in all buckets before these places."""
        until: Integers = np.concatenate(([0], np.cumsum(self.counts)))
        return until[ends]

    def _quantiles_ms(self, q: float) -> list[float | None]:
        until = self._up_to(self.ends)
        before = np.concatenate(([0], until[:-1]))
        ranks = before + np.maximum(np.ceil(q * (until - before)).astype(np.int64), 1)
        places = np.searchsorted(np.cumsum(self.counts), ranks)
        known = (until > before).tolist()
        found = self.buckets[np.minimum(places, len(self.buckets) - 1)].tolist() if len(self.buckets) else known
        middles = {bucket: middle_ms(bucket) for bucket in set(found)}
        return [middles[bucket] if is_known else None for bucket, is_known in zip(found, known, strict=True)]


def sketches_of(rows: Sequence[tuple[Any, ...]], width: int) -> tuple[list[Any], Sketches]:
    """Keys (the first `width` columns of a row) and their sketches, of rows that end in one packed."""
    numbers: dict[Hashable, int] = {}
    groups = np.array([numbers.setdefault(row[:width], len(numbers)) for row in rows], np.int64)
    order = np.argsort(groups, kind="stable").tolist()
    sent = [rows[place][width] for place in order]
    words = np.frombuffer(b"".join(sent), _WORD).astype(np.int64) - ZERO
    counts = words & ((1 << BITS) - 1)
    is_above = words & ABOVE != 0
    if is_above.any():  # a count so large that it takes two words
        counts = np.where(is_above, ((counts ^ _SIGN) - _SIGN) << BITS, counts)
    lengths = [len(each) // _WORD.itemsize for each in sent]
    buckets = (words >> (BITS + 1)) + LOWEST
    return list(numbers), added_up(np.repeat(groups[order], lengths), buckets, counts, len(numbers))


def added_up(groups: Integers, buckets: Integers, counts: Integers, number: int) -> Sketches:
    """Counts by group (0 to `number` less one) and bucket."""
    if not len(buckets):
        return Sketches(buckets, counts, np.zeros(number, np.int64))
    least = int(buckets.min())
    wide = int(buckets.max()) - least + 1
    places = groups * wide + (buckets - least)
    if number * wide <= MOST_EMPTY * len(places):
        sums = np.bincount(places, counts, number * wide)  # in floats, which are exact up to 2**53
        places = np.flatnonzero(sums)
        counts = sums[places].astype(np.int64)
    else:
        places, counts = _in_order(places, counts)
    is_left = counts > 0  # what was taken back is as if it had not been there
    if not is_left.all():
        places, counts = places[is_left], counts[is_left]
    return Sketches(places % wide + least, counts, np.searchsorted(places, np.arange(1, number + 1) * wide))


def _in_order(places: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Each place once, ascending, with the sum of its counts."""
    steps = np.diff(places)
    if (steps < 0).any():  # within groups alone: nearly sorted, which a stable sort makes use of
        order = np.argsort(places, kind="stable")
        places, counts = places[order], counts[order]
        steps = np.diff(places)
    if steps.all():
        return places, counts
    starts = np.flatnonzero(np.concatenate(([1], steps)))
    return places[starts], np.add.reduceat(counts, starts)
