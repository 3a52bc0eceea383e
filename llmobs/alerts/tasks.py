"""Celery's side of alerts: raise what is new, deliver what waits. The rows are the queue, Celery only wakes us."""

from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

import structlog
from celery import shared_task
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from llmobs.alerts import outbox
from llmobs.alerts.delivery import TIMEOUT_SECONDS, DeliveryError, Message, Way, send
from llmobs.alerts.evaluating import evaluate
from llmobs.alerts.outages import raise_outages
from llmobs.alerts.outbox import Claimed
from llmobs.alerts.overruns import raise_overruns
from llmobs.alerts.runaways import raise_runaways
from llmobs.alerts.thresholds import raise_thresholds
from llmobs.providers.credentials import CredentialError, open_credential
from llmobs.tenants.plain_connection import plain_connection

log = structlog.get_logger()

CHANNELS_AT_ONCE = 8
LONGEST_SECONDS = 60.0  # of one run; what is due still is the next one's
LATEST_SECONDS = 2 * TIMEOUT_SECONDS  # a try that ignores its own bound is given up, and its thread left alone
DELIVERER = 7_203_118  # advisory lock: one process delivers, so that slow channels never hold all workers

Outcome = tuple[Claimed, str]


@shared_task(name="alerts.raise_and_deliver", ignore_result=True)
def raise_and_deliver() -> None:
    """Every few seconds, by beat."""
    now = timezone.now()
    with transaction.atomic():
        raised = raise_thresholds(plain_connection(), now)
    with transaction.atomic():
        raised += raise_outages(plain_connection(), now)
    with transaction.atomic():
        raised += raise_overruns(plain_connection(), now)
    with transaction.atomic():
        raised += raise_runaways(plain_connection(), now, settings.SECRET_KEY)
    sent = deliver()
    if raised or sent:
        log.info("alerts", raised=raised, deliveries=sent)


@shared_task(name="alerts.evaluate", ignore_result=True)
def evaluate_rules() -> None:
    """Every ten seconds, by beat: rules whose figures roll-ups tell."""
    evaluate(plain_connection(), timezone.now(), transaction.atomic, is_slow=False)


@shared_task(name="alerts.evaluate_slowly", ignore_result=True)
def evaluate_slow_rules() -> None:
    """Every minute, by beat: rules that read bills, scores or weeks."""
    evaluate(plain_connection(), timezone.now(), transaction.atomic, is_slow=True)


def deliver() -> int:
    """Try what is due until nothing is, several channels at once; how many tries ended. 0 while another is at it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [DELIVERER])
        if not cursor.fetchone()[0]:
            return 0
        try:
            return _Deliverer().run()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [DELIVERER])


def deliver_one(channel_id: int | None = None) -> bool:
    """Try the delivery that is due longest, here and now; False when none is due."""
    for claimed in outbox.claim(plain_connection(), timezone.now(), 1, channel_id):
        _finish(claimed, attempt(claimed))
        return True
    return False


class _Deliverer:
    """One run: a thread for each channel that something goes to."""

    def __init__(self) -> None:
        self.done: SimpleQueue[Outcome] = SimpleQueue()
        self.running: dict[int, tuple[Claimed, float]] = {}
        self.ended = 0

    def run(self) -> int:
        until = monotonic() + LONGEST_SECONDS
        while True:
            self._begin(is_open=monotonic() < until)
            if not self.running:
                return self.ended
            self._wait()

    def _begin(self, is_open: bool) -> None:
        free = CHANNELS_AT_ONCE - len(self.running)
        for claimed in outbox.claim(plain_connection(), timezone.now(), free) if free and is_open else ():
            self.running[claimed.id] = (claimed, monotonic() + LATEST_SECONDS)
            # A daemon: one that hangs must not keep the worker from ending.
            Thread(target=self._try, args=(claimed,), name=f"alert {claimed.id}", daemon=True).start()

    def _try(self, claimed: Claimed) -> None:
        self.done.put((claimed, attempt(claimed)))

    def _wait(self) -> None:
        try:
            claimed, error = self.done.get(timeout=0.5)
        except Empty:
            for claimed in [each for each, latest in self.running.values() if monotonic() > latest]:
                self._end(claimed, "the channel did not answer in time")
            return
        if claimed.id in self.running:
            self._end(claimed, error)

    def _end(self, claimed: Claimed, error: str) -> None:
        del self.running[claimed.id]
        _finish(claimed, error)
        self.ended += 1


def attempt(claimed: Claimed) -> str:
    """Send once; "" when the channel took it, else why not. Asks no database: it runs in threads."""
    title, body = outbox.content(claimed, settings.BASE_URL)
    keys = settings.SECRETS.encryption_keys
    try:
        secrets = [open_credential(sealed, keys) for sealed in outbox.secrets_of(claimed)]
        send(open_credential(claimed.url, keys), Message(title, body, claimed.message_id), way(), secrets)
    except (DeliveryError, CredentialError) as error:
        return str(error)
    except Exception as error:  # a thread's outermost edge: what is not told of here would be lost
        log.error("delivery broke", delivery=claimed.id, fault=type(error).__name__)
        return f"it could not be sent: {type(error).__name__}"
    return ""


def way() -> Way:
    """How this installation lets messages out."""
    return Way(settings.ALERT_SCHEMES, settings.PRIVATE_WEBHOOKS)


def _finish(claimed: Claimed, error: str) -> None:
    outbox.finish(plain_connection(), claimed, timezone.now(), error)
    if error:
        told: dict[str, Any] = {"delivery": claimed.id, "attempts": claimed.attempts, "error": error[:500]}
        log.warning("delivery failed", **told)
