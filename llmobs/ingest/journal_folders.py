"""Owners' folders in the journal: their segments, how much they take, and the lock by which one knows who lives."""

import fcntl
import os
import time
from pathlib import Path


class FolderTaken(Exception):
    """A living process owns it."""


def segment_name(position: int) -> str:
    return f"{position:020d}.seg"


def segments(folder: Path) -> list[tuple[int, Path]]:
    """An owner's segments in order, each with the position of its first byte."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".seg"))
    except FileNotFoundError:
        return []
    return [(int(name[:-4]), folder / name) for name in names]


def owners(journal: Path) -> list[Path]:
    """The folders of all owners, living and dead. (A name that begins with a dot is still being made.)"""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(journal) if entry.is_dir() and entry.name[0] != ".")
    except FileNotFoundError:
        return []


def journal_bytes(journal: Path) -> int:
    """How much all owners' segments take."""
    total = 0
    for folder in owners(journal):
        for _, path in segments(folder):
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # the writer deleted it meanwhile
                continue
    return total


def is_owner_alive(folder: Path) -> bool:
    """Whether a living process holds the folder's lock."""
    return is_locked(folder / "lock")


def is_locked(path: Path) -> bool:
    """Whether a living process holds the file by flock; what is not there nobody holds."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def end_of(folder: Path) -> int:
    """The end of the last segment (a torn frame included)."""
    kept = segments(folder)
    if not kept:
        return 0
    start, path = kept[-1]
    return start + path.stat().st_size


def take(folder: Path) -> int:
    """Lock the folder. A new one appears under its name only when its lock is held, so none looks dead."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.exists():
        return _make(folder)
    for _ in range(50):  # a reader that looks whether we live holds the lock for some microseconds
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # the writer cleaned the folder away this moment
            return _make(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(folder / "lock").st_ino == os.fstat(lock).st_ino:
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(lock)
        time.sleep(0.002)
    raise FolderTaken(f"the journal {folder.name} belongs to a living process")


def _make(folder: Path) -> int:
    making = folder.with_name(f".{folder.name}.{os.getpid()}")
    making.mkdir(mode=0o700)
    lock = os.open(making / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        making.rename(folder)
    except OSError:
        os.close(lock)
        raise FolderTaken(f"the journal {folder.name} was taken by another process just now") from None
    return lock
