"""The sketch: percentiles within 1 % of the exact ones, however it was merged."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from llmobs.rollups import sketch

durations_ns = st.lists(st.integers(min_value=1_000, max_value=10**13), min_size=1, max_size=300)


def of(durations: list[int]) -> sketch.Sketch:
    made: sketch.Sketch = {}
    for duration in durations:
        sketch.add(made, sketch.bucket(duration))
    return made


@given(durations_ns, st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_within_one_percent(durations: list[int], fraction: float) -> None:
    exact_ms = sorted(durations)[max(1, ceil(fraction * len(durations))) - 1] / 1e6
    found = sketch.percentile_ms(of(durations), fraction)
    assert found is not None
    assert abs(found - exact_ms) <= 0.01 * exact_ms


@given(durations_ns, durations_ns)
def test_merging_is_the_same_as_counting_together(some: list[int], others: list[int]) -> None:
    merged = of(some)
    sketch.merge(merged, *sketch.arrays(of(others)))
    assert merged == of(some + others)


def test_taking_back_all_leaves_nothing() -> None:
    made = of([5_000_000])
    sketch.add(made, sketch.bucket(5_000_000), -1)
    assert made == {}
    assert sketch.percentile_ms(made, 0.5) is None
