"""Prompts found by reference: current, version, label, latest, and the arm of a running test."""

from collections import Counter

import msgspec
import pytest

from llmobs.prompts.definition import PromptInfo, Prompts, RunningTest, UnknownPrompt
from tests.prompts.made import prompt

LABELLED = prompt(current=2, labels={"staging": 3})
TESTED = prompt(current=1, test=RunningTest("salt", ((1, 5_000), (3, 5_000))))


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("greet", "greet@2"),
        ("greet@current", "greet@2"),
        ("greet@latest", "greet@3"),
        ("greet@1", "greet@1"),
        ("greet@v1", "greet@1"),
        ("greet@staging", "greet@3"),
    ],
)
def test_a_prompt_is_found_by_name_version_label_or_latest(reference: str, found: str) -> None:
    """S2-19: get by version or latest; the name alone is the current one."""
    assert Prompts([LABELLED]).find(1, reference, "ada").reference == found


@pytest.mark.parametrize("reference", ["greet@9", "greet@production", "greet@", "greet@0", "greet@-1", "greet@1@2"])
def test_a_version_or_label_that_is_not_there_is_named(reference: str) -> None:
    with pytest.raises(UnknownPrompt, match="'greet' has no version or label"):
        Prompts([LABELLED]).find(1, reference, "ada")


def test_another_tenants_prompt_is_not_there() -> None:
    with pytest.raises(UnknownPrompt, match="no prompt 'greet'"):
        Prompts([LABELLED]).find(2, "greet", "ada")


def test_a_running_test_decides_by_the_caller_and_says_so() -> None:
    """S2-20: the name alone is one of the arms, the same for a user always; an explicit version is never."""
    prompts = Prompts([TESTED])
    chosen = [prompts.find(1, "greet", f"user-{n}") for n in range(1_000)]
    shares = Counter((each.arm, each.reference) for each in chosen)
    assert set(shares) == {("control", "greet@1"), ("variant", "greet@3")}
    assert 400 < shares["control", "greet@1"] < 600
    assert chosen == [prompts.find(1, "greet", f"user-{n}") for n in range(1_000)]
    assert {prompts.find(1, "greet@current", f"user-{n}").reference for n in range(50)} == {"greet@1"}
    assert {prompts.find(1, "greet@2", f"user-{n}").arm for n in range(50)} == {""}


def test_prompts_rest_on_disk_as_they_are() -> None:
    for info in (LABELLED, TESTED):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(info), type=PromptInfo) == info
