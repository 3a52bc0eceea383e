"""Traces: which calls were these?"""

from dataclasses import dataclass

from django.http import HttpResponse

from dashboards import figures
from dashboards.blocks import Failed, guarded
from dashboards.queries.finding import Found
from dashboards.queries.rollup import first_call_at
from dashboards.queries.slots import colour, slots_of
from dashboards.queries.traces import (
    DEFAULT_SORT,
    MOST_COUNTED,
    SORTS,
    TracePage,
    TraceRow,
    has_any,
    newest_of,
    outcomes_by_bucket,
    traces,
)
from dashboards.views.frame import filter_choices, gateway_address
from dashboards.visit import Visit, page, show

STATUSES = ("ok", "degraded", "refused", "failed")
MOST_MODELS = 2  # named in a row; more are counted


@dataclass(frozen=True)
class Row:
    """A trace with its models' colours."""

    trace: TraceRow
    models: list[tuple[str, str]]
    tenant: str

    @property
    def more_models(self) -> int:
        return max(len(self.trace.models) - len(self.models), 0)


@page("traces")
def trace_list(visit: Visit) -> HttpResponse:
    """The list, newest, dearest or slowest first."""
    tenant_ids = visit.seen.tenant_ids
    if first_call_at(visit.cursor, tenant_ids) is None and not has_any(visit.cursor, tenant_ids):
        return show(visit, "dashboards/overview_empty.html", heading="Traces", gateway=gateway_address())
    sort = visit.request.GET.get("sort", DEFAULT_SORT)
    if sort not in SORTS:
        visit.problems.append("The order in the address was not taken; newest first is shown.")
        sort = DEFAULT_SORT
    after = visit.request.GET.get("after")
    is_counted_too = visit.filters.needs_traces and sort == DEFAULT_SORT and after is None
    both = guarded(visit, "list", lambda: newest_of(visit.cursor, visit.scope)) if is_counted_too else None
    newest = None if isinstance(both, Failed) else both
    found = both if isinstance(both, Failed) else guarded(visit, "list", lambda: _page(visit, sort, after, newest))
    older = None if isinstance(found, Failed) else found.older
    noun = "Traces" if visit.filters.needs_traces else "Calls"
    return show(
        visit,
        "dashboards/traces.html",
        heading="Traces",
        choices=filter_choices(visit),
        figure=both if isinstance(both, Failed) else guarded(visit, "outcomes", lambda: _figure(visit, noun, newest)),
        noun=noun,
        rows=found if isinstance(found, Failed) else _rows(visit, found.rows),
        unsearched=None if isinstance(found, Failed) else found.unsearched,
        most_counted=MOST_COUNTED if visit.filters.search else None,
        older=visit.url("traces", sort=sort, after=older) if older else None,
        is_first=after is None,
        sort=sort,
        sorts=[(name, visit.url("traces", sort=name)) for name in SORTS],
        statuses=[(s, visit.url("traces", status=s, sort=sort), s == visit.filters.status) for s in STATUSES],
    )


def _page(visit: Visit, sort: str, after: str | None, newest: Found | None) -> TracePage:
    try:
        return traces(visit.cursor, visit.scope, sort, after, newest=newest)
    except ValueError:
        visit.problems.append("The place in the list was not found; its beginning is shown.")
        return traces(visit.cursor, visit.scope, sort)


def _figure(visit: Visit, noun: str, newest: Found | None) -> figures.Figure:
    return figures.outcomes(visit.window, outcomes_by_bucket(visit.cursor, visit.scope, newest), noun)


def _rows(visit: Visit, found: list[TraceRow]) -> list[Row]:
    slots = slots_of(visit.primary, [model for row in found for model in row.models[:MOST_MODELS]])
    tenants = {tenant.pk: tenant.name for tenant in visit.seen.tenants}
    return [
        Row(row, [(n, colour(slots.get(n))) for n in row.models[:MOST_MODELS]], tenants.get(row.tenant_id, ""))
        for row in found
    ]
