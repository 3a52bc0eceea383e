"""One visit of a page: who asks, for which tenant and window, with which filters; and the frame around the answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache, wraps
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboards import window as windows
from dashboards.access import ALL, Seen, seen_by
from dashboards.queries.alerts import Whose, open_count
from dashboards.queries.freshness import Freshness, freshness
from dashboards.queries.scope import Cursor, Filters, Scope
from dashboards.reading import figures, is_replicas_fault, source_of, turn_to_primary
from dashboards.window import Window

log = logging.getLogger(__name__)

LAST_READ_KEY = "dashboards.last_read_at"  # when a page was last read from PostgreSQL, for when it is away
LAST_READ_SECONDS = 30 * 86_400
THEME_COOKIE = "llmobs_theme"
THEMES = ("light", "dark")
TEXT_FILTERS = ("service", "environment", "feature", "provider", "model", "status", "error", "user", "session")
LONGEST_FILTER = 400
KEPT_ON_OTHER_PAGES = ("service", "environment", "feature", "provider", "model", "key")

# The pages that exist, as the rail groups them: (group, ((page, word), …)).
RAIL = (
    ("", (("overview", "Overview"),)),
    ("Explore", (("traces", "Traces"), ("conformance", "Conformance"))),
    (
        "Money",
        (
            ("costs", "Costs"),
            ("usage", "Usage"),
            ("budgets", "Budgets"),
            ("prices", "Prices"),
            ("unpriced", "Unpriced"),
            ("repricing", "Re-pricing"),
            ("brake", "Runaways"),
            ("reconcile", "Reconcile"),
        ),
    ),
    ("Service", (("providers", "Providers"), ("alerts", "Alerts"))),
    ("Quality", (("prompts", "Prompts"),)),
)


@lru_cache(maxsize=1024)
def _path(page: str, arguments: tuple[str, ...], prefix: str) -> str:
    """A page of a trace has hundreds of addresses of itself. `prefix`: what Django puts before each."""
    return reverse(f"dashboards:{page}", args=arguments)


@dataclass
class Visit:
    """What a view works with. `cursor` is open for the request."""

    request: HttpRequest
    page: str
    cursor: Cursor
    seen: Seen
    now: datetime
    zone: ZoneInfo
    window: Window
    filters: Filters
    problems: list[str] = field(default_factory=list)
    rail_notes: dict[str, tuple[str, str]] = field(default_factory=dict)  # page: (words, class)

    @property
    def scope(self) -> Scope:
        return Scope(self.seen.tenant_ids, self.window, self.filters)

    @cached_property
    def primary(self) -> Cursor:
        """A cursor for what a page writes, or must read as it was written just now: never a replica's."""
        cursor: Cursor = connection.cursor()
        return cursor

    @cached_property
    def fresh(self) -> Freshness:
        """How fresh the figures are, asked once."""
        return freshness(self.cursor, self.now, source_of(self.request).as_of)

    @property
    def is_empty_handed(self) -> bool:
        """A person without any tenant."""
        return not self.seen.tenant_ids

    def scope_of(self, window: Window) -> Scope:
        return self.scope.over(window)

    def url(self, page: str, *arguments: str, **changes: Any) -> str:
        """A page's address with this window and these filters; a change of None takes a parameter away."""
        query: dict[str, Any] = {**self.window.query}
        given = self.filters.given
        names = given if page == self.page else [name for name in KEPT_ON_OTHER_PAGES if name in given]
        query |= {("q" if name == "search" else name): given[name] for name in names}
        query |= changes
        if "from" in changes or "last" in changes:
            for name in {"from", "to", "last"} - changes.keys():
                query.pop(name, None)
        text = urlencode({name: value for name, value in query.items() if value is not None and value != ""})
        path = _path(page, arguments, get_script_prefix())
        return f"{path}?{text}" if text else path

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)


View = Callable[..., HttpResponse]


