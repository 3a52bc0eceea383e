"""One owner's journal as it is read: entries with their positions, from any of them on (`ingest.journal`: its form)."""

import fcntl
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from llmobs.ingest.entries import Entry
from llmobs.ingest.journal import HEADER
from llmobs.ingest.journal_folders import end_of, is_owner_alive, segments
from llmobs.ingest.seal import SealBroken, Sealer

MOST_FRAME_BYTES = 256 * 1024 * 1024  # longer is not a frame: a request body is at most 64 MB
BUFFER_BYTES = 64 * 1024  # of short frames, read together; what is longer goes past it


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries with their positions, where to read on, and how many torn or damaged frames were passed over."""

    entries: list[tuple[int, Entry]]
    next: int
    skipped_frames: int = 0


class JournalReader:
    """Reads one owner's journal, of a living or a dead one. It keeps one segment open."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder = folder
        self._sealer = Sealer(key)
        self._decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)

    @property
    def owner(self) -> str:
        return self.folder.name

    def start(self) -> int:
        """The first position that is still kept."""
        kept = segments(self.folder)
        return kept[0][0] if kept else 0

    def end(self) -> int:
        """The end of the last segment (a torn frame included)."""
        return end_of(self.folder)

    def is_owner_alive(self) -> bool:
        return is_owner_alive(self.folder)

    def read(self, position: int, most_bytes: int = 4 * 1024 * 1024, most_entries: int = 5000) -> Chunk:
        """The next whole entries from `position` (which is an entry's, or an end); none: nothing new yet.

        Reads at least one entry where there is one, however long it is.
        """
        kept = segments(self.folder)
        skipped = 0
        for index, (start, path) in enumerate(kept):
            is_last = index == len(kept) - 1
            if not is_last and kept[index + 1][0] <= position:
                continue
            position = max(position, start)
            while True:
                chunk = self._read_segment(path, start, position, most_bytes, most_entries)
                skipped += chunk.skipped_frames
                if chunk.entries:
                    return Chunk(chunk.entries, chunk.next, skipped)
                if chunk.next == position:
                    break
                position = chunk.next  # nothing but damaged frames so far
            if not is_last:
                skipped += position < kept[index + 1][0]  # a torn end
                position = kept[index + 1][0]
        return Chunk([], position, skipped)

    def delete_below(self, position: int) -> None:
        """Delete the segments that lie wholly below; the last one stays, since it may still grow."""
        kept = segments(self.folder)
        for (_, path), (following, _) in pairwise(kept):
            if following <= position:
                path.unlink(missing_ok=True)

    def delete_folder(self) -> bool:
        """Remove a dead owner's folder, segments and all; False if an owner lives there (again)."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for _, path in segments(self.folder):
                path.unlink(missing_ok=True)
            (self.folder / "lock").unlink()
            self.folder.rmdir()
        except OSError:
            return False
        finally:
            os.close(lock)
        return True

    def _read_segment(self, path: Path, start: int, position: int, most_bytes: int, most_entries: int) -> Chunk:
        try:
            with path.open("rb", buffering=BUFFER_BYTES) as file:
                file.seek(position - start)
                return self._frames(file, position, most_bytes, most_entries)
        except FileNotFoundError:  # deleted since the folder was listed: nothing there that is still needed
            return Chunk([], position)

    def _frames(self, file: BinaryIO, position: int, most_bytes: int, most_entries: int) -> Chunk:
        """One after the other, so that no more than one is in memory besides its entry."""
        entries: list[tuple[int, Entry]] = []
        at, skipped = 0, 0
        while len(entries) < most_entries and len(header := file.read(HEADER.size)) == HEADER.size:
            length, checksum = HEADER.unpack(header)
            after = at + HEADER.size + length
            if length == 0 or length > MOST_FRAME_BYTES or (at and after > most_bytes):
                break
            sealed = file.read(length)
            if len(sealed) < length:
                break
            entry = self._entry(sealed, checksum)
            if entry is None:
                skipped += 1
            else:
                entries.append((position + at, entry))
            at = after
        return Chunk(entries, position + at, skipped)

    def _entry(self, sealed: bytes, checksum: int) -> Entry | None:
        """None: damaged on disk, or of another key; the writer counts and reports it."""
        if crc32(sealed) != checksum:
            return None
        try:
            return self._decoder.decode(self._sealer.unseal(sealed))
        except (SealBroken, msgspec.MsgspecError):
            return None
