"""From-to of a page: read from the URL, cut into buckets in the tenant's zone, shifted to what it is compared with.

`?last=24h` (also `1h`, `7d`, `month`) ends now; `?from=…&to=…` is fixed, ISO 8601, in the tenant's zone unless it
says otherwise. The end is exclusive. Buckets by length: up to 3 h a minute, 2 d a quarter, 14 d an hour, else a day.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE, QUARTER, HOUR, DAY = timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
BUCKET_UP_TO = ((timedelta(hours=3), MINUTE), (timedelta(days=2), QUARTER), (timedelta(days=14), HOUR))
LONGEST = timedelta(days=400)  # the default retention: nothing is older
CHOICES = ("1h", "3h", "24h", "7d", "30d", "month")
UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
UNIT_WORDS = {"m": "min", "h": "h", "d": "d"}


@dataclass(frozen=True)
class Window:
    """A time range, exclusive at its end, with the zone that its days are in."""

    start: datetime
    end: datetime
    zone: ZoneInfo
    last: str = ""  # as in the URL; empty: fixed times
    problem: str = ""  # why the URL's window was not taken

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def bucket(self) -> timedelta:
        """How long a bucket is; a day is of the calendar, so that one of 23 or 25 hours is one."""
        return next((size for most, size in BUCKET_UP_TO if self.length <= most + size), DAY)

    @property
    def is_by_day(self) -> bool:
        return self.bucket == DAY

    @property
    def query(self) -> dict[str, str]:
        """The URL parameters that give this window again."""
        if self.last:
            return {"last": self.last}
        return {"from": iso(self.start), "to": iso(self.end)}

    @property
    def fixed_query(self) -> dict[str, str]:
        """The same with fixed times: what a copied link says."""
        return {"from": iso(self.start), "to": iso(self.end)}

    @property
    def label(self) -> str:
        """As the window picker shows it."""
        if self.last and self.last != "month":
            return f"Last {self.last[:-1]} {UNIT_WORDS[self.last[-1]]}"
        return self.dates

    @property
    def dates(self) -> str:
        """The range in words: 1–20 Nov 2026, or with times where it is not of whole days."""
        first, final = self.local(self.start), self.local(self.end - timedelta(microseconds=1))
        if self.last == "month" or (_is_midnight(first) and _is_midnight(self.local(self.end))):
            if first.date() == final.date():
                return f"{first.day} {first:%b %Y}"
            if (first.year, first.month) == (final.year, final.month):
                return f"{first.day}–{final.day} {final:%b %Y}"
            return f"{first.day} {first:%b} – {final.day} {final:%b %Y}"
        end = self.local(self.end)
        if first.date() == end.date():
            return f"{first.day} {first:%b %Y}, {first:%H:%M}–{end:%H:%M}"
        return f"{first.day} {first:%b}, {first:%H:%M} – {end.day} {end:%b %Y}, {end:%H:%M}"

    @property
    def words(self) -> str:
        """Within a sentence: "last 7 d", or the dates."""
        return self.label[0].lower() + self.label[1:] if self.last and self.last != "month" else self.dates

    @property
    def before_words(self) -> str:
        """What `before` is, within a sentence: "the 7 d before", or its dates."""
        return (
            f"the {self.label.removeprefix('Last ')} before"
            if self.last and self.last != "month"
            else self.before().dates
        )

    @property
    def noun(self) -> str:
        """The bucket's name in a title: "cost per day"."""
        return {MINUTE: "minute", QUARTER: "15 min", HOUR: "hour", DAY: "day"}[self.bucket]

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)

    def floor(self, at: datetime) -> datetime:
        """The start of the bucket that a moment lies in."""
        return floor_to(at, self.bucket, self.zone)

    def starts(self) -> list[datetime]:
        """The start of each bucket, oldest first; the last one may still be running."""
        return bucket_starts(self.floor(self.start), self.end, self.bucket, self.zone)

    def buckets(self) -> list[tuple[datetime, datetime]]:
        """From and to of each bucket, as far as it lies within."""
        starts = self.starts()
        return [
            (max(start, self.start), min(end, self.end))
            for start, end in zip(starts, [*starts[1:], self.end], strict=True)
        ]

    def weeks_ago(self, weeks: int) -> "Window":
        """The same weekdays and clock times, so many weeks before."""
        start, end = (_shift_days(at, -7 * weeks, self.zone) for at in (self.start, self.end))
        return replace(self, start=start, end=end, last="")

    def before(self) -> "Window":
        """What this window is compared with: the same days of the month before, else as long just before."""
        if self.last != "month":
            return replace(self, start=self.start - self.length, end=self.start, last="")
        start = _month_start(self.local(self.start) - DAY)
        end = min(start + (self.local(self.end) - self.local(self.start)), self.local(self.start))
        return replace(self, start=start.astimezone(UTC), end=end.astimezone(UTC), last="")

    def narrowed(self, length: timedelta) -> "Window":
        """The last part of this window, from a whole minute on."""
        start = max(floor_to(self.end - length, MINUTE, self.zone), self.start)
        return replace(self, start=start, last="")


