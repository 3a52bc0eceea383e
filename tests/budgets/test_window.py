"""Windows of budgets: calendar in the tenant's zone, computed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmobs.budgets.window import LONGEST_S, NEVER_S, WINDOWS, window_bounds, window_end, window_start

BERLIN = "Europe/Berlin"


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("window", "zone", "at", "start", "end"),
    [
        ("hour", "UTC", "2026-11-21T09:08:40Z", "2026-11-21T09:00:00Z", "2026-11-21T10:00:00Z"),
        ("hour", "Asia/Kolkata", "2026-11-21T09:08:40Z", "2026-11-21T08:30:00Z", "2026-11-21T09:30:00Z"),
        ("day", "UTC", "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("day", BERLIN, "2026-11-20T23:30:00Z", "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"),
        ("week", "UTC", "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("week", "UTC", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        ("month", BERLIN, "2026-03-31T22:30:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"),
        ("month", "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("month", "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        # the day in which clocks are put forward has 23 hours, that in which they are put back 25
        ("day", BERLIN, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("day", BERLIN, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        # midnight itself is skipped: the day begins at one o'clock
        ("day", "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        # the hour that comes twice is two windows
        ("hour", BERLIN, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        ("hour", BERLIN, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
    ],
)
def test_a_window_is_the_calendar_s_in_the_tenant_s_zone(window: str, zone: str, at: str, start: str, end: str) -> None:
    assert window_start(window, ZoneInfo(zone), seconds(at)) == seconds(start)
    assert window_end(window, ZoneInfo(zone), seconds(at)) == seconds(end)


def test_total_begins_with_the_epoch_and_never_ends() -> None:
    assert window_bounds("total", ZoneInfo(BERLIN), seconds("2026-11-21T09:08:40Z")) == (0, NEVER_S)


@given(
    window=st.sampled_from(WINDOWS),
    zone=st.sampled_from(["UTC", BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata"]),
    at_s=st.integers(min_value=seconds("2010-01-01T00:00:00Z"), max_value=seconds("2040-01-01T00:00:00Z")),
)
def test_windows_meet_without_gap_or_overlap(window: str, zone: str, at_s: int) -> None:
    place = ZoneInfo(zone)
    start, end = window_bounds(window, place, at_s)
    assert start <= at_s < end
    assert window_bounds(window, place, start) == (start, end)
    assert window_bounds(window, place, end - 1) == (start, end)
    if window != "total":
        assert end - start <= LONGEST_S[window]
