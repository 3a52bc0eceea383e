"""Numbers, amounts and times of the file as the tables hold them."""

from datetime import datetime
from decimal import Decimal, InvalidOperation

from llmobs.core.money import MOST_NANOUSD, MoneyError, parse_usd
from llmobs.ops.configuring.applying import FieldError, refuse


def limit_nanousd(name: str, usd: str | int) -> int:
    try:
        nanousd = parse_usd(usd)
    except MoneyError as error:
        raise FieldError(name, str(error)) from None
    if not 0 <= nanousd <= MOST_NANOUSD:
        refuse(name, f"{usd} is not between 0 and 9,000,000 USD")
    return nanousd


def decimal(name: str, given: str | int) -> Decimal:
    try:
        number = Decimal(given)
    except InvalidOperation:
        raise FieldError(name, f"{given!r} is no number") from None
    if not number.is_finite():
        refuse(name, f"{given!r} is no finite number")
    return number


def aware(name: str, at: datetime) -> datetime:
    if at.tzinfo is None:
        refuse(name, f"{at.isoformat()} names no zone; write {at.isoformat()}Z or +02:00")
    return at


def scope(given: dict[str, str | int | bool]) -> dict[str, str]:
    """What an entry applies to, by dimension."""
    for dimension, value in given.items():
        if isinstance(value, bool):
            refuse(f"scope.{dimension}", f"{value} is read as yes or no; put it in quotes")
    return {dimension: str(value) for dimension, value in given.items()}


def number(name: str, given: str | int) -> float:
    """A number that is no amount of money: a share, a weight, seconds."""
    return float(decimal(name, given))


def is_on(given: bool | str) -> bool:
    """YAML reads a bare on and off as yes and no; quoted they are texts."""
    return given is True or given == "on"
