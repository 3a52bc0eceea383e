"""What the overview's columns share: the last minutes, the same time of earlier weeks, and what happened meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from dashboards.drawing import Mark
from dashboards.queries.health import unhealthy_between
from dashboards.queries.rollup import Latency, Totals, latencies_of_each, merged, total, totals, totals_of_each
from dashboards.queries.scope import Scope
from dashboards.usual import LEAST_WEEKS, WEEKS, usual_of
from dashboards.visit import Visit
from dashboards.window import HOUR, QUARTER, Window, bucket_starts

LEAST_CALLS_NOW = 100  # under these, "now" widens
WIDER_NOW = (QUARTER, HOUR)
COMPARED = ("cost_nanousd", "asked", "failed")  # with other weeks


@dataclass(frozen=True)
class Now:
    """The last minutes, wide enough to say something."""

    window: Window
    words: str
    total: Totals

    @property
    def hours(self) -> float:
        return self.window.length / HOUR

    @property
    def rate_nanousd(self) -> int:
        """Cost per hour; what is held is not in it."""
        return round(self.total.cost_nanousd / self.hours)


def now_of(visit: Visit) -> Now:
    """The last 15 minutes, wider where fewer than LEAST_CALLS_NOW calls are in them."""
    for length in WIDER_NOW:
        window = visit.window.narrowed(length)
        found = total(visit.cursor, visit.scope_of(window))
        if found.asked >= LEAST_CALLS_NOW or window.start <= visit.window.start:
            return Now(window, f"last {int(length.total_seconds() // 60)} min", found)
    return Now(visit.window, visit.window.label.lower(), total(visit.cursor, visit.scope))


class Earlier:
    """The same window in the weeks before, as far as there is data: what is usual. Read when first asked for.

    And what several columns show, or is asked for with it.
    """

    def __init__(self, visit: Visit, now: Now, first_at: datetime) -> None:
        self._visit, self._now = visit, now
        weeks = [week for week in range(1, WEEKS + 1) if visit.window.weeks_ago(week).start >= first_at]
        self.weeks = weeks if len(weeks) >= LEAST_WEEKS else []

    @cached_property
    def now(self) -> list[Totals]:
        """The sums of the last minutes' clock times, week by week."""
        found = totals_of_each(self._visit.cursor, [self._scope(week) for week in self.weeks], only=COMPARED)
        return [next(iter(rows), Totals((), None)) for rows in found]

    @cached_property
    def series(self) -> list[list[Totals]]:
        """The window's buckets, week by week; a bucket without calls has zeros."""
        window = self._visit.window
        scopes = [self._visit.scope_of(window.weeks_ago(week)) for week in self.weeks]
        found = totals_of_each(self._visit.cursor, scopes, over_time=True, bucket=window.bucket, only=COMPARED)
        return [self._series(scope.window, rows) for scope, rows in zip(scopes, found, strict=True)]

    def p95_ms(self) -> float | None:
        """The usual p95 of this time."""
        return usual_of([sketch.quantile_ms(0.95) for sketch in self.latencies[2:]])

    @cached_property
    def latencies(self) -> list[Latency]:
        """Durations of the last minutes, times to the first token, and durations of the weeks before; asked at once."""
        now = self._visit.scope_of(self._now.window)
        asked = [(now, "duration"), (now, "ttft"), *((self._scope(week), "duration") for week in self.weeks)]
        return [merged(found) for found in latencies_of_each(self._visit.cursor, asked)]

    @cached_property
    def marks(self) -> list[Mark]:
        """When breakers opened: drawn into two charts."""
        return breaker_marks(self._visit)

    def share(self) -> float | None:
        """The usual share of failed calls at this time."""
        return usual_of([share_of(row) for row in self.now])

    def share_of_window(self) -> float | None:
        """The usual share of failed calls over the whole window."""
        return usual_of([share_of(added(rows, COMPARED)) for rows in self.series])

    def _scope(self, week: int) -> Scope:
        return self._visit.scope_of(self._now.window.weeks_ago(week))

    def _series(self, shifted: Window, rows: Sequence[Totals]) -> list[Totals]:
        window = self._visit.window
        by_start = {row.at: row for row in rows}
        starts = bucket_starts(window.floor(shifted.start), shifted.end, window.bucket, window.zone)
        found = [by_start.get(at, Totals((), at)) for at in starts]
        buckets = len(window.starts())
        return (found + [Totals((), None)] * buckets)[:buckets]


def breaker_marks(visit: Visit) -> list[Mark]:
    """When breakers opened at providers that this visit's calls went to."""
    window = visit.window
    opened = [h for h in unhealthy_between(visit.cursor, window.start, window.end) if h.state == "unhealthy"]
    called = {row.key[0] for row in totals(visit.cursor, visit.scope, ("provider",), only=())} if opened else set()
    return [Mark(h.since, f"breaker opened: {h.provider}") for h in opened if h.provider in called]


def share_of(row: Totals) -> float | None:
    """Of what was asked, the part that failed."""
    return row.failed / row.asked if row.asked else None


def added(rows: Sequence[Totals], only: Sequence[str]) -> Totals:
    """These figures of all rows together."""
    return Totals((), None, **{name: sum(getattr(row, name) for row in rows) for name in only})
