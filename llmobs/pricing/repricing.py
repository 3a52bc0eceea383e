"""Re-pricing, the pure part: what is asked, and a price book as rows of a table, so that SQL can compute costs by it.

1. A question names bills: of a tenant or all, of providers and models or all, begun from a time on and before another.
2. The bills' (provider, model, quarter of an hour) are looked up in a price book, any one: today's, or one with a price
   that nobody has set yet. Each answer becomes rates with a time and a length of input for which they hold.
3. A bill of text tokens alone costs `COST_SQL` by those; any other is computed by `pricing.cost` itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.pricing.book import QUARTER_NS, PriceBook
from llmobs.pricing.price import TOKENS_PER_RATE, Price

QUARTER = timedelta(minutes=15)

# A product of both fits in a bigint (9.2e18): what is larger goes the exact, slow way.
MOST_SQL_TOKENS = 4_000_000
MOST_SQL_RATE_NANOUSD = 2_000_000_000_000

NO_END = 2**62  # of an input's length

# Of a row `c` (tokens) and a row `r` (rates): as `pricing.cost` does it, rounded up once.
COST_SQL = (
    "(c.uncached_input_tokens * r.uncached_input + c.cache_read_input_tokens * r.cache_read "
    "+ c.cache_write_5m_input_tokens * r.cache_write_5m + c.cache_write_1h_input_tokens * r.cache_write_1h "
    f"+ c.output_tokens * r.output + {TOKENS_PER_RATE - 1}) / {TOKENS_PER_RATE}"
)


@dataclass(frozen=True, slots=True)
class Question:
    """Which bills. `tenant_id` None: of all tenants; no providers, no models: of all."""

    tenant_id: int | None
    since: datetime
    until: datetime
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """What a price is looked up by: who was called, for what, in which quarter of an hour. `asked`: the model that was
    asked for, where another one answered and may not be priced; "" in our own gateway's calls.
    """

    is_gateway: bool
    provider_name: str
    model: str
    asked: str
    quarter: datetime


@dataclass(frozen=True, slots=True)
class Rated:
    """A price for some calls from `since` to before `until`."""

    called: Called
    since: datetime
    until: datetime
    price: Price


def rated(book: PriceBook, tenant_id: int, called: Iterable[Called], priced_as: Mapping[str, str]) -> list[Rated]:
    """The prices of these calls, in stretches of one price; nothing for what the book does not know.

    `priced_as`: by which provider's prices those of the gateway's go (`prices_like`).
    """
    found: list[Rated] = []
    changes = sorted({at for o in book.overrides for at in (o.effective_from_ns, o.effective_to_ns) if at is not None})
    for each in sorted(called, key=_place):
        provider = priced_as.get(each.provider_name, each.provider_name) if each.is_gateway else each.provider_name
        quarter_ns = ns_from_utc(each.quarter)
        times = [quarter_ns, *(at for at in changes if quarter_ns < at < quarter_ns + QUARTER_NS)]
        for at_ns, end_ns in zip(times, [*times[1:], quarter_ns + QUARTER_NS], strict=True):
            price = price_of(book, tenant_id, provider, each.model, each.asked, at_ns)
            if price is None:
                continue
            since, until = utc_from_ns(at_ns), utc_from_ns(end_ns)
            last = found[-1] if found else None
            if last and _who(last.called) == _who(each) and last.price == price and last.until == since:
                found[-1] = Rated(last.called, last.since, until, price)
            else:
                found.append(Rated(each, since, until, price))
    return found


def price_of(book: PriceBook, tenant_id: int, provider: str, model: str, asked: str, at_ns: int) -> Price | None:
    """By the model that answered, else the one that was asked, as the writer does it."""
    for name in dict.fromkeys((model, asked)):
        price = book.price(tenant_id, provider, name, at_ns) if name else None
        if price is not None:
            return price
    return None


def is_for_sql(price: Price) -> bool:
    """Whether `COST_SQL` gives its costs of text tokens."""
    rates = [rate for one in (price.rates, *(tier.rates for tier in price.tiers)) for rate in _amounts(one)]
    return price.is_plain and max(rates) <= MOST_SQL_RATE_NANOUSD


def rate_rows(number: int, found: Rated) -> list[tuple[Any, ...]]:
    """The rows of one price: one for each length of input. `number` is what the caller knows the price by."""
    price, called = found.price, found.called
    above = [-1, *(tier.above_input_tokens for tier in price.tiers)]
    return [
        (
            called.is_gateway, called.provider_name, called.model, called.asked, found.since, found.until,
            start, end, number, price.version, is_for_sql(price), *_amounts(price.rates_for(start + 1)),
        )
        for start, end in zip(above, [*above[1:], NO_END], strict=True)
    ]  # fmt: skip


def _amounts(rates: Any) -> tuple[int, ...]:
    return (rates.uncached_input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h, rates.output)


def _who(called: Called) -> tuple[bool, str, str, str]:
    return called.is_gateway, called.provider_name, called.model, called.asked


def _place(called: Called) -> tuple[Any, ...]:
    return (*_who(called), called.quarter)
