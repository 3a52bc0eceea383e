"""Explain: why a figure is what it is, and the same figure computed anew from its bills."""

from django.http import Http404, HttpResponse

from dashboards.asked import Asker, NotThere, Wrong, figure_asked
from dashboards.explanation import forecast_steps, latency_steps, told
from dashboards.queries.explained import rows
from dashboards.queries.foretold import Foretold
from dashboards.queries.timed import Timed
from dashboards.visit import Visit, page, show

NOT_KEPT = ("after", "tenant", "page", "self")  # the last two: as `Visit.url` names its own arguments
HEADING = "Why this figure"


@page("explain", default_window="24h")
def explain(visit: Visit) -> HttpResponse:
    """A figure by the parameters that its link names (`dashboards.asked`)."""
    given = visit.request.GET
    try:
        asked = figure_asked(Asker(visit.cursor, visit.scope, visit.now, visit.zone), given)
        if isinstance(asked, Timed):
            return show(
                visit, "dashboards/explain_latency.html", heading=HEADING, timed=asked, steps=latency_steps(asked)
            )
        if isinstance(asked, Foretold):
            steps = forecast_steps(asked)
            return show(visit, "dashboards/explain_forecast.html", heading=HEADING, foretold=asked, steps=steps)
        found, mark = rows(visit.cursor, asked.which, given.get("after", ""))
    except NotThere as error:
        raise Http404(str(error)) from None
    except Wrong as error:
        return _problem(visit, f"{error.name}: {error}")
    except ValueError as error:
        return _problem(visit, str(error))
    kept = {name: value for name, value in given.items() if name not in NOT_KEPT}
    return show(
        visit,
        "dashboards/explain.html",
        heading=HEADING,
        told=told(visit.cursor, asked, bool(given.get("whole"))),
        whole=visit.url("explain", **kept, whole=1),
        rows=found,
        older=visit.url("explain", **kept, after=mark) if mark else "",
    )


def _problem(visit: Visit, words: str) -> HttpResponse:
    return show(visit, "dashboards/explain.html", heading=HEADING, problem=words)
