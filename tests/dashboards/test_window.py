"""Windows out of addresses, in the tenant's zone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from dashboards import window as windows
from dashboards.window import DAY, HOUR, MINUTE, QUARTER

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 13, 36, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "bucket"), [("1h", MINUTE), ("3h", MINUTE), ("24h", QUARTER), ("7d", HOUR), ("30d", DAY)]
)
def test_buckets_follow_the_length(last: str, bucket: timedelta) -> None:
    assert windows.read({"last": last}, NOW, BERLIN, "24h").bucket == bucket


def test_a_month_begins_at_the_tenants_midnight() -> None:
    window = windows.read({"last": "month"}, NOW, BERLIN, "24h")
    assert window.start == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert window.label == "1–20 Nov 2026"
    assert len(window.starts()) == 20


def test_a_month_is_compared_with_the_same_days_of_the_month_before() -> None:
    before = windows.read({"last": "month"}, NOW, BERLIN, "24h").before()
    assert before.local(before.start).date().isoformat() == "2026-10-01"
    assert before.local(before.end) == datetime(2026, 10, 20, 14, 36, 18, tzinfo=BERLIN)


def test_times_without_an_offset_are_the_tenants() -> None:
    window = windows.read({"from": "2026-11-20T12:00", "to": "2026-11-20T14:00"}, NOW, BERLIN, "24h")
    assert window.query == {"from": "2026-11-20T11:00:00Z", "to": "2026-11-20T13:00:00Z"}


def test_its_own_address_gives_it_again() -> None:
    window = windows.read({"from": "2026-11-18T12:00Z", "to": "2026-11-20T14:00Z"}, NOW, BERLIN, "24h")
    again = windows.read(window.query, NOW, BERLIN, "24h")
    assert (again.start, again.end) == (window.start, window.end)


@pytest.mark.parametrize(
    "asked",
    [{"last": "soon"}, {"last": "0h"}, {"last": "9999d"}, {"from": "x"}, {"from": "2026-11-20", "to": "2026-11-19"}],
)
def test_nonsense_gives_the_default_and_says_why(asked: dict[str, str]) -> None:
    window = windows.read(asked, NOW, BERLIN, "24h")
    assert window.last == "24h"
    assert window.problem


def test_a_day_of_25_hours_is_one_bucket() -> None:
    window = windows.read({"from": "2026-10-20T00:00", "to": "2026-11-05T00:00"}, NOW, BERLIN, "24h")
    starts = window.starts()
    assert len(starts) == 16
    assert max(b - a for a, b in pairwise(starts)) == timedelta(hours=25)


def test_the_same_weekday_of_other_weeks_keeps_its_clock_time() -> None:
    window = windows.read({"from": "2026-10-28T12:00", "to": "2026-10-28T13:00"}, NOW, BERLIN, "24h")
    earlier = window.weeks_ago(1)  # before the clocks went back
    assert earlier.local(earlier.start).hour == 12
    assert window.start - earlier.start == timedelta(days=7, hours=1)
