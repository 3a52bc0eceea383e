"""The rate behind a billed amount: amounts are rounded, many rates could have made one, and prices are short numbers.

Of all rates that the amount allows, ours is taken if it is among them, else the one with the fewest digits. One with
more digits than a price has is none: then nothing is claimed.
"""

from decimal import Decimal
from fractions import Fraction

# Prices are at most so many digits long: of 1,200 in genai-prices none has more than 5.
MOST_DIGITS = 5
_TOKENS = 1_000_000


def rate_behind(amount: Decimal, quantity: int, tolerance: Decimal, ours: Fraction | None) -> Fraction | None:
    """Nano-USD per token that the amount was made with; None: none that is a price.

    A multiple of ours with few digits counts too (a discount of 15 %, or a mixture of lengths at half the price).
    """
    if quantity <= 0:
        return None
    low = Fraction(amount - tolerance) / quantity
    high = Fraction(amount + tolerance) / quantity
    if ours is not None and low <= ours <= high:
        return ours
    plain = shortest(low * _TOKENS, high * _TOKENS)
    if plain is not None:
        return plain / _TOKENS
    if ours:
        factor = shortest(low / ours, high / ours, MOST_DIGITS - 2)
        if factor is not None:
            return factor * ours
    return None


def shortest(low: Fraction, high: Fraction, most_digits: int = MOST_DIGITS) -> Fraction | None:
    """The number with the fewest significant digits in the range, the nearest to its middle among these."""
    if low <= 0 <= high:
        return Fraction(0)
    if high < 0:
        found = shortest(-high, -low, most_digits)
        return None if found is None else -found
    middle = (low + high) / 2
    size = len(str(int(middle))) if middle >= 1 else -_zeros(middle)
    for digits in range(1, most_digits + 1):
        scale = Fraction(10) ** (digits - size)
        found = Fraction(round(middle * scale)) / scale
        if low <= found <= high:
            return found
    return None


def _zeros(number: Fraction) -> int:
    """How many zeros follow the point."""
    zeros = 0
    while number * 10 < 1:
        number *= 10
        zeros += 1
    return zeros
