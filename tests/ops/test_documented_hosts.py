"""docs/hosts.md says what the code does: names, seconds, commands."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from dashboards import reading
from dashboards.api.asked import AS_OF_HEADER
from llmobs.budgets import sweep
from llmobs.core.env import VARIABLES
from llmobs.ops import checklist_hosts
from llmobs.tenants.keys import INTERNAL_SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text()
WORDS = " ".join(PAGE.split())


@pytest.mark.parametrize(
    "told",
    [
        AS_OF_HEADER,
        f"behind by more than {reading.LATE_AFTER.seconds} s",
        f"tried again after {reading.AWAY_SECONDS:.0f} s",
        f"clock is more than {checklist_hosts.MOST_SKEW_MS // 1000} s",
        {3: "began three days ago lapse"}[sweep.LAPSE_S // 86_400],
        f"| {INTERNAL_SECONDS // 60} minutes |",
    ],
)
def test_the_page_says_what_the_code_does(told: str) -> None:
    assert told in WORDS


def test_each_variable_it_names_is_read() -> None:
    named = set(re.findall(r"`((?:LLMOBS_)?[A-Z]+_[A-Z_]+)", PAGE))
    assert {"READ_DATABASE_URL", "LLMOBS_HOST"} <= named <= VARIABLES.keys()


def test_each_command_it_names_is_there() -> None:
    commands = get_commands()
    for name, word in re.findall(r"`manage\.py (\w+)(?: (--?\w+|[a-z]+))?", PAGE):
        parser = load_command_class(commands[name], name).create_parser("manage.py", name)
        assert not word or word in parser.format_help(), (name, word)
