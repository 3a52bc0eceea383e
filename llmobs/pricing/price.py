"""A price as it is computed with: integer nano-USD per million of each class and unit, by context length and tier."""

import msgspec

TOKENS_PER_RATE = 1_000_000

# Units that a price may have without a usage that names them: one request for each response, and reasoning, which is
# within output unless it is priced apart.
REQUESTS = "requests"
REASONING = "reasoning"


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """Nano-USD per million tokens of each class of usage. Reasoning is within output."""

    uncached_input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int


class Tier(msgspec.Struct, frozen=True, array_like=True):
    """Rates that hold for the whole call once its input is longer than `above_input_tokens`.

    `units` None: those of the price itself.
    """

    above_input_tokens: int
    rates: Rates
    units: tuple[tuple[str, int], ...] | None = None


class AtTier(msgspec.Struct, frozen=True, array_like=True):
    """What a price is at a tier of service: batch, priority or flex. `units`: those that cost another rate there."""

    tier: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    units: tuple[tuple[str, int], ...] = ()


class Price(msgspec.Struct, frozen=True, array_like=True):
    """What one model costs, and where that is known from (`version`, as shown beside every cost).

    `units`: nano-USD per million of each unit of `Usage.units`, sorted. `is_plain`: what is neither units nor tier
    costs its five rates and no more; else the price has a rate of each request or of reasoning apart.
    """

    provider: str
    model: str
    version: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    units: tuple[tuple[str, int], ...] = ()
    at_tiers: tuple[AtTier, ...] = ()
    is_plain: bool = True

    def rates_for(self, input_tokens: int) -> Rates:
        """The rates of a call with this many input tokens, cached ones included."""
        rates = self.rates
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                rates = tier.rates
        return rates

    def units_for(self, input_tokens: int) -> dict[str, int]:
        """The rates of units of such a call.

        Pictures that are not priced apart cost what text does, and what of them or of sound came from the cache costs
        what it costs otherwise.
        """
        rates, given = self.rates_for(input_tokens), self.units
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens and tier.units is not None:
                given = tier.units
        units = dict(given)
        for kind in ("image", "video"):
            units.setdefault(f"{kind}_cache_read", units.get(f"{kind}_input", rates.cache_read))
            units.setdefault(f"{kind}_input", rates.uncached_input)
        if "audio_input" in units:
            units.setdefault("audio_cache_read", units["audio_input"])
        return units

    def at_tier(self, tier: str) -> "Price | None":
        """The price at a tier of service, "" for the usual one; None: not known."""
        if not tier:
            return self
        for found in self.at_tiers:
            if found.tier == tier:
                units = dict(self.units) | dict(found.units)
                return Price(
                    self.provider,
                    self.model,
                    self.version,
                    found.rates,
                    found.tiers,
                    tuple(sorted(units.items())),
                    is_plain=self.is_plain,
                )
        return None
