"""When PostgreSQL cannot be reached, pages say so, with the time of the last figures, instead of failing.

No page is kept to be shown meanwhile: who may see it stands in PostgreSQL as well.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from dashboards.blocks import first_seen
from dashboards.visit import LAST_READ_KEY, theme_of

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 15


class StoreAway:
    """Middleware: answers 503 with a notice where a page met a database that is away. REST and probes answer alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        is_page = not request.path.startswith("/api/")
        if not is_page or not isinstance(exception, (OperationalError, InterfaceError)) or connection.is_usable():
            return None
        log.error("PostgreSQL cannot be reached", extra={"path": request.path})
        connection.close()  # the next request opens a new one
        return _notice(request, datetime.now(UTC))


def _notice(request: HttpRequest, now: datetime) -> HttpResponse:
    told = {
        "theme": theme_of(request),
        "since": first_seen("postgresql", now),
        "read_at": _last_read_at(),
        "request": request,
    }
    response = HttpResponse(render_to_string("dashboards/store_away.html", told), status=503)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    response["Cache-Control"] = "no-store"
    return response


def _last_read_at() -> datetime | None:
    try:
        found = cache.get(LAST_READ_KEY)
    except Exception as away:  # the cache's client raises its own kinds, and there is nothing to tell then
        log.warning("the cache cannot be reached", extra={"fault": type(away).__name__})
        return None
    return found if isinstance(found, datetime) else None
