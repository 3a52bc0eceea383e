"""Which arm of an A/B test a caller is in: the same one always, on every gateway, without anything kept.

The hash is of the test's salt and the prompt's id too: by the user alone, the same people would be in the variant of
every test. Never Python's own hash(), which differs from process to process.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from hashlib import sha256

WHOLE = 10_000  # basis points: percentages of two decimals


def slot(salt: str, prompt_id: int, who: str) -> int:
    """A number from 0 to 9,999, evenly spread over callers and independent from test to test."""
    digest = sha256(f"{salt}:{prompt_id}:{who}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest, "big") % WHOLE


def assign(salt: str, prompt_id: int, who: str, arms: Sequence[tuple[int, int]]) -> int:
    """The version for this caller. `arms`: versions with their shares in basis points, which add up to 10,000."""
    at = slot(salt, prompt_id, who)
    for version, share in arms:
        if at < share:
            return version
        at -= share
    return arms[0][0]  # shares that do not add up: control


def share_of(percentage: object) -> int:
    """A percentage as basis points. Raises ValueError."""
    if isinstance(percentage, bool) or not isinstance(percentage, int | float | str | Decimal):
        raise ValueError(f"{percentage!r} is no percentage, such as 50 or 12.5")
    try:
        share = Decimal(str(percentage)) * 100
    except InvalidOperation:
        raise ValueError(f"{percentage!r} is no percentage, such as 50 or 12.5") from None
    if not share.is_finite() or share != share.to_integral_value() or not 0 <= share <= WHOLE:
        raise ValueError(f"{percentage!r} is no percentage from 0 to 100 with two decimals at most")
    return int(share)


def even_shares(whole: int, count: int) -> list[int]:
    """`whole` basis points in equal parts; what does not divide goes to the first ones."""
    part, rest = divmod(whole, count)
    return [part + (index < rest) for index in range(count)]
