"""Celery's side of the tables: compact deltas, make partitions ahead. Wake-ups alone; any may be lost.

Each opens its own connection: the work is psycopg's, in transactions of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from llmobs.rollups.bills import close_bills, index_users
from llmobs.rollups.compact import compact_all
from llmobs.rollups.days import SETTLED, close_days
from llmobs.spans.partitions import make_ahead
from llmobs.spans.words import index_days

DAYS_AT_ONCE = 3  # indexes made in one go: after an update a month of days waits for them

log = structlog.get_logger()


@shared_task(name="rollups.compact", ignore_result=True)
def compact_deltas() -> None:
    """Every few seconds, by beat."""
    with _connection() as conn:
        compacted = compact_all(conn)
    if compacted:
        log.info("roll-ups compacted", deltas=compacted)


@shared_task(name="rollups.make_partitions", ignore_result=True)
def make_partitions_ahead() -> None:
    """Every hour: the next days have partitions before their first span (else the writer makes them)."""
    with _connection() as conn:
        make_ahead(conn, timezone.now().date())


@shared_task(name="rollups.close_days", ignore_result=True)
def close_days_that_are_over() -> None:
    """Every ten minutes: roll-ups of days, bills added up, and the index of words, of what is over."""
    now = timezone.now()
    with _connection() as conn:
        closed = close_days(conn, now)
        billed = close_bills(conn, now)
        index_users(conn, (now - SETTLED).date(), most=DAYS_AT_ONCE)
        indexed = index_days(conn, (now - SETTLED).date(), most=DAYS_AT_ONCE)
    if closed or indexed or billed:
        log.info("days are over", closed=closed, indexed=indexed, billed=billed)


@contextmanager
def _connection() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(settings.CONNECTIONS.database_url, autocommit=True) as conn:
        yield conn
