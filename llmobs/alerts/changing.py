"""What people do to alerts, deliveries and channels, by every door alike: the change with its audit entry."""

from datetime import timedelta

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from llmobs.alerts import outbox, raising, signing
from llmobs.alerts.delivery import DeliveryError, Message, send
from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.alerts.tasks import way
from llmobs.providers.credentials import CredentialError, open_credential
from llmobs.tenants import audit
from llmobs.tenants.plain_connection import plain_connection

MOST_TESTS, TESTS_SECONDS = 10, 60  # of all channels of a tenant: a test goes out at once, whatever it finds there


class TooManyTests(Exception):
    """The tenant's channels were tested too often; the message says when they may be again."""


def acknowledge(alert: Alert, actor: str) -> bool:
    """Somebody has seen it; whether it was open until now."""
    with transaction.atomic():
        is_changed = raising.acknowledge(plain_connection(), alert.pk, timezone.now(), actor)
        if is_changed:
            audit.record(actor, "acknowledge", alert, {"state": ["open", "acknowledged"]})
    alert.refresh_from_db()
    return is_changed


def resolve(alert: Alert, actor: str) -> bool:
    """It is over, says a person; whether it was not until now. Its channels are told."""
    with transaction.atomic():
        is_changed = raising.resolve(plain_connection(), alert.pk, timezone.now(), actor)
        if is_changed:
            audit.record(actor, "resolve", alert, {"state": [alert.state, "resolved"]})
    alert.refresh_from_db()
    return is_changed


def try_again(delivery: Delivery, actor: str) -> bool:
    """Have a delivery that was given up tried anew; whether it was given up."""
    with transaction.atomic():
        is_changed = outbox.try_again(plain_connection(), delivery.pk, timezone.now())
        if is_changed:
            change = {"delivery": [delivery.pk, delivery.pk], "state": ["given_up", "waiting"]}
            audit.record(actor, "try again", delivery.alert, change)
    delivery.refresh_from_db()
    return is_changed


def rotate(channel: Channel, actor: str, keep: timedelta = signing.ROTATION) -> str:
    """Give a webhook another signing secret, returned to be shown once; the one before signs too for `keep`."""
    with transaction.atomic():
        locked = Channel.objects.select_for_update().get(pk=channel.pk)
        locked.previous_secret, locked.previous_until = locked.signing_secret, timezone.now() + keep
        secret = locked.give_secret()
        audit.save(locked, actor, "rotate")
    channel.refresh_from_db()
    return secret


def _count_test(channel: Channel, now_s: int) -> None:
    """Counted before it is sent, so that several at once are too. A cache that is away lets nothing out."""
    window, passed_s = divmod(now_s, TESTS_SECONDS)
    key = f"alerts.tests:{channel.tenant_id}:{window}"
    cache.add(key, 0, 2 * TESTS_SECONDS)
    if cache.incr(key) > MOST_TESTS:
        wait_s = TESTS_SECONDS - passed_s
        raise TooManyTests(f"{MOST_TESTS} tests a minute are sent at most; try again in {wait_s} s")


def test(channel: Channel, actor: str) -> str:
    """Send a test here and now; "" when the channel took it, else why not. Raises TooManyTests."""
    now = timezone.now()
    _count_test(channel, int(now.timestamp()))
    keys = settings.SECRETS.encryption_keys
    body = {"type": "alert.test", "channel": channel.name, "at": now.isoformat()}
    message = Message(f"A test of the channel “{channel.name}”", body, f"test-{channel.pk}-{now:%Y%m%d%H%M%S%f}")
    sealed = [channel.signing_secret]
    if channel.previous_until is not None and channel.previous_until > now:
        sealed.append(channel.previous_secret)
    try:
        secrets = [open_credential(each, keys) for each in sealed if each]
        send(channel.address, message, way(), secrets)
        error = ""
    except (DeliveryError, CredentialError) as refused:
        error = str(refused)
    audit.record(actor, "test", channel, {"outcome": [None, error or "taken"]})
    return error
