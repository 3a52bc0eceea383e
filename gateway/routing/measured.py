"""What one process has seen of a candidate: outcomes of the last half minute by second, and its last latencies.

Bounded: a window holds a cell for each of 30 seconds, latencies a ring of 128.
"""

from collections import deque
from math import ceil

from gateway.routing.breaker import WINDOW_SECONDS, Seen

RUN_SECONDS = 60.0  # failures further apart are not in a row
LATENCIES = 128
LATENCY_SECONDS = 300.0  # an older one says nothing of now: the candidate is tried anew
NS_PER_MS = 1_000_000


class Window:
    """Outcomes by second. `clear` when the breaker changes: what was before says nothing of after."""

    __slots__ = ("_last_s", "_run", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # second, ok, failed
        self._run = 0
        self._last_s = 0.0

    def add(self, now_s: float, has_succeeded: bool) -> None:
        if has_succeeded or now_s - self._last_s > RUN_SECONDS:
            self._run = 0
        if not has_succeeded:
            self._run += 1
        self._last_s = now_s
        second = int(now_s)
        if not self._seconds or self._seconds[-1][0] != second:
            self._let_go(second)
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1 if has_succeeded else 2] += 1

    def seen(self, now_s: float) -> Seen:
        self._let_go(int(now_s))
        ok = sum(cell[1] for cell in self._seconds)
        failed = sum(cell[2] for cell in self._seconds)
        return Seen(ok, failed, self._run if now_s - self._last_s <= RUN_SECONDS else 0)

    def clear(self) -> None:
        self._seconds.clear()
        self._run = 0

    def _let_go(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_SECONDS:
            self._seconds.popleft()


class Latencies:
    """The last durations of one kind."""

    __slots__ = ("_ring", "samples")

    def __init__(self) -> None:
        self._ring: deque[tuple[float, int]] = deque(maxlen=LATENCIES)
        self.samples = 0

    def add(self, now_s: float, duration_ns: int) -> None:
        self._ring.append((now_s, duration_ns))

    def p95_ms(self, now_s: float) -> float:
        """Of those that are recent; counts them in `samples`, and is 0 where there are none."""
        ring = self._ring
        while ring and ring[0][0] < now_s - LATENCY_SECONDS:
            ring.popleft()
        self.samples = len(ring)
        if not ring:
            return 0.0
        durations = sorted(duration for _, duration in ring)
        return durations[max(0, ceil(0.95 * len(durations)) - 1)] / NS_PER_MS
