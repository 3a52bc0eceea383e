"""What an adapter has understood of a span, and how values are taken out of its attributes.

An adapter *takes* an attribute: it leaves the attributes for a typed field. What no adapter takes stays an attribute.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from llmobs.core.money import MOST_NANOUSD

Attributes = dict[str, Any]

# No model answers a trillion tokens: a count past this is an error of the sender (and would not fit a sum).
MOST_TOKENS = 1_000_000_000_000


@dataclass(slots=True)
class Reading:
    """One span in the making. None and "" are unknown; token counts are as the library counts them."""

    is_call: bool = False
    operation_name: str = ""
    provider_name: str = ""
    request_model: str = ""
    response_model: str = ""
    response_id: str = ""
    finish_reasons: tuple[str, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    excludes_cache: bool = False
    units: dict[str, int] | None = None  # as in Usage.units; sound and pictures are within input and output
    tier: str = ""
    environment: str = ""
    stated_cost_nanousd: int | None = None
    ttft_ns: int | None = None
    is_stream: bool = False
    is_failed: bool = False
    error_type: str = ""
    prompt_version: str = ""
    input: str | None = None
    output: str | None = None
    starts_earlier_ns: int = 0
    total_tokens: int | None = None  # as the library adds them up: proves what its input and output hold
    adapter: int = 0
    remarks: list[str] = field(default_factory=list)  # `correction:…`, `flag:…` (remarks.py)


def add_unit(reading: Reading, unit: str, found: int | None) -> None:
    """Note a count of what is no text token; none and zero are nothing."""
    if found:
        units = reading.units = reading.units or {}
        units.setdefault(unit, found)


def take(attributes: Attributes, names: Iterable[str]) -> Any:
    """The first value set under one of these names; all of them are taken."""
    found = None
    for name in names:
        if name in attributes:
            value = attributes.pop(name)
            if found is None and value != "":
                found = value
    return found


def take_text(attributes: Attributes, names: Iterable[str]) -> str:
    value = take(attributes, names)
    if value is None:
        return ""
    return value if isinstance(value, str) else _text(value)


def take_count(attributes: Attributes, names: Iterable[str]) -> int | None:
    """A token count: a whole number, as number or text. Anything else is unknown, and stays an attribute."""
    found: int | None = None
    for name in names:
        if name in attributes:
            number = count(attributes[name])
            if number is not None or attributes[name] in ("", None):
                del attributes[name]
            found = number if found is None else found
    return found


def count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


def take_usd(attributes: Attributes, names: Iterable[str]) -> int | None:
    """An amount in USD, as number or text, as nano-USD; an amount that cannot be is unknown."""
    return usd(take(attributes, names))


def usd(value: object) -> int | None:
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)).scaleb(9)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= MOST_NANOUSD:
        return None
    return round(amount)


def take_seconds(attributes: Attributes, names: Iterable[str], ns_per_unit: int = 1_000_000_000) -> int | None:
    """A duration in seconds (or the given unit) as nanoseconds."""
    value = take(attributes, names)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e7:
        return None
    return round(value * ns_per_unit)


def take_texts(attributes: Attributes, names: Iterable[str]) -> tuple[str, ...]:
    """A list of texts: as list, as a JSON list in a string, or as one text."""
    value = take(attributes, names)
    if isinstance(value, str) and value.startswith("["):
        value = parsed(value)
    if isinstance(value, list):
        return tuple(item for item in value if isinstance(item, str))
    return (value,) if isinstance(value, str) and value else ()


def parsed(value: object) -> Any:
    """A JSON text as plain Python; the value itself where it is no text, None where it does not parse."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None


def inner(value: Any, *path: str) -> Any:
    """What lies under these keys of nested dicts, or None."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return msgspec.json.encode(value).decode()
