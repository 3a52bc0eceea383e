"""How templates write figures, and the links between pages."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

import msgspec
from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboards import numbers, svg
from dashboards.budget_figures import BudgetFigure
from dashboards.figures import Ask, Figure, Way
from dashboards.panel import KIND_WORDS
from dashboards.queries.figure import UNKNOWN_TO_BILLS
from dashboards.queries.levels import COLUMNS
from dashboards.queries.timed import PERCENTILES
from dashboards.visit import Visit
from dashboards.window import Window, iso
from llmobs.core.money import NANOUSD_PER_USD

register = template.Library()

for _name in ("money", "cents", "round_money", "rough_money", "rate_money", "exact_money", "count", "short_count"):
    register.filter(_name, getattr(numbers, _name))
for _name in ("duration", "milliseconds", "times"):
    register.filter(_name, getattr(numbers, _name))
register.filter("of", numbers.share)  # {{ part|of:whole }}: its share
register.simple_tag(svg.shape, name="shape")
register.simple_tag(svg.budget_bar, name="budget_bar")

WRITERS = {"cents": numbers.cents, "round": numbers.round_money, "rough": numbers.rough_money}

STATES = {  # span and trace status: (shape, word)
    "ok": ("ok", "ok"),
    "degraded": ("warn", "degraded"),
    "refused": ("unknown", "refused"),
    "failed": ("bad", "failed"),
    "timed_out": ("bad", "timed out"),
    "cut_off": ("bad", "cut off"),
    "abandoned": ("bad", "abandoned"),
    "running": ("unknown", "running"),
}


@register.filter
def kind_word(kind: str) -> str:
    """A kind of token in words."""
    return KIND_WORDS.get(kind, kind)


@register.simple_tag
def usd(nanousd: int | None, estimated: bool = False, style: str = "") -> SafeString:
    """Money as shown, with every digit in its title."""
    text = WRITERS[style](nanousd) if style else numbers.money(nanousd, estimated)
    if nanousd is None:
        return format_html('<span title="unknown">{}</span>', text)
    return format_html('<data value="{0}" title="{0}">{1}</data>', numbers.exact_money(nanousd), text)


@register.simple_tag
def state(status: str, word: str = "") -> SafeString:
    """A status as shape and word."""
    kind, known = STATES.get(status, ("unknown", status))
    return verdict(kind, word or known)


@register.simple_tag
def verdict(kind: str, words: str) -> SafeString:
    """A shape and words, coloured unless all is well."""
    colour = {"warn": "warn", "bad": "bad"}.get(kind, "")
    return format_html('<span class="state {}">{}{}</span>', colour, svg.shape(kind), words)


@register.simple_tag
def spark(values: Sequence[float | None], colour: str = "") -> SafeString:
    return svg.spark(values, colour)


@register.simple_tag
def bar(part: float, colour: str = "neutral") -> SafeString:
    return svg.bar(part, colour)


@register.simple_tag
def budget_amount(figure: BudgetFigure, amount: int | None) -> SafeString:
    """An amount in a budget's unit, exact in its title."""
    if figure.info.unit == "usd":
        return usd(amount, style="cents" if figure.info.limit >= NANOUSD_PER_USD else "")
    return in_unit(figure.info.unit, amount)


@register.simple_tag
def in_unit(unit: str, amount: int | None) -> SafeString:
    """Money, or tokens."""
    if unit == "usd" or amount is None:
        return usd(amount)
    return format_html('<data value="{}" title="{} tokens">{}</data>', amount, amount, numbers.short_count(amount))


@register.simple_tag
def histogram(figure: BudgetFigure) -> SafeString:
    """How many values of an "each" budget have used which share of its limit."""
    count, told = figure.value_count, len(figure.values)
    of = f"the {told:,} largest of {count:,} values" if told < count else f"{count:,} values"
    return svg.histogram(figure.histogram, f"{of} by share used; {figure.state}")


@register.simple_tag
def part_of(part: int, whole: int, colour: str = "neutral") -> SafeString:
    """A bar for a share of a sum."""
    return svg.bar(part / whole if whole else 0.0, colour)


@register.simple_tag(takes_context=True)
def link(context: dict[str, Any], page: str, *arguments: str, **changes: Any) -> str:
    """A page's address with the visit's window and filters, changed as said."""
    visit: Visit = context["visit"]
    return visit.url(page, *arguments, **changes)


