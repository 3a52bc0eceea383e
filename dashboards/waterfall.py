"""The bars beside a trace's tree: one small SVG per row, on one time axis."""

from dataclasses import dataclass
from math import floor, log10

from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboards import numbers
from dashboards.tree import Node, Tree

DIVISIONS_MOST = 5
LEAST_WIDTH = 0.35  # percent: a bar that can be seen
TEXT_ROOM = 62.0  # percent: a bar that ends later has its words before it


@dataclass(frozen=True)
class Axis:
    """From 0 to a round time in equal steps."""

    step_ns: int
    divisions: int

    @property
    def end_ns(self) -> int:
        return self.step_ns * self.divisions

    @property
    def ticks(self) -> list[str]:
        """The words at each step but the last."""
        return [_tick(self.step_ns * i) for i in range(self.divisions)]


def _tick(ns: int) -> str:
    """Steps of half a millisecond are not rounded to whole ones."""
    if 0 < ns < 10_000_000:
        return f"{ns / 1e6:.3g}{numbers.NBSP}ms"
    return numbers.duration(ns) if ns else "0"


def axis_of(tree: Tree) -> Axis:
    """The shortest round axis that holds the whole trace."""
    length = max(tree.end_ns - tree.start_ns, 1)
    power = 10 ** floor(log10(length / DIVISIONS_MOST)) if length > DIVISIONS_MOST else 1
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n * DIVISIONS_MOST >= length)
    return Axis(max(int(step), 1), max(-(-length // max(int(step), 1)), 1))


def bar_of(node: Node, tree: Tree, axis: Axis, colour: str, words: str = "") -> SafeString:
    """A span's bar: its colour, a notch at the first token, its duration and why it failed."""
    x = 100 * (node.start_ns - tree.start_ns) / axis.end_ns
    width = max(0 if node.is_refused else 100 * node.span.duration_ns / axis.end_ns, LEAST_WIDTH)  # a refusal: a hair
    fill, height = _look(node, colour)
    why = _why(node)
    end = x + width
    at, side = (end + 0.8, "") if end < TEXT_ROOM else (x - 0.8, "before")
    if side:
        words = ""  # the room before a bar is for its time alone
    label = _label(" · ".join(part for part in (numbers.duration(node.span.duration_ns), words) if part), why)
    if side and x < 100 - TEXT_ROOM and not node.is_failed:
        label = SafeString("")  # no room on either side: the row's time is the trace's, or near it
    notch: SafeString | str = ""
    if node.span.ttft_ns and node.span.is_call and not node.is_failed:
        first = x + 100 * node.span.ttft_ns / axis.end_ns
        if first < end - LEAST_WIDTH:
            notch = format_html('<rect class="notch" x="{}%" y="8" width="2" height="12"/>', f"{first:.2f}")
    return format_html(
        '<svg class="fall" aria-hidden="true"><rect class="{}" x="{}%" y="{}" width="{}%" height="{}" rx="2"/>{}'
        '<text x="{}%" y="14" class="{}">{}</text></svg>',
        fill,
        f"{x:.2f}",
        14 - height / 2,
        f"{width:.2f}",
        height,
        notch,
        f"{at:.2f}",
        side,
        label,
    )


def _label(words: str, why: str) -> SafeString:
    return format_html('{} · <tspan class="why">{}</tspan>', words, why) if why else format_html("{}", words)


def _look(node: Node, colour: str) -> tuple[str, int]:
    if node.is_failed:
        return "f-bad", 12
    if node.is_refused:
        return "f-bad", 10
    if node.span.is_call and node.span.is_counted:
        return f"f-{colour}", 12
    return ("f-tool", 12) if node.is_tool else ("f-around", 6)


def _why(node: Node) -> str:
    kind = (node.span.error_type or node.span.status).replace("_", " ")
    if status := node.span.attributes.get("http.response.status_code") if node.is_failed else None:
        kind = f"{status} {kind}"
    if node.is_refused:
        return f"refused: {node.span.error_type}"
    return kind if node.is_failed else ""
