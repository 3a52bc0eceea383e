"""The three columns of the overview: what it costs now, how slow it is, how much fails.

Each is asked for alone, so that one that cannot be read leaves the others standing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from dashboards import figures, numbers
from dashboards.earlier import Earlier, Now, added, share_of
from dashboards.figures import Figure, Percentiles
from dashboards.queries import foretold
from dashboards.queries.rollup import (
    Latency,
    Totals,
    latencies,
    totals,
    totals_of_each,
)
from dashboards.queries.scope import asks
from dashboards.usual import (
    ABOVE_USUAL,
    P95_OBJECTIVE_MS,
    SPIKE_BUCKET,
    Share,
    Spike,
    ratio_of,
    spikes,
    usual_of,
)
from dashboards.visit import Visit
from dashboards.window import DAY, HOUR, Window, current_month, iso, today
from llmobs.budgets.forecast import Forecast

CONTRIBUTORS = 5
LONGEST_FOR_SPIKES = timedelta(days=7)
NO_USUAL = "it takes two weeks of data"
OF_ERRORS = ("asked", "failed", "calls", "errors", "refused", "degraded", "cached_calls", "saved_nanousd")


@dataclass(frozen=True)
class Verdict:
    """A shape, a word, and what it was compared with."""

    kind: str
    words: str
    rest: str


@dataclass(frozen=True)
class Contributor:
    """A row under a chart. `extra` is the second figure, `filters` lead to its calls."""

    name: str
    spark: Sequence[float | None]
    value: str
    extra: str
    url: str
    exact: str = ""
    asked: Mapping[str, str] | None = None  # what explains the value; None: it is a count


class Cost:
    """The first column."""

    def __init__(self, visit: Visit, now: Now, earlier: Earlier) -> None:
        self.visit, self.now = visit, now
        shown = ("cost_nanousd", "unpriced_calls")
        by_feature = totals(visit.cursor, visit.scope, ("feature",), over_time=True, only=shown)
        starts = visit.window.starts()
        self.window_total = added(by_feature, shown)
        usual = [usual_of([float(row.cost_nanousd) for row in rows]) for rows in zip(*earlier.series, strict=True)]
        self.figure: Figure = figures.cost_rate(visit.window, _series(by_feature, starts), usual, visit.now)
        usual_now = usual_of([float(row.cost_nanousd) for row in earlier.now])
        self.usual_rate = round(usual_now / now.hours) if usual_now is not None else None
        self.verdict = self._verdict()
        self.context = self._context()
        self.rows = self._contributors(by_feature, starts)

    def _verdict(self) -> Verdict:
        ratio = ratio_of(self.now.rate_nanousd, self.usual_rate)
        if self.usual_rate is None or ratio is None:
            return Verdict("unknown", "No usual yet", NO_USUAL)
        local = self.visit.local(self.now.window.start)
        rest = f"for {local:%A %H:%M} ({numbers.rate_money(self.usual_rate)}/h)"
        if ratio > ABOVE_USUAL:
            return Verdict("warn", f"{numbers.times(ratio)} usual", rest)
        return Verdict("ok", "As usual", rest)

    def _context(self) -> list[tuple[str, int, str, dict[str, str]]]:
        visit = self.visit
        month = current_month(visit.now, visit.zone)
        midnight = today(visit.now, visit.zone)
        scopes = [visit.scope_of(month), visit.scope_of(midnight)]
        found = totals_of_each(visit.cursor, scopes, only=("cost_nanousd",))
        spent, day = (sum(row.cost_nanousd for row in rows) for rows in found)
        expected = month_forecast(visit, spent)
        since = {"from": iso(midnight.start), "to": iso(midnight.end)}
        parts = [("Today", day, "", since), ("month", spent, "", {"last": "month"})]
        ahead = [] if expected is None else [("forecast", expected.amount, "rough", {"forecast": "month"})]
        return [*parts, *ahead]

    def _contributors(self, over_time: Sequence[Totals], starts: Sequence[datetime]) -> list[Contributor]:
        scope = self.visit.scope_of(self.now.window)
        rows = totals(self.visit.cursor, scope, ("feature",), only=("calls", "cost_nanousd"))
        found = []
        for row in [row for row in rows if row.calls or row.cost_nanousd][:CONTRIBUTORS]:
            name = row.key[0]
            spark = _series([r for r in over_time if r.key[0] == name], starts)
            rate = round(row.cost_nanousd / self.now.hours)
            found.append(
                Contributor(
                    name or "no feature",
                    [float(value) for value in spark],
                    numbers.rate_money(rate),
                    numbers.share(row.cost_nanousd, self.now.total.cost_nanousd),
                    self.visit.url("costs", feature=name or None),
                    numbers.exact_money(rate),
                    _asked(name, self.now.window),
                )
            )
        return found


class Slowness:
    """The second column."""

    objective_ms = P95_OBJECTIVE_MS

    def __init__(self, visit: Visit, now: Now, earlier: Earlier) -> None:
        scope, cursor = visit.scope, visit.cursor
        starts = visit.window.starts()
        by_bucket = {row.at: row for row in latencies(cursor, scope, over_time=True)}
        found = [_percentiles(at, by_bucket.get(at)) for at in starts]
        self.figure: Figure = figures.latency(visit.window, found, P95_OBJECTIVE_MS, earlier.marks)
        self.now, first_token = earlier.latencies[:2]
        self.p95_ms = self.now.quantile_ms(0.95)
        self.usual_ms = earlier.p95_ms()
        value, _, unit = numbers.milliseconds(self.p95_ms).partition(numbers.NBSP)
        self.value, self.unit = value, unit.replace(numbers.NBSP, " ")
        ttft = first_token.quantile_ms(0.95)
        peak = max((b for b in found if b.p95 is not None), key=lambda b: b.p95 or 0, default=None)
        parts = []
        if peak is not None:
            parts.append(f"Peak {numbers.milliseconds(peak.p95)} at {_clock(visit, peak.at)}")
        if ttft is not None:
            parts.append(f"first token p95 {numbers.milliseconds(ttft)}")
        self.context = " · ".join(parts)
        self.verdict = self._verdict()
        by_name = sorted(latencies(cursor, scope, ("feature",)), key=lambda row: -(row.quantile_ms(0.95) or 0))
        shown = by_name[:CONTRIBUTORS]
        # Over time those alone that are shown: a month of all features is a million buckets of latencies.
        names = [row.key[0] for row in shown]
        over_time = _by(latencies(cursor, scope, ("feature",), over_time=True, among=names), lambda row: row.key[0])
        self.rows = [_slow(visit, row.key[0], row, over_time.get(row.key[0], []), starts) for row in shown]

    def _verdict(self) -> Verdict:
        n = f"n = {numbers.count(self.now.n)}"
        objective = figures.seconds_word(P95_OBJECTIVE_MS / 1000)
        if self.p95_ms is None:
            return Verdict("unknown", "No calls", "in this time")
        usual = "no usual yet" if self.usual_ms is None else f"usual {numbers.milliseconds(self.usual_ms)}"
        if self.p95_ms > P95_OBJECTIVE_MS:
            return Verdict("warn", "Past the objective", f"of {objective}, {usual}, {n}")
        if self.usual_ms is None:
            return Verdict("ok", "Within the objective", f"of {objective}, {usual}, {n}")
        ratio = ratio_of(self.p95_ms, self.usual_ms)
        rest = f"({numbers.milliseconds(self.usual_ms)}), objective {objective}, {n}"
        if ratio is not None and ratio > ABOVE_USUAL:
            return Verdict("warn", f"{numbers.times(ratio)} usual", rest)
        return Verdict("ok", "As usual", rest)


class Errors:
    """The third column."""

    def __init__(self, visit: Visit, now: Now, earlier: Earlier) -> None:
        scope, cursor = visit.scope, visit.cursor
        starts = visit.window.starts()
        by_error = totals(cursor, scope, ("error",), over_time=True, only=("errors",))
        over_time = totals(cursor, scope, over_time=True, only=OF_ERRORS)
        calls, failed = _sums(over_time, "asked"), _sums(over_time, "failed")
        whole = added(over_time, OF_ERRORS)
        self.total_calls, self.total_failed = whole.asked, whole.failed
        self.total_attempts, self.total_errors = whole.calls, whole.errors
        self.refused, self.degraded = whole.refused, whole.degraded
        self.cached, self.saved_nanousd = whole.cached_calls, whole.saved_nanousd
        self.hit_rate = whole.cache_hit_rate
        self.spikes = self._spikes(visit, earlier.share_of_window())
        buckets = [(at, calls.get(at, 0), failed.get(at, 0)) for at in starts]
        usual = [usual_of([share_of(row) for row in rows]) for rows in zip(*earlier.series, strict=True)]
        self.figure: Figure = figures.error_share(visit.window, buckets, self.spikes, usual, earlier.marks)
        self.now = now.total
        self.share = numbers.share(now.total.failed, now.total.asked)
        self.value, _, self.unit = self.share.partition(numbers.NBSP)
        self.ongoing: Spike | None = next((s for s in self.spikes if s.end >= visit.now - 2 * SPIKE_BUCKET), None)
        self.verdict = self._verdict(visit, now, earlier.share())
        self.context = self._context(visit)
        self.rows = self._contributors(visit, by_error, starts)

    def _spikes(self, visit: Visit, usual: float | None) -> list[Spike]:
        if visit.window.length > LONGEST_FOR_SPIKES + HOUR:
            return []
        rows = totals(visit.cursor, visit.scope, over_time=True, bucket=SPIKE_BUCKET, only=("asked", "failed"))
        return spikes((Share(row.at, row.asked, row.failed) for row in rows if row.at), usual)

    def _verdict(self, visit: Visit, now: Now, usual: float | None) -> Verdict:
        of = f"{numbers.count(self.now.failed)} of {numbers.count(self.now.asked)} calls"
        if self.now.asked == 0:
            return Verdict("unknown", "No calls", "in this time")
        if self.ongoing is not None:
            return Verdict("bad", "Spike", f"at worst {numbers.share(self.ongoing.peak)}; {of}")
        over = next((spike for spike in reversed(self.spikes) if spike.end > now.window.start), None)
        if over is not None:
            return Verdict("warn", "Spike", f"over since {_clock(visit, over.end)}; {of} failed")
        if self.now.failed == 0:
            return Verdict("ok", "No errors", f"among {numbers.count(self.now.asked)} calls")
        if usual is None:
            return Verdict("unknown", "No usual yet", f"{of} failed")
        ratio = ratio_of(self.now.failed / self.now.asked, usual)
        rest = f"({numbers.share(usual)}), {of}"
        if ratio is None or ratio > ABOVE_USUAL:
            return Verdict("warn", f"{numbers.times(ratio)} usual" if ratio else "Above usual", rest)
        return Verdict("ok", "Back to usual" if self.spikes else "As usual", rest)

    def _context(self, visit: Visit) -> str:
        if self.spikes:
            worst = max(self.spikes, key=lambda spike: spike.peak)
            span = f"{_clock(visit, worst.start)}–{visit.local(worst.end):%H:%M}"
            return f"Spike {span}: peak {numbers.share(worst.peak)}, {worst.failed} calls failed"
        if self.total_failed == 0:
            return f"No errors among {numbers.count(self.total_calls)} calls, {visit.window.label.lower()}"
        share = numbers.share(self.total_failed, self.total_calls)
        return f"{numbers.count(self.total_failed)} of {numbers.count(self.total_calls)} calls ({share}) in the window"

    def _contributors(self, visit: Visit, rows: Sequence[Totals], starts: Sequence[datetime]) -> list[Contributor]:
        found = []
        for name, of_error in _by([row for row in rows if row.errors], lambda row: row.key[0]).items():
            sums = _sums(of_error, "errors")
            failed = sum(sums.values())
            found.append((failed, name, [float(sums.get(at, 0)) for at in starts]))
        found.sort(key=lambda row: (-row[0], row[1]))
        return [
            Contributor(
                name.replace("_", " ") or "other",
                spark,
                numbers.count(failed),
                numbers.share(failed, self.total_attempts),
                visit.url("traces", **({"error": name} if name else {"status": "failed"})),
            )
            for failed, name, spark in found[:CONTRIBUTORS]
        ]


def month_forecast(visit: Visit, spent: int) -> Forecast | None:
    """What this calendar month will have cost."""
    return foretold.month_forecast(visit.cursor, visit.scope, visit.now, visit.zone, spent)


def _slow(
    visit: Visit, name: str, sketch: Latency, over_time: Sequence[Latency], starts: Sequence[datetime]
) -> Contributor:
    by_bucket = {row.at: row.quantile_ms(0.95) for row in over_time}
    return Contributor(
        name or "no feature",
        [by_bucket.get(at) for at in starts],
        numbers.milliseconds(sketch.quantile_ms(0.95)),
        numbers.short_count(sketch.n),
        visit.url("traces", feature=name or None, sort="duration"),
        asked={**_asked(name, visit.window), "metric": "p95"},
    )


def _asked(feature: str, window: Window) -> dict[str, str]:
    """What explains a feature's figure."""
    return {**asks({"feature": feature}), "from": iso(window.start), "to": iso(window.end)}


def _percentiles(at: datetime, sketch: Latency | None) -> Percentiles:
    if sketch is None or sketch.n <= 0:
        return Percentiles(at, 0, None, None, None)
    return Percentiles(at, sketch.n, *(sketch.quantile_ms(q) for q in (0.5, 0.95, 0.99)))


def _clock(visit: Visit, at: datetime) -> str:
    """The time, with its day where the window has more than one of that time."""
    return f"{visit.local(at):%H:%M}" if visit.window.length <= DAY + HOUR else f"{visit.local(at):%-d %b, %H:%M}"


def _by(rows: Sequence[Any], key: Any) -> dict[Any, list[Any]]:
    return {name: list(group) for name, group in groupby(sorted(rows, key=key), key)}


def _sums(rows: Sequence[Totals], measure: str) -> dict[datetime, int]:
    found: dict[datetime, int] = {}
    for row in rows:
        if row.at is not None:
            found[row.at] = found.get(row.at, 0) + getattr(row, measure)
    return found


def _series(rows: Sequence[Totals], starts: Sequence[datetime]) -> list[int]:
    sums = _sums(rows, "cost_nanousd")
    return [sums.get(at, 0) for at in starts]
