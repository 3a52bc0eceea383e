"""Celery's side of judging: sample what is new, judge what waits. The rows are the queue, Celery only wakes us."""

import time
from concurrent.futures import ThreadPoolExecutor

import structlog
from celery import shared_task
from django.conf import settings
from django.db import close_old_connections, connection
from django.utils import timezone

from llmobs.evals.judging import Gateway, claim, judge
from llmobs.evals.models import Judge
from llmobs.evals.sampling import Rule, sample

log = structlog.get_logger()

# A judge's call takes seconds of waiting: several at once in one worker.
THREADS = 4
MOST_SECONDS = 50.0


@shared_task(name="evals.sample_and_judge", ignore_result=True)
def sample_and_judge() -> None:
    """Every few seconds, by beat."""
    chosen = sample_all()
    judged = judge_waiting()
    if chosen or judged:
        log.info("judges", chosen=chosen, judged=judged)


def sample_all() -> int:
    """Rows made for the new calls of every judge."""
    chosen = 0
    with connection.cursor() as cursor:
        for rule in Judge.objects.filter(is_enabled=True, tenant__is_active=True):
            chosen += sample(
                cursor, Rule(rule.pk, rule.tenant_id, rule.feature, rule.sample, rule.created_at), timezone.now()
            )
    return chosen


def judge_waiting() -> int:
    """Judge until nothing waits or MOST_SECONDS have passed; returns how many rows were taken."""
    until = time.monotonic() + MOST_SECONDS
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(_judge_until, [until] * THREADS))


def _judge_until(until: float) -> int:
    taken = 0
    gateway = Gateway(settings.GATEWAY_URL, settings.SECRET_KEY)
    try:
        while time.monotonic() < until and (judgement := claim(timezone.now())) is not None:
            judge(judgement, gateway, timezone.now())
            taken += 1
    finally:
        connection.close()
        close_old_connections()
    return taken
