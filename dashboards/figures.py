"""Charts as JSON for Plotly, and beside each the same numbers as a table and as one sentence.

Colours are token names ("--accent"); `charts.js` resolves them from the stylesheet's variables, so that a change of
theme needs no second request. Times are clock times of the page's zone, which Plotly draws as they are. Traces that
give no `x` share the figure's: `x0` and, for each bucket, the minutes after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import floor, log10
from typing import Any

from dashboards import numbers
from dashboards.queries.traces import Outcomes
from dashboards.usual import Spike
from dashboards.window import DAY, HOUR, Window
from llmobs.budgets.forecast import Forecast

Json = dict[str, Any]
GRID_LINES_MOST = 5
TICK_STEPS = (*(timedelta(minutes=n) for n in (5, 10, 15, 30, 60, 120, 180, 360, 720)), DAY, 2 * DAY, 5 * DAY)
X_TICKS = 5
LEAST_LIMIT_HEIGHT = 0.3  # of the chart: below, a limit's thresholds would lie on one another
MOST_POINTS = 150  # of a forecast's line
RINGED = {"mode": "lines+markers", "cliponaxis": False}  # a ring at the chart's edge is drawn whole
RING_PX = 6  # a point that no line passes through
LABEL_HEIGHT = 0.1  # of the chart: names of lines that are nearer would lie on one another


@dataclass(frozen=True)
class Figure:
    """One chart. `rows` are its numbers as texts, under `head`."""

    name: str
    sentence: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    json: Json
    legend: list[tuple[str, str]] = field(default_factory=list)  # (colour class, word), in stacking order


@dataclass(frozen=True)
class Series:
    """A part of a sum, with its colour's token without dashes (c1 … c8, c-other)."""

    name: str
    colour: str
    values: list[int]


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
    lines = _cost_lines(_rounded(rates), texts, window.last != "" and len(rates) > 1)
    if any(value is not None for value in usuals):
        lines.append(_line("usual", _rounded(usuals), "--usual", 1.2, dash="3px,3px"))
    annotations = [_label("usual", window, starts, usuals)] if any(value is not None for value in usuals) else []
    top = max([*rates, *(value for value in usuals if value is not None)], default=0)
    words = f"Cost per hour, {window.dates}: highest {_usd_tick(max(rates, default=0))}"
    return Figure(
        "cost-rate",
        words,
        (f"{window.noun} from", "cost per hour", "usual"),
        [
            (_clock(window, at), f"${rate:,.4g}", "–" if u is None else f"${u:,.4g}")
            for at, rate, u in zip(starts, rates, usuals, strict=True)
        ],
        _figure(window, lines, top, _usd_tick, annotations),
    )


def _cost_lines(rates: Sequence[float | None], texts: list[str], is_running: bool) -> list[Json]:
    """The running bucket is dashed to an open ring: it is not over."""
    if not is_running:
        return [_line("cost", rates, "--accent", 2, fill="--accent-fill", text=texts)]
    over = _line("cost", [*rates[:-1], None], "--accent", 2, fill="--accent-fill", text=texts)
    ahead: list[float | None] = [None] * (len(rates) - 2)
    texts = [""] * (len(rates) - 1) + [f"{texts[-1]}, so far"]
    running = _line("so far", [*ahead, *rates[-2:]], "--accent", 1.5, dash="2px,3px", text=texts)
    sizes = [0] * (len(rates) - 1) + [RING_PX]
    return [over, running | {**RINGED, "marker": _open_marker("--accent", sizes)}]