def page(name: str, default_window: str = "24h") -> Callable[[Callable[..., HttpResponse]], View]:
    """A page for people who are signed in: makes the Visit and hands it to the view."""

    def decorate(view: Callable[..., HttpResponse]) -> View:
        @never_cache
        @login_required
        @require_safe
        @wraps(view)
        def answer(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
            def read() -> HttpResponse:
                with figures(request) as cursor:
                    return view(visit_of(request, name, cursor, default_window), *arguments, **named)

            try:
                return read()
            except (OperationalError, InterfaceError) as fault:
                if not is_replicas_fault(request, fault):
                    raise
                turn_to_primary(request, fault)
                return read()

        return answer

    return decorate


def visit_of(request: HttpRequest, name: str, cursor: Any, default_window: str) -> Visit:
    """Read tenant, window and filters out of a request; raises Http404 for a tenant not theirs."""
    seen = seen_by(request)
    now = datetime.now(UTC)
    zone = zone_of(seen.zone_name)
    parameters = {name: request.GET.get(name, "") for name in ("from", "to", "last")}
    window = windows.read(parameters, now, zone, default_window)
    filters, problems = read_filters(request.GET)
    if window.problem:
        problems.append(f"The window in the address was not taken: {window.problem}. Shown: {window.label}.")
    return Visit(request, name, cursor, seen, now, zone, window, filters, problems)


def show(visit: Visit, template: str, status: int = 200, **context: Any) -> HttpResponse:
    """The template in its frame."""
    response = render(visit.request, template, {"visit": visit, "frame": frame(visit), **context}, status=status)
    _remember(visit.now)
    return response


def _remember(now: datetime) -> None:
    try:
        cache.set(LAST_READ_KEY, now, LAST_READ_SECONDS)
    except Exception as away:  # the cache's client raises its own kinds; a page does not hang on them
        log.warning("the cache cannot be reached", extra={"fault": type(away).__name__})


def frame(visit: Visit) -> dict[str, Any]:
    """What surrounds every page: rail, switches, top bar, foot."""
    _note_alerts(visit)
    offset = visit.local(visit.now).strftime("%z")
    return {
        "theme": theme_of(visit.request),
        "groups": [
            (group, [(name, word, visit.rail_notes.get(name)) for name, word in pages]) for group, pages in RAIL
        ],
        "choices": [replace(windows.read({"last": c}, visit.now, visit.zone, c)) for c in windows.CHOICES],
        "chips": [(("q" if name == "search" else name), name, value) for name, value in visit.filters.given.items()],
        "offset": f"UTC{offset[0].replace('-', '−')}{int(offset[1:3])}"
        + (f":{offset[3:]}" if offset[3:] != "00" else ""),
        "fresh": visit.fresh,
        "all": ALL,
    }


def whose_alerts(seen: Seen) -> Whose:
    """Whose alerts a page shows: an operator who chose no tenant sees those of none too."""
    return Whose(seen.tenant_ids, seen.is_operator and seen.chosen is None, seen.is_operator)


def _note_alerts(visit: Visit) -> None:
    """How many alerts wait for a person, beside "Alerts"."""
    total, critical = open_count(visit.cursor, whose_alerts(visit.seen))
    if total:
        visit.rail_notes["alerts"] = (f"{total} open", "bad" if critical else "warn")


def theme_of(request: HttpRequest) -> str:
    """light or dark as the cookie says, "" for what the system prefers."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


def read_filters(parameters: QueryDict) -> tuple[Filters, list[str]]:
    """The filters in an address, and what was wrong with those that were not taken."""
    given: dict[str, Any] = {name: parameters[name][:LONGEST_FILTER] for name in TEXT_FILTERS if parameters.get(name)}
    problems = []
    if key := parameters.get("key", ""):
        if key.isdecimal() and len(key) < 19:
            given["key"] = int(key)
        else:
            problems.append("The filter “key” was not taken: it is the number of a key.")
    if words := parameters.get("q", "").strip():
        given["search"] = words[:LONGEST_FILTER]
    cleaned: dict[str, Any] = {n: v.replace("\x00", "") if isinstance(v, str) else v for n, v in given.items()}
    return Filters(**cleaned), problems


def zone_of(name: str) -> ZoneInfo:
    """The zone by its IANA name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
