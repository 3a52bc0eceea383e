"""The budget bar as HTML for the admin: spent solid, held hatched, left empty, and the same in words beside it."""

from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from llmobs.budgets.definition import USD
from llmobs.budgets.status import Standing

SPENT, USED_UP, GROUND, LINE = "#3143b4", "#b5232d", "rgba(139,142,149,.18)", "rgba(139,142,149,.6)"
HATCHED = "repeating-linear-gradient(135deg,#3143b4 0 2px,transparent 2px 5px)"
LEAST_PERCENT = 1  # what is not nothing can be seen


def amount(unit: str, value: int) -> str:
    """USD with cents, or more digits below a cent; tokens as they are."""
    if unit != USD:
        return f"{value:,} tokens"
    usd = Decimal(value).scaleb(-9)
    return f"${usd:,.2f}" if usd == 0 or abs(usd) >= Decimal("0.01") else f"${usd.normalize():f}"


def sentence(unit: str, limit: int, found: Standing) -> str:
    """What the bar shows, in words."""
    words = f"{amount(unit, found.spent)} spent, "
    words += "held is unknown" if found.held is None else f"{amount(unit, found.held)} held"
    if len(found.values) == 1 and not found.values[0].applied.budget.each:
        return f"{words}, {amount(unit, found.values[0].remaining)} left of {amount(unit, limit)}"
    return f"{words} by {found.value_count:,} values, {amount(unit, limit)} each"


def bar(unit: str, limit: int, found: Standing) -> SafeString:
    """The bar with its sentence. Of a budget for each value it shows the fullest one."""
    fullest = max(found.values, key=lambda each: each.spent + (each.held or 0), default=None)
    spent, held = (0, 0) if fullest is None else (fullest.spent, fullest.held or 0)
    words = sentence(unit, limit, found)
    return format_html(
        '<div style="min-width:14rem"><div role="img" aria-label="{}" style="display:flex;height:10px;'
        'border-radius:3px;overflow:hidden;background:{};border:1px solid {}">'
        '<div style="width:{}%;background:{}"></div>'
        '<div style="width:{}%;background:{}"></div></div><small>{}</small></div>',
        words,
        GROUND,
        LINE,
        _percent(spent, limit),
        SPENT if spent < limit else USED_UP,
        min(_percent(held, limit), 100 - _percent(spent, limit)),
        HATCHED,
        words,
    )


def _percent(part: int, limit: int) -> int:
    if part <= 0:
        return 0
    return 100 if part >= limit else max(100 * part // limit, LEAST_PERCENT)
