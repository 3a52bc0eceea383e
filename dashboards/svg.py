"""Small drawings made on the server: sparklines, bars, the budget bar. Colours come from the stylesheet's classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

SPARK_POINTS = 28
SPARK_WIDTH, SPARK_HEIGHT = 80, 20
BAR_WIDTH = 100.0  # in the view box; the stylesheet says how wide it is drawn
HELD_LEAST = 0.7  # of BAR_WIDTH: about 2 px

SHAPES = {
    "ok": mark_safe('<circle cx="5" cy="5" r="4"/>'),
    "warn": mark_safe('<path d="M5 1 9.5 9h-9z"/>'),
    "bad": mark_safe('<path d="M1 1h8v8H1z"/>'),
    "unknown": mark_safe('<path class="open" d="M5 1 9 5 5 9 1 5z"/>'),
}


def shape(kind: str) -> SafeString:
    """● ok, ▲ warn, ■ bad, ◇ unknown: never colour alone, so a word stands beside it."""
    known = kind if kind in SHAPES else "unknown"
    return format_html(
        '<svg class="shape {}" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">{}</svg>',
        known,
        SHAPES[known],
    )


def spark(values: Sequence[float | None], colour: str = "") -> SafeString:
    """A line without axes; gaps stay gaps. Longer series are added up to at most SPARK_POINTS steps."""
    points = _fewer(values)
    top = max((value for value in points if value is not None), default=0)
    if not top or len(points) < 2:
        return mark_safe('<svg class="sparkline" viewBox="0 0 80 20" width="80" height="20" aria-hidden="true"></svg>')
    step = (SPARK_WIDTH - 2) / (len(points) - 1)
    path, pen = [], "M"
    for i, value in enumerate(points):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{1 + i * step:.0f} {SPARK_HEIGHT - 3 - (SPARK_HEIGHT - 6) * value / top:.1f}")
        pen = "L"
    return format_html(
        '<svg class="sparkline" viewBox="0 0 80 20" width="80" height="20" aria-hidden="true">'
        '<path class="spark {}" d="{}"/></svg>',
        f"s-{colour}" if colour else "",
        "".join(path),
    )


def bar(part: float, colour: str = "neutral") -> SafeString:
    """A bar of a table: `part` of the column's width."""
    width = max(0.0, min(part, 1.0)) * BAR_WIDTH
    if part > 0:
        width = max(width, 1.0)
    return format_html(
        '<svg class="bar-line" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="f-{}" width="{}" height="6"/></svg>',
        colour,
        f"{width:.1f}",
    )


@dataclass(frozen=True)
class BudgetBar:
    """Amounts in one unit. `forecast` None: absent. `sentence` is read aloud instead of the drawing."""

    spent: int
    held: int
    limit: int
    thresholds: tuple[int, ...]
    forecast: int | None
    is_used_up: bool
    sentence: str

    @property
    def scale(self) -> float:
        """View-box units per unit of the budget: the bar is as long as the larger of limit and forecast."""
        return BAR_WIDTH / max(self.limit, self.forecast or 0, self.spent + self.held, 1)


def budget_bar(drawn: BudgetBar) -> SafeString:
    """Spent solid, held hatched, left empty, thresholds ticks, limit an upright, forecast dots to a ring.

    Widths are percentages, so that the bar stretches and its strokes do not.
    """
    spent, held = drawn.spent * drawn.scale, drawn.held * drawn.scale
    held = max(held, HELD_LEAST) if drawn.held > 0 else 0.0
    limit = min(drawn.limit * drawn.scale, 99.6)
    ticks = format_html_join(
        "",
        '<rect class="tick" x="{}%" y="3" width="1" height="10"/>',
        ((f"{limit * percent / 100:.2f}",) for percent in drawn.thresholds if percent < 100),
    )
    held_part = format_html(
        '<rect class="held-ground" x="{0}%" y="3" width="{1}%" height="10"/>'
        '<rect x="{0}%" y="3" width="{1}%" height="10" fill="url(#hatch)"/>',
        f"{spent:.2f}",
        f"{held:.2f}",
    )
    return format_html(
        '<svg class="budget-bar{}" height="16" role="img" aria-label="{}">'
        '<rect class="track" x="0" y="3" width="{}%" height="10" rx="2"/>{}'
        '<rect class="{}" x="0" y="3" width="{}%" height="10" rx="2"/>{}{}'
        '<rect class="limit" x="{}%" y="0" width="2" height="16"/></svg>',
        " over" if drawn.forecast is not None and drawn.forecast > drawn.limit else "",
        drawn.sentence,
        f"{limit:.2f}",
        ticks,
        "used-up" if drawn.is_used_up else "spent",
        f"{min(spent, 100):.2f}",
        held_part if held else "",
        _forecast(drawn, spent + held, limit),
        f"{limit:.2f}",
    )


def histogram(counts: Sequence[int], sentence: str) -> SafeString:
    """Bars from 0–10 % to 90–100 % of a limit; the last two are nearly used up, and used up."""
    top = max(counts, default=0) or 1
    width = BAR_WIDTH / max(len(counts), 1)
    bars = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (
                "full" if i == len(counts) - 1 else "near" if i >= len(counts) - 2 else "",
                f"{i * width:.1f}",
                f"{24 - height:.1f}",
                f"{width - 1:.1f}",
                f"{height:.1f}",
            )
            for i, number in enumerate(counts)
            if (height := max(22 * number / top, 1.5 if number else 0.0))
        ),
    )
    return format_html(
        '<svg class="values" viewBox="0 0 100 26" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        sentence,
        bars,
    )


def _forecast(drawn: BudgetBar, start: float, limit: float) -> SafeString:
    if drawn.forecast is None or drawn.is_used_up:
        return mark_safe("")
    end = min(drawn.forecast * drawn.scale, 98.6)
    beyond = "beyond" if drawn.forecast > drawn.limit else "within"
    return format_html(
        '<line class="fore {}" x1="{}%" x2="{}%" y1="8" y2="8"/><circle class="end {}" cx="{}%" cy="8" r="3.5"/>',
        beyond,
        f"{min(start, end):.2f}",
        f"{end:.2f}",
        beyond,
        f"{end:.2f}",
    )


def _fewer(values: Sequence[float | None]) -> list[float | None]:
    size = -(-len(values) // SPARK_POINTS) or 1
    groups = [values[i : i + size] for i in range(0, len(values), size)]
    sums: list[float | None] = []
    for group in groups:
        known = [value for value in group if value is not None]
        sums.append(sum(known) / len(known) if known else None)
    return sums
