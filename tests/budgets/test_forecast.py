"""Forecasts: figures worked out by hand."""

import pytest

from llmobs.budgets.forecast import Forecast, forecast
from llmobs.budgets.window import NEVER_S

HOUR, DAY = 3600, 86_400


def hourly(hours: int, amount: int, start_s: int = 0) -> list[tuple[int, int]]:
    return [(start_s + hour * HOUR, amount) for hour in range(hours)]


def test_a_steady_day_ends_where_its_pace_leads() -> None:
    found = forecast(hourly(6, 10), spent=60, limit=200, window_start_s=0, window_end_s=DAY, at_s=6 * HOUR)
    assert found == Forecast(amount=240, exhausts_at_s=20 * HOUR)


def test_a_pace_that_stays_within_the_limit_exhausts_nothing() -> None:
    found = forecast(hourly(6, 10), spent=60, limit=241, window_start_s=0, window_end_s=DAY, at_s=6 * HOUR)
    assert found == Forecast(amount=240, exhausts_at_s=None)


def test_what_is_used_up_is_used_up_now() -> None:
    found = forecast(hourly(6, 10), spent=60, limit=60, window_start_s=0, window_end_s=DAY, at_s=6 * HOUR)
    assert found is not None
    assert found.exhausts_at_s == 6 * HOUR


def test_a_month_follows_its_last_seven_days() -> None:
    series = hourly(7 * 24, 100) + hourly(7 * 24, 1, start_s=7 * DAY)
    found = forecast(series, spent=16_968, limit=10**9, window_start_s=0, window_end_s=28 * DAY, at_s=14 * DAY)
    assert found == Forecast(amount=16_968 + 2 * 168, exhausts_at_s=None)


def test_a_lifetime_has_no_end_but_may_run_out() -> None:
    start_s = 1_000 * DAY
    found = forecast(hourly(48, 1, start_s), 48, 96, window_start_s=0, window_end_s=NEVER_S, at_s=start_s + 2 * DAY)
    assert found == Forecast(amount=None, exhausts_at_s=start_s + 4 * DAY)


@pytest.mark.parametrize(
    ("series", "at_s"),
    [
        ([], 12 * HOUR),
        (hourly(2, 10), 12 * HOUR),
        (hourly(3, 10), 2 * HOUR),
        ([(hour * HOUR, 0) for hour in range(12)], 12 * HOUR),
    ],
)
def test_too_little_data_gives_no_forecast(series: list[tuple[int, int]], at_s: int) -> None:
    assert forecast(series, 0, 100, window_start_s=0, window_end_s=DAY, at_s=at_s) is None
