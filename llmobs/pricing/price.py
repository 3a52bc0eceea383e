"""A price as it is computed with: integer nano-USD per million tokens, with its long-context tiers."""

import msgspec

TOKENS_PER_RATE = 1_000_000


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """Nano-USD per million tokens of each class of usage. Reasoning is within output."""

    uncached_input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int


class Tier(msgspec.Struct, frozen=True, array_like=True):
    """Rates that hold for the whole call once its input is longer than `above_input_tokens`."""

    above_input_tokens: int
    rates: Rates


class Price(msgspec.Struct, frozen=True, array_like=True):
    """What one model costs, and where that is known from (`version`, as shown beside every cost)."""

    provider: str
    model: str
    version: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()

    def rates_for(self, input_tokens: int) -> Rates:
        """The rates of a call with this many input tokens, cached ones included."""
        rates = self.rates
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                rates = tier.rates
        return rates