@register.simple_tag(takes_context=True)
def why(context: dict[str, Any], nanousd: int | None, by: str = "", value: Any = "", **asked: Any) -> SafeString:
    """Money as the way to its explanation: of the visit's calls, of one value's, or of what else is named.

    Where bills cannot say it (a status was chosen, a value has no name) it is the money alone.
    """
    style, estimated = asked.pop("style", ""), asked.pop("estimated", False)
    asked |= asked.pop("also", None) or {}
    return _led(usd(nanousd, estimated, style), _explanation(context["visit"], by, value, asked))


@register.simple_tag(takes_context=True)
def because(context: dict[str, Any], text: Any, by: str = "", value: Any = "", **asked: Any) -> SafeString:
    """Any other figure as the way to its explanation: `metric` names it, `window` is another than the visit's."""
    window: Window | None = asked.pop("window", None)
    asked |= asked.pop("also", None) or {}
    if window is not None:
        asked |= {"from": iso(window.start), "to": iso(window.end)}
    return _led(text, _explanation(context["visit"], by, value, asked))


def _led(text: Any, url: str) -> SafeString:
    """A figure that leads to its explanation, or alone where there is none."""
    if not url:
        return format_html("{}", text)
    return format_html('<a class="why" href="{}" title="Why this figure?">{}</a>', url, text)


def _explanation(visit: Visit, by: str, value: Any, asked: dict[str, Any]) -> str:
    """The address of an explanation; "" where what is stored cannot say it."""
    if not _is_other(asked) and not explains(visit, asked.get("metric", "cost_usd")):
        return ""
    changes = {**asked}
    if not _is_other(asked):
        changes |= {"user": visit.filters.given.get("user"), "session": visit.filters.given.get("session")}
        # A percentile is kept by status and error, too, which bills do not know.
        changes |= {name: visit.filters.given[name] for name in ("status", "error") if name in visit.filters.given}
    if by:
        changes |= {"none": by} if value in ("", 0, None) else {by: value}
    return visit.url("explain", **changes)


def _is_other(asked: Mapping[str, Any]) -> bool:
    """Whether it is of something else than the visit's calls: a trace, a budget, a prompt."""
    return not asked.keys().isdisjoint(("trace_id", "budget", "prompt"))


def explains(visit: Visit, metric: str = "cost_usd") -> bool:
    """Whether this figure of the visit's calls can be explained, whatever the filters."""
    given = visit.filters.given.keys()
    return given <= COLUMNS.keys() if metric in PERCENTILES else UNKNOWN_TO_BILLS.isdisjoint(given)


@register.simple_tag(takes_context=True)
def explained(context: dict[str, Any], start: datetime, end: datetime, **asked: Any) -> str:
    """The address of the explanation of the visit's calls between two times."""
    visit: Visit = context["visit"]
    return visit.url("explain", **{"from": iso(start), "to": iso(end)}, **asked)


@register.simple_tag(takes_context=True)
def cells(context: dict[str, Any], figure: Figure) -> list[list[tuple[str, str]]]:
    """A chart's table as (text, address of the explanation or "")."""
    visit: Visit = context["visit"]
    buckets = visit.window.buckets() if figure.whys else []
    ways = [_timed(figure.whys, start, end) for start, end in buckets] + figure.ways
    return [
        [(text, "" if asked is None else _explanation(visit, "", "", asked)) for text, asked in zip_longest(row, way)]
        for row, way in zip_longest(figure.rows, ways, fillvalue=())
    ]


def _timed(asked: Sequence[Ask | None], start: datetime, end: datetime) -> Way:
    """What a row of a chart's table asks, of its bucket; a forecast is none of it."""
    times = {"from": iso(start), "to": iso(end)}
    return tuple(each if each is None or "forecast" in each else {**each, **times} for each in asked)


@register.simple_tag(takes_context=True)
def without(context: dict[str, Any], parameter: str) -> str:
    """This page's address without a filter."""
    visit: Visit = context["visit"]
    return visit.url(visit.page, **{parameter: None})


@register.simple_tag(takes_context=True)
def at(context: dict[str, Any], moment: datetime | None, form: str = "%-d %b, %H:%M") -> SafeString:
    """A time in the tenant's zone, ISO with offset on hover."""
    if moment is None:
        return SafeString(numbers.UNKNOWN)
    local = context["visit"].local(moment)
    return format_html(
        '<time datetime="{0}" title="{0}">{1}</time>', local.isoformat(timespec="seconds"), f"{local:{form}}"
    )


@register.simple_tag
def figure_json(figure: Figure) -> SafeString:
    """A figure's JSON in a script element, as short as JSON can be: `json_script` writes twice as many bytes."""
    text = msgspec.json.encode(figure.json).decode()
    for sign, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, escape)
    return format_html('<script id="figure-{}" type="application/json">{}</script>', figure.name, SafeString(text))
