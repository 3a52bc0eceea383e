"""Each name on books of a few cells, with the arithmetic by hand; whatever the books, the parts add up."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmobs.reconcile.amounts import Books, Calls, Group, Hour, Key, Ours, Part, Theirs, exact, total
from llmobs.reconcile.naming import by_name, name_differences
from llmobs.reconcile.rates import rate_behind, shortest

DAY = date(2026, 11, 10)
IN, OUT = Key(DAY, "m", "", "uncached_input"), Key(DAY, "m", "", "output")
GROUP = Group(DAY, "m", "")
USD = Decimal(10**9)
RATES = {"uncached_input": Fraction(2_000), "cache_write_5m": Fraction(2_500), "output": Fraction(10_000)}  # nano-USD


def books(*days: date) -> Books:
    covered = frozenset(days or (DAY,))
    return Books(days=covered, with_usage=covered)


def ours(made: Books, key: Key, tokens: int, calls: int = 1) -> None:
    made.ours[key].add(tokens, tokens, tokens * RATES[key.token_class])
    made.rates[key] = RATES[key.token_class]
    made.calls[Group(*key[:3])].count += calls


def theirs(made: Books, key: Key, tokens: int, rate: int | None = None, **fields: object) -> None:
    amount = Decimal(tokens * int(rate if rate is not None else RATES[key.token_class]))
    made.theirs[key] = Theirs(tokens, amount, 1, **fields)  # type: ignore[arg-type]


def named(made: Books, keys: dict[str, str] | None = None) -> dict[str, Decimal]:
    return by_name(name_differences(made, keys or {}))


def test_what_agrees_has_no_parts() -> None:
    made = books()
    ours(made, IN, 1_000)
    theirs(made, IN, 1_000)
    assert named(made) == {}


def test_another_rate_is_price() -> None:
    made = books()
    ours(made, IN, 1_000)
    theirs(made, IN, 1_000, 3_000)
    assert named(made) == {"price": Decimal(1_000_000)}


def test_what_nobody_charges_is_price_too() -> None:
    made = books()
    ours(made, IN, 1_000)
    theirs(made, IN, 1_000, 0)
    assert named(made) == {"price": Decimal(-2_000_000)}


def test_an_amount_that_no_price_makes_remains() -> None:
    """PAINS 11: what is not explained is said to be so."""
    made = books()
    ours(made, IN, 1_000_000)
    theirs(made, IN, 1_000_000)
    made.theirs[IN].amount += Decimal(123_456_789)
    assert named(made) == {"residual": Decimal(123_456_789)}


def test_more_tokens_for_the_same_calls_are_tokens_at_our_rate() -> None:
    made = books()
    ours(made, OUT, 1_000, calls=4)
    theirs(made, OUT, 1_300)
    made.their_calls[GROUP] = 4
    assert named(made) == {"tokens": Decimal(3_000_000)}


def test_more_calls_are_outside() -> None:
    made = books()
    ours(made, OUT, 1_000, calls=4)
    theirs(made, OUT, 1_300)
    made.their_calls[GROUP] = 5
    (part,) = name_differences(made, {})
    assert (part.name, part.quantity, part.calls) == ("outside", 300, 1)


def test_a_model_that_we_have_no_bill_of_is_outside() -> None:
    """PAINS 25: batches and the like that never came through."""
    made = books()
    theirs(made, OUT, 1_300)
    assert named(made) == {"outside": Decimal(13_000_000)}


def test_a_strangers_key_is_outside_at_the_lines_rate() -> None:
    made = books()
    ours(made, OUT, 1_000)
    theirs(made, OUT, 1_500, by_key={"ours": 1_000, "stranger": 500})
    (part,) = name_differences(made, {"ours": "openai"})
    assert (part.name, part.amount, part.detail) == ("outside", Decimal(5_000_000), {"key": "stranger"})


def test_a_key_of_ours_that_is_not_mapped_is_told_and_costs_nothing() -> None:
    made = books()
    ours(made, OUT, 1_500)
    theirs(made, OUT, 1_500, by_key={"ours": 1_000, "rotated": 500})
    (part,) = name_differences(made, {"ours": "openai"})
    assert (part.name, part.amount, part.quantity) == ("not_mapped", Decimal(0), 500)


def test_cache_writes_billed_as_input_are_another_class() -> None:
    """PAINS 15: the same tokens under another price."""
    made, written = books(), Key(DAY, "m", "", "cache_write_5m")
    ours(made, IN, 1_000)
    ours(made, written, 400)
    theirs(made, IN, 1_400)
    parts = name_differences(made, {})
    assert {(part.key.token_class, part.amount) for part in parts} == {
        ("cache_write_5m", Decimal(-1_000_000)), ("uncached_input", Decimal(800_000)),
    }  # fmt: skip
    assert by_name(parts) == {"class": Decimal(-200_000)}


def test_what_they_have_at_batch_rates_is_another_tier() -> None:
    made, batch = books(), Key(DAY, "m", "batch", "output")
    ours(made, OUT, 1_000)
    theirs(made, batch, 1_000, 5_000)
    assert named(made) == {"tier": Decimal(-5_000_000)}


def test_priority_is_bought_ahead_and_in_no_report_of_costs() -> None:
    made, priority = books(), Key(DAY, "m", "priority", "output")
    ours(made, priority, 1_000)
    made.theirs[priority] = Theirs(1_000)
    assert named(made) == {"tier": Decimal(-10_000_000)}


def test_what_has_no_price_of_ours_is_unpriced_at_theirs() -> None:
    """PAINS 12: unknown is never zero."""
    made = books()
    made.ours[OUT].add(1_000, 0, Fraction(0))
    made.calls[GROUP].count = 1
    theirs(made, OUT, 1_000)
    assert named(made) == {"unpriced": Decimal(10_000_000)}


def test_credits_and_taxes_are_no_usage() -> None:
    made = books()
    made.theirs[Key(DAY, "Credit grant", "", "other")] = Theirs(0, -5 * USD, 1)
    (part,) = name_differences(made, {})
    assert (part.name, part.amount, part.detail) == ("no_usage", -5 * USD, {"line": "Credit grant"})


def test_less_than_a_lines_last_digit_is_rounding() -> None:
    made = books()
    ours(made, OUT, 123_456)
    made.theirs[OUT] = Theirs(123_456, Decimal("1.23") * USD, 1, Decimal("0.01") * USD)
    assert named(made) == {"rounding": Decimal("1.23") * USD - Decimal(1_234_560_000)}


def test_our_own_rounding_is_at_most_a_nano_usd_a_call() -> None:
    made = books()
    made.calls[GROUP] = Calls(3, 0, Fraction(5, 2))
    assert named(made) == {"rounding": Decimal("-2.5")}
    made.calls[GROUP] = Calls(2, 0, Fraction(5, 2))
    assert named(made) == {"residual": Decimal("-2.5")}


def test_costs_without_usage_say_only_what_needs_no_quantity() -> None:
    made = Books(days=frozenset({DAY}))
    ours(made, OUT, 1_000)
    made.theirs[OUT] = Theirs(0, Decimal(15_000_000), 1)
    made.theirs[IN] = Theirs(0, Decimal(7_000_000), 1)
    assert named(made) == {"outside": Decimal(7_000_000), "residual": Decimal(5_000_000)}


def hourly(made: Books, day: date, hour: int, tokens: int) -> None:
    key = Key(day, "m", "", "output")
    ours(made, key, tokens)
    made.hours[Hour("m", day, hour)]["", "output"] = Ours(tokens, tokens, tokens * RATES["output"])
    made.hour_calls[Hour("m", day, hour)][""] = 1


@pytest.mark.parametrize("zone", [-8, -3, 2, 5])
def test_a_providers_zone_is_found_all_through(zone: int) -> None:
    days = [DAY + timedelta(days=n) for n in range(6)]
    made = books(*days)
    sums: dict[date, int] = {}
    for n in range(-24, 6 * 24 + 24):
        day, hour, tokens = DAY + timedelta(days=n // 24), n % 24, 1_000 + n * n
        hourly(made, day, hour, tokens)
        there = DAY + timedelta(days=(n + zone) // 24)
        sums[there] = sums.get(there, 0) + tokens
    for day in days:
        theirs(made, Key(day, "m", "", "output"), sums[day])
    parts = name_differences(made, {})
    assert {part.name for part in parts} == {"time_zone"}
    assert {part.detail["hours"] for part in parts} == {abs(zone)}


def test_a_surplus_that_no_hours_explain_is_no_time_zone() -> None:
    after = DAY + timedelta(days=1)
    made = books(DAY, after)
    for day in (DAY, after):
        for hour in (9, 22, 23):
            hourly(made, day, hour, 1_000 + hour)
    theirs(made, Key(DAY, "m", "", "output"), 3_054 - 500)
    theirs(made, Key(after, "m", "", "output"), 3_054 + 500)
    made.their_calls = {Group(day, "m", ""): 3 for day in (DAY, after)}
    assert {part.name for part in name_differences(made, {})} == {"tokens"}


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [("14.96", "15.05", "15"), ("2.4991", "2.5012", "2.5"), ("0.0748", "0.0751", "0.075"), ("-1", "1", "0"),
     ("17.123411", "17.123412", None), ("1999", "2001", "2000")],
)  # fmt: skip
def test_the_shortest_number_of_a_range(low: str, high: str, found: str | None) -> None:
    assert shortest(Fraction(low), Fraction(high)) == (None if found is None else Fraction(found))


def test_a_discount_is_a_multiple_of_our_rate() -> None:
    ours_rate = Fraction(123_457, 1_000)  # a mixture of short and long contexts
    amount = exact(ours_rate * Fraction(85, 100) * 10_000_000)
    assert rate_behind(amount, 10_000_000, Decimal(1), ours_rate) == ours_rate * Fraction(85, 100)


_tokens, _classes = st.integers(0, 10**6), st.sampled_from(("uncached_input", "cache_write_5m", "output"))


@given(
    st.lists(
        st.tuples(st.integers(0, 2), _classes, _tokens, _tokens, st.integers(0, 10**12), st.integers(0, 9)), max_size=12
    ),
    st.booleans(),
)
def test_the_parts_always_add_up(cells: list[tuple[int, str, int, int, int, int]], has_keys: bool) -> None:
    days = [DAY + timedelta(days=n) for n in range(3)]
    made, difference = books(*days), Decimal(0)
    for n, token_class, here, there, amount, calls in cells:
        key = Key(days[n], "m", "", token_class)
        if key in made.theirs:
            continue
        ours(made, key, here, calls)
        made.hours[Hour("m", key.day, 23)]["", token_class] = Ours(here, here, here * RATES[token_class])
        by_key = {"stranger": there // 3, "ours": there - there // 3}
        made.theirs[key] = Theirs(there, Decimal(amount), 1, Decimal(1), by_key)
        made.their_calls[Group(*key[:3])] = calls + n
        difference += Decimal(amount) - exact(here * RATES[token_class])
    parts: list[Part] = name_differences(made, {"ours": "openai"} if has_keys else {})
    assert total(parts) == difference
