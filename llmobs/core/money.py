"""Money as integer nano-USD: the only form inside, `Decimal` at the edges, never float."""

from decimal import Decimal, InvalidOperation

NANOUSD_PER_USD = 1_000_000_000

# Valkey's Lua counts in doubles, exact to 2**53: no ledger sum may pass this (about 9 million USD).
MOST_NANOUSD = 9_000_000 * NANOUSD_PER_USD


class MoneyError(ValueError):
    """The text is not an amount of USD with at most nine decimals."""


def parse_usd(text: str | Decimal | int) -> int:
    """USD as printed ("12.50") to nano-USD; raises MoneyError on anything else or finer than a nano-USD."""
    try:
        amount = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise MoneyError(f"{text!r} is not an amount of USD, such as 12.50") from None
    if not amount.is_finite():
        raise MoneyError(f"{text!r} is not a finite amount of USD")
    scaled = amount.scaleb(9)
    if scaled != scaled.to_integral_value():
        raise MoneyError(f"{text!r} has more than nine decimals; a nano-USD is the smallest amount")
    return int(scaled)


def exact_usd(nanousd: int) -> str:
    """Nano-USD as an exact decimal string without trailing zeros: 1500000000 -> "1.5", 0 -> "0"."""
    sign = "-" if nanousd < 0 else ""
    whole, nano = divmod(abs(nanousd), NANOUSD_PER_USD)
    if nano == 0:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{nano:09d}".rstrip("0")
