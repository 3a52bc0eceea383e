"""A block of a page that cannot be read fails alone: it says what, since when, and offers to try again.

Fails open: the rest of the page is shown. Only when the store itself is away does the whole page say so
(`dashboards.store_away`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.core.cache import cache
from django.db import DatabaseError, connection

from dashboards.reading import is_replicas_fault
from dashboards.visit import Visit

log = logging.getLogger(__name__)
Block = TypeVar("Block")

# A page that stays open asks every 15 s: a fault that is not seen for a minute counts as a new one.
SAME_FAULT_SECONDS = 60


@dataclass(frozen=True)
class Failed:
    """Stands in a block's place. Templates know it by `failed_since`."""

    failed_since: datetime


def guarded(visit: Visit, name: str, make: Callable[[], Block]) -> Block | Failed:
    """What `make` gives; Failed where the database refused, as long as it can be reached at all."""
    try:
        return make()
    except DatabaseError as fault:
        if is_replicas_fault(visit.request, fault) or not connection.is_usable():
            raise
        log.warning("a block of a page could not be read", extra={"block": name, "fault": type(fault).__name__})
        return Failed(first_seen(f"{visit.page}.{name}.{visit.seen.tenant_ids}", visit.now))


def first_seen(fault: str, now: datetime) -> datetime:
    """Since when a fault is seen; `now` where the cache is away too."""
    key = f"dashboards.fault.{fault}".replace(" ", "")
    try:
        since = cache.get(key) or now
        cache.set(key, since, SAME_FAULT_SECONDS)
    except Exception as away:  # the cache's client raises its own kinds; a page must not fail for a time of day
        log.warning("the cache cannot be reached", extra={"fault": type(away).__name__})
        return now
    return since if isinstance(since, datetime) else now
