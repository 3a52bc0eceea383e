"""The capacity plan's tables are what the measured figures say."""

import pytest

from tests.bench import capacity
from tests.bench.capacity import PAGE, Plan, put_in
from tests.bench.costs import ALL


def test_the_pages_tables_are_made_of_the_figures() -> None:
    """Else: python -m tests.bench.capacity --write."""
    assert put_in(PAGE.read_text()) == PAGE.read_text()


def test_each_figure_says_what_measured_it() -> None:
    for cost in ALL:
        assert cost.value > 0
        assert cost.source.startswith("python -m tests.bench ")


def test_needs_grow_with_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = Plan(1_000), Plan(10_000)
    for name in ("gateway", "valkey", "writing", "postgres", "bytes_a_day"):
        assert getattr(large, name) == pytest.approx(10 * getattr(small, name))
    assert small.hosts >= 2
    assert Plan(1_000, chunks=30).gateway > small.gateway
    assert Plan(1_000, spans=2).postgres == pytest.approx(2 * small.postgres)
    assert (capacity._bytes(1.5e12), capacity._bytes(2e6), capacity._cores(0.5)) == ("1.5 TB", "2 MB", "0.50")


def test_a_page_without_a_mark_is_told() -> None:
    with pytest.raises(ValueError, match="0 marks"):
        put_in("# Capacity\n")
