"""docs/prices.md names what there is: units, tiers, commands; and its example can be applied."""

from pathlib import Path

import pytest

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.pricing.models import Price
from llmobs.pricing.tiers import MULTIPLES, TIERS
from llmobs.pricing.units import UNITS

PAGE = (Path(__file__).parents[2] / "docs" / "prices.md").read_text()


def test_every_unit_and_tier_is_documented() -> None:
    names = [unit.column for unit in UNITS] + list(TIERS)
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_every_multiple_is_documented() -> None:
    told = " ".join(PAGE.split())
    assert [m for m in MULTIPLES if f"`{m.provider}` {m.tier} {m.times.normalize():f}" not in told] == []


def test_every_command_is_documented() -> None:
    assert [name for name in ("export", "import", "newkey", "sign", "update") if f"prices {name}" not in PAGE] == []


@pytest.mark.django_db
def test_the_example_is_applied() -> None:
    file = PAGE.split("```yaml\n")[1].split("```")[0]
    assert apply(parse(file), (), is_dry_run=False).has_changes
    assert Price.objects.get(model="gpt-5").tiers["batch"] == {"times": "0.5"}
    assert not apply(parse(file), (), is_dry_run=False).has_changes
