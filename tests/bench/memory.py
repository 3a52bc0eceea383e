"""Memory of a running platform's processes: `python -m tests.bench.memory DATA_FOLDER`.

Resident: all that a process has in memory, also what others have there too (code of libraries). By parts: of a page
that so many processes share, so many parts; their sum counts no page twice.
"""

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.bench.machine import resident_mb

LOOK_SECONDS = 0.2


def parted_mb(pids: list[int]) -> float:
    """Memory of these processes now, shared pages by parts (the kernel's "proportional set size")."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


class Most:
    """The most that these processes have had by parts, all together, looked at a few times a second."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self.mb = 0.0
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> "Most":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.mb = max(self.mb, parted_mb(self._pids()))


def table(data: Path) -> dict[str, float]:
    """MB by process kind (children of a pid in run.json are named there too)."""
    return {kind: resident_mb(pids) for kind, pids in json.loads((data / "run.json").read_text()).items()}


def main(data: Path) -> None:
    for kind, megabytes in table(data).items():
        print(f"  {kind:10} {megabytes:8.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
