"""The parts of which figures are made: axes, lines, bars, marks and their words, as Plotly's JSON.

Colours are token names ("--accent"), times clock times of the page's zone (dashboards/figures.py says why).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor, log10
from typing import Any

from dashboards.window import DAY, Window

Json = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """A moment at which something is known to have happened."""

    at: datetime
    words: str


GRID_LINES_MOST = 5
TICK_STEPS = (*(timedelta(minutes=n) for n in (5, 10, 15, 30, 60, 120, 180, 360, 720)), DAY, 2 * DAY, 5 * DAY)
X_TICKS = 5
RINGED = {"mode": "lines+markers", "cliponaxis": False}  # a ring at the chart's edge is drawn whole
RING_PX = 6  # a point that no line passes through
LABEL_HEIGHT = 0.1  # of the chart: names of lines that are nearer would lie on one another
LEAST_MARGIN_PX, TICK_PX = 40, 6.2  # left of the axis; a character of a tick
MOST_MARKS, MARK_WIDTH = 5, 0.3  # labels of marks, and how much of the chart each takes
MARKS_ROOM = 1.14  # of the height that the values take: above them the labels stand


def chart(
    window: Window,
    data: list[Json],
    top: float,
    write: Callable[[float], str],
    annotations: list[Json],
    starts: Sequence[datetime] | None = None,
) -> Json:
    drawn = list(starts if starts is not None else window.starts())
    ticks = _y_ticks(top)
    moments = x_ticks(window, drawn[0], max(drawn[-1], window.end)) if drawn else []
    layout: Json = {
        "xaxis": {
            "tickvals": [local(window, at) for at in moments],
            "ticktext": [x_word(window, at) for at in moments],
        },
        "yaxis": {
            "tickvals": ticks,
            "ticktext": [write(tick) for tick in ticks],
            "range": [0, max(top, ticks[-1]) * 1.04],
        },
        "margin": {"l": max(LEAST_MARGIN_PX, round(max(len(write(tick)) for tick in ticks) * TICK_PX) + 8)},
        "shapes": [],
        "annotations": annotations,
    }
    if drawn and all(part["type"] == "scatter" for part in data):
        # Rings at the ends would make Plotly leave room beside them.
        layout["xaxis"]["range"] = [local(window, drawn[0]), local(window, drawn[-1])]
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


def line(
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
        line |= {**RINGED, "marker": open_marker(colour, [RING_PX if yes else 0 for yes in lonely])}
    return line | ({"text": list(text), "hovertemplate": "%{text}<extra></extra>"} if text else {"hoverinfo": "skip"})


def _is_lonely(values: Sequence[float | None], i: int) -> bool:
    """Whether no line leads to this point: its neighbours are unknown."""
    return all(not 0 <= j < len(values) or values[j] is None for j in (i - 1, i + 1))


def open_marker(colour: str, sizes: list[int]) -> Json:
    return {
        "size": sizes,
        "color": "--surface",
        "line": {"width": [1.5 if size else 0 for size in sizes], "color": colour},
    }


def bars(name: str, values: Sequence[float | None], colour: str, texts: Sequence[str], gap: bool = False) -> Json:
    line = {"width": 1, "color": "--surface"} if gap else {"width": 0}
    return {
        "type": "bar",
        "name": name,
        "y": list(values),
        "hovertext": list(texts),
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"color": colour, "line": line},
    }


def edge() -> Json:
    return {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}


def ring() -> Json:
    marker = {"size": 8, "color": "--surface", "line": {"width": 2, "color": "--bad"}}
    return {"type": "scatter", "mode": "markers", "marker": marker, "hoverinfo": "skip"}


def across(value: float, colour: str, dash: str, width: float = 1.2) -> Json:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line, "layer": "above"}


def across_label(text: str, value: float, colour: str, left: bool = False) -> Json:
    place = {"x": 0.005, "xanchor": "left"} if left else {"x": 0.86, "xanchor": "right"}
    return {"text": text, "xref": "paper", "y": value, "yanchor": "bottom", "font": {"color": colour}, **place}


def point_label(at: str, value: float, text: str, colour: str) -> Json:
    return {"text": text, "x": at, "y": value, "xanchor": "right", "yanchor": "bottom", "font": {"color": colour}}


def upright(at: str) -> Json:
    line = {"color": "--ink-3", "width": 1, "dash": "2px,2px"}
    return {"type": "line", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}


def add_marks(figure: Json, window: Window, marks: Sequence[Mark]) -> None:
    """Dotted uprights; some have their words beside them, all say them on hover."""
    seen = sorted((mark for mark in marks if window.start <= mark.at < window.end), key=lambda mark: mark.at)
    free_from, labelled = 0.0, 0
    for mark in seen:
        at, place = local(window, mark.at), (mark.at - window.start) / window.length
        figure["layout"]["shapes"].append(upright(at))
        if not labelled:
            figure["layout"]["yaxis"]["range"][1] *= MARKS_ROOM
        if place >= free_from and labelled < MOST_MARKS:
            free_from, labelled = place + MARK_WIDTH, labelled + 1
            side = {"xanchor": "left" if place < 0.5 else "right", "yref": "paper", "y": 1, "yanchor": "top"}
            words = {"text": f"{mark.at.astimezone(window.zone):%H:%M} {mark.words}", "font": {"color": "--ink-2"}}
            figure["layout"]["annotations"].append({**words, "x": at, **side})
    if seen:
        top = figure["layout"]["yaxis"]["range"][1]
        points = {"x": [local(window, mark.at) for mark in seen], "y": [top] * len(seen)}
        hover = {"text": [mark.words for mark in seen], "hovertemplate": "%{x|%H:%M} %{text}<extra></extra>"}
        look = {"mode": "markers", "marker": {"size": 9, "color": "--none"}, "cliponaxis": False}
        figure["data"].append({"type": "scatter", "name": "marks", **points, **hover, **look})


def shade(window: Window, start: datetime, end: datetime) -> Json:
    edges = {"x0": local(window, start), "x1": local(window, end), "y0": 0, "y1": 1}
    return {"type": "rect", "yref": "paper", **edges, "fillcolor": "--bad-soft", "line": {"width": 0}, "layer": "below"}


def label(
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
    is_left = first and i <= len(values) // 2  # beside a lone point at the right edge there is no room
    place = {"xanchor": "left" if is_left else "right", "yanchor": "bottom"}
    return {"text": text, "x": local(window, starts[i]), "y": values[i], "font": {"color": colour}, **place}


def _y_ticks(top: float) -> list[float]:
    """Round steps from 0, two to five lines."""
    if top <= 0:
        return [0, 1]
    power = 10.0 ** floor(log10(top / GRID_LINES_MOST))
    step = next(power * n for n in (1, 2, 5, 10) if top / (power * n) < GRID_LINES_MOST)
    return [round(step * i, 12) for i in range(int(top / step + 1e-9) + 1)]


def x_ticks(window: Window, start: datetime, end: datetime) -> list[datetime]:
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


def x_word(window: Window, at: datetime) -> str:
    local = at.astimezone(window.zone)
    if local.hour == local.minute == 0:
        return f"{local:%a %-d}" if window.length <= timedelta(days=8) else f"{local:%-d %b}"
    return f"{local:%H:%M}"


def local(window: Window, at: datetime) -> str:
    local = at.astimezone(window.zone).replace(tzinfo=None)
    return local.isoformat(timespec="minutes")


def clock(window: Window, at: datetime) -> str:
    local = at.astimezone(window.zone)
    return f"{local:%-d %b}" if window.is_by_day else f"{local:%-d %b, %H:%M}"


def rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.4g}") for value in values]


def apart(labels: Sequence[Json], top: float) -> list[Json]:
    """The names that have room: the first ones before those that would lie on them."""
    kept: list[Json] = []
    for label in labels:
        if label and all(abs(label["y"] - other["y"]) > LABEL_HEIGHT * top for other in kept):
            kept.append(label)
    return kept
