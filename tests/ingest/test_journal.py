"""The journal: what was appended is read, once and in order, whatever happened to its owner."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmobs.core.env import EnvError
from llmobs.ingest import journal
from llmobs.ingest.entries import Begin, End, Entry, NativeSpans, OtlpBody
from llmobs.ingest.journal import JournalBroken, JournalFull, JournalTaken, JournalWriter
from llmobs.ingest.journal_folders import is_owner_alive, journal_bytes, owners, segments
from llmobs.ingest.journal_reader import JournalReader
from llmobs.pricing.usage import Usage
from llmobs.tenants.attribution import Attribution

KEY = bytes(range(32))


def body(number: int, size: int = 100) -> OtlpBody:
    return OtlpBody(7, 1, number, "application/json", bytes(size))


def end() -> End:
    return End(b"attempt1", 1, None, "ok", "", 200, "m", "r", [], Usage(1), False, 1, "v", b"{}", b"{}")


def begin(number: int) -> Begin:
    attempt, who = number.to_bytes(8, "big"), Attribution()
    return Begin(
        attempt, bytes(16), b"", 7, who, 1, "chat m", "chat", "p", "p", "m", "m", "openai", False, 1, None, "", []
    )


def appended(writer: JournalWriter, entry: Callable[[int], Entry]) -> int:
    """How many it takes until it is full."""
    for number in range(1000):
        try:
            writer.append(entry(number))
        except JournalFull:
            return number
    raise AssertionError("it is never full")


def read_all(reader: JournalReader, position: int = 0) -> list[object]:
    found: list[object] = []
    while (chunk := reader.read(position)).entries:
        found += [entry for _, entry in chunk.entries]
        position = chunk.next
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "gateway-1"


def test_entries_come_back_in_order_over_many_segments(folder: Path) -> None:
    writer = JournalWriter(folder, KEY, segment_bytes=1000)
    entries = [body(n) for n in range(50)]
    positions = [writer.append(entry) for entry in entries]
    assert len(segments(folder)) > 5
    assert read_all(JournalReader(folder, KEY)) == entries
    assert read_all(JournalReader(folder, KEY), positions[20]) == entries[20:]
    writer.close()


def test_entries_around_the_length_that_is_sealed_in_place_come_back(folder: Path) -> None:
    """Appended and queued, one after the other; none in plain text."""
    writer = JournalWriter(folder, KEY)
    lengths = [journal.LONG_BYTES + n for n in range(-60, 3, 3)]
    entries = [NativeSpans(1, 1, 1, b"private" * (length // 7)) for length in lengths] + [body(1, 3_000_000)]
    for entry in entries:
        writer.append(entry)
        writer.queue(entry, lambda *_: None)
    writer.close()
    assert read_all(JournalReader(folder, KEY)) == [entry for entry in entries for _ in range(2)]
    assert all(b"private" not in path.read_bytes() for _, path in segments(folder))


def test_files_are_for_the_owner_alone_and_hold_no_plain_text(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    writer.append(NativeSpans(1, 1, 1, b"a very private prompt"))
    writer.close()
    [(_, path)] = segments(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert b"private" not in path.read_bytes()


def test_a_folder_has_one_living_owner(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    assert is_owner_alive(folder)
    with pytest.raises(JournalTaken):
        JournalWriter(folder, KEY)
    writer.close()
    assert not is_owner_alive(folder)
    JournalWriter(folder, KEY).close()


def test_a_torn_last_frame_is_skipped_and_the_next_owner_goes_on_after_it(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    writer.append(body(1))
    writer.append(body(2))
    writer.close()
    [(_, path)] = segments(folder)
    os.truncate(path, path.stat().st_size - 30)  # killed in the middle of a write
    assert read_all(JournalReader(folder, KEY)) == [body(1)]
    writer = JournalWriter(folder, KEY)
    writer.append(body(3))
    reader = JournalReader(folder, KEY)
    assert read_all(reader) == [body(1), body(3)]
    assert reader.read(0).skipped_frames + reader.read(reader.read(0).next).skipped_frames == 1
    writer.close()


def test_a_damaged_frame_costs_that_entry_alone(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    writer.append(body(1))
    second = writer.append(body(2))
    writer.append(body(3))
    writer.close()
    [(_, path)] = segments(folder)
    data = bytearray(path.read_bytes())
    data[second + 40] ^= 1
    path.write_bytes(data)
    assert read_all(JournalReader(folder, KEY)) == [body(1), body(3)]


def test_another_key_reads_nothing(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    writer.append(body(1))
    writer.close()
    chunk = JournalReader(folder, bytes(32)).read(0)
    assert (chunk.entries, chunk.skipped_frames) == ([], 1)


def test_a_short_write_is_completed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:50]))
    writer = JournalWriter(folder, KEY)
    writer.append(body(1))
    assert read_all(JournalReader(folder, KEY)) == [body(1)]
    writer.close()


def test_a_full_disk_refuses_the_entry_and_keeps_the_journal_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.write, []

    def fills_up(file: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(file, data[:50])

    writer = JournalWriter(folder, KEY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fills_up)
        with pytest.raises(JournalBroken, match="disk is full"):
            writer.append(body(1))
    writer.append(body(2))
    assert read_all(JournalReader(folder, KEY)) == [body(2)]
    writer.close()


def test_a_full_journal_refuses_new_work_but_lets_calls_end(folder: Path) -> None:
    writer = JournalWriter(folder, KEY, most_bytes=1000)
    for number in range(5):
        writer.append(body(number))
    with pytest.raises(JournalFull):
        writer.append(body(7))
    writer.append(end())
    assert read_all(JournalReader(folder, KEY))[-1] == end()
    writer.close()


def test_what_is_sent_again_gives_way_to_calls(folder: Path) -> None:
    """Calls cannot come again: the last part of the room is theirs."""
    writer = JournalWriter(folder, KEY, most_bytes=8000)
    writer.append(body(1, 6800))
    with pytest.raises(JournalFull):
        writer.append(body(2, 300))
    for number in range(5):
        writer.append(begin(number))
    assert 0 < appended(writer, begin) < 10
    writer.close()


def test_a_full_journal_takes_again_once_all_of_it_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last segment is never deleted: so an owner without room leaves it."""
    monkeypatch.setattr(journal, "RECHECK_SECONDS", -1.0)
    writer = JournalWriter(folder, KEY, most_bytes=4000)
    writer.append(body(1, 3000))
    with pytest.raises(JournalFull):
        writer.append(body(2, 3000))
    JournalReader(folder, KEY).delete_below(writer.position)
    writer.append(body(3, 3000))
    assert read_all(JournalReader(folder, KEY)) == [body(3, 3000)]
    writer.close()


