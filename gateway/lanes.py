"""Lanes: the journals of one gateway that reports go to in turn, so that as many writers work at them at once.

The first is the calls' own: what is said of a call must stay in its order, and one report does not ask for another's.
"""

from collections.abc import Sequence
from itertools import cycle

from llmobs.ingest.entries import Entry
from llmobs.ingest.journal import JournalWriter


class Lanes:
    """Appends each entry to the next journal. Safe from several threads, as they are."""

    def __init__(self, journals: Sequence[JournalWriter]) -> None:
        self._journals = tuple(journals)
        self._turns = cycle(self._journals)

    def append(self, entry: Entry) -> int:
        """As `JournalWriter.append`."""
        return next(self._turns).append(entry)


def lane_name(owner: str, number: int) -> str:
    """The owner's name of a lane; the first, 1, has the process's own."""
    return owner if number == 1 else f"{owner}.{number}"
