"""Many sketches at once are what each would be alone."""

import struct
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import psycopg
import pytest

from dashboards.queries import sketches
from dashboards.queries.sketches import sketches_of
from llmobs.rollups.sketch import merge, percentile_ms

QUANTILES = (0.0, 0.5, 0.95, 0.99, 1.0)


def packed(counts: Mapping[int, int]) -> bytes:
    """As `rollup_packed` writes it."""
    words = []
    for bucket, count in counts.items():
        words.append((bucket + 349) << 21 | count & 0xFFFFF)
        if above := count >> 20:
            words.append((bucket + 349) << 21 | 1 << 20 | above & 0xFFFFF)
    return b"".join(struct.pack(">i", word - (1 << 31)) for word in words)


def row(key: str, counts: Mapping[int, int]) -> tuple[Any, ...]:
    return key, packed(counts)


def grouped(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """As `string_agg` groups them."""
    found: dict[str, bytes] = {}
    for key, sent in rows:
        found[key] = found.get(key, b"") + sent
    return list(found.items())


@pytest.mark.parametrize("most_empty", [0, 1_000])  # put in order, and added into all places
@pytest.mark.parametrize("most_calls", [9, 1 << 22])  # in a word for each bucket, and in two
def test_groups_of_several_sketches_are_added_up_and_asked_at_once(
    monkeypatch: pytest.MonkeyPatch, most_empty: int, most_calls: int
) -> None:
    monkeypatch.setattr(sketches, "MOST_EMPTY", most_empty)
    monkeypatch.setattr(sketches, "BLOCK_ROWS", 7)
    random, rows = Random(7), []
    alone: dict[str, dict[int, int]] = {}
    for _ in range(300):
        key = f"group {random.randrange(40)}"
        counts = {bucket: random.randrange(1, most_calls) for bucket in sorted(random.sample(range(-348, 700), 20))}
        merge(alone.setdefault(key, {}), counts, counts.values())
        rows.append(row(key, counts))
    keys, found = sketches_of(grouped(rows), 1)
    assert [(key,) for key in alone] == keys
    assert [found.counts_of(n) for n in range(len(keys))] == [dict(sorted(each.items())) for each in alone.values()]
    assert found.sizes == [sum(each.values()) for each in alone.values()]
    for q in QUANTILES:
        assert found.quantiles_ms(q) == [percentile_ms(each, q) for each in alone.values()]


def test_what_was_taken_back_is_gone_and_a_group_without_calls_has_no_quantile() -> None:
    rows = [row("a", {5: 2, 9: 1}), row("b", {}), row("a", {5: -2}), row("c", {700: 1}), row("d", {3: 1}),
            row("d", {3: -1})]  # fmt: skip
    keys, found = sketches_of(grouped(rows), 1)
    assert keys == [("a",), ("b",), ("c",), ("d",)]
    assert [found.counts_of(n) for n in range(4)] == [{9: 1}, {}, {700: 1}, {}]
    assert found.quantiles_ms(0.5) == [percentile_ms({9: 1}, 0.5), None, percentile_ms({700: 1}, 0.5), None]


def test_nothing_and_empty_sketches_alone_have_no_quantiles() -> None:
    assert sketches_of([], 1)[1].quantiles_ms(0.5) == []
    assert sketches_of([row("a", {})], 1)[1].quantiles_ms(0.5) == [None]


ODD: tuple[dict[int, int], ...] = (
    {}, {0: 1}, {-348: 1, 1507: 2}, {5: (1 << 20) - 1, 6: 1 << 20, 7: (1 << 20) + 1}, {5: 500_000_000_000, 9: 12},
)  # fmt: skip


@pytest.mark.parametrize("counts", ODD)
def test_postgresql_packs_what_is_read(pg: "psycopg.Connection[Any]", counts: dict[int, int]) -> None:
    arrays = [list(counts), list(counts.values())]
    found = pg.execute("SELECT rollup_packed(%s::smallint[], %s::bigint[])", arrays).fetchone()
    assert found == (packed(counts),)
    assert sketches_of([("a", found[0])], 1)[1].counts_of(0) == counts


def test_what_is_taken_back_of_very_many_leaves_the_rest(pg: "psycopg.Connection[Any]") -> None:
    arrays = ([[4, 8], [2_000_000, 7]], [[4, 8], [-1_500_000, -7]], [[4], [-1]])
    rows = [pg.execute("SELECT 'a', rollup_packed(%s::smallint[], %s::bigint[])", each).fetchone() for each in arrays]
    assert sketches_of(grouped([row for row in rows if row]), 1)[1].counts_of(0) == {4: 499_999}
