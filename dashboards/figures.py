"""Charts as JSON for Plotly, and beside each the same numbers as a table and as one sentence.

Colours are token names ("--accent"); `charts.js` resolves them from the stylesheet's variables, so that a change of
theme needs no second request. Times are clock times of the page's zone, which Plotly draws as they are. Traces that
give no `x` share the figure's: `x0` and, for each bucket, the minutes after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from dashboards import drawing, numbers
from dashboards.drawing import Json, Mark
from dashboards.queries.traces import Outcomes
from dashboards.usual import Spike
from dashboards.window import HOUR, Window, iso
from llmobs.budgets.forecast import Forecast

LEAST_LIMIT_HEIGHT = 0.3  # of the chart: below, a limit's thresholds would lie on one another
MOST_POINTS = 150  # of a forecast's line


Ask = dict[str, str]  # what an explanation is asked with, beside the visit's filters
Way = tuple[Ask | None, ...]  # of each cell of a row; None: there is no such page


@dataclass(frozen=True)
class Figure:
    """One chart. `rows` are its numbers as texts, under `head`.

    `whys`: what the rows of the window's buckets ask, each of its own time. `ways`: the same of each row after them.
    """

    name: str
    sentence: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    json: Json
    legend: list[tuple[str, str]] = field(default_factory=list)  # (colour class, word), in stacking order
    whys: Way = ()
    ways: list[Way] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """A part of a sum, with its colour's token without dashes (c1 … c8, c-other). `asked`: what explains it."""

    name: str
    colour: str
    values: list[int]
    asked: Ask


@dataclass(frozen=True)
class Percentiles:
    """p50, p95, p99 of a bucket in milliseconds; None where nothing was called."""

    at: datetime
    n: int
    p50: float | None
    p95: float | None
    p99: float | None


def cost_rate(window: Window, costs: Sequence[int], usual: Sequence[float | None], now: datetime) -> Figure:
    """Cost per hour over time, with the usual beside it. `costs` are nano-USD of each bucket."""
    starts = window.starts()
    rates = [cost / _hours(window, at, now) / 1e9 for cost, at in zip(costs, starts, strict=True)]
    usuals = [None if value is None else value / (window.bucket / HOUR) / 1e9 for value in usual] or [None] * len(rates)
    texts = [f"${rate:,.4g} / h" for rate in rates]
    lines = _cost_lines(drawing.rounded(rates), texts, window.last != "" and len(rates) > 1)
    if any(value is not None for value in usuals):
        lines.append(drawing.line("usual", drawing.rounded(usuals), "--usual", 1.2, dash="3px,3px"))
    annotations = [drawing.label("usual", window, starts, usuals)] if any(value is not None for value in usuals) else []
    top = max([*rates, *(value for value in usuals if value is not None)], default=0)
    words = f"Cost per hour, {window.dates}: highest {_usd_tick(max(rates, default=0))}"
    return Figure(
        "cost-rate",
        words,
        (f"{window.noun} from", "cost per hour", "usual"),
        [
            (drawing.clock(window, at), f"${rate:,.4g}", "–" if u is None else f"${u:,.4g}")
            for at, rate, u in zip(starts, rates, usuals, strict=True)
        ],
        drawing.chart(window, lines, top, _usd_tick, annotations),
        whys=(None, {}, None),
    )


def _cost_lines(rates: Sequence[float | None], texts: list[str], is_running: bool) -> list[Json]:
    """The running bucket is dashed to an open ring: it is not over."""
    if not is_running:
        return [drawing.line("cost", rates, "--accent", 2, fill="--accent-fill", text=texts)]
    over = drawing.line("cost", [*rates[:-1], None], "--accent", 2, fill="--accent-fill", text=texts)
    ahead: list[float | None] = [None] * (len(rates) - 2)
    texts = [""] * (len(rates) - 1) + [f"{texts[-1]}, so far"]
    running = drawing.line("so far", [*ahead, *rates[-2:]], "--accent", 1.5, dash="2px,3px", text=texts)
    sizes = [0] * (len(rates) - 1) + [drawing.RING_PX]
    return [over, running | {**drawing.RINGED, "marker": drawing.open_marker("--accent", sizes)}]