def test_a_full_disk_is_given_back_what_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    writer = JournalWriter(folder, KEY)
    writer.append(body(1, 3000))
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", is_full)
            with pytest.raises(JournalBroken):
                writer.append(body(2))
    JournalReader(folder, KEY).delete_below(writer.position)
    assert journal_bytes(folder.parent) == 0
    writer.append(body(3))
    assert read_all(JournalReader(folder, KEY)) == [body(3)]
    writer.close()


def test_the_bound_is_the_environments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOBS_JOURNAL_MB", "16")
    writer = JournalWriter(folder, KEY)
    for number in range(13):
        writer.append(body(number, 1024 * 1024))
    with pytest.raises(JournalFull, match="16777216 bytes"):
        writer.append(body(13, 1024 * 1024))
    assert len(segments(folder)) > 5
    writer.close()
    monkeypatch.setenv("LLMOBS_JOURNAL_MB", "none")
    with pytest.raises(EnvError, match="LLMOBS_JOURNAL_MB"):
        JournalWriter(folder.with_name("other"), KEY)


def test_the_bound_counts_all_owners(folder: Path) -> None:
    other = JournalWriter(folder.with_name("gateway-2"), KEY)
    other.append(body(1, 2000))
    writer = JournalWriter(folder, KEY, most_bytes=1000)
    with pytest.raises(JournalFull):
        writer.append(body(2))
    other.close()
    writer.close()


def test_segments_below_the_low_water_are_deleted_and_the_last_one_stays(folder: Path) -> None:
    writer = JournalWriter(folder, KEY, segment_bytes=500)
    positions = [writer.append(body(n)) for n in range(20)]
    reader = JournalReader(folder, KEY)
    reader.delete_below(positions[10])
    assert read_all(reader, positions[10]) == [body(n) for n in range(10, 20)]
    assert segments(folder)[0][0] > 0
    reader.delete_below(writer.position)
    assert len(segments(folder)) == 1
    writer.close()


def test_a_dead_owners_folder_can_be_removed_and_a_living_ones_not(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    reader = JournalReader(folder, KEY)
    assert not reader.delete_folder()
    writer.append(body(1))
    writer.close()
    assert reader.delete_folder()
    assert owners(folder.parent) == []


def test_queued_entries_are_written_together_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, writes = os.write, []

    def counted(file: int, data: bytes) -> int:
        writes.append(len(data))
        return real(file, data)

    def lost(entry: Entry, error: JournalBroken) -> None:
        raise AssertionError("nothing is lost")

    writer = JournalWriter(folder, KEY)
    monkeypatch.setattr(os, "write", counted)
    writer.queue(body(1), lost)
    writer.queue(body(2), lost)
    assert read_all(JournalReader(folder, KEY)) == []
    third = writer.append(body(3))
    assert writer.position > third
    writer.queue(end(), lost)
    writer.flush()
    assert len(writes) == 3
    assert read_all(JournalReader(folder, KEY)) == [body(1), body(2), body(3), end()]
    writer.close()


def test_a_disk_that_does_not_take_them_loses_all_that_was_queued_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    told = []
    writer = JournalWriter(folder, KEY)
    writer.queue(body(1), lambda entry, error: told.append((entry, str(error))))
    writer.queue(end(), lambda entry, error: told.append((entry, str(error))))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        writer.flush()
    assert [entry for entry, _ in told] == [body(1), end()]
    assert "disk is full" in told[0][1]
    writer.append(body(2))
    assert read_all(JournalReader(folder, KEY)) == [body(2)]
    writer.close()


def test_what_is_queued_is_written_when_the_owner_closes(folder: Path) -> None:
    writer = JournalWriter(folder, KEY)
    writer.queue(end(), lambda entry, error: None)
    writer.close()
    assert read_all(JournalReader(folder, KEY)) == [end()]


def test_an_owner_that_starts_on_a_full_disk_says_so_and_appends_once_there_is_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", is_full)
        with pytest.raises(JournalBroken, match="No space left"):
            JournalWriter(folder, KEY)
    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "_open_segment", is_full)
        writer = JournalWriter(folder, KEY)
        with pytest.raises(JournalBroken, match="disk is full"):
            writer.append(body(1))
    writer.append(body(2))
    assert read_all(JournalReader(folder, KEY)) == [body(2)]
    writer.close()
