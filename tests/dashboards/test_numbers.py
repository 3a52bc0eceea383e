"""Numbers as pages write them."""

import pytest

from dashboards import numbers

MONEY = [
    (None, "–"),
    (0, "$0"),
    (480, "$0.000000480"),
    (134_000, "$0.000134"),
    (47_200_000, "$0.0472"),
    (999_960_000, "$1.00"),
    (1_000_000_000, "$1.00"),
    (1_688_300_000_000, "$1,688.30"),
    (-173_060_000_000, "−$173.06"),
]


@pytest.mark.parametrize(("nanousd", "text"), MONEY)
def test_money_has_two_decimals_from_a_dollar_on_and_three_digits_below(nanousd: int | None, text: str) -> None:
    assert numbers.money(nanousd) == text


def test_an_estimate_says_so() -> None:
    assert numbers.money(20_700_000, estimated=True) == "≈\u00a0$0.0207"


def test_the_exact_amount_keeps_every_digit() -> None:
    assert numbers.exact_money(1_688_300_000_001) == "$1688.300000001"


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [(11_800_000_000, "$11.8"), (115_000_000, "$0.115"), (0, "$0"), (2_513_400_000_000, "$2,510")],
)
def test_a_rate_has_three_digits(nanousd: int, text: str) -> None:
    assert numbers.rate_money(nanousd) == text


@pytest.mark.parametrize(
    ("nanousd", "text"), [(2_513_400_000_000, "$2,513"), (46_620_000_000, "$46.62"), (12_400_000_000, "$12.40")]
)
def test_a_forecast_has_cents_only_below_a_hundred_dollars(nanousd: int, text: str) -> None:
    assert numbers.rough_money(nanousd) == text


@pytest.mark.parametrize(("nanousd", "text"), [(0, "$0"), (70_000_000, "$0.07"), (134_000, "$0.000134")])
def test_cents_never_show_zero_for_something(nanousd: int, text: str) -> None:
    assert numbers.cents(nanousd) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (9_999, "9,999"), (16_999, "17\u00a0k"), (999_999, "1\u00a0M"), (21_200_000, "21.2\u00a0M")],
)
def test_counts_are_exact_to_9999_then_three_digits(number: int | None, text: str) -> None:
    assert numbers.short_count(number) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "–"),
        (0, "0\u00a0ms"),
        (212_000_000, "212\u00a0ms"),
        (999_700_000, "1.00\u00a0s"),
        (3_120_000_000, "3.12\u00a0s"),
        (125_000_000_000, "2\u00a0min 5\u00a0s"),
        (3_780_000_000_000, "1\u00a0h 3\u00a0min"),
    ],
)
def test_durations_read_as_people_say_them(ns: int | None, text: str) -> None:
    assert numbers.duration(ns) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(5, 836, "0.60\u00a0%"), (152, 1000, "15.2\u00a0%"), (0, 9, "0\u00a0%"), (9, 9, "100\u00a0%"), (1, 0, "–")],
)
def test_a_share_of_nothing_is_unknown(part: int, whole: int, text: str) -> None:
    assert numbers.share(part, whole) == text


@pytest.mark.parametrize(
    ("now", "before", "text"), [(131, 100, "+31\u00a0%"), (97, 100, "−3\u00a0%"), (5, 0, "–"), (5, None, "–")]
)
def test_a_change_is_signed_and_unknown_without_a_before(now: int, before: int | None, text: str) -> None:
    assert numbers.change(now, before) == text
