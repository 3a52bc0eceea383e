"""How much of a journal is read at one turn, and what that takes of memory."""

import tracemalloc
from pathlib import Path

import pytest

from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.journal_reader import JournalReader

KEY = bytes(range(32))
BODIES, BODY_BYTES = 12, 500_000


@pytest.fixture
def reader(tmp_path: Path) -> JournalReader:
    """Of an owner that has appended some long bodies."""
    writer = JournalWriter(tmp_path / "gateway-a", KEY)
    for number in range(BODIES):
        writer.append(OtlpBody(1, 1, number, "application/x-protobuf", bytes([number]) * BODY_BYTES))
    writer.close()
    return JournalReader(writer.folder, KEY)


def received(reader: JournalReader, position: int, most_bytes: int) -> tuple[list[int], int]:
    chunk = reader.read(position, most_bytes)
    return [entry.received_ns for _, entry in chunk.entries if isinstance(entry, OtlpBody)], chunk.next


def test_a_turn_takes_whole_entries_up_to_so_many_bytes(reader: JournalReader) -> None:
    found, position = received(reader, 0, 4 * BODY_BYTES)
    assert found == [0, 1, 2]  # each is a little longer than its body
    assert received(reader, position, 5 * BODY_BYTES)[0] == [3, 4, 5, 6]


def test_a_turn_takes_one_entry_however_long_it_is(reader: JournalReader) -> None:
    found, position = received(reader, 0, 1000)
    assert found == [0]
    assert received(reader, position, 1000)[0] == [1]


def test_nothing_but_the_entries_and_one_frame_is_in_memory(reader: JournalReader) -> None:
    tracemalloc.start()
    try:
        chunk = reader.read(0, 100 * BODY_BYTES)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(chunk.entries) == BODIES
    assert most < (BODIES + 3) * BODY_BYTES  # of the last one: as it stands there, unsealed, and its body
