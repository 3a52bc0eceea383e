"""Many sketches at once are what each would be alone."""

import struct
from collections.abc import Mapping
from random import Random
from typing import Any

from dashboards.queries.sketches import sketches_of
from llmobs.rollups.sketch import merge, percentile_ms

QUANTILES = (0.0, 0.5, 0.95, 0.99, 1.0)


def sent(values: list[int], form: str) -> bytes:
    """As `array_send` writes it."""
    if not values:
        return struct.pack(">3i", 0, 0, 20)
    elements = b"".join(struct.pack(f">i{form}", struct.calcsize(form), value) for value in values)
    return struct.pack(">5i", 1, 0, 20, len(values), 1) + elements


def row(key: str, counts: Mapping[int, int]) -> tuple[Any, ...]:
    return key, sent(list(counts), "h"), sent(list(counts.values()), "q")


def test_groups_that_come_in_any_order_are_added_up_and_asked_at_once() -> None:
    random, rows = Random(7), []
    alone: dict[str, dict[int, int]] = {}
    for _ in range(300):
        key = f"group {random.randrange(40)}"
        counts = {bucket: random.randrange(1, 9) for bucket in sorted(random.sample(range(-350, 700), 20))}
        merge(alone.setdefault(key, {}), counts, counts.values())
        rows.append(row(key, counts))
    keys, found = sketches_of(rows, 1)
    assert [(key,) for key in alone] == keys
    assert [found.counts_of(n) for n in range(len(keys))] == [dict(sorted(each.items())) for each in alone.values()]
    assert found.sizes == [sum(each.values()) for each in alone.values()]
    for q in QUANTILES:
        assert found.quantiles_ms(q) == [percentile_ms(each, q) for each in alone.values()]


def test_what_was_taken_back_is_gone_and_a_group_without_calls_has_no_quantile() -> None:
    rows = [row("a", {5: 2, 9: 1}), row("b", {}), row("a", {5: -2}), row("c", {700: 1}), row("d", {3: 1}),
            row("d", {3: -1})]  # fmt: skip
    keys, found = sketches_of(rows, 1)
    assert keys == [("a",), ("b",), ("c",), ("d",)]
    assert [found.counts_of(n) for n in range(4)] == [{9: 1}, {}, {700: 1}, {}]
    assert found.quantiles_ms(0.5) == [percentile_ms({9: 1}, 0.5), None, percentile_ms({700: 1}, 0.5), None]


def test_nothing_and_empty_sketches_alone_have_no_quantiles() -> None:
    assert sketches_of([], 1)[1].quantiles_ms(0.5) == []
    assert sketches_of([row("a", {})], 1)[1].quantiles_ms(0.5) == [None]
