"""Journals are shared out among the writers of a host; what a dead writer had goes to the others."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.shares import Share, kept_name, lock_name, only_one

KEY = bytes(range(32))


class Living:
    """A writer's locks, without its work."""

    def __init__(self, journal: Path, number: int) -> None:
        lock = only_one(journal, number, lambda: False)
        assert lock is not None
        self.lock, self.share = lock, Share(journal, number)

    def owners(self) -> list[str]:
        return [folder.name for folder in self.share.mine()]

    def dies(self) -> None:
        """As the kernel ends it: nothing is put away."""
        for held in (self.lock, *self.share._held.values()):
            os.close(held)
        self.share._held.clear()


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[list[JournalWriter]]:
    made = [JournalWriter(tmp_path / f"gateway-{n}", KEY) for n in range(4)]
    yield made
    for journal in made:
        journal.close()


def test_one_writer_has_all_and_a_second_takes_its_half(journals: list[JournalWriter], tmp_path: Path) -> None:
    first = Living(tmp_path, 1)
    assert first.owners() == ["gateway-0", "gateway-1", "gateway-2", "gateway-3"]
    second = Living(tmp_path, 2)
    assert second.owners() == []  # none is free yet
    kept = first.owners()
    assert len(kept) == 2
    assert sorted(kept + second.owners()) == ["gateway-0", "gateway-1", "gateway-2", "gateway-3"]
    assert (first.owners(), len(second.owners())) == (kept, 2)


def test_what_a_dead_writer_had_goes_to_the_other_and_half_comes_back(
    journals: list[JournalWriter], tmp_path: Path
) -> None:
    first, second = Living(tmp_path, 1), Living(tmp_path, 2)
    assert (len(first.owners()), len(second.owners())) == (2, 2)
    first.dies()
    assert len(second.owners()) == 4
    first = Living(tmp_path, 1)
    assert len(second.owners()) == 2
    assert len(first.owners()) == 2


def test_nobody_hoards_an_odd_journal(tmp_path: Path, journals: list[JournalWriter]) -> None:
    fifth = JournalWriter(tmp_path / "gateway-4", KEY)
    first, second = Living(tmp_path, 1), Living(tmp_path, 2)
    assert (len(first.owners()), len(second.owners())) == (3, 2)
    assert (len(first.owners()), len(second.owners())) == (3, 2)
    fifth.close()


def test_for_a_recovery_a_writer_takes_what_no_living_one_has(journals: list[JournalWriter], tmp_path: Path) -> None:
    first, second = Living(tmp_path, 1), Living(tmp_path, 2)
    first.owners()
    second.owners()
    assert len(first.share.mine_and_free()) == 2
    os.close(second.share._held.pop("gateway-3"))
    assert len(first.share.mine_and_free()) == 3


def test_a_folder_that_was_made_anew_is_taken_anew(tmp_path: Path) -> None:
    folder = tmp_path / "gateway-1"
    first = Living(tmp_path, 1)
    for _ in range(2):
        JournalWriter(folder, KEY).close()
        assert first.owners() == ["gateway-1"]
        (folder / "lock").unlink()
        for segment in folder.glob("*.seg"):
            segment.unlink()
        folder.rmdir()
        assert first.owners() == []


def test_each_number_keeps_its_name_through_its_lives(tmp_path: Path) -> None:
    names = []
    for number in (1, 2, 1, 2):
        writer = Living(tmp_path, number)
        names.append(kept_name(writer.lock))
        writer.dies()
    assert names[:2] == names[2:]
    assert names[0] != names[1]


def test_a_journal_that_is_left_to_another_is_under_no_suspicion(tmp_path: Path, journals: list[JournalWriter]) -> None:
    for _ in range(5):
        first = Living(tmp_path, 1)
        first.owners()
        first.share.close()
        os.close(first.lock)
    assert list(tmp_path.glob(".suspects*")) == []


def test_the_second_of_a_number_waits_and_gives_up_when_it_is_told_to(tmp_path: Path) -> None:
    first = Living(tmp_path, 2)
    asked = iter((False, True))
    assert only_one(tmp_path, 2, lambda: next(asked)) is None
    assert (tmp_path / lock_name(2)).exists()
    first.dies()
