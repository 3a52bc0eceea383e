"""When a budget's window begins and ends: computed from the time of a call, never reset by a job.

Windows follow the calendar of the tenant's time zone: a day is from midnight to midnight there, be it 23 or 25
hours long; a week begins on Monday; "total" is one window that began with the epoch. At the border everything is
integer seconds since 1970.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

HOUR, DAY, WEEK, MONTH, TOTAL = "hour", "day", "week", "month", "total"
WINDOWS = (HOUR, DAY, WEEK, MONTH, TOTAL)

# The end of "total": year 9999, so that comparing needs no special case.
NEVER_S = 253_402_300_799

# No window is longer than its entry, daylight saving included: how far back a live one can have begun.
LONGEST_S = {HOUR: 2 * 3600, DAY: 25 * 3600, WEEK: 7 * 86_400 + 3600, MONTH: 31 * 86_400 + 3600}


def window_start(window: str, zone: ZoneInfo, at_s: int) -> int:
    """Begin of the window that holds `at_s`, in seconds since 1970."""
    return window_bounds(window, zone, at_s)[0]


def window_end(window: str, zone: ZoneInfo, at_s: int) -> int:
    """First second after the window that holds `at_s`; NEVER_S for "total"."""
    return window_bounds(window, zone, at_s)[1]


def window_bounds(window: str, zone: ZoneInfo, at_s: int) -> tuple[int, int]:
    """Begin and end of the window that holds `at_s`."""
    if window == TOTAL:
        return 0, NEVER_S
    day = datetime.fromtimestamp(at_s, zone).date()
    first, after = _dates(DAY if window == HOUR else window, day)
    starts_s, ends_s = _midnight(first, zone), _midnight(after, zone)
    return _hour(starts_s, ends_s, at_s) if window == HOUR else (starts_s, ends_s)


def _hour(midnight_s: int, next_midnight_s: int, at_s: int) -> tuple[int, int]:
    """Hours counted from midnight, so that a clock put back by half an hour gives no two hours that overlap."""
    starts_s = at_s - (at_s - midnight_s) % 3600
    return starts_s, min(starts_s + 3600, next_midnight_s)


def _dates(window: str, day: date) -> tuple[date, date]:
    if window == DAY:
        return day, day + timedelta(days=1)
    if window == WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if window == MONTH:
        first = day.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    raise ValueError(f"{window!r} is no window; use one of {', '.join(WINDOWS)}")


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Begin of a day. Where midnight is skipped (clocks put forward at 0:00) the day begins right after the gap.

    With fold=0 a time in a gap is read by the offset before it, which is the instant of the change or after it
    by as much as the time lies within the gap: at 0:00 that is the first instant of the day.
    """
    return int(datetime.combine(day, time.min, zone).astimezone(UTC).timestamp())
