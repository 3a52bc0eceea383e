"""Which writer of a host writes which journal: several writers, each a process, share one folder of journals.

1. A writer holds its own lock (`.writer.lock`, `.writer.2.lock` …) by flock while it lives; its name stands in it and
   outlives the process: a recovery waits for whoever was seen lately, and would wait in vain for a predecessor.
2. A journal is written by whoever holds its folder by flock: what a dead writer had is free at once.
3. A writer takes free journals up to its share, all of them by the writers that live, rounded up; what it has above
   that, when another has come, it lets go between two turns.
Two writers on one journal would do no harm (`commit.OffsetMoved`), they would only be in each other's way.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from llmobs.core.env import host_name
from llmobs.ingest.journal_folders import is_locked, owners
from llmobs.ingest.suspects import Suspects

WAIT_SECONDS = 0.2  # between two looks whether the writer of our number has ended

log = structlog.get_logger()


class Journals(Protocol):
    """What a writer asks of them."""

    def mine(self) -> list[Path]:
        """The journals that are this writer's from now on."""

    def mine_and_free(self) -> list[Path]:
        """As `mine`, but with all that no living writer has."""

    def suspects(self, owner: str) -> Suspects:
        """What writers have died of in a journal that is ours."""


class Whole:
    """All journals of a folder, for a writer that is alone there by agreement (a test, a tool)."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal

    def mine(self) -> list[Path]:
        return owners(self._journal)

    mine_and_free = mine

    def suspects(self, owner: str) -> Suspects:
        return Suspects()


class Share:
    """One writer's share, held until it is closed or the process dies."""

    def __init__(self, journal: Path, number: int = 1) -> None:
        self._journal = journal
        self._own = lock_name(number)
        self._held: dict[str, int] = {}
        self._suspects: dict[str, Suspects] = {}

    def mine(self) -> list[Path]:
        folders = self._present()
        share = -(-len(folders) // self._living())
        for owner in list(self._held)[share:]:
            self._let_go(owner)
        return self._take(folders, share)

    def mine_and_free(self) -> list[Path]:
        folders = self._present()
        return self._take(folders, len(folders))

    def suspects(self, owner: str) -> Suspects:
        return self._suspects[owner]

    def close(self) -> None:
        """Let go of all."""
        for owner in list(self._held):
            self._let_go(owner)

    def _present(self) -> list[Path]:
        """The folders that are there; what is held of others is let go (one may be there anew, under an old name)."""
        folders = owners(self._journal)
        there = {folder.name: folder for folder in folders}
        for owner, held in list(self._held.items()):
            if owner not in there or not _is(there[owner], held):
                self._suspects[owner].survived()
                self._let_go(owner)
        return folders

    def _take(self, folders: list[Path], most: int) -> list[Path]:
        for folder in folders:
            if len(self._held) >= most:
                break
            if folder.name not in self._held and (held := _flocked(folder)) >= 0:
                self._held[folder.name] = held
                self._suspects[folder.name] = suspects = Suspects(self._journal / f".suspects.{folder.name}")
                suspects.began()
        return [folder for folder in folders if folder.name in self._held]

    def _let_go(self, owner: str) -> None:
        os.close(self._held.pop(owner))
        self._suspects.pop(owner).left()

    def _living(self) -> int:
        """Writers of these journals that live, ourselves among them."""
        locks = (path for path in self._journal.glob(".writer*.lock") if path.name != self._own)
        return 1 + sum(is_locked(path) for path in locks)


def living_writers(journal: Path) -> set[str]:
    """The names of this host's writers that live, also of one that stands still and is not seen any more."""
    return {path.read_text(errors="replace").strip() for path in journal.glob(".writer*.lock") if is_locked(path)}


def lock_name(number: int) -> str:
    """Of the lock of one writer of a host."""
    return ".writer.lock" if number == 1 else f".writer.{number}.lock"


def only_one(journal: Path, number: int, is_stopping: Callable[[], bool]) -> int | None:
    """This writer's lock, once nobody has it (one that was killed leaves it at once); None when told to stop before."""
    lock = os.open(journal / lock_name(number), os.O_RDWR | os.O_CREAT, 0o600)
    told = False
    while not is_stopping():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:  # for a moment also while another looks whether we live
            if not told:
                log.warning("another writer of this number works on these journals; waiting for its end", number=number)
                told = True
            time.sleep(WAIT_SECONDS)
    os.close(lock)
    return None


def kept_name(lock: int) -> str:
    """The writer's name, kept in its lock."""
    kept = os.pread(lock, 200, 0).decode(errors="replace").strip()
    if not kept:
        kept = f"writer-{host_name()}-{os.urandom(6).hex()}"
        os.pwrite(lock, kept.encode(), 0)
    return kept


def _flocked(folder: Path) -> int:
    """The folder, held alone; -1 if another has it, or it is gone."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return -1
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return -1
    return held


def _is(folder: Path, held: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(held))
    except OSError:
        return False
