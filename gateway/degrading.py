"""What becomes of a call that a budget has nothing left for, where the budget says something else than to refuse.

1. `downgrade`: the call goes to where the budget says, else to the candidates of its own route that cost less than the
   one that did not fit, the cheapest first. What it may cost there is held like any call's, on this budget too: a
   cheaper call that does not fit is refused as well.
2. `cache_only`: the answer that is kept to the same request, past its time too.
3. `static`: the budget's own text.

The last two cost nothing. Where none of it helps, the refusal stands.
"""

from gateway.call import Call
from gateway.choosing import expected_usage, is_confidential, ordered, reached
from gateway.errors import Refusal
from gateway.last_resort import says
from gateway.plane import Plane
from llmobs.budgets.definition import CACHE_ONLY, DOWNGRADE, STATIC, BudgetInfo
from llmobs.pricing.cost import cost
from llmobs.providers.registry import CandidateInfo

BUDGET_DOWNGRADE = "budget_downgrade"  # as x-llmobs-degraded says it


def goes_down(call: Call, refusal: Refusal) -> bool:
    """Whether this budget wants a cheaper candidate, and the call is not on its way there already."""
    budget = refusal.budget
    return budget is not None and budget.action == DOWNGRADE and call.degraded != BUDGET_DOWNGRADE


def downgrade(call: Call, refusal: Refusal, at: CandidateInfo, plane: Plane) -> bool:
    """Put the cheaper candidates in the place of the call's own; False: there are none. `at`: who did not fit."""
    budget = refusal.budget
    assert budget is not None
    route, primary = call.route, call.primary
    try:
        found = _named(call, budget, plane) if budget.downgrade_to else _cheaper(call, at, plane)
    except Refusal:  # its format does not reach it, or its content may not go there
        found = ()
    if not found:
        call.route, call.primary = route, primary
        return False
    call.candidates, call.degraded = found, BUDGET_DOWNGRADE
    return True


def _named(call: Call, budget: BudgetInfo, plane: Plane) -> tuple[CandidateInfo, ...]:
    """The candidates of the route or model that the budget names: whoever set the budget allows it to every key."""
    snapshot, tenant = plane.snapshot, call.tenant
    assert snapshot is not None
    assert tenant is not None
    call.route = snapshot.registry.routes.get(budget.downgrade_to)
    if call.route is not None:
        return ordered(call, call.route, plane, snapshot) if call.route.candidates else ()
    known = snapshot.candidates(tenant.id, budget.downgrade_to, call.dialect.name, call.started_ns)
    found = reached(call, known) if known else ()
    if found and tenant.confidential_only_local and not found[0].provider.is_local and is_confidential(call):
        return ()
    return found


def _cheaper(call: Call, at: CandidateInfo, plane: Plane) -> tuple[CandidateInfo, ...]:
    """Those of the call's candidates that cost less than one, the cheapest first."""
    costs = {id(each): _expected_nanousd(call, each, plane) for each in call.candidates}
    most = costs.get(id(at))
    if most is None:
        return ()
    known = [(amount, each) for each in call.candidates if (amount := costs[id(each)]) is not None and amount < most]
    return tuple([each for _, each in sorted(known, key=lambda pair: pair[0])])


def _expected_nanousd(call: Call, candidate: CandidateInfo, plane: Plane) -> int | None:
    snapshot, tenant = plane.snapshot, call.tenant
    assert snapshot is not None
    assert tenant is not None
    price = snapshot.book.price(tenant.id, candidate.provider.priced_as, candidate.model, call.started_ns)
    return None if price is None else cost(expected_usage(call), price)


async def answered(call: Call, refusal: Refusal, plane: Plane) -> bool:
    """Answer without a candidate, as the budget says; False: the refusal stands."""
    budget = refusal.budget
    if call.degraded == BUDGET_DOWNGRADE:
        call.degraded = ""
    if budget is None:
        return False
    if budget.action == STATIC:
        return says(call, budget.static_text)
    return budget.action == CACHE_ONLY and await plane.cache.stale(call)
