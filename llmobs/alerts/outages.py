"""Turns a provider's model that a breaker has taken out into an alert to the operators, once for each outage."""

from datetime import datetime

from django.db import transaction

from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.health.models import ProviderState

MOST_AT_ONCE = 100


def raise_outages(now: datetime) -> int:
    """One alert, with a delivery to each of the operators' channels, for each new outage; returns how many."""
    with transaction.atomic():
        # Two workers never take one; that it was told commits with the alert.
        waiting = (
            ProviderState.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("provider")
            .filter(alerted_at=None, state=ProviderState.State.UNHEALTHY)
            .order_by("since")[:MOST_AT_ONCE]
        )
        raised = list(waiting)
        for stretch in raised:
            _raise_alert(stretch, now)
        ProviderState.objects.filter(pk__in=[stretch.pk for stretch in raised]).update(alerted_at=now)
    return len(raised)


def _raise_alert(stretch: ProviderState, now: datetime) -> None:
    name = f"{stretch.provider.name}/{stretch.model}"
    alert, is_new = Alert.objects.get_or_create(
        tenant=None,
        kind="provider_unhealthy",
        dedupe=str(stretch.pk),
        defaults={
            "title": f"{name[:200]} is unhealthy since {stretch.since:%H:%M:%S} UTC: calls go to the next candidate",
            "body": {
                "kind": "provider_unhealthy",
                "provider": stretch.provider.name,
                "model": stretch.model,
                "since": stretch.since.isoformat(),
                "until": stretch.until.isoformat() if stretch.until else None,
            },
            "at": stretch.since,
        },
    )
    if is_new:
        channels = Channel.objects.filter(tenant=None, is_enabled=True)
        Delivery.objects.bulk_create(Delivery(alert=alert, channel=channel, next_at=now) for channel in channels)
