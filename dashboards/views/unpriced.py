"""Unpriced usage: which models cost something that nobody could tell, who used them, and the way to a price."""

from django.http import HttpResponse

from dashboards.blocks import Failed, guarded
from dashboards.queries.unpriced import unpriced as unpriced_rows
from dashboards.views.repricing import RATE_FIELDS
from dashboards.visit import Visit, page, show
from llmobs.tenants.models import Tenant


@page("unpriced", default_window="30d")
def unpriced(visit: Visit) -> HttpResponse:
    """By tenant, provider and model; what it might cost is not guessed."""
    window = visit.window
    found = guarded(
        visit, "unpriced", lambda: unpriced_rows(visit.cursor, visit.seen.tenant_ids, window.start, window.end)
    )
    rows = [] if isinstance(found, Failed) else found
    slugs = dict(Tenant.objects.filter(pk__in=visit.seen.tenant_ids).values_list("pk", "slug"))
    return show(
        visit,
        "dashboards/unpriced.html",
        heading="Unpriced usage",
        failed=found if isinstance(found, Failed) else None,
        rows=[(row, slugs.get(row.tenant_id, "")) for row in rows],
        requests=sum(row.requests for row in rows),
        tokens=sum(row.input_tokens + row.output_tokens for row in rows),
        rates=RATE_FIELDS,
        may_change=visit.seen.is_operator,
    )
