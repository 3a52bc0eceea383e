"""Celery's side of health: what the gateways agree on becomes durable. A wake-up alone; any may be lost."""

import redis
import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from llmobs.health.board import STATES_KEY, read_states
from llmobs.health.follow import follow

log = structlog.get_logger()

TIMEOUT_SECONDS = 2.0


@shared_task(name="health.follow", ignore_result=True)
def follow_board() -> None:
    """Every few seconds, by beat. With Valkey away the last known states stay."""
    try:
        with redis.Redis.from_url(
            settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        ) as client:
            found = client.hgetall(STATES_KEY)
    except redis.RedisError as error:
        log.warning("the providers' health cannot be read", error=type(error).__name__)
        return
    changes = follow(read_states([word for pair in found.items() for word in pair]), timezone.now())
    if changes:
        log.info("providers' health", changes=changes)
