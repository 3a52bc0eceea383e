"""The one function that computes a cost."""

from llmobs.pricing.price import TOKENS_PER_RATE, Price
from llmobs.pricing.usage import Usage


def cost(usage: Usage, price: Price) -> int:
    """Nano-USD of one provider response, rounded up once, at the end of the sum."""
    rates = price.rates_for(usage.input_tokens) if price.tiers else price.rates
    total = (
        usage.uncached_input * rates.uncached_input
        + usage.cache_read * rates.cache_read
        + usage.cache_write_5m * rates.cache_write_5m
        + usage.cache_write_1h * rates.cache_write_1h
        + usage.output * rates.output
    )
    return -(-total // TOKENS_PER_RATE)
