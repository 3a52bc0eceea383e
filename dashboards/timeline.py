"""When which provider's model was not healthy: a row each, drawn on the server, on the window's time axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboards import drawing, numbers
from dashboards.queries.health import ProviderHealth
from dashboards.window import Window

MOST_ROWS, MOST_CHANGES = 12, 20
LEAST_WIDTH = 0.4  # percent: a stretch that can be seen
TICK_ROOM = 90.0  # percent: beyond, a word would stand out of the axis
AROUND = timedelta(minutes=1)  # of a stretch: the calls that opened the breaker came before it


@dataclass(frozen=True)
class Strip:
    """A model's row."""

    provider: str
    model: str
    drawn: SafeString


@dataclass(frozen=True)
class Change:
    """A stretch in words, with the times between which its calls lie."""

    stretch: ProviderHealth
    took: str
    calls_from: str
    calls_to: str


def strips(window: Window, stretches: Sequence[ProviderHealth]) -> list[Strip]:
    """The models that were not healthy, those first that were so last."""
    by_model: dict[tuple[str, str], list[ProviderHealth]] = {}
    for stretch in sorted(stretches, key=lambda each: each.since, reverse=True):
        by_model.setdefault((stretch.provider, stretch.model), []).append(stretch)
    return [Strip(*key, _drawn(window, found)) for key, found in list(by_model.items())[:MOST_ROWS]]


def changes(window: Window, stretches: Sequence[ProviderHealth]) -> list[Change]:
    """The newest stretches first."""
    newest = sorted(stretches, key=lambda each: each.since, reverse=True)[:MOST_CHANGES]
    return [
        Change(
            each,
            numbers.duration(round((each.until - each.since).total_seconds() * 1e9)) if each.until else "",
            drawing.local(window, each.since - AROUND),
            drawing.local(window, (each.until or window.end) + AROUND),
        )
        for each in newest
    ]


def ticks(window: Window) -> list[tuple[str, str]]:
    """(place in percent, word) of the axis; the last has no room for one."""
    moments = drawing.x_ticks(window, window.start, window.end)
    places = [(_place(window, at), drawing.x_word(window, at)) for at in moments]
    return [(f"{place:.2f}", word) for place, word in places if place < TICK_ROOM]


def _drawn(window: Window, stretches: Sequence[ProviderHealth]) -> SafeString:
    rects = format_html_join(
        "",
        '<rect class="f-{}" x="{}%" y="7" width="{}%" height="14"><title>{}</title></rect>',
        (_rect(window, stretch) for stretch in stretches),
    )
    return format_html(
        '<svg class="strip" role="img" aria-label="{}"><rect class="track" y="12" width="100%" height="4"/>{}</svg>',
        f"not healthy {len(stretches)} times",
        rects,
    )


def _rect(window: Window, stretch: ProviderHealth) -> tuple[str, str, str, str]:
    start, end = _place(window, stretch.since), _place(window, stretch.until or window.end)
    words = f"{stretch.words} from {_clock(window, stretch.since)}"
    words += f" to {_clock(window, stretch.until)}" if stretch.until else ", still"
    kind = "bad" if stretch.state == "unhealthy" else "warn"
    return kind, f"{start:.2f}", f"{max(end - start, LEAST_WIDTH):.2f}", words


def _place(window: Window, at: datetime) -> float:
    return max(0.0, min(100 * ((at - window.start) / window.length), 100.0))


def _clock(window: Window, at: datetime) -> str:
    return f"{at.astimezone(window.zone):%-d %b, %H:%M:%S}"
