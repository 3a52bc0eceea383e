"""Conformance: what do libraries send that we could not explain, what was put right, and what is doubtful?"""

from django.http import HttpResponse

from dashboards.blocks import Failed, guarded
from dashboards.queries.conformance import libraries
from dashboards.visit import Visit, page, show

MOST_REMARKS = 200  # of each kind


@page("conformance", default_window="7d")
def conformance(visit: Visit) -> HttpResponse:
    """By library, version and adapter, of reported spans."""
    window = visit.window
    found = guarded(
        visit, "conformance", lambda: libraries(visit.cursor, visit.seen.tenant_ids, window.start, window.end)
    )
    rows = [] if isinstance(found, Failed) else found
    return show(
        visit,
        "dashboards/conformance.html",
        heading="Conformance",
        failed=found if isinstance(found, Failed) else None,
        libraries=rows,
        spans=sum(library.spans for library in rows),
        calls=sum(library.calls for library in rows),
        without_usage=sum(library.missing.get("no_usage", 0) for library in rows),
        unknown=[remark for library in rows for remark in library.unknown][:MOST_REMARKS],
        told=[remark for library in rows for remark in (*library.corrections, *library.flags)][:MOST_REMARKS],
    )
