"""Latency sketches by the thousand: read packed (llmobs.rollups.packed), added up and asked for quantiles at once.

A month of hours by feature is a hundred thousand rows with millions of buckets: nothing here works sketch by sketch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmobs.rollups.packed import ABOVE, BITS, LOWEST, ZERO
from llmobs.rollups.sketch import middle_ms

_WORD = np.dtype(">u4")
_SIGN = 1 << (BITS - 1)
_COUNT = (1 << BITS) - 1
_BUCKET_BITS = 31 - BITS
_WIDE = 64 - _BUCKET_BITS  # bits of a count that a word of four bytes does not hold
MOST_EMPTY = 4  # places to a bucket that is stored, up to which adding into all of them beats putting these in order
BLOCK_ROWS = 2_048  # at once: large arrays are new memory each time, which costs more than all that is done with them

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class _Block:
    """Some groups, one after the other: where each ends, and words of buckets and, in their last `bits`, counts.

    They are in order within each group. A bucket may come several times; no count is below one.
    """

    words: Integers
    bits: int
    ends: Integers

    def sizes(self) -> list[int]:
        found: list[int] = np.diff(self._until(self._running()), prepend=0).tolist()
        return found

    def quantiles_ms(self, q: float) -> list[float | None]:
        running = self._running()
        until = self._until(running)
        before = np.concatenate((np.zeros(1, np.int64), until[:-1]))
        ranks = before + np.maximum(np.ceil(q * (until - before)).astype(np.int64), 1)
        places = np.minimum(np.searchsorted(running, ranks), len(running) - 1)
        known = (until > before).tolist()
        found = self._buckets(self.words[places]) if len(running) else [0] * len(known)
        return [_middle_ms(bucket) if is_known else None for bucket, is_known in zip(found, known, strict=True)]

    def counts_of(self, group: int) -> dict[int, int]:
        words = self.words[int(self.ends[group - 1]) if group else 0 : int(self.ends[group])]
        found: dict[int, int] = {}
        for bucket, count in zip(self._buckets(words), self._counts(words).tolist(), strict=True):
            found[bucket] = found.get(bucket, 0) + count
        return found

    def _buckets(self, words: Integers) -> list[int]:
        found: list[int] = ((words >> self.bits).astype(np.int64) + LOWEST).tolist()
        return found

    def _counts(self, words: Integers) -> Integers:
        return words & ((1 << self.bits) - 1)

    def _running(self) -> Integers:
        """Calls up to each word, this one's included."""
        return np.cumsum(self._counts(self.words), dtype=np.int64)

    def _until(self, running: Integers) -> Integers:
        """Calls in all groups up to each, this one's included."""
        return np.concatenate((np.zeros(1, np.int64), running))[self.ends]


@dataclass(frozen=True, eq=False)
class Sketches:
    """The sketch of each group."""

    blocks: Sequence[_Block]
    _asked: dict[float, list[float | None]] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> list[int]:
        """How many calls are in each."""
        return [size for block in self.blocks for size in block.sizes()]

    def quantiles_ms(self, q: float) -> list[float | None]:
        """Of each group the milliseconds below which the share `q` of its calls lies; None without calls."""
        if q not in self._asked:
            self._asked[q] = [ms for block in self.blocks for ms in block.quantiles_ms(q)]
        return self._asked[q]

    def counts_of(self, group: int) -> dict[int, int]:
        """One group's sketch as `llmobs.rollups.sketch` has it."""
        for block in self.blocks:
            if group < len(block.ends):
                return block.counts_of(group)
            group -= len(block.ends)
        raise IndexError(group)


def sketches_of(rows: Sequence[tuple[Any, ...]], width: int) -> tuple[list[Any], Sketches]:
    """Keys (the first `width` columns of a row) and their sketches, of rows that end in some packed, one after another.

    Each key comes once.
    """
    blocks = []
    for low in range(0, len(rows), BLOCK_ROWS):
        sent = [row[width] for row in rows[low : low + BLOCK_ROWS]]
        lengths = np.fromiter(map(len, sent), np.int64, len(sent)) // _WORD.itemsize
        words = np.frombuffer(b"".join(sent), _WORD).astype(np.uint32) ^ -ZERO
        blocks.append(_block(np.repeat(np.arange(len(sent)), lengths), words, len(sent)))
    return [row[:width] for row in rows], Sketches(blocks)


def one_of(counts: Mapping[int, int]) -> Sketches:
    """A single group's, of counts by bucket."""
    values = np.array(sorted(counts.items()), np.int64).reshape(-1, 2)
    return Sketches([_added_up(values[:, 0] - LOWEST, values[:, 1], 1)])


@cache
def _middle_ms(bucket: int) -> float:
    return middle_ms(bucket)


def _block(groups: Integers, words: Integers, number: int) -> _Block:
    buckets, counts = words >> (BITS + 1), words & _COUNT
    is_above = words & ABOVE
    if is_above.any():  # a count so large that it takes two words, or one of what was taken back
        wide = counts.astype(np.int64)
        wide = np.where(is_above, ((wide ^ _SIGN) - _SIGN) << BITS, wide)
        return _added_up(groups << _BUCKET_BITS | buckets, wide, number)
    if _is_dense(len(words), number):
        return _added_up(groups << _BUCKET_BITS | buckets, counts, number)
    # Group and word in one number, whose order is the groups' and within each the buckets': sorted, it is all there is.
    # Rows come nearly so, of which a stable sort makes use.
    placed = groups << 32 | words
    placed.sort(kind="stable")
    return _Block(placed.astype(np.uint32), BITS + 1, np.searchsorted(placed, np.arange(1, number + 1) << 32))


def _is_dense(words: int, number: int) -> bool:
    return number << _BUCKET_BITS <= MOST_EMPTY * words


def _added_up(places: Integers, counts: Integers, number: int) -> _Block:
    """Counts by place: a group (0 to `number` less one) and, in its last bits, a bucket above LOWEST."""
    if _is_dense(len(places), number):
        sums = np.bincount(places, counts, number << _BUCKET_BITS)  # in floats, which are exact up to 2**53
        places = np.flatnonzero(sums)
        counts = sums[places].astype(np.int64)
    else:
        places, counts = _in_order(places, counts)
    is_left = counts > 0  # what was taken back is as if it had not been there
    if not is_left.all():
        places, counts = places[is_left], counts[is_left]
    ends = np.searchsorted(places, np.arange(1, number + 1) << _BUCKET_BITS)
    buckets = (places & ((1 << _BUCKET_BITS) - 1)).astype(np.uint64)
    return _Block(buckets << _WIDE | counts.astype(np.uint64), _WIDE, ends)


def _in_order(places: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Each place once, ascending, with the sum of its counts."""
    if not len(places):
        return places, counts
    order = np.argsort(places, kind="stable")
    places, counts = places[order], counts[order]
    starts = np.flatnonzero(np.concatenate(([1], np.diff(places))))
    return places[starts], np.add.reduceat(counts, starts)