def latency(window: Window, buckets: Sequence[Percentiles], objective_ms: int, marks: Sequence[Mark] = ()) -> Figure:
    """p50, p95 and p99 over time, never stacked; the objective as a dashed line."""
    texts = [
        f"p50 {numbers.milliseconds(b.p50)}, p95 {numbers.milliseconds(b.p95)}, "
        f"p99 {numbers.milliseconds(b.p99)}<br>n = {numbers.count(b.n)}"
        for b in buckets
    ]
    series = {name: [_seconds(getattr(b, name)) for b in buckets] for name in ("p99", "p50", "p95")}
    lines = [
        drawing.line("p99", series["p99"], "--ink-3", 1),
        drawing.line("p50", series["p50"], "--ink-3", 1),
        drawing.line("p95", series["p95"], "--accent", 2, text=texts),
    ]
    starts = [bucket.at for bucket in buckets]
    labels = [
        drawing.label(name, window, starts, series[name], first=True, colour=colour) for name, colour in _PERCENTILE_INK
    ]
    objective = objective_ms / 1000
    top = max([value for values in series.values() for value in values if value is not None] + [objective])
    figure = drawing.chart(window, lines, top, seconds_word, drawing.apart(labels, top))
    figure["layout"]["shapes"].append(drawing.across(objective, "--warn", "5px,4px"))
    figure["layout"]["annotations"].append(
        drawing.across_label(f"objective {seconds_word(objective)}", objective, "--warn")
    )
    drawing.add_marks(figure, window, marks)
    figure["opens"] = True  # a click leads to the calls, the table to the explanations
    peak = max((b.p95 for b in buckets if b.p95 is not None), default=None)
    return Figure(
        "latency",
        f"Latency, {window.dates}: highest p95 {numbers.milliseconds(peak)}",
        (f"{window.noun} from", "p50", "p95", "p99", "n"),
        [
            (drawing.clock(window, b.at), *(numbers.milliseconds(p) for p in (b.p50, b.p95, b.p99)), numbers.count(b.n))
            for b in buckets
        ],
        figure,
        whys=(None, *({"metric": name} for name in ("p50", "p95", "p99")), None),
    )


_PERCENTILE_INK = (("p95", "--accent"), ("p99", "--ink-3"), ("p50", "--ink-3"))


def error_share(
    window: Window,
    buckets: Sequence[tuple[datetime, int, int]],
    found: Sequence[Spike],
    usual: Sequence[float | None] = (),
    marks: Sequence[Mark] = (),
) -> Figure:
    """Share of failed calls over time, `buckets` as (start, calls, failed); spikes shaded and red, the usual dashed."""
    shares = [100 * failed / calls if calls else None for _, calls, failed in buckets]
    texts = [f"{numbers.share(failed, calls)}, {failed} of {calls} calls" for at, calls, failed in buckets]
    is_spike = [any(at < spike.end and at + window.bucket > spike.start for spike in found) for at, _, _ in buckets]
    bars = {
        **drawing.bars("errors", drawing.rounded(shares), "--ink-3", texts),
        "marker": {"color": ["--bad-fill" if spiking else "--ink-3" for spiking in is_spike], "line": {"width": 0}},
    }
    top = max([share for share in shares if share is not None] + [1.0])
    usuals = [None if value is None else 100 * value for value in usual]
    lines = (
        [drawing.line("usual", drawing.rounded(usuals), "--usual", 1.2, dash="3px,3px")]
        if any(u is not None for u in usuals)
        else []
    )
    figure = drawing.chart(window, [bars, *lines], top, _percent_tick, [])
    figure["layout"]["shapes"] += [drawing.shade(window, spike.start, spike.end) for spike in found]
    drawing.add_marks(figure, window, marks)
    peak = max((share for share in shares if share is not None), default=0.0)
    failed_calls, calls = sum(b[2] for b in buckets), sum(b[1] for b in buckets)
    return Figure(
        "errors",
        f"Share of failed calls, {window.dates}: {failed_calls} of {calls}, highest {peak:.1f} %",
        (f"{window.noun} from", "failed", "calls", "share"),
        [(drawing.clock(window, at), str(f), numbers.count(c), numbers.share(f, c)) for at, c, f in buckets],
        figure,
    )


