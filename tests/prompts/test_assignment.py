"""Who gets which arm of an A/B test: stable, spread as the shares say, and apart from every other test."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.prompts.assignment import WHOLE, assign, even_shares, share_of, slot

HALVES = ((1, 5_000), (2, 5_000))


@given(salt=st.text(max_size=20), prompt_id=st.integers(1, 2**40), who=st.text(max_size=80))
def test_the_same_caller_gets_the_same_version_always(salt: str, prompt_id: int, who: str) -> None:
    """S2-20: the assignment is a function of test, prompt and user alone."""
    assert assign(salt, prompt_id, who, HALVES) == assign(salt, prompt_id, who, HALVES)
    assert 0 <= slot(salt, prompt_id, who) < WHOLE


@settings(max_examples=25, deadline=None)
@given(salt=st.text(max_size=20), prompt_id=st.integers(1, 2**40), share=st.integers(0, WHOLE))
def test_the_shares_are_as_the_test_says(salt: str, prompt_id: int, share: int) -> None:
    """S2-20: of many users, control_percentage get control (4,000 users: within 5 standard deviations, 4 %)."""
    arms = ((1, share), (2, WHOLE - share))
    got = Counter(assign(salt, prompt_id, f"user-{n}", arms) for n in range(4_000))
    assert abs(got[1] / 4_000 - share / WHOLE) <= 0.04


def test_who_is_in_one_tests_variant_is_not_so_in_the_next() -> None:
    """S2-20: by the hash of the user alone, the same people would be the variant of every test."""
    users = [f"user-{n}" for n in range(2_000)]
    first = {user for user in users if assign("a", 1, user, HALVES) == 2}
    for other_salt, other_prompt in (("b", 1), ("a", 2)):
        both = sum(assign(other_salt, other_prompt, user, HALVES) == 2 for user in first)
        assert 0.4 < both / len(first) < 0.6


def test_another_process_assigns_alike() -> None:
    """S2-20: never Python's own hash(), which each process salts anew."""
    code = "from llmobs.prompts.assignment import slot; print([slot('s', 7, f'user-{n}') for n in range(20)])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str([slot("s", 7, f"user-{n}") for n in range(20)])


def test_several_variants_share_the_callers() -> None:
    arms = ((1, 5_000), (2, 2_500), (3, 2_500))
    got = Counter(assign("s", 7, f"user-{n}", arms) for n in range(4_000))
    assert [abs(got[number] - expected) < 160 for number, expected in ((1, 2_000), (2, 1_000), (3, 1_000))] == [
        True
    ] * 3


@pytest.mark.parametrize(("percentage", "share"), [(50, 5_000), ("12.5", 1_250), (0.01, 1), (100, WHOLE), (0, 0)])
def test_a_percentage_has_two_decimals(percentage: object, share: int) -> None:
    assert share_of(percentage) == share


@pytest.mark.parametrize("percentage", [-1, 101, "half", "12.345", True, None, "NaN", "Infinity"])
def test_what_is_no_percentage_is_refused(percentage: object) -> None:
    with pytest.raises(ValueError, match="percentage"):
        share_of(percentage)


def test_what_does_not_divide_goes_to_the_first() -> None:
    assert even_shares(5_000, 3) == [1_667, 1_667, 1_666]
