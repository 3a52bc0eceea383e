"""Turns threshold events, which the writer committed with the spend that passed them, into alerts."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.db import connection, transaction

from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.budgets.models import Budget
from llmobs.core.money import NANOUSD_PER_USD

MOST_TITLE_CHARACTERS = 300  # of an alert
MOST_VALUE_CHARACTERS = 64  # of a budget's value in a title and in what makes an alert unique; hashes are as long

# Claimed with SKIP LOCKED: two workers never take one event; the update commits with the alert it makes.
CLAIM = """
UPDATE threshold_event e SET alerted_at = %s
FROM (SELECT ctid FROM threshold_event WHERE alerted_at IS NULL ORDER BY at LIMIT 100 FOR UPDATE SKIP LOCKED) waiting
WHERE e.ctid = waiting.ctid
RETURNING e.tenant_id, e.budget_id, e.value, e.window_start, e.threshold, e.spent, e.limit_amount, e.at
"""


@dataclass(frozen=True, slots=True)
class Passed:
    """A budget's threshold that its spend passed."""

    tenant_id: int
    budget_id: int
    value: str
    window_start: datetime
    threshold: int
    spent: int
    limit: int
    at: datetime


def raise_alerts(now: datetime) -> int:
    """One alert, with a delivery to each channel, for each new event; returns how many."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [now])
            events = [Passed(*row) for row in cursor.fetchall()]
        budgets = Budget.objects.select_related("tenant").in_bulk([event.budget_id for event in events])
        for event in events:
            budget = budgets.get(event.budget_id)
            if budget is not None:
                _raise_alert(event, budget, now)
    return len(events)


def _raise_alert(event: Passed, budget: Budget, now: datetime) -> None:
    whose = f" for {_short(event.value)}" if event.value else ""
    title = f"Budget “{budget.name}”{whose} of {budget.tenant.name} passed {event.threshold} %"
    alert, is_new = Alert.objects.get_or_create(
        tenant_id=event.tenant_id,
        kind="budget_threshold",
        dedupe=_dedupe(event, budget),
        defaults={
            "title": title[:MOST_TITLE_CHARACTERS],
            "body": _body(event, budget),
            "at": event.at,
        },
    )
    if is_new:
        Delivery.objects.bulk_create(
            Delivery(alert=alert, channel=channel, next_at=now)
            for channel in Channel.objects.filter(tenant_id=event.tenant_id, is_enabled=True)
        )


def _dedupe(event: Passed, budget: Budget) -> str:
    """What tells this event from all others. A caller's own id may be longer than what is kept: its hash is not."""
    value = event.value if len(event.value) <= MOST_VALUE_CHARACTERS else sha256(event.value.encode()).hexdigest()
    return f"{event.budget_id}/{budget.revision}/{value}/{event.window_start:%Y%m%dT%H}/{event.threshold}"


def _short(value: str) -> str:
    return value if len(value) <= MOST_VALUE_CHARACTERS else f"{value[: MOST_VALUE_CHARACTERS - 1]}…"


def _body(event: Passed, budget: Budget) -> dict[str, Any]:
    unit = "usd" if budget.limit_nanousd is not None else "tokens"

    def amount(value: int) -> str:
        return f"{Decimal(value) / NANOUSD_PER_USD:f}" if unit == "usd" else str(value)

    return {
        "kind": "budget_threshold",
        "tenant": budget.tenant.slug,
        "budget": budget.name,
        "value": event.value or None,
        "window": budget.window,
        "window_start": event.window_start.isoformat(),
        "threshold_percent": event.threshold,
        f"spent_{unit}": amount(event.spent),
        f"limit_{unit}": amount(event.limit),
        "action": budget.action,
        "at": event.at.isoformat(),
    }
