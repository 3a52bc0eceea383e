"""Time: wall clock as integer nanoseconds since 1970 (UTC), durations from the monotonic clock."""

import time
from datetime import UTC, datetime, timedelta

NS_PER_SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ns() -> int:
    """Wall clock, nanoseconds since 1970."""
    return time.time_ns()


def utc_from_ns(ns: int) -> datetime:
    """Aware UTC datetime, cut to PostgreSQL's microseconds (never rounded up)."""
    return EPOCH + timedelta(microseconds=ns // 1000)


def ns_from_utc(at: datetime) -> int:
    """Nanoseconds since 1970 of an aware datetime, exactly (no float on the way)."""
    delta = at - EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000
