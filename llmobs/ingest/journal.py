"""The journal: an append-only, crash-safe queue on local disk, one folder per process that appends (its owner).

1. The owner holds `lock` by flock while it lives: who lives is known by the lock, never by a pid.
2. It appends frames to `<position>.seg`; a position is the count of bytes from the owner's beginning, and a segment
   is named by the position of its first byte. A frame: length, CRC-32, sealed msgpack of an entry. `append` writes one
   at once; what was `queue`d is written by `flush`, many frames in one write.
3. A write that was cut short (kill -9, full disk) leaves a torn frame at a segment's end. The owner cuts it off or
   goes on in a new segment; a reader skips it, once a later segment exists or the owner is dead.
4. The writer reads owners' folders, living and dead, and deletes segments that lie wholly below what it needs
   (`ingest.journal_reader`).
5. All owners together are bounded. What its sender sends again (reports) is refused first; the last part of the room
   is the calls'. An owner that finds no room leaves its segment, so that the writer may delete it once it is written.

What has been appended survives the death of any process; a loss of power may take the last seconds (no fsync: it
would cost each call milliseconds). A fork without exec would keep its parent's lock alive: do not fork an owner.
"""

import errno
import os
import struct
import threading
import time
from pathlib import Path
from typing import Protocol
from zlib import crc32

import msgspec

from llmobs.core.env import read_int
from llmobs.ingest.entries import End, Entry, NativeSpans, OtlpBody, OtlpLogs
from llmobs.ingest.journal_folders import FolderTaken, end_of, journal_bytes, segment_name, take
from llmobs.ingest.seal import OVERHEAD_BYTES, Sealer

SEGMENT_BYTES = 32 * 1024 * 1024
LEAST_SEGMENT_BYTES = 1024 * 1024
MOST_JOURNAL_MB = 8 * 1024  # of all owners of a data folder together, unless LLMOBS_JOURNAL_MB says otherwise
CALLS_PART = 8  # one in so many of these bytes is kept for calls
REPORTS = frozenset((OtlpBody, OtlpLogs, NativeSpans))  # whose senders are told to send again
PROBE_BYTES = 64 * 1024
RECHECK_SECONDS = 1.0  # how often a full journal looks whether the writer has made room

HEADER = struct.Struct("<II")  # of a frame: how long it is sealed, and the checksum of that
LONG_BYTES = 16 * 1024  # an entry so long is sealed in its frame's place
MOST_QUEUED_BYTES = 1024 * 1024  # then they are written without waiting for the flush


class JournalError(Exception):
    """The journal cannot be used."""


class JournalTaken(JournalError):
    """Another living process owns this folder."""


class JournalFull(JournalError):
    """The journals together have reached their bound: the writer is behind, or PostgreSQL away."""


class JournalBroken(JournalError):
    """The disk did not take the entry (full, or failing)."""


class Lost(Protocol):
    """Who is told that a queued entry could not be written."""

    def __call__(self, entry: Entry, error: JournalBroken, /) -> None: ...


