"""The price book: what a model costs for a tenant at a time, or None, never a guess.

1. Overrides (table `pricing_price`) win over the bundled data: a tenant's own before those for all, a later
   `effective_from` before an earlier one. An override holds from its date on, for its exact model name.
2. The bundled data of genai-prices comes next, by its own rules for model names and dates. No network.
3. Nothing found: None. The usage is *unpriced*, which is shown and alerted on.

A price's `version` names its source and a digest of its rates, so that equal versions are equal rates.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from hashlib import sha256
from importlib.metadata import version as installed_version
from typing import Any

import msgspec
import psycopg
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.pricing.ceilings import most_output_tokens
from llmobs.pricing.price import Price, Rates, Tier

BUNDLED = f"genai-prices {installed_version('genai-prices')}"

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

# Answers of the bundled data kept in memory, by (provider, model, quarter of an hour), at most so many.
MOST_KEPT = 20_000

# genai-prices constrains prices by date and, for some providers, by time of day to the half hour: an answer is that of
# the quarter's beginning, and so the same whoever asks first.
QUARTER_NS = 900 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Override:
    """A row of `pricing_price`. `tenant_id` None: all tenants. `effective_from_ns`: nanoseconds since 1970."""

    tenant_id: int | None
    provider: str
    model: str
    effective_from_ns: int
    rates: Rates
    max_output_tokens: int | None


class PriceBook:
    """Prices as of one moment of configuration. Immutable but for its memory of answers."""

    def __init__(self, overrides: Iterable[Override] = (), bundled: DataSnapshot | None = None) -> None:
        self._bundled = bundled or get_snapshot()
        self._overrides: dict[tuple[int | None, str, str], list[Override]] = {}
        for override in sorted(overrides, key=lambda o: o.effective_from_ns):
            self._overrides.setdefault((override.tenant_id, override.provider, override.model), []).append(override)
        self._kept: dict[tuple[str, str, int], Price | None] = {}

    @property
    def overrides(self) -> list[Override]:
        """All overrides: with them, `PriceBook(overrides)` is the same book again."""
        return [override for dated in self._overrides.values() for override in dated]

    def price(self, tenant_id: int, provider: str, model: str, at_ns: int) -> Price | None:
        """The price of `model` for a call that began at `at_ns`, or None: unpriced.

        `provider` is the book's name (a provider's `prices_like`, or its own); "" lets the bundled rules find the
        provider from the model's name.
        """
        overridden = self._override(tenant_id, provider, model, at_ns)
        if overridden is not None:
            return _overriding_price(overridden)
        quarter = at_ns // QUARTER_NS
        key = (provider, model, quarter)
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = self._bundled_price(provider, model, utc_from_ns(quarter * QUARTER_NS))
        return self._kept[key]

    def max_output_tokens(self, tenant_id: int, provider: str, model: str, at_ns: int) -> int | None:
        """The most tokens that the model answers with, as an override says, else its provider; None: not known."""
        overridden = self._override(tenant_id, provider, model, at_ns)
        if overridden is not None and overridden.max_output_tokens:
            return overridden.max_output_tokens
        return most_output_tokens(BUNDLED_IDS.get(provider, provider), model)

    def context_window(self, provider: str, model: str) -> int | None:
        """The model's context window in tokens, where the bundled data knows it."""
        try:
            _, found = self._bundled.find_provider_model(model, None, BUNDLED_IDS.get(provider, provider) or None, None)
        except LookupError:
            return None
        return found.context_window

    def bundled_models(self, provider: str) -> list[str]:
        """The models of a provider that the bundled data knows by their own names, without those that are no more."""
        wanted = BUNDLED_IDS.get(provider, provider)
        models = [model for found in self._bundled.providers if found.id == wanted for model in found.models]
        return [model.id for model in models if not model.deprecated and model.is_match(model.id)]

    def _override(self, tenant_id: int, provider: str, model: str, at_ns: int) -> Override | None:
        if not self._overrides:
            return None
        for owner in (tenant_id, None):
            dated = self._overrides.get((owner, provider, model), [])
            after = bisect_right(dated, at_ns, key=lambda o: o.effective_from_ns)
            if after:
                return dated[after - 1]
        return None

    def _bundled_price(self, provider: str, model: str, at: datetime) -> Price | None:
        try:
            found_provider, found = self._bundled.find_provider_model(
                model, None, BUNDLED_IDS.get(provider, provider) or None, None
            )
        except LookupError:
            return None
        rates = _tiered_rates(found.get_prices(at))
        if rates is None:
            return None
        base, tiers = rates
        return Price(found_provider.id, found.id, _version(BUNDLED, base, tiers), base, tiers)


def load(conn: psycopg.Connection[Any]) -> PriceBook:
    """The book with the overrides that the database holds now."""
    rows = conn.execute(
        "SELECT tenant_id, provider, model, effective_from, input_usd_per_mtok, output_usd_per_mtok, "
        "cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, cache_write_1h_usd_per_mtok, max_output_tokens "
        "FROM pricing_price"
    ).fetchall()
    return PriceBook(overrides=[_override_from_row(row) for row in rows])


def _override_from_row(row: tuple[Any, ...]) -> Override:
    tenant_id, provider, model, effective_from, *usd, most = row
    given = [None if amount is None else _nanousd_per_mtok(amount) for amount in usd]
    return Override(tenant_id, provider, model, ns_from_utc(effective_from), fill_rates(*given), most)


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


def _overriding_price(override: Override) -> Price:
    since = utc_from_ns(override.effective_from_ns).date().isoformat()
    whose = "own" if override.tenant_id is not None else "set"
    return Price(
        override.provider, override.model, _version(f"{whose} price of {since}", override.rates, ()), override.rates
    )


def _nanousd_per_mtok(usd: Decimal) -> int:
    # Finer than a nano-USD per million tokens is rounded up: a price is never below what it says.
    return int((usd * NANOUSD_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def _tiered_rates(prices: ModelPrice) -> tuple[Rates, tuple[Tier, ...]] | None:
    """Rates of text tokens, or None where the model is priced by other units alone."""
    kinds = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
    given = [getattr(prices, kind) for kind in kinds]
    if given[0] is None and given[1] is None:
        return None
    starts = sorted({tier.start for price in given if isinstance(price, TieredPrices) for tier in price.tiers})
    base = fill_rates(*(_amount(price, lambda p: p.base) for price in given))
    tiers = tuple(Tier(start, fill_rates(*(_amount(price, _tier_at(start)) for price in given))) for start in starts)
    return base, tiers


def _tier_at(start: int) -> Callable[[TieredPrices], Decimal]:
    def price_from(prices: TieredPrices) -> Decimal:
        reached = [tier.price for tier in sorted(prices.tiers, key=lambda t: t.start) if tier.start <= start]
        return reached[-1] if reached else prices.base

    return price_from


def _amount(price: Decimal | TieredPrices | None, choose: Callable[[TieredPrices], Decimal]) -> int | None:
    if price is None:
        return None
    return _nanousd_per_mtok(choose(price) if isinstance(price, TieredPrices) else Decimal(price))


def _version(source: str, rates: Rates, tiers: tuple[Tier, ...]) -> str:
    digest = sha256(msgspec.msgpack.encode((rates, tiers))).hexdigest()[:8]
    return f"{source} #{digest}"