def latency(window: Window, buckets: Sequence[Percentiles], objective_ms: int) -> Figure:
    """p50, p95 and p99 over time, never stacked; the objective as a dashed line."""
    texts = [
        f"p50 {numbers.milliseconds(b.p50)}, p95 {numbers.milliseconds(b.p95)}, "
        f"p99 {numbers.milliseconds(b.p99)}<br>n = {numbers.count(b.n)}"
        for b in buckets
    ]
    series = {name: [_seconds(getattr(b, name)) for b in buckets] for name in ("p99", "p50", "p95")}
    lines = [
        _line("p99", series["p99"], "--ink-3", 1),
        _line("p50", series["p50"], "--ink-3", 1),
        _line("p95", series["p95"], "--accent", 2, text=texts),
    ]
    starts = [bucket.at for bucket in buckets]
    labels = [_label(name, window, starts, series[name], first=True, colour=colour) for name, colour in _PERCENTILE_INK]
    objective = objective_ms / 1000
    top = max([value for values in series.values() for value in values if value is not None] + [objective])
    figure = _figure(window, lines, top, seconds_word, _apart(labels, top))
    figure["layout"]["shapes"].append(_across(objective, "--warn", "5px,4px"))
    figure["layout"]["annotations"].append(_across_label(f"objective {seconds_word(objective)}", objective, "--warn"))
    peak = max((b.p95 for b in buckets if b.p95 is not None), default=None)
    return Figure(
        "latency",
        f"Latency, {window.dates}: highest p95 {numbers.milliseconds(peak)}",
        (f"{window.noun} from", "p50", "p95", "p99", "n"),
        [
            (_clock(window, b.at), *(numbers.milliseconds(p) for p in (b.p50, b.p95, b.p99)), numbers.count(b.n))
            for b in buckets
        ],
        figure,
    )


_PERCENTILE_INK = (("p95", "--accent"), ("p99", "--ink-3"), ("p50", "--ink-3"))


def _apart(labels: Sequence[Json], top: float) -> list[Json]:
    """The names that have room: the first ones before those that would lie on them."""
    kept: list[Json] = []
    for label in labels:
        if label and all(abs(label["y"] - other["y"]) > LABEL_HEIGHT * top for other in kept):
            kept.append(label)
    return kept


def error_share(
    window: Window,
    buckets: Sequence[tuple[datetime, int, int]],
    found: Sequence[Spike],
    usual: Sequence[float | None] = (),
) -> Figure:
    """Share of failed calls over time, `buckets` as (start, calls, failed); spikes shaded and red, the usual dashed."""
    shares = [100 * failed / calls if calls else None for _, calls, failed in buckets]
    texts = [f"{numbers.share(failed, calls)}, {failed} of {calls} calls" for at, calls, failed in buckets]
    is_spike = [any(at < spike.end and at + window.bucket > spike.start for spike in found) for at, _, _ in buckets]
    bars = {
        **_bars("errors", _rounded(shares), "--ink-3", texts),
        "marker": {"color": ["--bad-fill" if spiking else "--ink-3" for spiking in is_spike], "line": {"width": 0}},
    }
    top = max([share for share in shares if share is not None] + [1.0])
    usuals = [None if value is None else 100 * value for value in usual]
    lines = (
        [_line("usual", _rounded(usuals), "--usual", 1.2, dash="3px,3px")] if any(u is not None for u in usuals) else []
    )
    figure = _figure(window, [bars, *lines], top, _percent_tick, [])
    figure["layout"]["shapes"] += [_shade(window, spike.start, spike.end) for spike in found]
    peak = max((share for share in shares if share is not None), default=0.0)
    failed_calls, calls = sum(b[2] for b in buckets), sum(b[1] for b in buckets)
    return Figure(
        "errors",
        f"Share of failed calls, {window.dates}: {failed_calls} of {calls}, highest {peak:.1f} %",
        (f"{window.noun} from", "failed", "calls", "share"),
        [(_clock(window, at), str(f), numbers.count(c), numbers.share(f, c)) for at, c, f in buckets],
        figure,
    )


