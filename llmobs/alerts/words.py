"""What an alert of a rule says: title, body, and the page that shows what fired it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from llmobs.alerts.kinds import ANOMALY, COST, ERRORS, LATENCY, QUALITY, UNPRICED, ZERO_COST
from llmobs.alerts.measures import Figure
from llmobs.alerts.rules import TenantRow
from llmobs.alerts.thresholds import short

PAGES = {COST.name: "costs", ANOMALY.name: "costs", UNPRICED.name: "costs"}  # the others: the traces
TITLES = {
    LATENCY.name: "95 % of calls{of} of {tenant} take up to {value} (from {threshold})",
    ERRORS.name: "{value} of the calls{of} of {tenant} failed (from {threshold})",
    UNPRICED.name: "{value}{of} of {tenant} have no price: what they cost is not known, budgets do not see it",
    ZERO_COST.name: "{value}{of} of {tenant} used tokens and cost nothing ({models})",
    QUALITY.name: "The score “{group}” of {tenant} fell by {value}, from {mean_before} to {mean}",
    COST.name: "{value} spent{of} of {tenant} in {window} (from {threshold})",
    ANOMALY.name: "{tenant} has spent ${spent_usd} today until {until_hour}, usual is ${usual_usd}",
}


def title_of(figure: Figure, tenant: TenantRow) -> str:
    rule = figure.rule
    words = {name: ", ".join(value) if isinstance(value, list) else value for name, value in figure.detail.items()}
    return TITLES[rule.kind.name].format(
        value=amount(figure.value, rule.kind.unit),
        threshold=amount(rule.threshold, rule.kind.unit),
        of=_of(figure),
        tenant=tenant.name,
        group=short(figure.group),
        window=span(rule.window),
        **words,
    )


def body_of(figure: Figure, tenant: TenantRow, now: datetime) -> dict[str, Any]:
    """What fired, as JSON; numbers are decimal strings."""
    rule = figure.rule
    return {
        "kind": rule.kind.name,
        "rule": rule.name,
        "tenant": tenant.slug,
        "filters": dict(rule.filters) or None,
        "group_by": rule.group_by or None,
        "value": figure.group or None,
        "figure": f"{figure.value:f}",
        "threshold": f"{rule.threshold.normalize():f}",
        "unit": rule.kind.unit,
        "count": figure.count,
        "window_start": (now - rule.window).isoformat(),
        "window_end": now.isoformat(),
        **figure.detail,
    }


def link_to(figure: Figure, tenant: TenantRow, now: datetime) -> str:
    """The page with that window and those filters."""
    rule = figure.rule
    query = {"tenant": tenant.slug, "from": _minute(now - rule.window), "to": _minute(now + timedelta(minutes=1))}
    query |= {name: value for name, value in rule.filters.items() if name != "score"}
    if rule.group_by and figure.group:
        query[rule.group_by] = figure.group
    page = PAGES.get(rule.kind.name, "traces") if not {"user", "session"} & query.keys() else "traces"
    return f"/{page}/?{urlencode(query)}"


def amount(value: Decimal, unit: str) -> str:
    """A figure with its unit."""
    if unit == "USD":
        return f"${value:,.2f}" if value >= 1 else f"${value.normalize():f}"
    number = f"{value:,.0f}" if value == value.to_integral_value() else f"{value.normalize():,f}"
    return f"{number} call" if unit == "calls" and value == 1 else f"{number} {unit}"


def span(window: timedelta) -> str:
    """A window as one says it: 15 minutes, 24 hours."""
    minutes = int(window.total_seconds()) // 60
    number, word = (minutes // 60, "hour") if minutes % 60 == 0 else (minutes, "minute")
    return f"{number} {word}{'' if number == 1 else 's'}"


def _of(figure: Figure) -> str:
    rule = figure.rule
    named = [f"{name} {short(value)}" for name, value in rule.filters.items()]
    if rule.group_by:
        named.append(f"{rule.group_by} {short(figure.group)}" if figure.group else f"no {rule.group_by}")
    return f" of {', '.join(named)}" if named else ""


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"
