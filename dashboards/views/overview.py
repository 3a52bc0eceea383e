"""Overview: what does it cost now, is it slow, is it failing?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.http import HttpResponse

from dashboards import figures, numbers
from dashboards.budget_figures import BudgetFigure, budget_figures
from dashboards.figures import Figure, Percentiles
from dashboards.live import budgets_now, ledger_client
from dashboards.notices import MOST_SHOWN, notices
from dashboards.queries.costs import unpriced_models
from dashboards.queries.freshness import freshness
from dashboards.queries.rollup import Latency, Totals, first_call_at, latencies, merged, total, totals
from dashboards.queries.scope import Scope
from dashboards.queries.traces import traces
from dashboards.usual import (
    ABOVE_USUAL,
    P95_OBJECTIVE_MS,
    SPIKE_BUCKET,
    WEEKS,
    Share,
    Spike,
    ratio_of,
    spikes,
    usual_of,
)
from dashboards.views.frame import filter_choices, gateway_address, rail_notes
from dashboards.visit import Visit, page, show
from dashboards.window import HOUR, QUARTER, Window, current_month, month_end, today
from llmobs.budgets.forecast import HISTORY, Forecast, Spent, forecast

CONTRIBUTORS = 5
LEAST_CALLS_NOW = 100  # under these, "now" widens
WIDER_NOW = (QUARTER, HOUR)
HEADS = {
    "cost": ("Feature", "$/h now", "of all"),
    "latency": ("Feature", "p95", "calls"),
    "errors": ("Error", "calls", "of all"),
}
LONGEST_FOR_SPIKES = timedelta(days=7)
UNHEALTHY, DEGRADED = 0.5, 0.05  # share of failed calls of a provider, with at least LEAST_FOR_STATE calls
LEAST_FOR_STATE = 20


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


@page("overview")
def overview(visit: Visit) -> HttpResponse:
    """The front page."""
    scope = visit.scope
    first_at = first_call_at(visit.cursor, scope.tenant_ids)
    if first_at is None:
        return show(visit, "dashboards/overview_empty.html", heading="Overview", gateway=gateway_address())
    now = _now(visit)
    budgets = shown_budgets(visit)
    rail_notes(visit, budgets)
    cost, latency, errors = _Cost(visit, now, first_at), _Latency(visit, now), _Errors(visit, now)
    found = notices(
        visit, budgets, unpriced_models(visit.cursor, scope), errors.ongoing, freshness(visit.cursor, visit.now)
    )
    return show(
        visit,
        "dashboards/overview.html",
        heading="Overview",
        choices=filter_choices(visit),
        now=now,
        notices=found[:MOST_SHOWN],
        more_notices=found[MOST_SHOWN:],
        cost=cost,
        latency=latency,
        errors=errors,
        heads=HEADS,
        budgets=budgets[:4],
        budget_count=len(budgets),
        slowest=traces(visit.cursor, scope.over(now.window), sort="duration", limit=CONTRIBUTORS).rows,
        providers=_providers(visit, now),
        window_total=cost.window_total,
    )


def _now(visit: Visit) -> Now:
    for length in WIDER_NOW:
        window = visit.window.narrowed(length)
        found = total(visit.cursor, visit.scope_of(window))
        if found.calls >= LEAST_CALLS_NOW or window.start <= visit.window.start:
            return Now(window, f"last {int(length.total_seconds() // 60)} min", found)
    return Now(visit.window, visit.window.label.lower(), total(visit.cursor, visit.scope))


class _Cost:
    """The first column."""

    def __init__(self, visit: Visit, now: Now, first_at: datetime) -> None:
        self.visit, self.now = visit, now
        window, scope, cursor = visit.window, visit.scope, visit.cursor
        by_feature = totals(cursor, scope, ("feature",), over_time=True)
        starts = window.starts()
        costs = _series(by_feature, starts)
        self.window_total = _added(by_feature)
        self.weeks = [w for w in range(1, WEEKS + 1) if window.weeks_ago(w).start >= first_at]
        usual_weeks = [self._week(week, len(starts)) for week in self.weeks] if len(self.weeks) > 1 else []
        usual = [usual_of([week[i] for week in usual_weeks]) for i in range(len(starts))]
        self.figure: Figure = figures.cost_rate(window, costs, usual, visit.now)
        now_weeks = [
            float(total(cursor, scope.over(now.window.weeks_ago(w))).cost_nanousd)
            for w in self.weeks
            if len(self.weeks) > 1
        ]
        usual_now = usual_of(now_weeks)
        self.usual_rate = round(usual_now / now.hours) if usual_now is not None else None
        self.ratio = ratio_of(now.rate_nanousd, self.usual_rate)
        self.verdict = self._verdict()
        self.context = self._context()
        self.rows = self._contributors(by_feature, starts)

    def _week(self, week: int, buckets: int) -> list[float]:
        shifted = self.visit.window.weeks_ago(week)
        rows = totals(self.visit.cursor, self.visit.scope_of(shifted), over_time=True, bucket=self.visit.window.bucket)
        series = _series(rows, replace(shifted).starts()[:buckets])
        return [float(value) for value in series] + [0.0] * (buckets - len(series))

    def _verdict(self) -> Verdict:
        local = self.visit.local(self.now.window.start)
        if self.ratio is None:
            return Verdict("unknown", "No usual yet", f"for {local:%A %H:%M}: under two weeks are known")
        rest = f"for {local:%A %H:%M} ({numbers.rate_money(self.usual_rate)}/h)"
        if self.ratio > ABOVE_USUAL:
            return Verdict("warn", f"{numbers.times(self.ratio)} usual", rest)
        return Verdict("ok", "As usual", f"{rest}, {numbers.times(self.ratio)}")

    def _context(self) -> list[tuple[str, int, str]]:
        visit = self.visit
        month = current_month(visit.now, visit.zone)
        spent = total(visit.cursor, visit.scope_of(month)).cost_nanousd
        day = total(visit.cursor, visit.scope_of(today(visit.now, visit.zone))).cost_nanousd
        expected = month_forecast(visit, spent)
        parts = [("Today", day, "cents"), ("month", spent, "cents")]
        return parts + ([("forecast", expected.amount, "rough")] if expected is not None else [])

    def _contributors(self, over_time: Sequence[Totals], starts: Sequence[datetime]) -> list[Contributor]:
        rows = totals(self.visit.cursor, self.visit.scope_of(self.now.window), ("feature",))
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
                )
            )
        return found


class _Latency:
    """The second column."""

    objective_ms = P95_OBJECTIVE_MS

    def __init__(self, visit: Visit, now: Now) -> None:
        scope, cursor = visit.scope, visit.cursor
        starts = visit.window.starts()
        by_feature = latencies(cursor, scope, ("feature",), over_time=True)
        by_bucket = {at: merged(rows) for at, rows in _by(by_feature, lambda row: row.at).items()}
        found = [_percentiles(at, by_bucket.get(at)) for at in starts]
        self.figure: Figure = figures.latency(visit.window, found, P95_OBJECTIVE_MS)
        self.now = merged(latencies(cursor, scope.over(now.window)))
        self.p95_ms = self.now.quantile_ms(0.95)
        value, _, unit = numbers.milliseconds(self.p95_ms).partition(numbers.NBSP)
        self.value, self.unit = value, unit.replace(numbers.NBSP, " ")
        ttft = merged(latencies(cursor, scope.over(now.window), of="ttft")).quantile_ms(0.95)
        peak = max((b for b in found if b.p95 is not None), key=lambda b: b.p95 or 0, default=None)
        parts = []
        if peak is not None:
            parts.append(f"Peak {numbers.milliseconds(peak.p95)} at {visit.local(peak.at):%H:%M}")
        if ttft is not None:
            parts.append(f"first token p95 {numbers.milliseconds(ttft)}")
        self.context = " · ".join(parts)
        self.verdict = self._verdict()
        by_name = _by(by_feature, lambda row: row.key[0])
        rows = [(name, merged(rows), rows) for name, rows in by_name.items()]
        rows.sort(key=lambda row: -(row[1].quantile_ms(0.95) or 0))
        self.rows = [_slow(visit, name, sketch, over, starts) for name, sketch, over in rows[:CONTRIBUTORS]]

    def _verdict(self) -> Verdict:
        n = f"n = {numbers.count(self.now.n)}"
        objective = numbers.milliseconds(P95_OBJECTIVE_MS)
        if self.p95_ms is None:
            return Verdict("unknown", "No calls", "in this time")
        if self.p95_ms > P95_OBJECTIVE_MS:
            return Verdict("warn", "Past the objective", f"of {objective}, {n}")
        return Verdict("ok", "Within the objective", f"of {objective}, {n}")


class _Errors:
    """The third column."""

    def __init__(self, visit: Visit, now: Now) -> None:
        scope, cursor = visit.scope, visit.cursor
        starts = visit.window.starts()
        by_error = totals(cursor, scope, ("error",), over_time=True)
        calls = _sums(by_error, "calls")
        failed = _sums(by_error, "errors")
        self.total_calls, self.total_failed = sum(calls.values()), sum(failed.values())
        self.refused = sum(row.refused for row in by_error)
        self.degraded = sum(row.degraded for row in by_error)
        self.spikes = self._spikes(visit)
        buckets = [(at, calls.get(at, 0), failed.get(at, 0)) for at in starts]
        self.figure: Figure = figures.error_share(visit.window, buckets, self.spikes)
        self.now = now.total
        self.share = numbers.share(now.total.errors, now.total.calls)
        self.value, _, self.unit = self.share.partition(numbers.NBSP)
        self.ongoing: Spike | None = next((s for s in self.spikes if s.end >= visit.now - 2 * SPIKE_BUCKET), None)
        self.verdict = self._verdict()
        self.context = self._context(visit)
        self.rows = self._contributors(visit, by_error, starts)

    def _spikes(self, visit: Visit) -> list[Spike]:
        if visit.window.length > LONGEST_FOR_SPIKES + HOUR:
            return []
        rows = totals(visit.cursor, visit.scope, over_time=True, bucket=SPIKE_BUCKET)
        return spikes((Share(row.at, row.calls, row.errors) for row in rows if row.at), None)

    def _verdict(self) -> Verdict:
        of = f"{numbers.count(self.now.errors)} of {numbers.count(self.now.calls)} calls"
        if self.now.calls == 0:
            return Verdict("unknown", "No calls", "in this time")
        if self.ongoing is not None:
            return Verdict("bad", "Spike", f"at worst {numbers.share(self.ongoing.peak)}; {of}")
        if self.now.errors == 0:
            return Verdict("ok", "No errors", f"among {numbers.count(self.now.calls)} calls")
        return Verdict("ok", "No spike" if not self.spikes else "Back from the spike", f"{of} failed")

    def _context(self, visit: Visit) -> str:
        if self.spikes:
            worst = max(self.spikes, key=lambda spike: spike.peak)
            span = f"{visit.local(worst.start):%H:%M}–{visit.local(worst.end):%H:%M}"
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
                numbers.share(failed, self.total_calls),
                visit.url("traces", **({"error": name} if name else {"status": "failed"})),
            )
            for failed, name, spark in found[:CONTRIBUTORS]
        ]


def month_forecast(visit: Visit, spent: int) -> Forecast | None:
    """What this calendar month will have cost."""
    history = Window(visit.now - HISTORY, visit.now, visit.zone)
    rows = totals(visit.cursor, visit.scope_of(history), over_time=True, bucket=HOUR)
    hours = [Spent(row.at, row.cost_nanousd) for row in rows if row.at]
    return forecast(spent, hours, visit.now, month_end(visit.now, visit.zone))


def _providers(visit: Visit, now: Now) -> list[tuple[str, str, str, Totals]]:
    """(name, shape, state, sums), by what their calls of the last minutes say."""
    found = []
    for row in totals(visit.cursor, visit.scope_of(now.window), ("provider",)):
        if not row.calls:
            continue
        share = row.errors / row.calls
        kind, words = "ok", "healthy"
        if row.calls >= LEAST_FOR_STATE and share > UNHEALTHY:
            kind, words = "bad", "unhealthy"
        elif row.calls >= LEAST_FOR_STATE and share > DEGRADED:
            kind, words = "warn", "degraded"
        found.append((row.key[0], kind, words, row))
    return found[:CONTRIBUTORS]


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
    )


def _percentiles(at: datetime, sketch: Latency | None) -> Percentiles:
    if sketch is None or sketch.n <= 0:
        return Percentiles(at, 0, None, None, None)
    return Percentiles(at, sketch.n, *(sketch.quantile_ms(q) for q in (0.5, 0.95, 0.99)))


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


def _added(rows: Sequence[Totals]) -> Totals:
    names = [name for name in Totals.__dataclass_fields__ if name not in ("key", "at")]
    return Totals((), None, *(sum(getattr(row, name) for row in rows) for name in names))


def shown_budgets(visit: Visit) -> list[BudgetFigure]:
    """All budgets of the visit's tenants, most urgent first, whatever the filters."""
    scope = Scope(visit.seen.tenant_ids, visit.window)
    return budget_figures(visit.cursor, budgets_now(), scope, visit.now, ledger_client())
