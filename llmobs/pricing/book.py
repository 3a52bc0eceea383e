"""The price book: what a model costs for a tenant at a time, or None, never a guess.

1. Overrides (table `pricing_price`) win over the bundled data: a tenant's own before those for all, a later
   `effective_from` before an earlier one that has not ended. An override holds from its date on, for its exact name.
2. Signed snapshots (table `price_snapshot`) come next, the latest that holds at the time of the call.
3. The bundled data of genai-prices comes last, by its own rules for model names and dates. No network.
4. Nothing found: None. The usage is *unpriced*, which is shown and alerted on.

A price's `version` names its source and a digest of its rates, so that equal versions are equal rates.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

import psycopg
from genai_prices.data_snapshot import DataSnapshot, get_snapshot

from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.pricing import snapshots, stated
from llmobs.pricing.bundled import BUNDLED_IDS, bundled_price, fill_rates, make_price
from llmobs.pricing.ceilings import most_output_tokens
from llmobs.pricing.price import AtTier, Price, Rates, Tier
from llmobs.pricing.quotes import RATES, read_quote
from llmobs.pricing.snapshots import SnapshotInfo

__all__ = ["Override", "PriceBook", "fill_rates", "load"]

BUNDLED = f"genai-prices {installed_version('genai-prices')}"

# Answers of the bundled data kept in memory, by (provider, model, quarter of an hour), at most so many.
MOST_KEPT = 20_000

# genai-prices constrains prices by date and, for some providers, by time of day to the half hour: an answer is that of
# the quarter's beginning, and so the same whoever asks first.
QUARTER_NS = 900 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Override:
    """A row of `pricing_price`. `tenant_id` None: all tenants. Times are nanoseconds since 1970."""

    tenant_id: int | None
    provider: str
    model: str
    effective_from_ns: int
    rates: Rates
    max_output_tokens: int | None
    effective_to_ns: int | None = None
    tiers: tuple[Tier, ...] = ()
    units: tuple[tuple[str, int], ...] = ()
    at_tiers: tuple[AtTier, ...] = ()

    def holds_at(self, at_ns: int) -> bool:
        return self.effective_from_ns <= at_ns and (self.effective_to_ns is None or at_ns < self.effective_to_ns)


class PriceBook:
    """Prices as of one moment of configuration. Immutable but for its memory of answers."""

    def __init__(
        self,
        overrides: Iterable[Override] = (),
        bundled: DataSnapshot | None = None,
        signed: Iterable[SnapshotInfo] = (),
        trusted: Iterable[str] = (),
    ) -> None:
        self.trusted = frozenset(trusted)
        self._bundled = bundled or get_snapshot()
        self.signed = sorted(signed, key=lambda s: s.effective_from_ns)
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
        overridden = self.override(tenant_id, provider, model, at_ns)
        if overridden is not None:
            return price_of(overridden)
        return self.list_price(provider, model, at_ns)

    def list_price(self, provider: str, model: str, at_ns: int) -> Price | None:
        """The price without any override: by the signed snapshot of that time, else the bundled data."""
        quarter = at_ns // QUARTER_NS
        key = (provider, model, quarter)
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = self._listed(provider, model, quarter * QUARTER_NS)
        return self._kept[key]

    def max_output_tokens(self, tenant_id: int, provider: str, model: str, at_ns: int) -> int | None:
        """The most tokens that the model answers with, as an override says, else its provider; None: not known."""
        overridden = self.override(tenant_id, provider, model, at_ns)
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

    def override(self, tenant_id: int, provider: str, model: str, at_ns: int) -> Override | None:
        """The override that holds for a tenant at a time: its own, else the one for all."""
        if not self._overrides:
            return None
        for owner in (tenant_id, None):
            dated = self._overrides.get((owner, provider, model), [])
            after = bisect_right(dated, at_ns, key=lambda o: o.effective_from_ns)
            for override in reversed(dated[:after]):
                if override.holds_at(at_ns):
                    return override
        return None

    def _listed(self, provider: str, model: str, at_ns: int) -> Price | None:
        at = utc_from_ns(at_ns)
        after = bisect_right(self.signed, at_ns, key=lambda s: s.effective_from_ns)
        if after:
            # A snapshot says all: what it leaves out has no price any more.
            signed = self.signed[after - 1]
            return bundled_price(snapshots.data_of(signed.body), signed.source, provider, model, at)
        return bundled_price(self._bundled, BUNDLED, provider, model, at)


def load(conn: psycopg.Connection[Any]) -> PriceBook:
    """The book with the overrides and signed snapshots that the database holds now."""
    rows = conn.execute(
        "SELECT tenant_id, provider, model, effective_from, effective_to, max_output_tokens, units, long_context, "
        "tiers, input_usd_per_mtok, output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, "
        "cache_write_1h_usd_per_mtok FROM pricing_price"
    ).fetchall()
    overrides = [_override_from_row(row) for row in rows]
    return PriceBook(overrides, signed=snapshots.load(conn), trusted=stated.load(conn))


def _override_from_row(row: tuple[Any, ...]) -> Override:
    tenant_id, provider, model, effective_from, effective_to, most, units, long_context, tiers, *usd = row
    given = {"units": units, "long_context": long_context, "tiers": tiers}
    quote = read_quote(dict(zip(RATES, usd, strict=True)) | given)
    ends_ns = None if effective_to is None else ns_from_utc(effective_to)
    return Override(
        tenant_id,
        provider,
        model,
        ns_from_utc(effective_from),
        quote.rates,
        most,
        ends_ns,
        quote.tiers,
        quote.units,
        quote.at_tiers,
    )


def price_of(override: Override) -> Price:
    """An override as a price."""
    since = utc_from_ns(override.effective_from_ns).date().isoformat()
    whose = "own" if override.tenant_id is not None else "set"
    return make_price(
        override.provider,
        override.model,
        f"{whose} price of {since}",
        override.rates,
        override.tiers,
        override.units,
        override.at_tiers,
    )
