"""Calls whose gateway was killed between their attempts and their own span: the trace has its root all the same."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.ids import new_span_id
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.untold import LONGEST_CALL_NS
from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.ingest.calls import called
from tests.ingest.making import begin, end
from tests.ingest.test_writer import journal, make_writer

__all__ = ["journal", "make_writer"]

Connection = psycopg.Connection[Any]
CALLER, CALL = new_span_id(), new_span_id()
FAILED: dict[str, Any] = {"call_span_id": CALL, "status": "failed", "usage": None, "cost_nanousd": None}

first = begin(parent_span_id=CALLER, request_model="smart")
second = begin(
    trace_id=first.trace_id, parent_span_id=CALL, number=2, first=first.attempt,
    start_ns=first.start_ns + NS_PER_SECOND, request_model="smart",
)  # fmt: skip


def spans(pg: Connection) -> list[tuple[Any, ...]]:
    sql = "SELECT span_id, parent_span_id, status, is_call FROM span ORDER BY start, is_call, span_id"
    return pg.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("entries", "attempts", "failed", "until_s"),
    [
        ([first, end(first, **FAILED)], 1, 1, 0.3),  # in the pause before the next one
        ([first, end(first, **FAILED), second], 2, 2, 1),
        ([first, end(first, **FAILED), second, end(second, call_span_id=CALL)], 2, 1, 1.3),
        ([first, second], 2, 2, 1),  # a hedge: both run still
        ([first, second, end(second, call_span_id=CALL)], 2, 1, 1.3),
    ],
)
@pytest.mark.parametrize("is_anew", [False, True], ids=["one writer", "a new writer"])
def test_a_call_that_nobody_ended_has_its_span(
    entries: list[Any],
    attempts: int,
    failed: int,
    until_s: float,
    is_anew: bool,
    pg: Connection,
    journal: JournalWriter,
    make_writer: Callable[[], Writer],
) -> None:
    writer = make_writer()
    for entry in entries:
        journal.append(entry)
    writer.drain()
    ended = sum(entry in entries for entry in entries if not hasattr(entry, "held_usage"))
    assert len(spans(pg)) == ended  # its own comes with its end
    if is_anew:
        writer = make_writer()
        writer.drain()
    journal.close()
    writer.drain()
    found = {bytes(row[0]): row[1:] for row in spans(pg)}
    tried = [entry.attempt for entry in entries if hasattr(entry, "held_usage")]
    assert found.keys() == {CALL, *tried}
    assert found[CALL] == (CALLER, "abandoned", False)
    assert all(found[attempt][0] == CALL and found[attempt][2] for attempt in tried)
    row = pg.execute(
        "SELECT request_model, attributes->'llmobs.attempts', attributes->'llmobs.failed_attempts', cost_nanousd, "
        "duration_ns FROM span WHERE span_id = %s",
        (CALL,),
    ).fetchone()
    assert row == ("smart", attempts, failed, None, until_s * NS_PER_SECOND)
    assert verify(pg).differences == []


def test_one_that_told_its_own_is_left_alone(
    pg: Connection, journal: JournalWriter, make_writer: Callable[[], Writer]
) -> None:
    writer = make_writer()
    own = called(span_id=CALL, trace_id=first.trace_id, parent_span_id=CALLER, attempts=2, status="ok")
    for entry in (first, end(first, **FAILED), second, end(second, call_span_id=CALL), own):
        journal.append(entry)
    journal.close()
    writer.drain()
    assert [status for _, _, status, is_call in spans(pg) if not is_call] == ["ok"]
    assert len(spans(pg)) == 3


def test_what_a_full_disk_lost_keeps_no_journal_for_ever(
    pg: Connection, journal: JournalWriter, make_writer: Callable[[], Writer]
) -> None:
    writer = make_writer()
    later = begin(start_ns=first.start_ns + LONGEST_CALL_NS + 1)
    for entry in (first, end(first, **FAILED)):
        journal.append(entry)
    writer.drain()
    mark = "SELECT low_water, committed FROM journal_offset"
    before = pg.execute(mark).fetchone()
    assert before is not None
    assert before[0] < before[1]
    for entry in (later, end(later)):
        journal.append(entry)
    writer.drain()
    after = pg.execute(mark).fetchone()
    assert after is not None
    assert after[0] == after[1]
