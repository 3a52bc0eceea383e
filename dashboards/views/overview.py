"""Overview: what does it cost now, is it slow, is it failing?"""

from django.http import HttpResponse

from dashboards.blocks import Failed, guarded
from dashboards.budget_figures import BudgetFigure, budget_figures
from dashboards.columns import CONTRIBUTORS, Cost, Errors, Slowness, Verdict
from dashboards.earlier import LEAST_CALLS_NOW, Earlier, Now, now_of
from dashboards.live import budgets_now, ledger_client
from dashboards.notices import MOST_SHOWN, Notice, letter_notices, notices
from dashboards.provider_figures import State, state_of
from dashboards.queries.costs import unpriced_models, unreported_calls
from dashboards.queries.health import unhealthy_now, worst_by_provider
from dashboards.queries.rollup import Totals, first_call_at, totals
from dashboards.queries.scope import Scope
from dashboards.queries.traces import TraceRow, traces
from dashboards.views.frame import filter_choices, gateway_address, provider_note, rail_notes
from dashboards.visit import Visit, page, show

HEADS = {
    "cost": ("Feature", "$/h now", "of all"),
    "latency": ("Feature", "p95", "calls"),
    "errors": ("Error", "attempts", "of all"),
}
MOST_BUDGETS = 4
MOST_VALUES = 100  # of a budget that has one for each, to tell how it stands
WEAK_HIT_RATE, GOOD_HIT_RATE = 0.10, 0.20  # below the first the cache's strategy needs work


@page("overview")
def overview(visit: Visit) -> HttpResponse:
    """The front page. Each block is read for itself."""
    first_at = first_call_at(visit.cursor, visit.seen.tenant_ids)
    if first_at is None:
        told = letter_notices(visit)
        return show(
            visit, "dashboards/overview_empty.html", heading="Overview", notices=told, gateway=gateway_address()
        )
    now = now_of(visit)
    earlier = Earlier(visit, now, first_at)
    budgets = guarded(visit, "budgets", lambda: shown_budgets(visit, MOST_VALUES))
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
        cache=None if isinstance(errors, Failed) else cache_verdict(visit, errors),
    )


def _notices(visit: Visit, budgets: list[BudgetFigure] | Failed, errors: Errors | Failed) -> list[Notice]:
    known = [] if isinstance(budgets, Failed) else budgets
    rail_notes(visit, known)
    ongoing = None if isinstance(errors, Failed) else errors.ongoing
    unpriced = unpriced_models(visit.cursor, visit.scope)
    unreported = unreported_calls(visit.cursor, visit.scope, sum(row.calls for row in unpriced))
    return notices(visit, known, unpriced, unreported, ongoing, visit.fresh)


def cache_verdict(visit: Visit, errors: Errors) -> Verdict | None:
    """How well the response cache serves; None where it is off and nothing came out of it."""
    shown = [visit.seen.chosen] if visit.seen.chosen else visit.seen.tenants
    if not errors.cached and not any(tenant.cache == "exact" for tenant in shown):
        return None
    if errors.hit_rate is None or errors.total_calls < LEAST_CALLS_NOW:
        return Verdict("", "", "")
    if errors.hit_rate < WEAK_HIT_RATE:
        return Verdict("warn", "low", "20–40 % is usual for conversations, above 50 % for search and FAQ")
    return Verdict(
        "ok", "as expected" if errors.hit_rate >= GOOD_HIT_RATE else "fair", "20–40 % is usual for conversations"
    )


def _slowest(visit: Visit, now: Now) -> list[TraceRow]:
    return traces(visit.cursor, visit.scope.over(now.window), sort="duration", limit=CONTRIBUTORS).rows


def _providers(visit: Visit, now: Now) -> list[tuple[str, State, Totals]]:
    """(name, state, sums), dearest first."""
    found = []
    known = worst_by_provider(unhealthy_now(visit.cursor))
    for row in totals(visit.cursor, visit.scope_of(now.window), ("provider",)):
        if not row.calls or not row.key[0]:  # out of the cache, or a span that names nobody
            continue
        found.append((row.key[0], state_of(row, known.get(row.key[0])), row))
    provider_note(visit, [state for _, state, _ in found])
    return found[:CONTRIBUTORS]


def shown_budgets(visit: Visit, largest: int | None = None) -> list[BudgetFigure]:
    """All budgets of the visit's tenants, most urgent first, whatever the filters."""
    scope = Scope(visit.seen.tenant_ids, visit.window)
    names = {} if visit.seen.chosen else {tenant.pk: tenant.name for tenant in visit.seen.tenants}
    client = ledger_client()
    return budget_figures(visit.primary, budgets_now(), scope, visit.now, client, names, visit.zone, largest)
