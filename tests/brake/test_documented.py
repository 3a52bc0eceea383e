"""The page on the brake says what it does: its modes, its marks with their defaults, what each sign is worth."""

import re
from pathlib import Path

import msgspec

from gateway.brake import BRAKED, MOST_SHARED, MOST_TRACKS, MOST_WAITING, SHARE_SECONDS
from llmobs.brake.releasing import KEEPS
from llmobs.brake.track import FIRST_MARK, GROWTH_WORTH, PAUSES_AT, SLOPE_WORTH, SLOWS_AT, SLOWS_AT_COST
from llmobs.brake.watch import WATCHED_SECONDS
from llmobs.tenants.braking import DEFAULTS, MODES

PAGE = (Path(__file__).parents[2] / "docs/brake.md").read_text()


def test_every_mode_stands_there() -> None:
    table = PAGE.partition("| mode |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(MODES)


def test_every_mark_stands_there_with_its_default() -> None:
    table = PAGE.partition("| mark |")[2].partition("\n\n")[0]
    told = dict(re.findall(r'^\| `(\w+)` \| "?([\d.]+)"? \|', table, re.MULTILINE))
    assert told == {name: str(value) for name, value in msgspec.structs.asdict(DEFAULTS).items()}


def test_what_signs_are_worth_and_what_they_lead_to() -> None:
    table = PAGE.partition("| sign |")[2].partition("\n\n")[0]
    assert re.findall(r"\| ([\d.]+) \|$", table, re.MULTILINE) == ["1", "1", str(GROWTH_WORTH), str(SLOPE_WORTH)]
    assert f"From {SLOWS_AT} on a session is slowed, from {PAUSES_AT:g} on it is paused" in PAGE
    assert (SLOWS_AT_COST, FIRST_MARK, KEEPS.days) == (4, 0.1, 30)
    assert "a quarter of `cost_usd`" in PAGE
    assert "a tenth\nof the score that pauses" in PAGE
    assert "thirty days" in PAGE


def test_bounds_and_operations() -> None:
    assert f"and {MOST_WAITING} of a gateway" in PAGE
    assert f"{MOST_TRACKS:,} sessions of each gateway" in PAGE
    assert f"until {WATCHED_SECONDS} seconds after" in PAGE
    assert (f"more than {MOST_SHARED} sessions tenants take turns" in PAGE, SHARE_SECONDS) == (True, 1)
    assert frozenset({"chat", "responses", "messages"}) == BRAKED
