"""Overview: what does it cost now, is it slow, is it failing?"""

from django.http import HttpResponse

from dashboards.blocks import Failed, guarded
from dashboards.budget_figures import BudgetFigure, budget_figures
from dashboards.columns import CONTRIBUTORS, Cost, Earlier, Errors, Now, Slowness, now_of
from dashboards.live import budgets_now, ledger_client
from dashboards.notices import MOST_SHOWN, Notice, notices
from dashboards.queries.costs import unpriced_models
from dashboards.queries.health import unhealthy_now, worst_by_provider
from dashboards.queries.rollup import Totals, first_call_at, totals
from dashboards.queries.scope import Scope
from dashboards.queries.traces import TraceRow, traces
from dashboards.views.frame import filter_choices, gateway_address, rail_notes
from dashboards.visit import Visit, page, show

HEADS = {
    "cost": ("Feature", "$/h now", "of all"),
    "latency": ("Feature", "p95", "calls"),
    "errors": ("Error", "calls", "of all"),
}
MOST_BUDGETS = 4
UNHEALTHY, DEGRADED = 0.5, 0.05  # share of failed calls of a provider, with at least LEAST_FOR_STATE calls
LEAST_FOR_STATE = 20


@page("overview")
def overview(visit: Visit) -> HttpResponse:
    """The front page. Each block is read for itself."""
    first_at = first_call_at(visit.cursor, visit.seen.tenant_ids)
    if first_at is None:
        return show(visit, "dashboards/overview_empty.html", heading="Overview", gateway=gateway_address())
    now = now_of(visit)
    earlier = Earlier(visit, now, first_at)
    budgets = guarded(visit, "budgets", lambda: shown_budgets(visit))
    errors = guarded(visit, "errors", lambda: Errors(visit, now, earlier))
    found = guarded(visit, "notices", lambda: _notices(visit, budgets, errors))
    told = [] if isinstance(found, Failed) else found
    return show(
        visit,
        "dashboards/overview.html",
        heading="Overview",
        choices=filter_choices(visit),
        now=now,
        notices=told[:MOST_SHOWN],
        more_notices=told[MOST_SHOWN:],
        cost=guarded(visit, "cost", lambda: Cost(visit, now, earlier)),
        latency=guarded(visit, "latency", lambda: Slowness(visit, now, earlier)),
        errors=errors,
        heads=HEADS,
        budgets=budgets,
        most_budgets=MOST_BUDGETS,
        slowest=guarded(visit, "slowest", lambda: _slowest(visit, now)),
        providers=guarded(visit, "providers", lambda: _providers(visit, now)),
    )


def _notices(visit: Visit, budgets: list[BudgetFigure] | Failed, errors: Errors | Failed) -> list[Notice]:
    known = [] if isinstance(budgets, Failed) else budgets
    rail_notes(visit, known)
    ongoing = None if isinstance(errors, Failed) else errors.ongoing
    return notices(visit, known, unpriced_models(visit.cursor, visit.scope), ongoing, visit.fresh)


def _slowest(visit: Visit, now: Now) -> list[TraceRow]:
    return traces(visit.cursor, visit.scope.over(now.window), sort="duration", limit=CONTRIBUTORS).rows


def _providers(visit: Visit, now: Now) -> list[tuple[str, str, str, Totals]]:
    """(name, shape, state, sums): by the gateways' breakers where one acts, else by what the window's calls say."""
    found = []
    known = worst_by_provider(unhealthy_now(visit.cursor))
    for row in totals(visit.cursor, visit.scope_of(now.window), ("provider",)):
        if not row.calls:
            continue
        share = row.errors / row.calls
        kind, words = "ok", "healthy"
        if row.calls >= LEAST_FOR_STATE and share > UNHEALTHY:
            kind, words = "bad", "unhealthy"
        elif row.calls >= LEAST_FOR_STATE and share > DEGRADED:
            kind, words = "warn", "degraded"
        if (health := known.get(row.key[0])) is not None:
            kind, words = ("bad" if health.state == "unhealthy" else "warn"), health.words
        found.append((row.key[0], kind, words, row))
    return found[:CONTRIBUTORS]


def shown_budgets(visit: Visit) -> list[BudgetFigure]:
    """All budgets of the visit's tenants, most urgent first, whatever the filters."""
    scope = Scope(visit.seen.tenant_ids, visit.window)
    names = {} if visit.seen.chosen else {tenant.pk: tenant.name for tenant in visit.seen.tenants}
    return budget_figures(visit.cursor, budgets_now(), scope, visit.now, ledger_client(), names)