def read(parameters: Mapping[str, str], now: datetime, zone: ZoneInfo, default: str) -> Window:
    """The window that the URL asks for; what cannot be read gives the default, with the problem named."""
    try:
        if parameters.get("from"):
            return _fixed(parameters["from"], parameters.get("to", ""), now, zone)
        return _ending_now(parameters.get("last") or default, now, zone)
    except ValueError as wrong:
        return replace(_ending_now(default, now, zone), problem=str(wrong))


def current_month(now: datetime, zone: ZoneInfo) -> Window:
    """From the first of the month, in the tenant's zone, until now."""
    return _ending_now("month", now, zone)


def today(now: datetime, zone: ZoneInfo) -> Window:
    """From midnight, in the tenant's zone, until now."""
    return Window(floor_to(now, DAY, zone), now, zone)


def floor_to(at: datetime, size: timedelta, zone: ZoneInfo) -> datetime:
    """The start of the bucket that `at` lies in: of the clock in UTC, of the calendar for days."""
    if size == DAY:
        return at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)
    seconds = int(at.timestamp()) // int(size.total_seconds()) * int(size.total_seconds())
    return datetime.fromtimestamp(seconds, UTC)


def bucket_starts(start: datetime, end: datetime, size: timedelta, zone: ZoneInfo) -> list[datetime]:
    """Each bucket's start from `start`, itself one, to before `end`."""
    starts = []
    while start < end:
        starts.append(start)
        start = _shift_days(start, 1, zone) if size == DAY else start + size
    return starts


def month_end(at: datetime, zone: ZoneInfo) -> datetime:
    """The first moment of the next month in this zone."""
    return _month_start(_month_start(at.astimezone(zone)) + timedelta(days=32)).astimezone(UTC)


def _ending_now(last: str, now: datetime, zone: ZoneInfo) -> Window:
    if last == "month":
        return Window(_month_start(now.astimezone(zone)).astimezone(UTC), now, zone, last)
    match = re.fullmatch(r"(\d{1,4})([mhd])", last)
    length = int(match[1]) * UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise ValueError(f"“{last[:40]}” is no window; one is 24h, 7d or month, 400d at most")
    window = Window(now - length, now, zone, last)
    return replace(window, start=window.floor(window.start))


def _fixed(start_text: str, end_text: str, now: datetime, zone: ZoneInfo) -> Window:
    start, end = _moment(start_text, zone), _moment(end_text, zone) if end_text else now
    if not timedelta(0) < end - start <= LONGEST:
        raise ValueError("a window ends after it begins and is 400 days long at most")
    return Window(start, end, zone)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that was not encoded comes as a space
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"“{text[:40]}” is no time; one is 2026-11-20T12:00Z") from None


def _shift_days(at: datetime, days: int, zone: ZoneInfo) -> datetime:
    return (at.astimezone(zone) + timedelta(days=days)).astimezone(UTC)  # wall time moves, the offset follows


def _month_start(local: datetime) -> datetime:
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)


def _is_midnight(local: datetime) -> bool:
    return (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)


def iso(at: datetime) -> str:
    precision = "seconds" if at.microsecond == 0 else "milliseconds"
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
