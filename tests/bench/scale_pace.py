"""How many spans each day of `scale` gets, so that all days are there when the time or the disk has an end.

Before each day: what is still wanted, or what fits into the time (by the best pace of a day so far: small ones are slow
by themselves, and would make the next ones smaller still) and onto the disk (by the bytes of a span so far) if the days
that are left share it by their weights. The smallest is taken.
"""

import shutil
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

FINISHING_PART = 0.3  # of all the time: roll-ups of days, VACUUM, claims' indexes


@dataclass(frozen=True)
class Bounds:
    """When it has to be finished, how large it may become, how much of the disk must stay free."""

    until: datetime | None = None
    most_bytes: int = 1 << 60
    least_free_bytes: int = 0


@dataclass
class Pace:
    """`weights`: of the days that are left. Asked by several workers."""

    folder: Path
    bounds: Bounds
    spans: int
    weights: list[float]
    workers: int
    began: float = field(default_factory=time.time)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _best: float = 0.0  # spans a second of one worker
    _written: int = 0
    _under_way: int = 0

    def __post_init__(self) -> None:
        self._whole, self._left = sum(self.weights), sum(self.weights)

    def take(self, weight: float, size: int) -> int:
        """How many spans the next day gets; `size`: of the database now. 0: there is no room for any."""
        with self._lock:
            part = weight / self._left
            given = min(self.spans * weight / self._whole, self._in_time() * part, self._on_disk(size) * part)
            self._left = max(self._left - weight, 1e-9)
            self._under_way += (taken := max(int(given), 0))
            return taken

    def written(self, spans: int, seconds: float, taken: int) -> None:
        """A day is there."""
        with self._lock:
            self._best = max(self._best, spans / seconds)
            self._written += spans
            self._under_way -= taken

    def _in_time(self) -> float:
        if self.bounds.until is None or not self._best:
            return float("inf")
        end = self.bounds.until.timestamp()
        left = end - FINISHING_PART * (end - self.began) - time.time()
        return max(left, 0) * self.workers * self._best - self._under_way / 2

    def _on_disk(self, size: int) -> float:
        free = shutil.disk_usage(self.folder).free - self.bounds.least_free_bytes
        left = min(self.bounds.most_bytes - size, free)
        if left <= 0:
            return 0
        # Days under way are about half there, and so in `size`.
        there = self._written + self._under_way / 2
        return left / (size / there) - self._under_way / 2 if self._written > 100_000 else float("inf")
