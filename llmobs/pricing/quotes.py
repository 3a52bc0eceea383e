"""A price as people write it, in USD as decimal text, into rates as they are computed with.

Tables, files and the REST API have the same names: the five rates of text tokens, `units` by their columns
(`web_search_usd_per_thousand`), `long_context` (rates above a length of input) and `tiers` (rates of batch, flex,
priority, fast: own ones, or `times` the usual ones).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from llmobs.pricing.bundled import fill_rates, multiplied, nanousd_rate
from llmobs.pricing.price import AtTier, Rates, Tier
from llmobs.pricing.tiers import TIERS
from llmobs.pricing.units import UNIT_BY_COLUMN

RATES = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "cache_write_5m_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
)
MOST_USD = Decimal(10_000_000)  # for a million tokens or a thousand of anything: more is a mistake
MOST_DECIMALS = 6
TIMES, ABOVE = "times", "above_input_tokens"


class QuoteError(ValueError):
    """Something in a price is wrong; `where` names it (`tiers.batch.times`)."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
        self.message = message


@dataclass(frozen=True, slots=True)
class Quote:
    """What a quoted price comes to."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()
    units: tuple[tuple[str, int], ...] = ()
    at_tiers: tuple[AtTier, ...] = ()


def read_quote(values: Mapping[str, Any]) -> Quote:
    """Of a row with these names (missing is as good as None). Raises QuoteError."""
    rates = _rates(values, "")
    units = _units(_mapping(values.get("units"), "units"), "units.")
    if values.get(RATES[0]) is None and values.get(RATES[1]) is None and not units:
        raise QuoteError("", f"a price has {RATES[0]}, {RATES[1]}, both, or units")
    tiers = _long_context(values.get("long_context"), "long_context")
    given = _mapping(values.get("tiers"), "tiers")
    at_tiers = tuple(_at_tier(tier, given[tier], Quote(rates, tiers, units)) for tier in sorted(given))
    return Quote(rates, tiers, units, at_tiers)


def usd(value: object, where: str) -> Decimal:
    """An amount of USD as a table or a file has it. Raises QuoteError."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise InvalidOperation
        amount = Decimal(value)
    except InvalidOperation:
        raise QuoteError(where, f"{str(value)[:40]!r} is no amount of USD; write it as text, like '0.15'") from None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise QuoteError(where, f"{str(value)[:40]} is not between 0 and {MOST_USD}")
    if amount != round(amount, MOST_DECIMALS):
        raise QuoteError(where, f"{str(value)[:40]} has more than {MOST_DECIMALS} decimals")
    return amount or Decimal(0)  # not 0E-9999999, which is as many zeros once it is written out


def _rates(values: Mapping[str, Any], where: str) -> Rates:
    given = [values.get(name) for name in RATES]
    amounts = [
        None if value is None else nanousd_rate(usd(value, where + name))
        for name, value in zip(RATES, given, strict=True)
    ]
    return fill_rates(*amounts)


def _units(values: Mapping[str, Any], where: str) -> tuple[tuple[str, int], ...]:
    found = []
    for name, value in values.items():
        unit = UNIT_BY_COLUMN.get(name)
        if unit is None:
            raise QuoteError(where + str(name)[:60], f"no unit that is known: {', '.join(UNIT_BY_COLUMN)}")
        found.append((unit.name, nanousd_rate(usd(value, where + name), unit.per)))
    return tuple(sorted(found))


def _long_context(value: object, where: str) -> tuple[Tier, ...]:
    if value is None or value == []:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise QuoteError(where, "a list of rates, each with above_input_tokens")
    found = []
    for index, each in enumerate(value):
        at = f"{where}[{index}]"
        given = _mapping(each, at)
        above = given.get(ABOVE)
        if isinstance(above, bool) or not isinstance(above, int) or above < 1:
            raise QuoteError(f"{at}.{ABOVE}", "a number of tokens, 1 or more")
        units = _units(_but(given, (ABOVE, *RATES)), f"{at}.")
        found.append(Tier(above, _own_rates(given, at), units or None))
    if [tier.above_input_tokens for tier in found] != sorted({tier.above_input_tokens for tier in found}):
        raise QuoteError(where, "shorter lengths come first, each once")
    return tuple(found)


def _at_tier(tier: str, value: object, usual: Quote) -> AtTier:
    at = f"tiers.{tier}"
    if tier not in TIERS:
        raise QuoteError(f"tiers.{str(tier)[:40]}", f"no tier that is known: {', '.join(TIERS)}")
    given = _mapping(value, at)
    if TIMES in given:
        if len(given) > 1:
            raise QuoteError(at, "either `times` or rates of its own")
        return multiplied(usual.rates, usual.tiers, usual.units, usd(given[TIMES], f"{at}.{TIMES}"), tier)
    tiers = _long_context(given.get("long_context"), f"{at}.long_context")
    units = _units(_but(given, ("long_context", *RATES)), f"{at}.")
    return AtTier(tier, _own_rates(given, at), tiers, units)


def _own_rates(given: Mapping[str, Any], at: str) -> Rates:
    """Rates that stand for themselves: what of input and output is forgotten must not be taken as free."""
    if given.get(RATES[0]) is None or given.get(RATES[1]) is None:
        raise QuoteError(at, f"{RATES[0]} and {RATES[1]} are both needed")
    return _rates(given, f"{at}.")


def _but(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise QuoteError(where, "names with values")
    return value
