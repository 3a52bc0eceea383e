"""How fresh the figures are: spans that wait in the journals, and the last verify."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboards import numbers
from dashboards.queries.scope import Cursor
from llmobs.core.clock import NS_PER_SECOND

LATE_AFTER = timedelta(seconds=30)  # a writer that is silent for longer leaves the figures behind


@dataclass(frozen=True)
class Freshness:
    """`written_at` None: no writer has ever reported."""

    now: datetime
    written_at: datetime | None
    waiting_spans: int
    verified_at: datetime | None
    differences: int | None
    replicated_at: datetime | None = None  # up to when a replica that lags has followed

    @property
    def behind(self) -> timedelta | None:
        """How far the figures are behind, where it is more than LATE_AFTER, or a replica lags."""
        if self.replicated_at is not None:
            return self.now - min(self.replicated_at, self.written_at or self.replicated_at)
        if self.written_at is None or self.now - self.written_at <= LATE_AFTER:
            return None
        return self.now - self.written_at

    @property
    def behind_words(self) -> str:
        """42 s, 3 min 5 s."""
        return numbers.duration(int((self.behind or timedelta()).total_seconds()) * NS_PER_SECOND)

    @property
    def as_of(self) -> datetime:
        return self.now - (self.behind or timedelta())


def freshness(cursor: Cursor, now: datetime, replicated_at: datetime | None = None) -> Freshness:
    """What the foot of every page says."""
    cursor.execute(
        # A writer that ended in order takes its row away: then the last figures are of its last commit.
        "SELECT coalesce(max(seen_at) FILTER (WHERE kind = 'writer'), (SELECT max(updated_at) FROM journal_offset)), "
        "coalesce(sum(waiting_spans) FILTER (WHERE seen_at > %s), 0)::bigint, v.finished_at, v.differences "
        "FROM (SELECT 1) one LEFT JOIN heartbeat ON true LEFT JOIN (SELECT finished_at, differences FROM verification "
        "ORDER BY finished_at DESC LIMIT 1) v ON true GROUP BY v.finished_at, v.differences",
        [now - timedelta(minutes=5)],
    )
    written_at, waiting, verified_at, differences = cursor.fetchone()
    return Freshness(now, written_at, waiting, verified_at, differences, replicated_at)
