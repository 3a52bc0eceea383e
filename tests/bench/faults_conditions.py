"""Faults that last: a writer that stands still, a journal at its bound, PostgreSQL away, disks that are full."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from llmobs.core.env import Place
from tests.bench.faults_load import Said
from tests.bench.faults_moments import held, kill
from tests.bench.faults_plan import ALL
from tests.bench.faults_platform import Up, filled

HELD_SECONDS = 10.0
FULL_SECONDS = 6.0
LOOK_SECONDS = 90.0


def writer_held(up: Up, said: Said, chance: Random, seconds: float) -> None:
    with held(up.pids("writer")):
        time.sleep(HELD_SECONDS)


def journal_at_its_bound(up: Up, said: Said, chance: Random, seconds: float) -> None:
    """The writer stands still until reports are put off for want of room, and some seconds longer."""
    with held(up.pids("writer")):
        _wait(lambda: said.put_off["http 503"] and said.put_off["grpc UNAVAILABLE, come again"])
        time.sleep(FULL_SECONDS)


def postgres_away(up: Up, said: Said, chance: Random, seconds: float) -> None:
    """First it stands still and answers nobody, then it is killed whenever it comes."""
    with held(up.postgres_family()):
        time.sleep(seconds / 2)
    until = time.monotonic() + seconds / 2
    while time.monotonic() < until:
        kill(up, ("postgres",))
        time.sleep(0.1)


def journals_full(up: Up, said: Said, chance: Random, seconds: float) -> None:
    _full(up, said, Place(up.data).journal, ())


def journals_full_killed(up: Up, said: Said, chance: Random, seconds: float) -> None:
    _full(up, said, Place(up.data).journal, ("gateway", "writer"))


def postgres_full(up: Up, said: Said, chance: Random, seconds: float) -> None:
    _full(up, said, Place(up.data).postgres, ())


def postgres_full_killed(up: Up, said: Said, chance: Random, seconds: float) -> None:
    _full(up, said, Place(up.data).postgres, ("postgres",))


def all_full(up: Up, said: Said, chance: Random, seconds: float) -> None:
    _full(up, said, up.data, ())


def all_full_killed(up: Up, said: Said, chance: Random, seconds: float) -> None:
    _full(up, said, up.data, ALL)


def _full(up: Up, said: Said, folder: Path, kinds: tuple[str, ...]) -> None:
    with filled(folder):
        time.sleep(FULL_SECONDS / 2)
        kill(up, kinds)
        time.sleep(FULL_SECONDS / 2)
        with suppress(OSError):  # what was let go meanwhile is taken too
            _top_up(folder)
        time.sleep(FULL_SECONDS / 2)


def doors_cannot_write(up: Up, said: Said, chance: Random, seconds: float) -> None:
    """As on a full disk, but by a limit of the process, which anybody may set: the journals' and the logs' files."""
    with _files_limited(lambda: [pid for kind in ("gateway", "collector") for pid in up.pids(kind)]):
        time.sleep(FULL_SECONDS / 2)


def postgres_cannot_write(up: Up, said: Said, chance: Random, seconds: float) -> None:
    """The same for PostgreSQL: its log of transactions takes nothing, at which it ends itself; and what comes then."""
    with _files_limited(up.postgres_family):
        time.sleep(FULL_SECONDS / 2)


@contextmanager
def _files_limited(pids: Callable[[], list[int]]) -> Iterator[None]:
    """No file that they have may be written; nor those of who comes meanwhile."""
    stop = threading.Event()

    def limit() -> None:
        while not stop.wait(0.05):
            _set_limit(pids(), 0)

    thread = threading.Thread(target=limit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _set_limit(pids(), resource.RLIM_INFINITY)


def _set_limit(pids: list[int], most_bytes: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))


def _top_up(folder: Path) -> None:
    with (folder / "ballast").open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def _wait(is_so: Callable[[], object]) -> None:
    until = time.monotonic() + LOOK_SECONDS
    while not is_so() and time.monotonic() < until:
        time.sleep(0.1)


CONDITIONS: dict[str, Callable[[Up, Said, Random, float], None]] = {
    "writer held for 10 s": writer_held,
    "journal at its bound": journal_at_its_bound,
    "PostgreSQL away": postgres_away,
    "files of the doors cannot be written": doors_cannot_write,
    "files of PostgreSQL cannot be written": postgres_cannot_write,
    "disk of the journals full": journals_full,
    "disk of the journals full, gateway and writer killed": journals_full_killed,
    "disk of PostgreSQL full": postgres_full,
    "disk of PostgreSQL full, PostgreSQL killed": postgres_full_killed,
    "disk of everything full": all_full,
    "disk of everything full, all killed": all_full_killed,
}
