"""Why a time cost more: each cause alone is told as that cause, and the parts always add up."""

from hypothesis import given
from hypothesis import strategies as st

from llmobs.budgets.change import Change, Cost, explain
from llmobs.pricing.price import Rates
from llmobs.pricing.usage import Usage

# Nano-USD per million tokens: 1,000,000 is one nano-USD a token.
RATES = Rates(3_000_000, 300_000, 3_750_000, 6_000_000, 15_000_000)
CHEAP = Rates(1_000_000, 100_000, 1_250_000, 2_000_000, 5_000_000)


def cost(calls: int, usage: Usage, rates: Rates = RATES, extra: int = 0) -> Cost:
    classes = (usage.uncached_input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.output)
    names = (rates.uncached_input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h, rates.output)
    return Cost(calls, usage, rates, sum(c * r for c, r in zip(classes, names, strict=True)) // 1_000_000 + extra)


BEFORE = {"a": cost(100, Usage(10_000, output=1_000))}  # 45,000


def test_twice_the_calls_are_volume() -> None:
    assert explain(BEFORE, {"a": cost(200, Usage(20_000, output=2_000))}) == Change(45_000, 0, 0, 0, 0, 0)


def test_longer_answers_are_tokens() -> None:
    assert explain(BEFORE, {"a": cost(100, Usage(10_000, output=2_000))}) == Change(0, 0, 15_000, 0, 0, 0)


def test_a_prefix_that_is_read_from_the_cache_is_cache() -> None:
    assert explain(BEFORE, {"a": cost(100, Usage(2_000, 8_000, output=1_000))}) == Change(0, 0, 0, -21_600, 0, 0)


def test_a_new_price_is_price() -> None:
    assert explain(BEFORE, {"a": cost(100, Usage(10_000, output=1_000), CHEAP)}) == Change(0, 0, 0, 0, -30_000, 0)


def test_half_of_the_calls_moved_to_a_cheaper_model_is_mix() -> None:
    half = Usage(5_000, output=500)
    assert explain(BEFORE, {"a": cost(50, half), "b": cost(50, half, CHEAP)}) == Change(0, -15_000, 0, 0, 0, 0)


def test_what_no_rate_explains_is_other() -> None:
    assert explain(BEFORE, {"a": cost(100, Usage(10_000, output=1_000), extra=7)}).other == 7


def test_from_nothing_and_to_nothing_is_volume() -> None:
    assert explain({}, BEFORE) == Change(45_000, 0, 0, 0, 0, 0)
    assert explain(BEFORE, {}) == Change(-45_000, 0, 0, 0, 0, 0)
    assert explain({}, {}).total == 0


counts = st.integers(0, 10**9)
rates = st.builds(Rates, counts, counts, counts, counts, counts)
usages = st.builds(Usage, counts, counts, counts, counts, counts)
costs = st.builds(Cost, st.integers(-5, 10**7), usages, rates, st.integers(-(10**15), 10**15))
sides = st.dictionaries(st.sampled_from("abcd"), costs)


@given(sides, sides)
def test_the_parts_add_up_whatever_changed(before: dict[str, Cost], after: dict[str, Cost]) -> None:
    spent = [sum(each.cost_nanousd for each in side.values()) for side in (before, after)]
    assert explain(before, after).total == spent[1] - spent[0]
