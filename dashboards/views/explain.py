"""Explain: why a figure is what it is, and the same figure computed anew from its bills."""

import re
from datetime import UTC, datetime

from django.http import Http404, HttpResponse

from dashboards.explanation import told
from dashboards.live import budgets_now
from dashboards.queries import figure
from dashboards.queries.explained import rows
from dashboards.queries.figure import Figure
from dashboards.visit import Visit, page, show

NOT_KEPT = ("after", "tenant", "page", "self")  # the last two: as `Visit.url` names its own arguments
HEX = {"trace_id": re.compile(r"[0-9a-f]{32}"), "span_id": re.compile(r"[0-9a-f]{16}")}


@page("explain", default_window="24h")
def explain(visit: Visit) -> HttpResponse:
    """A figure by the parameters that its link names: a window with filters, a trace, a span, or a budget's window."""
    try:
        asked = _figure(visit)
        found, mark = rows(visit.cursor, asked.which, visit.request.GET.get("after", ""))
    except ValueError as error:
        return show(visit, "dashboards/explain.html", heading="Why this figure", problem=str(error))
    given = {
        name: value for name, value in visit.request.GET.items() if name not in ("after", "tenant", "page", "self")
    }
    return show(
        visit,
        "dashboards/explain.html",
        heading="Why this figure",
        told=told(visit.cursor, asked),
        rows=found,
        older=visit.url("explain", **given, after=mark) if mark else "",
    )


def _figure(visit: Visit) -> Figure:
    """Raises Http404 for what is not there or not theirs, ValueError for what cannot be explained."""
    given, tenants = visit.request.GET, visit.seen.tenant_ids
    if given.get("budget"):
        return _budget(visit, given["budget"], given.get("at", ""), given.get("value", ""))
    if not given.get("trace_id"):
        return figure.of_window(visit.cursor, visit.scope)
    if not HEX["trace_id"].fullmatch(given["trace_id"]):
        raise Http404("There is no such trace.")
    if not given.get("span_id"):
        found = figure.of_trace(visit.cursor, tenants, given["trace_id"])
    elif HEX["span_id"].fullmatch(given["span_id"]):
        found = figure.of_span(visit.cursor, tenants, given["trace_id"], given["span_id"])
    else:
        found = None
    if found is None:
        raise Http404("There is no such trace or span.")
    return found


def _budget(visit: Visit, number: str, at: str, value: str) -> Figure:
    info = budgets_now().get(int(number)) if number.isdecimal() and len(number) < 19 else None
    if info is None or info.tenant_id not in visit.seen.tenant_ids:
        raise Http404("There is no such budget.")
    moment = datetime.fromisoformat(at.replace(" ", "+")) if at else visit.now
    return figure.of_budget(visit.cursor, info, moment if moment.tzinfo else moment.replace(tzinfo=UTC), value)