def stacked_costs(window: Window, series: Sequence[Series], coming: Sequence[tuple[datetime, int]]) -> Figure:
    """Cost per bucket, stacked by series in the given order; `coming` is the forecast, drawn empty."""
    starts = window.starts()
    sums = [sum(s.values[i] for s in series) for i in range(len(starts))]
    data = []
    for s in series:
        texts = [f"{s.name} {numbers.money(value)}" if value else "" for value in s.values]
        data.append(_bars(s.name, [_usd(value) for value in s.values], f"--{s.colour}", texts, gap=True))
    all_starts = starts + [at for at, _ in coming if at not in starts]
    index = {at: i for i, at in enumerate(all_starts)}
    if coming:
        heights: list[float | None] = [None] * len(all_starts)
        for at, amount in coming:
            heights[index[at]] = _usd(amount)
        data.append(
            {
                **_bars("forecast", heights, "--none", [""] * len(all_starts)),
                "marker": {"color": "--none", "line": {"width": 1, "color": "--usual"}},
                "hovertemplate": "forecast $%{y:,.2f}<extra></extra>",
            }
        )
    tops = list(sums) + [0] * (len(all_starts) - len(sums))
    for at, amount in coming:
        tops[index[at]] += amount
    figure = _figure(window, data, _usd(max(tops, default=0)), _usd_tick, [], all_starts)
    figure["layout"] |= {"barmode": "stack", "bargap": 0.18}
    return Figure(
        "costs",
        f"Cost per {window.noun}, {window.dates}: {numbers.money(sum(sums))} in sum",
        (f"{window.noun} from", *(s.name for s in series), "sum"),
        [
            (_clock(window, at), *(numbers.money(s.values[i]) for s in series), numbers.money(sums[i]))
            for i, at in enumerate(starts)
        ],
        figure,
        [(s.colour, s.name) for s in series],
    )


