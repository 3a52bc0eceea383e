"""The fault table, short: `python -m tests.bench faults` and docs/durability.md have the long one.

Full disks need a mount, which a test may not be allowed: here the processes may write no file (RLIMIT_FSIZE).
"""

from collections.abc import Iterator

import pytest

from llmobs.ops.simulator.running import running
from tests.bench.faults import Done, try_row
from tests.bench.faults_load import Load
from tests.bench.faults_plan import DOORS, Row
from tests.bench.faults_platform import Up, platform
from tests.bench.proof import alone

FEW = Load("few", http=1, grpc=1, callers=2, spans=10, pause_seconds=0.1)
MANY = Load("many", http=3, grpc=1, callers=2, spans=200, pause_seconds=0.0, is_brief=True)
ROWS = (
    Row("doors", "appended", FEW, DOORS),
    Row("writer", "committed", MANY, ("writer",)),
    Row("writer, PostgreSQL and Valkey", "receiving", FEW, ("writer", "postgres", "valkey")),
    Row("PostgreSQL", "closing", FEW, ("postgres",)),
    Row("files of the doors cannot be written", "receiving", FEW),
)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with running() as simulator, alone(), platform(simulator.url, {"LLMOBS_JOURNAL_MB": "512"}) as up:
        yield up


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.fault} {row.moment}".replace(" ", "-"))
def test_what_was_acknowledged_is_there_once_whatever_dies(up: Up, row: Row) -> None:
    """DESIGN: nothing acknowledged is lost, nothing is twice, and the backlog drains."""
    done = try_row(row, up, seed=ROWS.index(row) + 1, verifies=row is ROWS[-1])
    assert done.failures == [], "\n".join((*done.failures, done.line()))
    assert done.said.spans > done.before[0] or not done.before[0]
    assert done.said.answered > 0
    _is_bounded(done)


def _is_bounded(done: Done) -> None:
    """None takes more than a few batches' worth above what it takes idle."""
    assert all(mb < 400 for mb in done.memory.values()), done.memory
