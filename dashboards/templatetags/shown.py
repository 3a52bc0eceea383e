"""How templates write figures, and the links between pages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboards import numbers, svg
from dashboards.budget_figures import BudgetFigure
from dashboards.figures import Figure
from dashboards.panel import KIND_WORDS
from dashboards.queries.figure import UNKNOWN_TO_BILLS
from dashboards.visit import Visit
from dashboards.window import iso
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
    return format_html('<data value="{}" title="{} tokens">{}</data>', amount, amount, numbers.short_count(amount))


@register.simple_tag
def histogram(figure: BudgetFigure) -> SafeString:
    """How many values of an "each" budget have used which share of its limit."""
    return svg.histogram(figure.histogram, f"{len(figure.values)} values by share used; {figure.state}")


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
    visit: Visit = context["visit"]
    style, estimated = asked.pop("style", ""), asked.pop("estimated", False)
    text = usd(nanousd, estimated, style)
    given = visit.filters.given
    if (by and value in ("", 0)) or (not asked and not UNKNOWN_TO_BILLS.isdisjoint(given)):
        return text
    changes = asked or {"user": given.get("user"), "session": given.get("session"), **({by: value} if by else {})}
    url = visit.url("explain", **changes)
    return format_html('<a class="why" href="{}" title="Why this figure?">{}</a>', url, text)


@register.simple_tag(takes_context=True)
def cells(context: dict[str, Any], figure: Figure) -> list[list[tuple[str, str]]]:
    """A chart's table as (text, address of the explanation or "")."""
    visit: Visit = context["visit"]
    given = visit.filters.given
    if not figure.whys or not UNKNOWN_TO_BILLS.isdisjoint(given):
        return [[(text, "") for text in row] for row in figure.rows]
    kept = {"user": given.get("user"), "session": given.get("session")}

    def address(asked: dict[str, str] | None, start: datetime, end: datetime) -> str:
        times = {"from": iso(start), "to": iso(end)}
        return "" if asked is None else visit.url("explain", **kept, **asked, **times)

    return [
        [(text, address(asked, start, end)) for text, asked in zip(row, figure.whys, strict=True)]
        for row, (start, end) in zip(figure.rows, visit.window.buckets(), strict=True)
    ]


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
