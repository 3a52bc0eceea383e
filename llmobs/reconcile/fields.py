"""Fields of a report's JSON, read narrowly: what is of another kind is an error that names it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from llmobs.reconcile.rows import ReportError

MOST = 2**62
_EARLIEST, _LATEST = date(2020, 1, 1), date(2100, 1, 1)
MOST_USD = 10**10


def count(result: Mapping[str, Any], name: str) -> int:
    """A count of tokens or calls; 0 where it is not there or null."""
    value = result.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST:
        raise ReportError(f"{name} is {value!r}, no count.")
    return value


def text(result: Mapping[str, Any], name: str) -> str:
    """A text; "" where it is not there or null."""
    value = result.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ReportError(f"{name} is {value!r}, no text.")
    return value.replace("\x00", "")[:200].encode("utf-8", "replace").decode()  # lone surrogates are no text


def amount(value: Any, name: str) -> Decimal:
    """An amount as JSON wrote it: a number, or a decimal string."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ReportError(f"{name} is {value!r}, no amount.")
    try:
        found = Decimal(value)
    except ArithmeticError:
        raise ReportError(f"{name} is {value!r}, no amount.") from None
    if not found.is_finite() or abs(found) >= MOST_USD:
        raise ReportError(f"{name} is {value!r}, no amount that a bill can have.")
    return found


def currency(value: Any) -> None:
    """Raises ReportError unless it is US dollars."""
    if str(value or "usd").lower() != "usd":
        raise ReportError(f"The amounts are in {value!r}; bills are compared in USD.")


def seconds(value: Any, name: str) -> datetime:
    """A time in seconds since 1970."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**11:
        raise ReportError(f"{name} is {value!r}, no time in seconds.")
    return datetime.fromtimestamp(value, UTC)


def moment(value: Any, name: str) -> datetime:
    """A time as RFC 3339 writes it."""
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ReportError(f"{name} is {value!r}, no time such as 2026-11-01T00:00:00Z.") from None


def day(of: date) -> date:
    """A day, if a report can be of it."""
    if not _EARLIEST <= of < _LATEST:
        raise ReportError(f"{of} is no day of a report.")
    return of


def days_of(start: datetime, end: datetime) -> list[date]:
    """The days of a bucket: one, as these reports are asked for."""
    first, last = start.date(), (end - timedelta(seconds=1)).date()
    if end <= start or not _EARLIEST <= first < _LATEST:
        raise ReportError(f"A bucket from {start} to {end} is none.")
    if first != last:
        raise ReportError(f"A bucket from {start} to {end} is longer than a day: ask for bucket_width=1d.")
    return [first]
