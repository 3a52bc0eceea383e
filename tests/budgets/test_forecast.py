"""Forecasts: figures worked out by hand, and how often the 80 % range holds what comes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from llmobs.budgets.forecast import HISTORY, HOUR, SHORT_STEP, Slots, Spent, forecast, foretell
from tests.budgets.series import DAY, SERVICES, WINDOWS, Kind, long_series, real, rolling_origin

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday
KINDS = {kind.name: kind for kind in WINDOWS}


def hours(number: int, amount: Callable[[datetime], int] = lambda at: 10) -> list[Spent]:
    """As many hours up to noon."""
    past = [NOON - timedelta(hours=n) for n in range(1, number + 1)]
    return [Spent(at, amount(at)) for at in past]


def test_an_even_pace_is_carried_to_the_end_and_meets_the_limit_on_its_way() -> None:
    found = forecast(1_000, hours(24 * 8), NOON, NOON + timedelta(hours=48), limit=1_105)
    assert found is not None
    assert found.amount == pytest.approx(1_480, abs=5)
    assert found.passes_at == NOON + timedelta(hours=10, minutes=30)
    assert found.low <= found.amount <= found.high


def test_under_two_days_of_data_there_is_no_forecast() -> None:
    assert forecast(400, hours(40), NOON, NOON + timedelta(days=5)) is None


def test_what_is_known_for_three_days_has_a_wide_range_for_a_month() -> None:
    found = forecast(720, hours(72, lambda at: 10 if at.hour % 5 else 30), NOON, NOON + timedelta(days=27))
    assert found is not None
    assert found.high - found.amount > 0.2 * found.amount


def test_a_weekend_costs_what_weekends_cost() -> None:
    week = hours(24 * 28, lambda at: 0 if at.weekday() > 4 else 10)
    saturday = datetime(2026, 11, 21, tzinfo=UTC)
    found = forecast(500, week, NOON, saturday + timedelta(days=2))
    assert found is not None
    assert found.amount == pytest.approx(500 + 120, abs=10)


def test_a_limit_that_is_already_passed_is_passed_no_more() -> None:
    found = forecast(1_000, hours(24 * 8), NOON, NOON + timedelta(hours=48), limit=900)
    assert found is not None
    assert found.passes_at is None


def test_one_odd_day_does_not_decide_the_month() -> None:
    """PAINS 53: a forecast of exhaustion is believed only if yesterday's accident does not move it by weeks."""
    odd = NOON - timedelta(days=3)
    calm = forecast(0, hours(24 * 28), NOON, NOON + timedelta(days=20))
    shaken = forecast(0, hours(24 * 28, lambda at: 100 if odd <= at < odd + timedelta(days=1) else 10), NOON,
                      NOON + timedelta(days=20))  # fmt: skip
    assert calm is not None
    assert shaken is not None
    assert calm.amount == pytest.approx(4_800, rel=0.01)
    assert shaken.amount == pytest.approx(calm.amount, rel=0.2)


def test_a_growing_spend_is_foretold_higher_than_its_mean() -> None:
    growing = hours(24 * 42, lambda at: 10 + (at - NOON).days // 7 + 6)
    found = forecast(0, growing, NOON, NOON + timedelta(days=7))
    assert found is not None
    assert found.amount > 168 * 14  # the mean of six weeks is 13.5 an hour, the last week is at 15


def test_a_daily_budget_is_foretold_to_its_own_midnight() -> None:
    """PAINS 30: a projection that knows only months says nothing of a daily budget."""
    zone = ZoneInfo("America/New_York")
    midnight = datetime(2026, 11, 21, tzinfo=zone).astimezone(UTC)
    found = forecast(120, hours(24 * 14), NOON, midnight, limit=200, zone=zone)
    assert found is not None
    assert found.amount == pytest.approx(120 + 10 * 17, abs=2)  # noon in UTC is 7:00 in New York
    assert found.passes_at == NOON + timedelta(hours=8)
    assert found.points[-1].at == midnight


def test_an_hour_is_foretold_in_slots_of_five_minutes() -> None:
    """PAINS 30, of the shortest window."""
    now = NOON + timedelta(minutes=20)
    slots = Slots(NOON - timedelta(hours=12), now, NOON + HOUR, UTC, SHORT_STEP)
    found = foretell(40, np.full(slots.past, 10.0), slots, limit=100)
    assert found is not None
    assert found.amount == pytest.approx(40 + 80, abs=1)
    assert found.passes_at == NOON + timedelta(minutes=50)


def test_days_of_twenty_three_and_twenty_five_hours_keep_their_slots() -> None:
    zone = ZoneInfo("Europe/Berlin")
    before, after = (datetime(2026, 10, day, tzinfo=zone).astimezone(UTC) for day in (25, 26))
    slots = Slots(before - HISTORY, before, after, zone, HOUR)
    assert slots.coming == 25
    assert slots.parts.sum() == 25


def test_a_part_of_an_hour_costs_a_part() -> None:
    now = NOON + timedelta(minutes=45)
    found = forecast(0, hours(24 * 8), now, NOON + timedelta(hours=2))
    assert found is not None
    assert found.amount == pytest.approx(12.5, abs=1)


def test_of_a_rolling_window_the_largest_sum_on_the_way_counts() -> None:
    slots = Slots(NOON - timedelta(days=10), NOON, NOON + timedelta(hours=48), UTC, HOUR)
    leaving = np.zeros(slots.coming)
    leaving[24] = 1_000
    found = foretell(1_100, np.full(slots.past, 10.0), slots, limit=1_300, leaving=leaving)
    assert found is not None
    assert found.amount == pytest.approx(1_340, abs=5)
    assert found.passes_at == NOON + timedelta(hours=20)


def test_the_range_holds_80_percent_of_what_the_real_trace_brings() -> None:
    """Of both services of the trace, at 5 seconds to a slot: 58 minutes are four weeks of hours."""
    held = {
        (kind, service): held_of(real(service, 5), KINDS[kind], 5)
        for kind in ("hour", "day", "week")
        for service in SERVICES
    }
    assert np.mean(list(held.values())) == pytest.approx(0.80, abs=0.05), held
    assert all(0.65 < share < 0.95 for share in held.values()), held


@pytest.mark.parametrize("name", ["day", "week", "month"])
def test_the_range_holds_80_percent_of_long_seasonal_series(name: str) -> None:
    held = [held_of(long_series(seed), KINDS[name], 61) for seed in range(200, 206)]
    assert np.mean(held) == pytest.approx(0.80, abs=0.07), held


def held_of(amounts: "np.ndarray[tuple[int], np.dtype[np.float64]]", kind: Kind, every: int) -> float:
    return float(np.mean([tried.holds for tried in rolling_origin(amounts, kind, every, 2 * DAY)]))
