"""What stands around every page: notes in the rail, what can be filtered by, the switch of the theme."""

from collections.abc import Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from dashboards.budget_figures import BudgetFigure
from dashboards.provider_figures import State
from dashboards.queries.costs import key_names
from dashboards.queries.rollup import totals
from dashboards.queries.scope import Scope
from dashboards.visit import THEME_COOKIE, THEMES, Visit

FILTER_DIMENSIONS = ("feature", "environment", "model", "provider", "key")
MOST_CHOICES = 50
YEAR_SECONDS = 365 * 86_400


def rail_notes(visit: Visit, budgets: Sequence[BudgetFigure]) -> None:
    """A word beside "Budgets" when one needs a person."""
    stopped = sum(1 for figure in budgets if figure.is_stopped)
    if stopped:
        visit.rail_notes["budgets"] = (f"{stopped} stopped", "bad")


def provider_note(visit: Visit, states: Sequence[State]) -> None:
    """How many providers are not healthy, beside "Providers"."""
    unwell = [state.kind for state in states if state.kind in ("bad", "warn")]
    if unwell:
        kind = "bad" if "bad" in unwell else "warn"
        visit.rail_notes["providers"] = (f"{len(unwell)}", kind)


def filter_choices(visit: Visit) -> dict[str, list[tuple[str, str, bool]]]:
    """By dimension the values seen in the window, dearest first: (value, word, is chosen)."""
    rows = totals(visit.cursor, Scope(visit.seen.tenant_ids, visit.window), FILTER_DIMENSIONS, only=())
    names = key_names(visit.cursor, list({row.key[-1] for row in rows}))
    given = visit.filters.given
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for i, dimension in enumerate(FILTER_DIMENSIONS):
        values = dict.fromkeys(row.key[i] for row in rows if row.key[i])
        chosen = given.get(dimension)
        found[dimension] = [
            (str(value), names.get(value, "") if dimension == "key" else str(value), value == chosen)
            for value in list(values)[:MOST_CHOICES]
        ]
    return {dimension: values for dimension, values in found.items() if values}


def gateway_address() -> str:
    """Where applications send their calls, for sentences that say so."""
    return str(settings.GATEWAY_URL)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in a cookie, so that the server renders it and nothing flashes."""
    back = request.POST.get("back", "/")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)
    wanted = request.POST.get("theme", "")
    if wanted in THEMES:
        response.set_cookie(
            THEME_COOKIE, wanted, max_age=YEAR_SECONDS, samesite="Lax", secure=request.is_secure(), httponly=True
        )
    else:
        response.delete_cookie(THEME_COOKIE, samesite="Lax")
    return response
