"""When a budget's window begins and ends: computed from the time of a call, never reset by a job.

Windows follow the calendar of the tenant's time zone: a day is from midnight to midnight there, be it 23 or 25
hours long; a week begins on Monday; "total" is one window that began with the epoch. At the border everything is
integer seconds since 1970.

A rolling window ("7d": today and the six days before it) is kept by its days: `window_bounds` answers the day, and
whoever asks what is left adds the other days up (`other_days`).
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

HOUR, DAY, WEEK, MONTH, TOTAL = "hour", "day", "week", "month", "total"
WINDOWS = (HOUR, DAY, WEEK, MONTH, TOTAL)

# Each day is a key that a call's admission reads: a quarter keeps that below a tenth of a millisecond.
LEAST_DAYS, MOST_DAYS = 2, 92
_ROLLING = re.compile(r"([1-9][0-9]?)d")
SPELLED = f"{', '.join(WINDOWS)}, or {LEAST_DAYS}d to {MOST_DAYS}d for so many rolling days"

# The end of "total": year 9999, so that comparing needs no special case.
NEVER_S = 253_402_300_799

# No window is longer than its entry, daylight saving included: how far back a live one can have begun.
LONGEST_S = {HOUR: 2 * 3600, DAY: 25 * 3600, WEEK: 7 * 86_400 + 3600, MONTH: 31 * 86_400 + 3600}


def rolling_days(window: str) -> int:
    """How many days a rolling window has; 0 for one of the calendar. "7d" is seven: today and six before it."""
    found = _ROLLING.fullmatch(window)
    days = int(found[1]) if found else 0
    return days if LEAST_DAYS <= days <= MOST_DAYS else 0


def is_window(window: str) -> bool:
    return window in WINDOWS or rolling_days(window) > 0


def longest_s(window: str) -> int:
    """How far back what counts now can have begun; not for "total"."""
    days = rolling_days(window)
    return days * 86_400 + 3600 if days else LONGEST_S[window]


def counted_since(window: str, zone: ZoneInfo, at_s: int) -> int:
    """From when on spend counts at `at_s`: the window's begin, of a rolling one its oldest day's."""
    starts_s, days = window_start(window, zone, at_s), rolling_days(window)
    return _midnight(_day(starts_s, zone) - timedelta(days=days - 1), zone) if days else starts_s


@lru_cache(maxsize=1024)
def other_days(days: int, zone: ZoneInfo, day_starts_s: int) -> tuple[int, ...]:
    """Begins of the other days that count with a day in a rolling window: those before it, and the next one.

    The next one because clocks differ: what a gateway ahead of us already holds in it is in a window with our day.
    """
    return days_from(day_starts_s, zone, (*range(1 - days, 0), 1))


def days_from(day_starts_s: int, zone: ZoneInfo, by: Iterable[int]) -> tuple[int, ...]:
    """Begins of the days that are so many days after one, or before it."""
    day = _day(day_starts_s, zone)
    return tuple([_midnight(day + timedelta(days=each), zone) for each in by])


def window_words(window: str) -> str:
    """As pages and messages say it: month, lifetime, 7 days."""
    days = rolling_days(window)
    return f"{days} days" if days else "lifetime" if window == TOTAL else window


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
    day = _day(at_s, zone)
    first, after = _dates(DAY if window == HOUR else window, day)
    starts_s, ends_s = _midnight(first, zone), _midnight(after, zone)
    return _hour(starts_s, ends_s, at_s) if window == HOUR else (starts_s, ends_s)


def _hour(midnight_s: int, next_midnight_s: int, at_s: int) -> tuple[int, int]:
    """Hours counted from midnight, so that a clock put back by half an hour gives no two hours that overlap."""
    starts_s = at_s - (at_s - midnight_s) % 3600
    return starts_s, min(starts_s + 3600, next_midnight_s)


def _dates(window: str, day: date) -> tuple[date, date]:
    if window == DAY or rolling_days(window):
        return day, day + timedelta(days=1)
    if window == WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if window == MONTH:
        first = day.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    raise ValueError(f"{window!r} is no window; use one of {SPELLED}")


def _day(at_s: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_s, zone).date()


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Begin of a day. Where midnight is skipped (clocks put forward at 0:00) the day begins right after the gap.

    With fold=0 a time in a gap is read by the offset before it, which is the instant of the change or after it
    by as much as the time lies within the gap: at 0:00 that is the first instant of the day.
    """
    return int(datetime.combine(day, time.min, zone).astimezone(UTC).timestamp())
