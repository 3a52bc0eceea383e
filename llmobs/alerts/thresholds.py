"""Turns threshold events, which the writer committed with the spend that passed them, into alerts.

One for each budget, value, window and threshold, for ever: the window stands in the key (PAINS 31).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from llmobs.alerts.kinds import BUDGET_THRESHOLD, CRITICAL, INFO, WARNING
from llmobs.alerts.raising import Connection, raise_alert
from llmobs.core.money import exact_usd

MOST_VALUE_CHARACTERS = 64  # of a budget's value in a title

# Claimed with SKIP LOCKED: two workers never take one event; the update commits with the alert it makes.
CLAIM = """
WITH taken AS (
    UPDATE threshold_event e SET alerted_at = %s
    FROM (SELECT ctid FROM threshold_event WHERE alerted_at IS NULL ORDER BY at LIMIT 100 FOR UPDATE SKIP LOCKED) w
    WHERE e.ctid = w.ctid
    RETURNING e.*
)
SELECT e.tenant_id, e.budget_id, e.revision, e.value, e.window_start, e.threshold, e.spent, e.limit_amount, e.at,
       b.name, b.limit_nanousd IS NOT NULL, b."window", b.action, t.slug, t.name
FROM taken e JOIN budgets_budget b ON b.id = e.budget_id JOIN tenants_tenant t ON t.id = e.tenant_id
ORDER BY e.at, e.threshold
"""


@dataclass(frozen=True, slots=True)
class Passed:
    """A budget's threshold that its spend passed."""

    tenant_id: int
    budget_id: int
    revision: int
    value: str
    window_start: datetime
    threshold: int
    spent: int
    limit: int
    at: datetime
    budget: str
    is_usd: bool
    window: str
    action: str
    slug: str
    tenant: str


def raise_thresholds(conn: Connection, now: datetime) -> int:
    """One alert for each new event, in the caller's transaction; returns how many events there were."""
    events = [Passed(*row) for row in conn.execute(CLAIM, [now]).fetchall()]
    for event in events:
        whose = f" for {short(event.value)}" if event.value else ""
        raise_alert(
            conn,
            event.tenant_id,
            BUDGET_THRESHOLD,
            f"{event.budget_id}/{event.revision}/{event.window_start:%Y%m%dT%H}/{event.threshold}/{event.value}",
            severity_of(event.threshold),
            f"Budget “{event.budget}”{whose} of {event.tenant} passed {event.threshold} %",
            _body(event),
            event.at,
            link=budget_link(event.slug, event.budget_id),
        )
    return len(events)


def severity_of(percent: float) -> str:
    """How bad it is to be at this share of a limit."""
    return CRITICAL if percent >= 100 else WARNING if percent >= 80 else INFO


def budget_link(slug: str, budget_id: int) -> str:
    """The page that shows this budget."""
    return f"/budgets/?{urlencode({'tenant': slug, 'budget': budget_id})}"


def short(value: str) -> str:
    return value if len(value) <= MOST_VALUE_CHARACTERS else f"{value[: MOST_VALUE_CHARACTERS - 1]}…"


def amount(value: int, is_usd: bool) -> str:
    """An amount of a budget as JSON tells it."""
    return exact_usd(value) if is_usd else str(value)


def _body(event: Passed) -> dict[str, Any]:
    unit = "usd" if event.is_usd else "tokens"
    return {
        "kind": BUDGET_THRESHOLD,
        "tenant": event.slug,
        "budget": event.budget,
        "budget_id": event.budget_id,
        "value": event.value or None,
        "window": event.window,
        "window_start": event.window_start.isoformat(),
        "threshold_percent": event.threshold,
        f"spent_{unit}": amount(event.spent, event.is_usd),
        f"limit_{unit}": amount(event.limit, event.is_usd),
        "action": event.action,
        "at": event.at.isoformat(),
    }
