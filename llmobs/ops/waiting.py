"""Waits until a change of configuration is in force: new budgets counted, and every running gateway has it.

A gateway or writer runs if it was seen within SEEN_SECONDS (table `heartbeat`). The wait is bounded; what is still
missing then is said, and comes into force by itself once the process answers again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

SEEN_SECONDS = 5
MOST_SECONDS = 20.0
POLL_SECONDS = 0.1

STATE = """
SELECT (SELECT version FROM config_version),
       (SELECT coalesce(array_agg(owner || ' has ' || config_version ORDER BY owner), '{}') FROM heartbeat
        WHERE kind = 'gateway' AND seen_at > now() - make_interval(secs => %(seen)s)
          AND config_version < (SELECT version FROM config_version)),
       (SELECT count(*) FROM heartbeat
        WHERE kind = 'gateway' AND seen_at > now() - make_interval(secs => %(seen)s)),
       (SELECT count(*) FROM budgets_budget WHERE is_active AND counted_at IS NULL),
       EXISTS (SELECT 1 FROM heartbeat WHERE kind = 'writer' AND seen_at > now() - make_interval(secs => %(seen)s))
"""


class Cursor(Protocol):
    """A database cursor, psycopg's or Django's."""

    def execute(self, query: str, params: Any = ..., /) -> Any: ...

    def fetchone(self) -> Any: ...


@dataclass(frozen=True)
class Waited:
    """How far it came. `behind`: gateways that have an older version; `uncounted`: budgets nobody has summed yet."""

    version: int
    gateways: int
    behind: tuple[str, ...]
    uncounted: int
    has_writer: bool

    @property
    def is_live(self) -> bool:
        return not self.behind and not (self.uncounted and self.has_writer)

    def __str__(self) -> str:
        if self.behind:
            return f"not every gateway has version {self.version} yet: {'; '.join(self.behind)}"
        if self.uncounted and self.has_writer:
            return f"{self.uncounted} budget(s) not counted yet: they stop no call until the writer has summed them"
        if self.uncounted:
            return f"no writer runs: {self.uncounted} budget(s) stop no call until one has counted them"
        if not self.gateways:
            return f"no gateway runs: version {self.version} holds from its start"
        return f"{self.gateways} gateway(s) have version {self.version}"


def wait_until_live(
    cursor: Cursor,
    most_seconds: float = MOST_SECONDS,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Waited:
    """Poll until the configuration is in force everywhere, or the time is up."""
    until = clock() + most_seconds
    while True:
        cursor.execute(STATE, {"seen": SEEN_SECONDS})
        version, behind, gateways, uncounted, has_writer = cursor.fetchone()
        waited = Waited(version, gateways, tuple(behind), uncounted, has_writer)
        if waited.is_live or clock() >= until:
            return waited
        pause(POLL_SECONDS)