def outcomes(window: Window, buckets: Sequence[Outcomes], noun: str) -> Figure:
    """Calls by what became of them, over time."""
    kinds = (("ok", "--usual"), ("degraded", "--c5"), ("refused", "--line-2"), ("failed", "--bad-fill"))
    data = [
        _bars(name, [getattr(b, name) for b in buckets], colour, [f"{getattr(b, name):,} {name}" for b in buckets])
        for name, colour in kinds
    ]
    sums = [b.ok + b.degraded + b.refused + b.failed for b in buckets]
    figure = _figure(window, data, max(sums, default=0), _count_tick, [])
    figure["layout"] |= {"barmode": "stack", "bargap": 0.12}
    total = {name: sum(getattr(b, name) for b in buckets) for name, _ in kinds}
    return Figure(
        "outcomes",
        f"{noun} by outcome, {window.dates}: " + ", ".join(f"{n:,} {name}" for name, n in total.items()),
        (f"{window.noun} from", *(name for name, _ in kinds)),
        [(_clock(window, b.at), *(f"{getattr(b, name):,}" for name, _ in kinds)) for b in buckets],
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
) -> Figure:
    """Spent so far against the limit, with the forecast and its range. `scale`: units of the budget per unit drawn."""
    past = [(_local(window, at), amount / scale) for at, amount in points]
    lines: list[Json] = []
    tops = [limit / scale, *(amount for _, amount in past)]
    annotations, shapes = [], [_across(limit / scale, "--ink", "solid", 1.5)]
    annotations.append(_across_label(f"limit {write(limit / scale)}", limit / scale, "--ink-2", left=True))
    for percent in thresholds:
        if percent < 100 and limit / scale > LEAST_LIMIT_HEIGHT * max(tops):
            shapes.append(_across(limit * percent / 100 / scale, "--ink-3", "1px,3px"))
            annotations.append(_across_label(f"{percent} %", limit * percent / 100 / scale, "--ink-3", left=True))
    if expected is not None:
        points_ahead = expected.points[:: max(1, len(expected.points) // MOST_POINTS)]
        xs = [_local(window, now), *(_local(window, point.at) for point in points_ahead)]
        spent_now = points[-1][1]
        low, high, middle = (
            [amount / scale for amount in (spent_now, *(getattr(p, n) for p in points_ahead))]
            for n in ("low", "high", "amount")
        )
        tops += high
        lines.append({"x": xs, "y": _rounded(high), **_edge()})
        lines.append({"x": xs, "y": _rounded(low), **_edge(), "fill": "tonexty", "fillcolor": "--range"})
        lines.append({"x": xs, **_line("forecast", _rounded(middle), "--ink-2", 1.5, dash="2px,3px")})
        annotations.append(_point_label(xs[-1], middle[-1], write(middle[-1]), "--ink-2"))
        if expected.passes_at is not None:
            at = _local(window, expected.passes_at)
            lines.append({"x": [at], "y": [limit / scale], **_ring()})
            words = f"{expected.passes_at.astimezone(window.zone):%-d %b, %H:%M}"
            annotations.append(_point_label(at, limit / scale, words, "--bad"))
    texts = [f"{at.replace('T', ' ')}<br>{write(amount)}" for at, amount in past]
    spent = _line("spent", _rounded([amount for _, amount in past]), "--accent", 2, fill="--accent-fill", text=texts)
    lines.append({"x": [at for at, _ in past], **spent})
    tick = _usd_tick if scale > 1 else write
    figure = _figure(window, lines, max(tops) * 1.08, tick, annotations, [window.start, window.end])
    figure["layout"]["shapes"] += [*shapes, _upright(_local(window, now))]
    step = max(1, len(points) // 60)
    return Figure(
        "running-sum",
        f"Running sum, {window.dates}: {write(past[-1][1] if past else 0)} of {write(limit / scale)}",
        ("until", "spent"),
        [(f"{at.astimezone(window.zone):%-d %b, %H:%M}", write(amount / scale)) for at, amount in points[::step]],
        figure,
    )


def _figure(
    window: Window,
    data: list[Json],
    top: float,
    write: Callable[[float], str],
    annotations: list[Json],
    starts: Sequence[datetime] | None = None,
) -> Json:
    drawn = list(starts if starts is not None else window.starts())
    ticks = _y_ticks(top)
    x_ticks = _x_ticks(window, drawn[0], max(drawn[-1], window.end)) if drawn else []
    layout: Json = {
        "xaxis": {
            "tickvals": [_local(window, at) for at in x_ticks],
            "ticktext": [_x_word(window, at) for at in x_ticks],
        },
        "yaxis": {
            "tickvals": ticks,
            "ticktext": [write(tick) for tick in ticks],
            "range": [0, max(top, ticks[-1]) * 1.04],
        },
        "shapes": [],
        "annotations": annotations,
    }
    if drawn and all(part["type"] == "scatter" for part in data):
        # Rings at the ends would make Plotly leave room beside them.
        layout["xaxis"]["range"] = [_local(window, drawn[0]), _local(window, drawn[-1])]
    walls = [at.astimezone(window.zone).replace(tzinfo=None) for at in drawn]
    return {
        "x0": walls[0].isoformat(timespec="minutes") if walls else "",
        "x_min": [
            (wall - walls[0]) // timedelta(minutes=1) for wall in walls
        ],  # clock time after x0: a third of the bytes
        "data": data,
        "layout": layout,
        "bucket_s": int(window.bucket.total_seconds()),
        "zone": window.zone.key,
    }


def _line(
    name: str,
    values: Sequence[float | None],
    colour: str,
    width: float,
    dash: str = "solid",
    fill: str = "",
    text: Sequence[str] | None = None,
) -> Json:
    line: Json = {"type": "scatter", "mode": "lines", "name": name, "y": list(values)}
    line["line"] = {"color": colour, "width": width, "dash": dash}
    line |= {"fill": "tozeroy", "fillcolor": fill} if fill else {}
    lonely = [value is not None and _is_lonely(values, i) for i, value in enumerate(values)]
    if any(lonely):
        line |= {**RINGED, "marker": _open_marker(colour, [RING_PX if yes else 0 for yes in lonely])}
    return line | ({"text": list(text), "hovertemplate": "%{text}<extra></extra>"} if text else {"hoverinfo": "skip"})


def _is_lonely(values: Sequence[float | None], i: int) -> bool:
    """Whether no line leads to this point: its neighbours are unknown."""
    return all(not 0 <= j < len(values) or values[j] is None for j in (i - 1, i + 1))


def _open_marker(colour: str, sizes: list[int]) -> Json:
    return {
        "size": sizes,
        "color": "--surface",
        "line": {"width": [1.5 if size else 0 for size in sizes], "color": colour},
    }


def _bars(name: str, values: Sequence[float | None], colour: str, texts: Sequence[str], gap: bool = False) -> Json:
    line = {"width": 1, "color": "--surface"} if gap else {"width": 0}
    return {
        "type": "bar",
        "name": name,
        "y": list(values),
        "hovertext": list(texts),
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"color": colour, "line": line},
    }


def _edge() -> Json:
    return {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}


def _ring() -> Json:
    marker = {"size": 8, "color": "--surface", "line": {"width": 2, "color": "--bad"}}
    return {"type": "scatter", "mode": "markers", "marker": marker, "hoverinfo": "skip"}


def _across(value: float, colour: str, dash: str, width: float = 1.2) -> Json:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line, "layer": "above"}


def _across_label(text: str, value: float, colour: str, left: bool = False) -> Json:
    place = {"x": 0.005, "xanchor": "left"} if left else {"x": 0.86, "xanchor": "right"}
    return {"text": text, "xref": "paper", "y": value, "yanchor": "bottom", "font": {"color": colour}, **place}


def _point_label(at: str, value: float, text: str, colour: str) -> Json:
    return {"text": text, "x": at, "y": value, "xanchor": "right", "yanchor": "bottom", "font": {"color": colour}}


def _upright(at: str) -> Json:
    line = {"color": "--ink-3", "width": 1, "dash": "2px,2px"}
    return {"type": "line", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}


def _shade(window: Window, start: datetime, end: datetime) -> Json:
    edges = {"x0": _local(window, start), "x1": _local(window, end), "y0": 0, "y1": 1}
    return {"type": "rect", "yref": "paper", **edges, "fillcolor": "--bad-soft", "line": {"width": 0}, "layer": "below"}


def _label(
    text: str,
    window: Window,
    starts: Sequence[datetime],
    values: Sequence[float | None],
    first: bool = False,
    colour: str = "--ink-3",
) -> Json:
    """A line's name at its first or last point; empty where the line has none."""
    known = [i for i, value in enumerate(values) if value is not None]
    if not known:
        return {}
    i = known[0] if first else known[-1]
    place = {"xanchor": "left" if first else "right", "yanchor": "bottom"}
    return {"text": text, "x": _local(window, starts[i]), "y": values[i], "font": {"color": colour}, **place}


def _y_ticks(top: float) -> list[float]:
    """Round steps from 0, two to five lines."""
    if top <= 0:
        return [0, 1]
    power = 10.0 ** floor(log10(top / GRID_LINES_MOST))
    step = next(power * n for n in (1, 2, 5, 10) if top / (power * n) < GRID_LINES_MOST)
    return [round(step * i, 12) for i in range(int(top / step + 1e-9) + 1)]


def _x_ticks(window: Window, start: datetime, end: datetime) -> list[datetime]:
    """About X_TICKS moments that are round in the page's zone."""
    size = next((s for s in TICK_STEPS if (end - start) / s <= X_TICKS + 1), 10 * DAY)
    at = start.astimezone(window.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while at <= end.astimezone(window.zone):
        if at >= start:
            found.append(at)
        at += size  # wall time: a tick stays at its clock time over a change of the clock
    if size > DAY and found:
        found = [moment for moment in found if (end - moment) / size > 0.4 or moment == found[-1]]
    return found


def _x_word(window: Window, at: datetime) -> str:
    local = at.astimezone(window.zone)
    if local.hour == local.minute == 0:
        return f"{local:%a %-d}" if window.length <= timedelta(days=8) else f"{local:%-d %b}"
    return f"{local:%H:%M}"


def _local(window: Window, at: datetime) -> str:
    local = at.astimezone(window.zone).replace(tzinfo=None)
    return local.isoformat(timespec="minutes")


def _clock(window: Window, at: datetime) -> str:
    local = at.astimezone(window.zone)
    return f"{local:%-d %b}" if window.is_by_day else f"{local:%-d %b, %H:%M}"


def _hours(window: Window, at: datetime, now: datetime) -> float:
    """How long a bucket is, as far as it has passed: the running one is not divided by time to come."""
    return max(min(window.bucket, now - at), timedelta(minutes=1)) / HOUR


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.4g}") for value in values]


def _usd(nanousd: int) -> float:
    return float(f"{nanousd / 1e9:.5g}")


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else float(f"{ms / 1000:.4g}")


def _usd_tick(value: float) -> str:
    return f"${value:,.0f}" if value >= 100 or value == int(value) else f"${value:,.6g}"


def seconds_word(value: float) -> str:
    """5 s, 2.5 s."""
    return f"{value:g} s"


def _percent_tick(value: float) -> str:
    return f"{value:g} %"


def _count_tick(value: float) -> str:
    return numbers.short_count(round(value))
