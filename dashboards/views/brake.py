"""Runaways: what goes round in circles, what was done about it, and the button that ends a pause."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from dashboards.access import tenants_of
from dashboards.blocks import Failed, guarded
from dashboards.queries.brake import BrakedRow, braked, calls_of, one_braked
from dashboards.visit import Visit, page, show
from llmobs.brake.connection import brake_client
from llmobs.brake.link import pause_of, token
from llmobs.brake.models import BrakedSession
from llmobs.brake.releasing import NotPaused, keep, release
from llmobs.tenants import access
from llmobs.tenants.access import caller_of_person
from llmobs.tenants.braking import MODES


@page("brake")
def brake_list(visit: Visit) -> HttpResponse:
    """All that was noted, slowed and paused, what is paused now first."""
    found = guarded(visit, "runaways", lambda: braked(visit.cursor, visit.seen.tenant_ids, visit.now))
    rows = [] if isinstance(found, Failed) else found
    paused = [row for row in rows if row.is_paused]
    if paused:
        visit.rail_notes["brake"] = (str(len(paused)), "bad")
    return show(
        visit,
        "dashboards/brake.html",
        heading="Runaways",
        no_window=True,
        failed=found if isinstance(found, Failed) else None,
        rows=[(row, token(row.id, settings.SECRET_KEY)) for row in rows],
        paused=paused,
        saved=sum(row.cost_nanousd for row in rows),
        mode=MODES[visit.seen.chosen.brake] if visit.seen.chosen else "",
    )


@page("brake")
def one_runaway(visit: Visit, given: str) -> HttpResponse:
    """The session that a release link names. 404 for a link that is none of ours, and for a stranger."""
    row = _row(visit, given)
    caller = caller_of_person(visit.request.user)
    return show(
        visit,
        "dashboards/runaway.html",
        heading="Runaway",
        no_window=True,
        row=row,
        given=given,
        may_change=caller.may_change(row.tenant_id),
        calls=guarded(visit, "calls", lambda: calls_of(visit.cursor, row)),
        done=str(visit.request.session.pop("brake", "")),
    )


def _row(visit: Visit, given: str) -> BrakedRow:
    pause_id = pause_of(given, settings.SECRET_KEY)
    row = one_braked(visit.cursor, pause_id, visit.now) if pause_id else None
    # A link may come from elsewhere: any tenant that this person may see has it, not only the chosen one.
    if row is None or row.tenant_id not in {tenant.pk for tenant in tenants_of(visit.request.user)}:
        raise Http404("There is no such runaway, or it is not stored yet: look again in a moment.")
    return row


@login_required
@require_POST
def end(request: HttpRequest, given: str) -> HttpResponse:
    """Release the session, or keep it paused, as the pressed button says; and show it."""
    caller = caller_of_person(request.user)
    pause_id = pause_of(given, settings.SECRET_KEY)
    session = access.find(BrakedSession.objects.select_related("tenant"), caller, pk=pause_id or "")
    if not caller.may_change(session.tenant_id):
        raise PermissionDenied
    does: dict[str, Callable[[datetime], Any]] = {
        "release": lambda now: release(session, caller.actor, now, brake_client()),
        "keep": lambda now: keep(session, caller.actor, now),
    }
    wanted = does.get(request.POST.get("do", ""))
    if wanted is not None:
        try:
            wanted(timezone.now())
        except NotPaused:
            request.session["brake"] = "It is not paused any more."
    return HttpResponseRedirect(reverse("dashboards:runaway", args=[given]))
