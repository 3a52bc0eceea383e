"""The price book: overrides before the bundled data, dates respected, never a guess."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from llmobs.core.clock import ns_from_utc
from llmobs.pricing.book import Override, PriceBook, fill_rates
from llmobs.pricing.cost import cost
from llmobs.pricing.usage import Usage

AT = ns_from_utc(datetime(2026, 11, 21, tzinfo=UTC))
USD = 1_000_000_000


def test_the_bundled_book_knows_dated_model_names() -> None:
    price = PriceBook().price(1, "openai", "gpt-4o-mini-2024-07-18", AT)
    assert price is not None
    assert (price.rates.uncached_input, price.rates.output) == (150_000_000, 600_000_000)
    assert price.version.startswith("genai-prices ")


def test_anthropic_cache_writes_have_two_prices() -> None:
    price = PriceBook().price(1, "anthropic", "claude-sonnet-4-5", AT)
    assert price is not None
    assert (price.rates.cache_write_5m, price.rates.cache_write_1h) == (3_750_000_000, 6_000_000_000)
    assert price.tiers[0].above_input_tokens == 200_000
    assert price.tiers[0].rates.output == 22_500_000_000


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("local", "llama-3"), ("", "")])
def test_an_unknown_model_has_no_price(provider: str, model: str) -> None:
    assert PriceBook().price(1, provider, model, AT) is None


def test_a_provider_of_the_convention_is_found_under_its_book_name() -> None:
    assert PriceBook().price(1, "azure.ai.openai", "gpt-4o-mini", AT) is not None


def _override(tenant_id: int | None, since: int, usd: int) -> Override:
    return Override(tenant_id, "local", "llama-3", since, fill_rates(usd * USD, usd * USD, None, None, None), 4096)


def test_the_latest_override_that_has_begun_wins() -> None:
    book = PriceBook([_override(None, AT, 1), _override(None, AT + 100, 2)])
    assert book.price(1, "local", "llama-3", AT - 1) is None
    first, second = book.price(1, "local", "llama-3", AT + 99), book.price(1, "local", "llama-3", AT + 100)
    assert first is not None
    assert second is not None
    assert (first.rates.output, second.rates.output) == (USD, 2 * USD)
    assert first.version != second.version


def test_a_tenants_own_price_wins_over_the_one_for_all_and_is_nobody_elses() -> None:
    book = PriceBook([_override(None, AT, 1), _override(7, AT, 3)])
    own, other = book.price(7, "local", "llama-3", AT), book.price(8, "local", "llama-3", AT)
    assert own is not None
    assert other is not None
    assert (own.rates.output, other.rates.output) == (3 * USD, USD)


def test_what_is_not_priced_apart_costs_what_input_costs() -> None:
    rates = fill_rates(100, 200, None, None, None)
    assert (rates.cache_read, rates.cache_write_5m, rates.cache_write_1h) == (100, 100, 100)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini"),
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-haiku-4-5"),
    ],
)
def test_our_cost_is_the_librarys_own_to_the_nano_usd(provider: str, model: str) -> None:
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    price = PriceBook().price(1, provider, model, AT)
    assert price is not None
    usage = Usage(uncached_input=1234, cache_read=567, output=891)
    theirs = calc_price(
        TheirUsage(input_tokens=usage.input_tokens, cache_read_tokens=usage.cache_read, output_tokens=usage.output),
        model,
        provider_id=provider,
        genai_request_timestamp=datetime(2026, 11, 21, tzinfo=UTC),
    ).total_price
    ours = cost(usage, price)
    assert ours is not None
    assert Decimal(ours) == (theirs * USD).to_integral_value(rounding="ROUND_CEILING")
