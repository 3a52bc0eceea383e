"""The documentation names every difference, every column, every field of an account, and every command."""

from pathlib import Path

import pytest

from dashboards.queries.reconcile import PART_WORDS
from llmobs.reconcile.amounts import NAMES
from llmobs.reconcile.csv_report import ANTHROPIC_COST, ANTHROPIC_USAGE, OPENAI_COST, OPENAI_USAGE
from llmobs.reconcile.fetching import _REPORTS as REPORTS

PAGE = (Path(__file__).parents[2] / "docs/reconcile.md").read_text()
COLUMNS = {
    alias
    for columns in (ANTHROPIC_COST, ANTHROPIC_USAGE, OPENAI_COST, OPENAI_USAGE)
    for aliases in columns.values()
    for alias in aliases
}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_told_here_and_on_the_page(name: str) -> None:
    assert f"| `{name}` |" in PAGE
    assert name in PART_WORDS


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_column_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", ["name", "kind", "providers", "keys", "aliases", "tenant", "credential", "base_url"])
def test_every_field_of_an_account_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_what_is_asked_for_is_named() -> None:
    paths = [path for reports in REPORTS.values() for asked in reports.values() for path, _ in asked]
    for path in paths:
        assert path.rpartition("/")[2] in PAGE
    for command in ("import", "fetch", "run"):
        assert f"manage.py reconcile {command}" in PAGE
