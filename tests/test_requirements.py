"""Each line of what was asked of the gateway, of budgets and of costs has a test that names it."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ASKED = [
    line.split("\t")
    for line in (TESTS / "samples/requirements.tsv").read_text().splitlines()
    if not line.startswith("#")
]
NAME = re.compile(r"\bS[0-4]-\d\d\b")


def named() -> set[str]:
    files = [file for file in TESTS.rglob("test_*.py") if file != Path(__file__)]
    return {name for file in files for name in NAME.findall(file.read_text())}


def test_the_list_is_whole() -> None:
    assert len({name for name, _, _ in ASKED}) == len(ASKED) == 108
    assert {kind for _, kind, _ in ASKED} == set("GLCRFPSBO")


@pytest.mark.parametrize("kind", "GLCRFPSBO")
def test_each_requirement_is_named_by_a_test(kind: str) -> None:
    found = named()
    assert [f"{name} {what}" for name, of, what in ASKED if of == kind and name not in found] == []
