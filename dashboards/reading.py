"""Where figures are read: from the primary, or from the replica that READ_DATABASE_URL names.

1. `figures(request)` gives a cursor: on the replica, if it answers, is one, and has replayed what this visitor changed
   last (a cookie holds the primary's place in its log after each change). Otherwise on the primary, which all else is
   read from and written to: sessions, people, configuration.
2. Where the replica lags, `as_of` says up to when its figures are whole: both stores' places in the log are compared
   at each request, so that an idle primary does not count as a lagging replica. No clock of ours is in it.
3. A replica that breaks off in the middle is left alone for AWAY_SECONDS, and the request is answered once more, from
   the primary (`is_replicas_fault`). Fails open: without a replica everything works as with one.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import MiddlewareNotUsed
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, OperationalError, connection, connections
from django.http import HttpRequest, HttpResponse
from psycopg.errors import QueryCanceled

log = logging.getLogger(__name__)

REPLICA = "replica"
AWAY_SECONDS = 10.0  # a replica that did not answer is not asked for so long
LATE_AFTER = timedelta(seconds=5)  # a replica that is behind by less is called up to date, as live pages are
WROTE_COOKIE = "llmobs_wrote"
WROTE_SECONDS = 600  # a replica that is behind by more is seen by `as_of`
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")

_WROTE = "SELECT pg_current_wal_insert_lsn()::text"
_HERE = "SELECT pg_current_wal_flush_lsn()::text, now()"  # what is not flushed is sent to nobody yet
_THERE = (
    "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() >= %s::pg_lsn, pg_last_wal_replay_lsn() >= %s::pg_lsn, "
    "pg_last_xact_replay_timestamp()"
)


@dataclass(frozen=True)
class Source:
    """What one request reads its figures from. `as_of` None: they are of now."""

    alias: str
    as_of: datetime | None = None


PRIMARY = Source(DEFAULT_DB_ALIAS)


class _Away:
    """Until when the replica is left alone, in this process."""

    def __init__(self) -> None:
        self.until = 0.0  # monotonic

    def note(self, fault: Exception | None, why: str = "") -> None:
        log.warning("the replica is not used", extra={"fault": type(fault).__name__ if fault else why})
        self.until = time.monotonic() + AWAY_SECONDS
        connections[REPLICA].close()


away = _Away()


@contextmanager
def figures(request: Any) -> Iterator[Any]:
    """A cursor to read figures by, for Django's requests and REST framework's."""
    with connections[source_of(request).alias].cursor() as cursor:
        yield cursor


def source_of(request: Any) -> Source:
    """What this request reads from, decided once."""
    plain = _plain(request)
    known: Source | None = getattr(plain, "figures_source", None)
    return known if known is not None else _keep(plain, _choose(plain.COOKIES.get(WROTE_COOKIE, "")))


def answered_as_of(request: Any) -> datetime | None:
    """Up to when what was read for this request is whole, where a replica lagged."""
    known: Source | None = getattr(_plain(request), "figures_source", None)
    return known.as_of if known is not None else None


def is_replicas_fault(request: Any, fault: Exception) -> bool:
    """Whether the replica broke off, rather than that it refused the question."""
    is_lost = isinstance(fault, OperationalError | InterfaceError) and not isinstance(fault.__cause__, QueryCanceled)
    return is_lost and source_of(request).alias == REPLICA


def turn_to_primary(request: Any, fault: Exception) -> None:
    """After `is_replicas_fault`: this request reads from the primary from now on, and others for a while."""
    away.note(fault)
    _keep(_plain(request), PRIMARY)


class Wrote:
    """Middleware: after a change the visitor's pages are read from where that change can be seen."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if REPLICA not in connections:
            raise MiddlewareNotUsed
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if request.method not in SAFE_METHODS and "Authorization" not in request.headers:  # a key keeps no cookies
            note_change(response)
        return response


def note_change(response: HttpResponse) -> None:
    """Have the visitor remember the primary's place in its log."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_WROTE)
            place = cursor.fetchone()[0]
    except DatabaseError:  # the change's own answer stands; what follows may show a moment before it
        return
    response.set_cookie(WROTE_COOKIE, place, max_age=WROTE_SECONDS, httponly=True, samesite="Lax")


def _choose(wrote: str) -> Source:
    if REPLICA not in connections or time.monotonic() < away.until:
        return PRIMARY
    with connection.cursor() as cursor:
        cursor.execute(_HERE)
        place, now = cursor.fetchone()
    try:
        with connections[REPLICA].cursor() as cursor:
            cursor.execute(_THERE, [place, wrote if is_place(wrote) else "0/0"])
            is_replica, is_level, has_change, replayed_at = cursor.fetchone()
    except DatabaseError as fault:
        away.note(fault)
        return PRIMARY
    if not is_replica:
        away.note(None, "it is no replica")
        return PRIMARY
    if not has_change or (not is_level and replayed_at is None):
        return PRIMARY
    is_late = not is_level and now - replayed_at > LATE_AFTER
    return Source(REPLICA, replayed_at if is_late else None)


def is_place(text: str) -> bool:
    """Whether a cookie holds a place in the log, as PostgreSQL spells it: 16/B374D848."""
    high, _, low = text.partition("/")
    digits = "0123456789ABCDEFabcdef"
    return all(0 < len(part) <= 8 and all(digit in digits for digit in part) for part in (high, low))


def _plain(request: Any) -> Any:
    return getattr(request, "_request", request)


def _keep(plain: Any, source: Source) -> Source:
    plain.figures_source = source
    return source
