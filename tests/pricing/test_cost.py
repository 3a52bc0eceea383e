"""Cost is one sum of integers, rounded up once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price, Rates, Tier
from llmobs.pricing.usage import Usage

USD = 1_000_000_000
SONNET = Price("anthropic", "sonnet", "v1", Rates(3 * USD, 300_000_000, 3_750_000_000, 6 * USD, 15 * USD))


@pytest.mark.parametrize(
    ("usage", "nanousd"),
    [
        (Usage(), 0),
        (Usage(uncached_input=1), 3_000),
        (Usage(uncached_input=1000, output=100), 3_000_000 + 1_500_000),
        (Usage(uncached_input=10, cache_read=1000, cache_write_5m=100, cache_write_1h=10, output=1), 780_000),
        (Usage(output=50, reasoning=40), 750_000),
    ],
)
def test_each_class_of_tokens_has_its_own_price(usage: Usage, nanousd: int) -> None:
    """S0-36: rates per model; plain input, what the cache gave and output, each by its own."""
    assert cost(usage, SONNET) == nanousd


def test_the_sum_is_rounded_up_once_at_its_end() -> None:
    price = Price("p", "m", "v", Rates(1, 1, 1, 1, 1))
    assert cost(Usage(uncached_input=1, cache_read=1, output=1), price) == 1


def test_a_long_context_tier_holds_for_the_whole_call() -> None:
    tiered = Price("p", "m", "v", Rates(USD, USD, USD, USD, USD), (Tier(200, Rates(2 * USD, 0, 0, 0, 3 * USD)),))
    assert cost(Usage(uncached_input=200, output=1), tiered) == 201_000
    assert cost(Usage(uncached_input=201, output=1), tiered) == 2 * 201_000 + 3_000


def test_cached_tokens_count_towards_a_tier() -> None:
    tiered = Price("p", "m", "v", Rates(USD, USD, USD, USD, USD), (Tier(200, Rates(2 * USD, 2 * USD, 0, 0, 0)),))
    assert cost(Usage(uncached_input=1, cache_read=200), tiered) == 2 * 201_000


@given(
    st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7)
)
def test_more_tokens_never_cost_less(plain: int, read: int, write_5m: int, write_1h: int, output: int) -> None:
    usage = Usage(plain, read, write_5m, write_1h, output)
    more = Usage(plain + 1, read, write_5m, write_1h, output + 1)
    assert (cost(usage, SONNET) or 0) < (cost(more, SONNET) or 0)
