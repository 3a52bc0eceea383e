"""Dead letters replayed or dropped by a person, with the entry in the audit trail: for the command and the admin.

The web may not write spans (`tenants.walls`): it asks for a replay, and a worker carries it out within a minute.
"""

import redis
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from llmobs.budgets.valkey import EpochChanged
from llmobs.core.clock import now_ns
from llmobs.ingest.adjust_ledger import teach
from llmobs.ingest.replay import Replayed, Replayer
from llmobs.keeping.connecting import connect, first_to_replay
from llmobs.keeping.models import DeadLetter
from llmobs.tenants import audit

log = structlog.get_logger()


def ask(chosen: QuerySet[DeadLetter], actor: str) -> int:
    """Have these replayed; how many. One that was replayed is left alone."""
    return chosen.filter(replayed_at=None).update(asked_at=timezone.now(), asked_by=actor[:200])


def go_on() -> int:
    """Replay what was asked for, in the name of who asked; how many were written. May be killed: the next goes on.

    One at a time: a second one, while this takes longer than the pause between two, would try the same letters again.
    """
    asked = DeadLetter.objects.filter(replayed_at=None, asked_at__isnull=False)
    written = 0
    with connect() as conn:
        if not first_to_replay(conn):
            return 0
        for actor in sorted(set(asked.values_list("asked_by", flat=True))):
            found = replay(asked.filter(asked_by=actor).order_by("at", "pk"), actor)
            written += sum(not done.error and not done.by_others for done in found)
    return written


def replay(chosen: QuerySet[DeadLetter], actor: str) -> list[Replayed]:
    """Write each again; what the ledger must learn is sent at once, else its next reader brings it.

    What another has replayed since it was chosen is in the audit trail already, in that one's name.
    """
    found = []
    with connect() as conn:
        replayer = Replayer(conn, settings.SECRETS)
        for letter in chosen.select_related("tenant"):
            done = replayer.replay(letter.pk)
            found.append(done)
            if done.by_others:
                continue
            with transaction.atomic():
                audit.record(actor, "replay", letter, {"error": [letter.reason, done.error]})
                DeadLetter.objects.filter(pk=letter.pk).update(asked_at=None, asked_by="")
        folds = [fold for done in found for fold in done.folds]
        try:
            with redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=10, socket_connect_timeout=2) as client:
                teach(conn, client, folds, now_ns())
        except (redis.RedisError, EpochChanged, OSError) as error:
            log.warning("the ledger learns of replayed letters later", error=type(error).__name__)
    return found


def drop(chosen: QuerySet[DeadLetter], actor: str) -> int:
    """Delete them for good; what they held is not counted."""
    dropped = 0
    for letter in chosen.select_related("tenant"):
        with transaction.atomic():
            audit.record(actor, "drop", letter, {"reason": [letter.reason, None], "kind": [letter.kind, None]})
            dropped += DeadLetter.objects.filter(pk=letter.pk).delete()[0]
    return dropped
