"""docs/budgets.md: its examples apply, and it names every dimension, window, action and field."""

import re
from pathlib import Path

import pytest

from llmobs.budgets.definition import ACTIONS
from llmobs.budgets.models import Budget
from llmobs.budgets.scope import DIMENSIONS
from llmobs.budgets.window import LEAST_DAYS, MOST_DAYS, WINDOWS
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.tenants.models import Key

PAGE = (Path(__file__).parents[2] / "docs/budgets.md").read_text()
TOLD = ("name", "scope", "window", "unit", "limit", "spent", "held", "requested", "resets_at")


@pytest.mark.django_db
def test_every_example_applies_and_a_second_time_changes_nothing() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        apply(parse(example), ())
        assert not apply(parse(example), ()).has_changes
    assert Budget.objects.count() == 6
    assert Budget.objects.get(name="each user").parent == Budget.objects.get(name="chat")
    assert list(Key.objects.order_by("name").values_list("unpriced_nanousd", "most_output_tokens")) == [
        (50_000_000, None),
        (None, 1024),
    ]


@pytest.mark.parametrize("word", [*DIMENSIONS, *WINDOWS, *ACTIONS, f"{LEAST_DAYS}d", f"{MOST_DAYS}d", *TOLD])
def test_every_word_of_a_budget_is_explained(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("unpriced", [choice.value for choice in Key.Unpriced])
def test_what_a_key_says_of_unpriced_models_is_explained(unpriced: str) -> None:
    assert re.search(rf"`(unpriced: )?{unpriced}`", PAGE)
