"""Celery's side of keeping: a wake-up each day lets old data go. It may be lost or killed: the next one goes on."""

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from llmobs.keeping import erasures, letters
from llmobs.keeping.connecting import alone, connect
from llmobs.keeping.letting_go import let_go
from llmobs.keeping.place import secure_in

log = structlog.get_logger()


@shared_task(name="keeping.let_go", ignore_result=True)
def let_old_data_go() -> None:
    """Every six hours: archive, drop and delete what nobody keeps any more."""
    with connect() as conn:
        alone(conn)
        gone = let_go(conn, timezone.now().date(), secure_in(settings.PLACE))
    log.info("old data let go", partitions=gone.partitions, rows=gone.rows, waiting=gone.waiting[:20])


@shared_task(name="keeping.erase", ignore_result=True)
def erase_persons() -> None:
    """Every minute: who was asked to be erased and is not yet."""
    erasures.go_on()


@shared_task(name="keeping.replay", ignore_result=True)
def replay_letters() -> None:
    """Every 15 seconds: dead letters whose replay was asked for in the admin or over REST."""
    letters.go_on()
