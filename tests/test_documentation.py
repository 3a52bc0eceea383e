"""The documentation hangs together: every page can be reached from the README, and every link leads somewhere."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([\w-]+))?\)")


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_its_head(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        there = page.parent / target
        assert there.is_file(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_every_page_is_named_by_the_readme() -> None:
    linked = {target for target, _ in LINK.findall((ROOT / "README.md").read_text())}
    assert sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md") if f"docs/{page.name}" not in linked) == []


def test_every_command_is_listed_by_the_readme() -> None:
    listed = (ROOT / "README.md").read_text().partition("\n## Commands\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(?:manage\.py|make)? ?([a-z]+)[^`|]*`", listed))
    # `prepare` is what `up` runs before all else.
    commands = {path.stem for path in (ROOT / "llmobs/ops/management/commands").glob("[a-z]*.py")} - {"prepare"}
    assert sorted(commands - named) == []


def test_the_architecture_names_each_module_in_one_row() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert [row for row, times in Counter(rows).items() if times > 1] == []
