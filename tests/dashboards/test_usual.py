"""Verdicts: what is usual, and what is a spike."""

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.usual import Share, spikes, usual_of, wilson_lower

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_usual_is_unknown_until_there_are_two_weeks() -> None:
    assert usual_of([5.0, None, None, None]) is None
    assert usual_of([5.0, 7.0, None, None]) == 6.0


def test_the_lower_bound_of_5_of_20_is_about_11_percent() -> None:
    assert wilson_lower(5, 20) == pytest.approx(0.1119, abs=0.0001)


def test_few_calls_are_no_spike_and_neighbours_are_one() -> None:
    shares = [
        Share(NOON, 19, 19),
        Share(NOON + timedelta(minutes=5), 40, 8),
        Share(NOON + timedelta(minutes=10), 40, 20),
    ]
    found = spikes(shares, 0.005)
    assert [(spike.start, spike.failed, spike.peak) for spike in found] == [(NOON + timedelta(minutes=5), 28, 0.5)]
