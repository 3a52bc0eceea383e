"""docs/alerts.md: its examples apply, and it names every kind, scheme, dimension and field."""

import re
from pathlib import Path

import pytest

from llmobs.alerts.addresses import DEFAULT_SCHEMES, KNOWN_SCHEMES
from llmobs.alerts.delivery import TIMEOUT_SECONDS
from llmobs.alerts.evaluating import MOST_GROUPS
from llmobs.alerts.kinds import DIMENSIONS, KINDS, RULES, SEVERITIES
from llmobs.alerts.models import AlertRule, Channel
from llmobs.alerts.outbox import MOST_ATTEMPTS
from llmobs.alerts.tasks import CHANNELS_AT_ONCE
from llmobs.budgets.models import Budget
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.alert_rules import RuleEntry
from llmobs.tenants.models import Tenant
from tests.settings import SECRETS

PAGE = (Path(__file__).parents[2] / "docs/alerts.md").read_text()
WORDS = " ".join(PAGE.split())


@pytest.mark.django_db
def test_every_example_applies_and_a_second_time_changes_nothing() -> None:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    Budget.objects.create(tenant=acme, name="monthly", limit_nanousd=NANOUSD_PER_USD)
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        apply(parse(example), SECRETS.encryption_keys)
        assert not apply(parse(example), SECRETS.encryption_keys).has_changes
    assert (AlertRule.objects.count(), Channel.objects.count()) == (6, 4)


@pytest.mark.parametrize("word", [*KINDS, *SEVERITIES, *DIMENSIONS, *RuleEntry.__struct_fields__])
def test_every_word_of_a_rule_is_explained(word: str) -> None:
    assert re.search(rf"`[^`]*\b{word}\b[^`]*`", PAGE), word


@pytest.mark.parametrize("scheme", sorted(KNOWN_SCHEMES))
def test_every_scheme_is_named_the_allowed_ones_in_the_table(scheme: str) -> None:
    spelled = f"`{scheme}://`" if scheme in DEFAULT_SCHEMES else f"`{scheme}`"
    assert spelled in PAGE


@pytest.mark.parametrize("kind", RULES.values(), ids=lambda kind: kind.name)
def test_what_a_kind_is_without_being_told_is_in_its_row(kind: object) -> None:
    name, unit, threshold = kind.name, kind.unit, kind.threshold  # type: ignore[attr-defined]
    (row,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    assert f"| {unit or '–'} |" in row
    assert f"| {f'{threshold:,f}' if threshold else '–'} |" in row


def test_the_figures_of_deliveries_are_the_codes() -> None:
    words = {8: "eight", 10: "ten"}
    assert f"{words[MOST_ATTEMPTS]} times within" in WORDS
    assert f"lasts {words[int(TIMEOUT_SECONDS)]} seconds" in WORDS
    assert f"{words[CHANNELS_AT_ONCE]} channels at once" in WORDS
    assert f"the {MOST_GROUPS} largest" in WORDS
