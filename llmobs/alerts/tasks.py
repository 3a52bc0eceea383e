"""Celery's side of alerts: raise what is new, deliver what waits. The rows are the queue, Celery only wakes us."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from llmobs.alerts.delivery import DeliveryError, Message, send
from llmobs.alerts.models import Delivery
from llmobs.alerts.outages import raise_outages
from llmobs.alerts.thresholds import raise_alerts

log = structlog.get_logger()

MOST_ATTEMPTS = 8
FIRST_PAUSE = timedelta(seconds=15)  # doubled each time: the last try comes about half an hour after the first
MOST_AT_ONCE = 50


@shared_task(name="alerts.raise_and_deliver", ignore_result=True)
def raise_and_deliver() -> None:
    """Every few seconds, by beat."""
    raised = raise_alerts(timezone.now()) + raise_outages(timezone.now())
    sent = 0
    while sent < MOST_AT_ONCE and deliver_one():
        sent += 1
    if raised or sent:
        log.info("alerts", raised=raised, deliveries=sent)


def deliver_one() -> bool:
    """Try the delivery that is due longest; False when none is due.

    It is claimed by moving its next try ahead before it is sent: a worker killed in between leaves it due again.
    """
    delivery = _claim()
    if delivery is None:
        return False
    message = Message(delivery.alert.title, {**delivery.alert.body, "alert_id": delivery.alert_id})
    try:
        send(delivery.channel.url, message, allow_private=settings.PRIVATE_WEBHOOKS)
    except DeliveryError as error:
        delivery.last_error = str(error)[:500]
        if delivery.attempts >= MOST_ATTEMPTS:
            delivery.state = Delivery.State.GIVEN_UP
        log.warning("delivery failed", delivery=delivery.pk, attempts=delivery.attempts, error=delivery.last_error)
    else:
        delivery.state, delivery.sent_at, delivery.last_error = Delivery.State.SENT, timezone.now(), ""
    delivery.save(update_fields=["state", "sent_at", "last_error"])
    return True


def _claim() -> Delivery | None:
    with transaction.atomic():
        delivery = (
            Delivery.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("alert", "channel")
            .filter(state=Delivery.State.WAITING, next_at__lte=timezone.now())
            .order_by("next_at")
            .first()
        )
        if delivery is not None:
            delivery.attempts += 1
            delivery.next_at = timezone.now() + FIRST_PAUSE * 2 ** (delivery.attempts - 1)
            delivery.save(update_fields=["attempts", "next_at"])
    return delivery
