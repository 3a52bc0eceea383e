"""Prices out of genai-prices' data, as we compute with them: by its own rules for names, dates and tiers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from hashlib import sha256

import msgspec
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from llmobs.core.money import NANOUSD_PER_USD
from llmobs.pricing.price import REASONING, REQUESTS, AtTier, Price, Rates, Tier
from llmobs.pricing.tiers import MULTIPLES, USUAL, Multiple
from llmobs.pricing.units import MILLION, UNITS

# Values of gen_ai.provider.name whose ids in genai-prices differ.
BUNDLED_IDS = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
}
# By which words of a request genai-prices tells tiers apart.
_TIER_WORDS = ("processing", "service_tier", "speed")
_TEXT = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")

_Given = Decimal | TieredPrices | None
_Units = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a price is made of, at one tier of service."""

    rates: Rates
    tiers: tuple[Tier, ...]
    units: _Units


def bundled_price(data: DataSnapshot, source: str, provider: str, model: str, at: datetime) -> Price | None:
    """The price that the data has for a call of this time, or None. `source` goes into its version."""
    try:
        of_provider, found = data.find_provider_model(model, None, BUNDLED_IDS.get(provider, provider) or None, None)
    except LookupError:
        return None
    usual = _parts(found.get_prices(at))
    if usual is None:
        return None
    return make_price(
        of_provider.id, found.id, source, usual.rates, usual.tiers, usual.units, _at_tiers(of_provider, found, at)
    )


def make_price(
    provider: str,
    model: str,
    source: str,
    rates: Rates,
    tiers: tuple[Tier, ...] = (),
    units: _Units = (),
    at_tiers: tuple[AtTier, ...] = (),
) -> Price:
    """A price whose version names its source and a digest of all of its rates: equal versions are equal rates."""
    is_plain = not any(unit in (REQUESTS, REASONING) for unit, _ in units)
    # A price of text alone keeps the digest that it had before there were others.
    text = (rates, [(tier.above_input_tokens, tier.rates) for tier in tiers])
    whole = (rates, tiers, units, at_tiers) if units or at_tiers else text
    digest = sha256(msgspec.msgpack.encode(whole)).hexdigest()[:8]
    return Price(provider, model, f"{source} #{digest}", rates, tiers, units, at_tiers, is_plain)


def fill_rates(
    uncached_input: int | None,
    output: int | None,
    cache_read: int | None,
    cache_write_5m: int | None,
    cache_write_1h: int | None,
) -> Rates:
    """Rates with what is not priced apart filled in: cached classes cost what input costs, 1 h as 5 min does."""
    base = uncached_input or 0
    write_5m = base if cache_write_5m is None else cache_write_5m
    return Rates(
        uncached_input=base,
        cache_read=base if cache_read is None else cache_read,
        cache_write_5m=write_5m,
        cache_write_1h=write_5m if cache_write_1h is None else cache_write_1h,
        output=output or 0,
    )


def nanousd_rate(usd: Decimal, per: int = MILLION) -> int:
    """Nano-USD per million, from USD per so many. What is finer is rounded up: a price is never below what it says."""
    return int((usd * NANOUSD_PER_USD * MILLION / per).to_integral_value(rounding=ROUND_CEILING))


def multiplied(rates: Rates, tiers: tuple[Tier, ...], units: _Units, times: Decimal, tier: str) -> AtTier:
    """The rates of a tier that is a multiple of the usual one: tokens are multiplied, searches and requests are not."""
    tokens = {unit.name for unit in UNITS if unit.per == MILLION}

    def of_units(given: _Units) -> _Units:
        return tuple((unit, _times(rate, times) if unit in tokens else rate) for unit, rate in given)

    def of_rates(given: Rates) -> Rates:
        return Rates(*(_times(rate, times) for rate in msgspec.structs.astuple(given)))

    return AtTier(
        tier,
        of_rates(rates),
        tuple(
            Tier(each.above_input_tokens, of_rates(each.rates), None if each.units is None else of_units(each.units))
            for each in tiers
        ),
        of_units(units),
    )


def _times(rate: int, times: Decimal) -> int:
    return int((rate * times).to_integral_value(rounding=ROUND_CEILING))


def _at_tiers(provider: Provider, model: ModelInfo, at: datetime) -> tuple[AtTier, ...]:
    """By the model's own variants, else by the provider's documented multiple."""
    usual = _parts(model.get_prices(at))
    assert usual is not None
    found: dict[str, AtTier] = {}
    for tier, context in _variants(provider, model, at):
        parts = _parts(model.get_prices(at, context))
        if parts is not None and tier not in found:
            found[tier] = AtTier(tier, parts.rates, parts.tiers, parts.units)
    for multiple in MULTIPLES:
        if multiple.tier not in found and _is_of(multiple, provider, model):
            found[multiple.tier] = multiplied(usual.rates, usual.tiers, usual.units, multiple.times, multiple.tier)
    return tuple(found[tier] for tier in sorted(found))


def _is_of(multiple: Multiple, provider: Provider, model: ModelInfo) -> bool:
    # A model that was found at another provider than the one asked is not under this one's terms.
    return multiple.provider == provider.id and any(model is each for each in provider.models)


def _variants(provider: Provider, model: ModelInfo, at: datetime) -> Iterator[tuple[str, dict[str, str]]]:
    if not any(model is each for each in provider.models):
        return
    for variant in model.price_variants or ():
        if len(variant.when) != 1 or (variant.constraint is not None and not variant.constraint.active(at)):
            continue
        ((word, tier),) = variant.when.items()
        if word in _TIER_WORDS and tier not in USUAL:
            yield tier, {word: tier}


def _parts(prices: ModelPrice) -> _Parts | None:
    """None where the model is priced by neither text tokens nor any unit that we count."""
    text = [getattr(prices, kind) for kind in _TEXT]
    units = [(unit, given) for unit in UNITS if (given := getattr(prices, unit.bundled)) is not None]
    if text[0] is None and text[1] is None and not any(unit.per == MILLION for unit, _ in units):
        return None
    every: list[_Given] = [*text, *(given for _, given in units)]
    starts = sorted({tier.start for given in every if isinstance(given, TieredPrices) for tier in given.tiers})
    has_tiered_units = any(isinstance(given, TieredPrices) for _, given in units)

    def at_length(choose: Callable[[TieredPrices], Decimal]) -> tuple[Rates, _Units]:
        rates = fill_rates(*(_amount(given, MILLION, choose) for given in text))
        of_units = ((unit.name, _amount(given, unit.per, choose) or 0) for unit, given in units)
        return rates, tuple(sorted(of_units))

    rates, base_units = at_length(lambda given: given.base)
    tiers = []
    for start in starts:
        above, units_above = at_length(_tier_at(start))
        tiers.append(Tier(start, above, units_above if has_tiered_units else None))
    return _Parts(rates, tuple(tiers), base_units)


def _tier_at(start: int) -> Callable[[TieredPrices], Decimal]:
    def price_from(prices: TieredPrices) -> Decimal:
        reached = [tier.price for tier in sorted(prices.tiers, key=lambda t: t.start) if tier.start <= start]
        return reached[-1] if reached else prices.base

    return price_from


def _amount(price: _Given, per: int, choose: Callable[[TieredPrices], Decimal]) -> int | None:
    if price is None:
        return None
    return nanousd_rate(choose(price) if isinstance(price, TieredPrices) else Decimal(price), per)
