"""Forecasts: figures worked out by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from llmobs.budgets.forecast import Spent, forecast

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_an_even_pace_is_carried_to_the_end_and_meets_the_limit_on_its_way() -> None:
    hours = [Spent(NOON - timedelta(hours=n), 10) for n in range(1, 24 * 8)]
    found = forecast(1_000, hours, NOON, NOON + timedelta(hours=48), limit=1_105)
    assert found is not None
    assert found.amount == pytest.approx(1_480, abs=5)
    assert found.passes_at == NOON + timedelta(hours=10, minutes=30)
    assert found.low <= found.amount <= found.high


def test_under_two_days_of_data_there_is_no_forecast() -> None:
    hours = [Spent(NOON - timedelta(hours=n), 10) for n in range(1, 40)]
    assert forecast(400, hours, NOON, NOON + timedelta(days=5)) is None


def test_a_weekend_costs_what_weekends_cost() -> None:
    past = [NOON - timedelta(hours=n) for n in range(1, 24 * 28)]
    hours = [Spent(at, 0 if at.weekday() > 4 else 10) for at in past]
    saturday = datetime(2026, 11, 21, tzinfo=UTC)
    found = forecast(500, hours, NOON, saturday + timedelta(days=2))
    assert found is not None
    assert found.amount == pytest.approx(500 + 120, abs=2)


def test_a_limit_that_is_already_passed_is_passed_no_more() -> None:
    hours = [Spent(NOON - timedelta(hours=n), 10) for n in range(1, 24 * 8)]
    found = forecast(1_000, hours, NOON, NOON + timedelta(hours=48), limit=900)
    assert found is not None
    assert found.passes_at is None
