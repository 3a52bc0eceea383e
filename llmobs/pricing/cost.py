"""The one function that computes a cost.

1. The tier of service picks the rates, then the length of the input does.
2. Each class costs its rate, each unit its own. A price with a rate per request costs it once for each response, one
   with a rate of reasoning takes that instead of output's for reasoning.
3. The sum is rounded up once. A unit or tier that was used and has no rate: no cost at all, never a cheap one.
"""

from llmobs.pricing.price import REASONING, REQUESTS, TOKENS_PER_RATE, Price
from llmobs.pricing.usage import Usage


def cost(usage: Usage, price: Price) -> int | None:
    """Nano-USD of one provider response, rounded up once; None: something in it has no price (`missing` says what)."""
    if usage.tier or usage.units or not price.is_plain:
        return _cost_apart(usage, price)
    rates = price.rates_for(usage.input_tokens) if price.tiers else price.rates
    total = (
        usage.uncached_input * rates.uncached_input
        + usage.cache_read * rates.cache_read
        + usage.cache_write_5m * rates.cache_write_5m
        + usage.cache_write_1h * rates.cache_write_1h
        + usage.output * rates.output
    )
    return -(-total // TOKENS_PER_RATE)


def missing(usage: Usage, price: Price) -> str:
    """What of this usage the price does not know, in words; "" for nothing."""
    at_tier = price.at_tier(usage.tier)
    if at_tier is None:
        return f"no rates for tier {usage.tier}"
    known = at_tier.units_for(usage.input_tokens)
    return ", ".join(f"no rate for {unit}" for unit, count in usage.units if count and unit not in known)


def summands(usage: Usage, price: Price) -> list[tuple[str, int, int]]:
    """What a cost is the sum of: (class or unit, how many, nano-USD per million), without those of which there are
    none. Their sum, rounded up, is `cost`; what has no rate is left out.
    """
    at_tier = price.at_tier(usage.tier)
    if at_tier is None:
        return []
    length = abs(usage.input_tokens)  # what is taken back was as long
    rates, units = at_tier.rates_for(length), at_tier.units_for(length)
    reasoning = usage.reasoning if REASONING in units else 0
    found = [
        ("uncached_input", usage.uncached_input, rates.uncached_input),
        ("cache_read", usage.cache_read, rates.cache_read),
        ("cache_write_5m", usage.cache_write_5m, rates.cache_write_5m),
        ("cache_write_1h", usage.cache_write_1h, rates.cache_write_1h),
        ("output", usage.output - reasoning, rates.output),
        (REASONING, reasoning, units.get(REASONING, 0)),
    ]
    counts = dict(usage.units)
    if REQUESTS in units:
        counts.setdefault(REQUESTS, -1 if usage.total < 0 else 1)
    found += [(unit, count, units[unit]) for unit, count in sorted(counts.items()) if unit in units]
    return [line for line in found if line[1]]


def _cost_apart(usage: Usage, price: Price) -> int | None:
    if missing(usage, price):
        return None
    total = sum(count * rate for _, count, rate in summands(usage, price))
    return -(-total // TOKENS_PER_RATE)
