"""docs/durability.md says what there is: moments, faults, settings, bounds, commands."""

import re
from pathlib import Path

import pytest

from gateway.errors import FACES
from gateway.recorder import ALLOW, MOST_LATE_ENDS, MOST_WHOLE_ENDS, REFUSE
from llmobs.core.env import VARIABLES
from llmobs.ingest import journal, writing
from llmobs.ingest.suspects import CAREFUL_AFTER, MOST_DEATHS
from llmobs.ops.management.commands import deadletters, verify
from llmobs.ops.supervisor import LONGEST_PAUSE_SECONDS
from tests.bench.faults_conditions import CONDITIONS as STRIKES
from tests.bench.faults_moments import MOMENTS
from tests.bench.faults_plan import ALL, CONDITIONS, KILLED, rows

PAGE = (Path(__file__).parents[2] / "docs/durability.md").read_text()
TABLE = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"\| [^|]+ \| (\w+) \| (light|heavy) \|", line)]


def test_every_moment_is_named_and_tried() -> None:
    assert MOMENTS.keys() == KILLED.keys()
    for moment in MOMENTS:
        assert f"| `{moment}` |" in PAGE


def test_every_row_of_the_table_is_one_that_is_tried() -> None:
    known = {(row.fault, row.moment, row.load.name) for row in rows()}
    assert {(line[0].removeprefix("| "), line[1], line[2]) for line in TABLE} <= known
    assert len(TABLE) >= 30


def test_every_fault_and_moment_was_measured() -> None:
    measured = {line[0].removeprefix("| ") for line in TABLE}
    assert set(ALL) <= measured
    assert STRIKES.keys() == CONDITIONS.keys()
    assert CONDITIONS.keys() <= measured
    assert {line[1] for line in TABLE} == MOMENTS.keys()


def test_no_measured_row_lost_or_doubled_anything() -> None:
    assert {(line[5], line[6]) for line in TABLE} == {("0", "0")}
    assert {line[7].split(" / ")[1] for line in TABLE} == {"0"}


@pytest.mark.parametrize("name", ["LLMOBS_JOURNAL_MB", "LLMOBS_UNRECORDED"])
def test_the_settings_are_read(name: str) -> None:
    assert f"| `{name}` |" in PAGE
    assert name in VARIABLES


def test_defaults_and_bounds_are_the_codes() -> None:
    assert f"| {journal.MOST_JOURNAL_MB} |" in PAGE
    assert (REFUSE, ALLOW, journal.CALLS_PART) == ("refuse", "allow", 8)
    assert f"the first {MOST_WHOLE_ENDS} with their contents, up to {MOST_LATE_ENDS:,} without" in PAGE
    assert f"reads {writing.MOST_BYTES // 2**20} MB of it at a time" in PAGE
    assert f"pauses of up to {LONGEST_PAUSE_SECONDS:.0f} s" in PAGE
    assert f"after {CAREFUL_AFTER} starts in vain" in PAGE
    assert f"over which it died {MOST_DEATHS} times" in PAGE
    openai, anthropic = FACES["journal_full"].openai[0], FACES["journal_full"].anthropic[0]
    assert f"({openai}; Anthropic's format: {anthropic})" in PAGE


def test_the_commands_exist() -> None:
    assert "`manage.py deadletters list`" in PAGE
    assert deadletters.Command.help
    assert "`manage.py verify`" in PAGE
    assert verify.Command.help