def stacked_costs(window: Window, series: Sequence[Series], coming: Sequence[tuple[datetime, int]]) -> Figure:
    """Cost per bucket, stacked by series in the given order; `coming` is the forecast, drawn empty."""
    starts = window.starts()
    sums = [sum(s.values[i] for s in series) for i in range(len(starts))]
    data = []
    for s in series:
        texts = [f"{s.name} {numbers.money(value)}" if value else "" for value in s.values]
        data.append(drawing.bars(s.name, [_usd(value) for value in s.values], f"--{s.colour}", texts, gap=True))
    all_starts = starts + [at for at, _ in coming if at not in starts]
    index = {at: i for i, at in enumerate(all_starts)}
    if coming:
        heights: list[float | None] = [None] * len(all_starts)
        for at, amount in coming:
            heights[index[at]] = _usd(amount)
        data.append(
            {
                **drawing.bars("forecast", heights, "--none", [""] * len(all_starts)),
                "marker": {"color": "--none", "line": {"width": 1, "color": "--usual"}},
                "hovertemplate": "forecast $%{y:,.2f}<extra></extra>",
            }
        )
    tops = list(sums) + [0] * (len(all_starts) - len(sums))
    for at, amount in coming:
        tops[index[at]] += amount
    figure = drawing.chart(window, data, _usd(max(tops, default=0)), _usd_tick, [], all_starts)
    figure["layout"] |= {"barmode": "stack", "bargap": 0.18}
    # A column and rows for it, so that the table has all that is drawn, in the order in which it is.
    ahead, asked = dict(coming), ({"forecast": "month"},) if coming else ()
    rows = []
    for i, at in enumerate(all_starts):
        is_past = i < len(starts)
        shown = [numbers.money(s.values[i]) if is_past else "" for s in series]
        shown += [numbers.money(ahead[at]) if at in ahead else ""] if coming else []
        rows.append((drawing.clock(window, at), *shown, numbers.money(sums[i]) if is_past else ""))
    return Figure(
        "costs",
        f"Cost per {window.noun}, {window.dates}: {numbers.money(sum(sums))} in sum",
        (f"{window.noun} from", *(s.name for s in series), *(["forecast"] if coming else []), "sum"),
        rows,
        figure,
        [(s.colour, s.name) for s in series],
        (None, *(s.asked for s in series), *asked, {}),
        [(None, *(None for _ in series), *asked, None)] * (len(all_starts) - len(starts)),
    )


def outcomes(window: Window, buckets: Sequence[Outcomes], noun: str) -> Figure:
    """Calls by what became of them, over time."""
    kinds = (("ok", "--usual"), ("degraded", "--c5"), ("refused", "--line-2"), ("failed", "--bad-fill"))
    data = [
        drawing.bars(
            name, [getattr(b, name) for b in buckets], colour, [f"{getattr(b, name):,} {name}" for b in buckets]
        )
        for name, colour in kinds
    ]
    sums = [b.ok + b.degraded + b.refused + b.failed for b in buckets]
    figure = drawing.chart(window, data, max(sums, default=0), _count_tick, [])
    figure["layout"] |= {"barmode": "stack", "bargap": 0.12}
    total = {name: sum(getattr(b, name) for b in buckets) for name, _ in kinds}
    return Figure(
        "outcomes",
        f"{noun} by outcome, {window.dates}: " + ", ".join(f"{n:,} {name}" for name, n in total.items()),
        (f"{window.noun} from", *(name for name, _ in kinds)),
        [(drawing.clock(window, b.at), *(f"{getattr(b, name):,}" for name, _ in kinds)) for b in buckets],
        figure,
        [(colour.removeprefix("--"), f"{name} {total[name]:,}") for name, colour in kinds if total[name]],
    )


