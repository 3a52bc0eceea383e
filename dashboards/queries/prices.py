"""What models in use are priced at: by whose price, from when on, what they came to; and what providers state."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dashboards.queries.rollup import totals
from dashboards.queries.scope import Cursor, Scope, asks
from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.pricing import book
from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.price import Price
from llmobs.tenants.plain_connection import plain_connection

MOST_STATED = 50_000  # of the newest calls: the page says nothing of older ones
EVERYONE = 0  # no tenant has this id: the price without any tenant's own


@dataclass(frozen=True)
class OwnPrice:
    """A tenant's own price of a model."""

    tenant_id: int
    price: Price
    since: datetime


@dataclass(frozen=True)
class PricedModel:
    """A model that was called. `price` None: unpriced. `since`: of an override; list prices have dates of their own."""

    provider: str
    model: str
    price: Price | None
    since: datetime | None
    ends: datetime | None
    own: tuple[OwnPrice, ...]
    calls: int
    cost_nanousd: int
    unpriced_calls: int

    @property
    def asked(self) -> dict[str, str]:
        """What explains its cost."""
        return asks({"provider": self.provider, "model": self.model})

    @property
    def source(self) -> str:
        return "" if self.price is None else self.price.version.split(" #")[0]


@dataclass(frozen=True)
class Stated:
    """What a provider said of calls that counted, and what we billed for the same ones."""

    provider: str
    calls: int
    stated_nanousd: int
    billed_nanousd: int
    is_trusted: bool

    @property
    def apart_nanousd(self) -> int:
        return self.stated_nanousd - self.billed_nanousd


def priced_models(cursor: Cursor, scope: Scope, at: datetime) -> list[PricedModel]:
    """The models that were called in the scope, with their prices at a time: unpriced ones first, then dearest."""
    prices, likes = book.load(plain_connection()), _prices_like(cursor)
    found = []
    for row in totals(cursor, scope, ("provider", "model")):
        provider, model = row.key
        is_nobodys = not provider and not row.cost_nanousd and not row.unpriced_calls  # the cache's, or a static text
        if not model or not row.calls or is_nobodys:
            continue
        looked_up = _Lookup(prices, likes.get(provider, provider), model, ns_from_utc(at))
        override = looked_up.override(EVERYONE)
        found.append(
            PricedModel(
                provider,
                model,
                prices.price(EVERYONE, looked_up.provider, model, looked_up.at_ns),
                None if override is None else utc_from_ns(override.effective_from_ns),
                None if override is None or override.effective_to_ns is None else utc_from_ns(override.effective_to_ns),
                tuple(looked_up.own(scope.tenant_ids)),
                row.calls,
                row.cost_nanousd,
                row.unpriced_calls,
            )
        )
    return sorted(found, key=lambda each: (-each.unpriced_calls, -each.cost_nanousd, -each.calls, each.model))


def stated(cursor: Cursor, scope: Scope) -> list[Stated]:
    """By provider: calls of the scope that came with the provider's own figure, the newest MOST_STATED of them."""
    cursor.execute(
        "SELECT provider_name, count(*), sum(stated_cost_nanousd)::bigint, coalesce(sum(cost_nanousd), 0)::bigint, "
        "provider_name IN (SELECT provider FROM pricing_trustedprovider) FROM (SELECT provider_name, "
        "stated_cost_nanousd, cost_nanousd FROM span WHERE tenant_id = ANY(%s) AND start >= %s AND start < %s "
        "AND stated_cost_nanousd IS NOT NULL AND is_counted ORDER BY start DESC LIMIT %s) s "
        "GROUP BY 1 ORDER BY 3 DESC",
        [list(scope.tenant_ids), scope.window.start, scope.window.end, MOST_STATED],
    )
    return [Stated(*row) for row in cursor.fetchall()]


@dataclass(frozen=True)
class _Lookup:
    """One model at one time."""

    prices: PriceBook
    provider: str
    model: str
    at_ns: int

    def override(self, tenant_id: int) -> Override | None:
        return self.prices.override(tenant_id, self.provider, self.model, self.at_ns)

    def own(self, tenant_ids: tuple[int, ...]) -> Iterator[OwnPrice]:
        """Of these tenants alone: what another pays is its own matter."""
        for tenant_id in tenant_ids:
            override = self.override(tenant_id)
            if override is not None and override.tenant_id == tenant_id:
                yield OwnPrice(tenant_id, book.price_of(override), utc_from_ns(override.effective_from_ns))


def _prices_like(cursor: Cursor) -> dict[str, str]:
    cursor.execute("SELECT name, prices_like FROM providers_provider WHERE prices_like <> ''")
    return dict(cursor.fetchall())
