"""What the writer keeps of each owner's journal: how far it is read, and which attempts have begun and not ended.

After a start, entries from the low-water mark on are read again: those before `committed` only tell which attempts
are still open. Memory is bounded by what was read for one batch, and by the calls in flight.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmobs.ingest.commit import Offset
from llmobs.ingest.entries import Begin, Called, End, Entry
from llmobs.ingest.journal_reader import JournalReader
from llmobs.ingest.untold import Untold, under_its_call


@dataclass(frozen=True, slots=True)
class Found:
    """An entry to be written, with its owner and position. An End comes with its Begin; a Begin alone was abandoned."""

    owner: str
    position: int
    entry: Entry
    begin: Begin | None = None


@dataclass(slots=True)
class Tail:
    """One owner's journal, being written. `committed` None: no row of `journal_offset` yet."""

    reader: JournalReader
    host: str
    committed: int | None = None
    read_to: int = 0
    skipped_frames: int = 0
    open: dict[bytes, tuple[int, Begin]] = field(default_factory=dict)
    untold: Untold = field(default_factory=Untold)  # calls past their first attempt, whose own span has not come
    found_dead: bool = False  # by the last `read`, before it read

    @classmethod
    def resume(cls, reader: JournalReader, host: str, stored: tuple[int, int] | None) -> "Tail":
        """Go on from the stored (low water, committed), rebuilding which attempts are open."""
        tail = cls(reader, host)
        if stored is None:
            return tail
        low_water, tail.committed = stored
        if tail.committed > reader.end():  # the folder was made anew under an old name
            return tail
        tail.read_to = low_water
        while tail.read_to < tail.committed:
            chunk = reader.read(tail.read_to)
            before = [(position, entry) for position, entry in chunk.entries if position < tail.committed]
            tail._pair(before)
            if len(before) < len(chunk.entries) or not chunk.entries:
                break
            tail.read_to = chunk.next
        tail.read_to = tail.committed
        return tail

    @property
    def owner(self) -> str:
        return self.reader.owner

    @property
    def low_water(self) -> int:
        """The oldest Begin without End, or whose call is not told yet, else all that was read. (Begins are kept in the
        order of their positions.)
        """
        oldest = next(iter(self.open.values()))[0] if self.open else self.read_to
        return min(oldest, self.untold.low_water) if self.untold else oldest

    def offset(self) -> Offset:
        """What to commit with all that was read so far."""
        return Offset(self.owner, self.host, self.low_water, self.read_to, self.committed)

    @property
    def has_moved(self) -> bool:
        return self.read_to != (self.committed or 0)

    def waiting_bytes(self) -> int:
        """How much is appended and not committed."""
        return max(0, self.reader.end() - (self.committed or 0))

    def read(self, most_bytes: int) -> list[Found]:
        """The next entries to write, up to about so many bytes; nothing when nothing new has come."""
        self.found_dead = not self.reader.is_owner_alive()  # asked first: what it appended before it died is read
        chunk = self.reader.read(self.read_to, most_bytes)
        self.skipped_frames += chunk.skipped_frames
        self.read_to = max(self.read_to, chunk.next)
        return self._pair(chunk.entries)

    def abandon(self) -> list[Found]:
        """What a dead owner left open, attempts and then calls, once its journal is read to the end."""
        calls, parents = self.untold.take(self.open)
        found = [Found(self.owner, position, begin) for position, begin in under_its_call(self.open.values(), parents)]
        self.open.clear()
        return found + [Found(self.owner, position, called) for position, called in calls]

    def was_committed(self) -> None:
        """All that was read is written now."""
        self.committed = self.read_to

    def _pair(self, entries: Iterable[tuple[int, Entry]]) -> list[Found]:
        found = []
        for position, entry in entries:
            if isinstance(entry, Begin):
                self.open[entry.attempt] = position, entry
                if entry.number > 1:
                    self.untold.begun(entry, self.open)
                if self.untold:
                    self.untold.forget(entry.start_ns)
            elif isinstance(entry, End):
                begun = self.open.pop(entry.attempt, None)
                if begun is not None:
                    self.untold.ended(*begun, entry)
                found.append(Found(self.owner, position, entry, begun[1] if begun else None))
            else:
                if isinstance(entry, Called):
                    self.untold.told(entry)
                found.append(Found(self.owner, position, entry))
        return found
