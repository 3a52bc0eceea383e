"""docs/limits.md: its examples apply, and it names every unit, dimension and figure."""

import re
from pathlib import Path

import pytest

from llmobs.limits.models import Limit
from llmobs.limits.plans import PLANS
from llmobs.limits.units import DIMENSIONS, STEPS, UNITS
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text()


@pytest.mark.django_db
def test_every_example_applies_and_a_second_time_changes_nothing() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        apply(parse(example), ())
        assert not apply(parse(example), ()).has_changes
    assert Limit.objects.count() == 10


@pytest.mark.parametrize("word", [*UNITS, *STEPS, *DIMENSIONS])
def test_every_word_of_a_limit_is_explained(word: str) -> None:
    assert re.search(rf"\b{word}\b", PAGE)


@pytest.mark.parametrize("figure", [f"{each.limit:,}" for plan in PLANS.values() for each in plan])
def test_what_plans_bring_is_told(figure: str) -> None:
    assert figure in PAGE
