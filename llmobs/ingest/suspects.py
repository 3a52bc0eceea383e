"""Entries that a writer dies of: known by what it left on the disk, since a process that is killed says nothing.

1. Beside each journal a file counts who has taken it up, until something of it was written. After CAREFUL_AFTER of
   them the next is careful: each report is written alone, and named in the file while it is.
2. A report that was named at MOST_DEATHS ends is put aside as a dead letter, and the backlog behind it drains.
It may have died of something else at that moment: the letter can be replayed.
"""

from pathlib import Path

import msgspec

from llmobs.ingest.tails import Found

CAREFUL_AFTER = 3  # starts without a transaction
MOST_DEATHS = 2
DEADLY = "the writer dies of it"


class _Kept(msgspec.Struct):
    starts: int = 0
    trying: str = ""
    deaths: dict[str, int] = {}


class Suspects:
    """What the earlier writers of a journal have left. Without a file nobody is suspected."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._kept = _read(file) if file is not None else _Kept()

    def began(self) -> None:
        """A writer takes the journal up; the one before it ended over what it was trying."""
        kept = self._kept
        if kept.trying:
            kept.deaths[kept.trying] = kept.deaths.get(kept.trying, 0) + 1
        kept.starts, kept.trying = kept.starts + 1, ""
        self._write()

    @property
    def is_careful(self) -> bool:
        return self._kept.starts > CAREFUL_AFTER

    def is_deadly(self, found: Found) -> bool:
        return self._kept.deaths.get(_name(found), 0) >= MOST_DEATHS

    def trying(self, found: Found) -> None:
        """It is about to be written alone."""
        self._kept.trying = _name(found)
        self._write()

    def survived(self) -> None:
        """What was read is written."""
        if self._kept.starts:
            self._kept = _Kept()
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    def left(self) -> None:
        """The writer lives, and leaves the journal to another: it has not died of it."""
        if self._kept.starts <= 1 and not self._kept.deaths:
            self.survived()
        else:
            self._kept.starts, self._kept.trying = self._kept.starts - 1, ""
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            try:
                self._file.write_bytes(msgspec.json.encode(self._kept))
            except OSError:  # a full disk: then nobody is suspected for now
                pass


def _name(found: Found) -> str:
    return f"{found.owner}:{found.position}"


def _read(file: Path) -> _Kept:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return _Kept()