class JournalWriter:
    """Appends for one owner. Made once per process, closed at its end; safe from several threads."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        segment_bytes: int = SEGMENT_BYTES,
        most_bytes: int | None = None,
    ) -> None:
        """Take the folder (`<data>/journal/<owner>`), made if missing. Raises JournalTaken, JournalBroken.

        `most_bytes` None: as LLMOBS_JOURNAL_MB says (else EnvError).
        """
        self.folder = folder
        most_bytes = most_journal_bytes() if most_bytes is None else most_bytes
        # Small beside the bound: what is written is deleted by whole segments.
        self._segment_bytes = min(segment_bytes, max(LEAST_SEGMENT_BYTES, most_bytes // 32))
        self._most_bytes = most_bytes
        self._calls_bytes = most_bytes // CALLS_PART
        self._encode = msgspec.msgpack.Encoder().encode
        self._sealer = Sealer(key)
        self._guard = threading.Lock()
        self._file = -1
        try:
            self._lock = take(folder)
        except FolderTaken as error:
            raise JournalTaken(str(error)) from None
        except OSError as error:
            raise JournalBroken(f"the journal {folder.name} cannot be made: {error.strerror}") from None
        self._position = end_of(folder)
        self._segment_start = self._position
        self._measure()
        try:
            self._open_segment()
        except OSError:  # the first append tries again, and says what is wrong
            self._file = -1
        self._queued: list[bytes | bytearray] = []
        self._queued_bytes = 0
        self._whose: list[tuple[Entry, Lost]] = []  # of the queued frames

    @property
    def owner(self) -> str:
        return self.folder.name

    @property
    def position(self) -> int:
        """Where the next entry goes."""
        return self._position + self._queued_bytes

    def append(self, entry: Entry) -> int:
        """Append one entry and return its position; it is durable against the death of any process from then on.

        Raises JournalFull (never for an End: what was let in must be able to end; for reports first) and JournalBroken.
        """
        with self._guard:
            if self._queued:
                self._flush()
            frame = self._frame(entry)
            position = self._position
            self._write(frame)
            self._rotate_if_full()
            return position

    def queue(self, entry: Entry, lost: Lost) -> None:
        """Have one entry written by the next `flush`; `lost` is told if the disk does not take it.

        Raises JournalFull (but never for an End).
        """
        with self._guard:
            frame = self._frame(entry)
            self._queued.append(frame)
            self._queued_bytes += len(frame)
            self._whose.append((entry, lost))
            if self._queued_bytes > MOST_QUEUED_BYTES:
                self._flush()

    @property
    def has_queued(self) -> bool:
        return bool(self._queued)

    def flush(self) -> None:
        """Write what is queued: durable against the death of any process from then on."""
        with self._guard:
            if self._queued:
                self._flush()

    def _flush(self) -> None:
        frames, whose = self._queued, self._whose
        self._queued, self._queued_bytes, self._whose = [], 0, []
        try:
            self._write(frames[0] if len(frames) == 1 else b"".join(frames))
        except JournalBroken as error:
            for entry, lost in whose:
                lost(entry, error)
        else:
            self._rotate_if_full()

    def _frame(self, entry: Entry) -> bytes | bytearray:
        plain = self._encode(entry)
        frame = self._short_frame(plain) if len(plain) < LONG_BYTES else self._long_frame(plain)
        if self._position + self._queued_bytes + len(frame) > self._reports_bound and type(entry) is not End:
            self._look_for_room(self._queued_bytes + len(frame), type(entry) in REPORTS)
        return frame

    def _short_frame(self, plain: bytes) -> bytes:
        sealed = self._sealer.seal(plain)
        return HEADER.pack(len(sealed), crc32(sealed)) + sealed

    def _long_frame(self, plain: bytes) -> bytearray:
        """The same, made in its place: a report's body is not copied twice more."""
        frame = bytearray(HEADER.size + len(plain) + OVERHEAD_BYTES)
        with memoryview(frame)[HEADER.size :] as sealed:
            self._sealer.seal_into(plain, sealed)
            HEADER.pack_into(frame, 0, len(sealed), crc32(sealed))
        return frame

    def _rotate_if_full(self) -> None:
        if self._position - self._segment_start >= self._segment_bytes:
            self._rotate()

    def has_room(self) -> bool:
        """Whether it would take an entry of a call now: asked by writing, so seldom."""
        with self._guard:
            self._measure()
            if self._position + self._queued_bytes + PROBE_BYTES > self._bound:
                return False
            try:
                if os.pwrite(self._lock, bytes(PROBE_BYTES), 0) < PROBE_BYTES:
                    return False
            except OSError:
                return False
            finally:
                os.ftruncate(self._lock, 0)
            return True

    def close(self) -> None:
        """Let go of the lock: from then on the owner counts as dead and its journal is drained."""
        with self._guard:
            if self._queued:
                self._flush()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _write(self, frame: bytes | bytearray) -> None:
        try:
            if self._file < 0:
                self._open_segment()
            written = os.write(self._file, frame)
            while written < len(frame):  # a short write: the disk is filling up
                written += os.write(self._file, frame[written:])
        except OSError as error:
            self._cut_torn_frame()
            self._leave_segment()
            reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or "it cannot be written")
            raise JournalBroken(f"journal {self.owner} did not take an entry of {len(frame)} bytes: {reason}") from None
        self._position += len(frame)

    def _cut_torn_frame(self) -> None:
        """After a failed write: back to the last whole frame, or leave the torn end and go on in a new segment."""
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._position - self._segment_start)
        except OSError:
            torn_end = self._segment_start + os.fstat(self._file).st_size
            os.close(self._file)
            self._file = -1
            self._position = torn_end

    def _leave_segment(self) -> None:
        """Where there is no room: all that stands in the segment can be deleted once it is written."""
        if self._file >= 0 and self._position > self._segment_start:
            self._rotate()

    def _rotate(self) -> None:
        os.close(self._file)
        self._file = -1
        try:
            self._open_segment()
        except OSError:  # the next append tries again, and says what is wrong
            self._file = -1
        self._measure()

    def _open_segment(self) -> None:
        self._segment_start = self._position
        path = self.folder / segment_name(self._position)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _look_for_room(self, more_bytes: int, is_report: bool) -> None:
        if time.monotonic() - self._checked_at > RECHECK_SECONDS:
            self._measure()
            if self._position + more_bytes > self._reports_bound:
                self._leave_segment()
        if self._position + more_bytes > (self._reports_bound if is_report else self._bound):
            raise JournalFull(
                f"the journals hold {self._most_bytes} bytes, their bound: the writer is behind, or PostgreSQL is away"
            )

    def _measure(self) -> None:
        # Other owners grow between two measurements by at most a segment each: the bound is that soft.
        self._checked_at = time.monotonic()
        self._bound = self._position + self._most_bytes - journal_bytes(self.folder.parent)
        self._reports_bound = self._bound - self._calls_bytes


def most_journal_bytes() -> int:
    """The bound of all journals of a data folder together, as the environment sets it. Raises EnvError."""
    return read_int("LLMOBS_JOURNAL_MB", MOST_JOURNAL_MB, least=16, most=1024 * 1024) * 1024 * 1024