def running_sum(
    window: Window,
    points: Sequence[tuple[datetime, int]],
    now: datetime,
    limit: int,
    thresholds: Sequence[int],
    expected: Forecast | None,
    scale: float,
    write: Callable[[float], str],
    ask: Ask,
) -> Figure:
    """Spent so far against the limit, with the forecast and its range. `scale`: units of the budget per unit drawn.

    `ask`: what explains the sum, beside its end.
    """
    past = [(drawing.local(window, at), amount / scale) for at, amount in points]
    lines: list[Json] = []
    tops = [limit / scale, *(amount for _, amount in past)]
    annotations, shapes = [], [drawing.across(limit / scale, "--ink", "solid", 1.5)]
    annotations.append(drawing.across_label(f"limit {write(limit / scale)}", limit / scale, "--ink-2", left=True))
    for percent in thresholds:
        if percent < 100 and limit / scale > LEAST_LIMIT_HEIGHT * max(tops):
            shapes.append(drawing.across(limit * percent / 100 / scale, "--ink-3", "1px,3px"))
            annotations.append(
                drawing.across_label(f"{percent} %", limit * percent / 100 / scale, "--ink-3", left=True)
            )
    if expected is not None:
        points_ahead = expected.points[:: max(1, len(expected.points) // MOST_POINTS)]
        xs = [drawing.local(window, now), *(drawing.local(window, point.at) for point in points_ahead)]
        spent_now = points[-1][1]
        low, high, middle = (
            [amount / scale for amount in (spent_now, *(getattr(p, n) for p in points_ahead))]
            for n in ("low", "high", "amount")
        )
        tops += high
        lines.append({"x": xs, "y": drawing.rounded(high), **drawing.edge()})
        lines.append({"x": xs, "y": drawing.rounded(low), **drawing.edge(), "fill": "tonexty", "fillcolor": "--range"})
        lines.append({"x": xs, **drawing.line("forecast", drawing.rounded(middle), "--ink-2", 1.5, dash="2px,3px")})
        annotations.append(drawing.point_label(xs[-1], middle[-1], write(middle[-1]), "--ink-2"))
        if expected.passes_at is not None:
            at = drawing.local(window, expected.passes_at)
            lines.append({"x": [at], "y": [limit / scale], **drawing.ring()})
            words = f"{expected.passes_at.astimezone(window.zone):%-d %b, %H:%M}"
            annotations.append(drawing.point_label(at, limit / scale, words, "--bad"))
    texts = [f"{at.replace('T', ' ')}<br>{write(amount)}" for at, amount in past]
    spent = drawing.line(
        "spent", drawing.rounded([amount for _, amount in past]), "--accent", 2, fill="--accent-fill", text=texts
    )
    lines.append({"x": [at for at, _ in past], **spent})
    tick = _usd_tick if scale > 1 else write
    figure = drawing.chart(window, lines, max(tops) * 1.08, tick, annotations, [window.start, window.end])
    figure["layout"]["shapes"] += [*shapes, drawing.upright(drawing.local(window, now))]
    step = max(1, len(points) // 60)
    return Figure(
        "running-sum",
        f"Running sum, {window.dates}: {write(past[-1][1] if past else 0)} of {write(limit / scale)}",
        ("until", "spent"),
        [(f"{at.astimezone(window.zone):%-d %b, %H:%M}", write(amount / scale)) for at, amount in points[::step]],
        figure,
        ways=[(None, {**ask, "until": iso(at)}) for at, _ in points[::step]],
    )


def _hours(window: Window, at: datetime, now: datetime) -> float:
    """How long a bucket is, as far as it has passed: the running one is not divided by time to come."""
    return max(min(window.bucket, now - at), timedelta(minutes=1)) / HOUR


def _usd(nanousd: int) -> float:
    return float(f"{nanousd / 1e9:.5g}")


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else float(f"{ms / 1000:.4g}")


def _usd_tick(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"${value:,.0f}"
    return f"${Decimal(f'{value:.6g}'):f}"  # a tiny one without an exponent


def seconds_word(value: float) -> str:
    """5 s, 2.5 s."""
    return f"{value:g} s"


def _percent_tick(value: float) -> str:
    return f"{value:g} %"


def _count_tick(value: float) -> str:
    return numbers.short_count(round(value))
