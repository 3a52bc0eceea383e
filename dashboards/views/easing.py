"""The buttons that let calls go on: a budget's limit raised, or released until its window ends."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from dashboards.budget_figures import BudgetFigure
from dashboards.visit import Visit
from llmobs.budgets.easing import By, raise_limit, release
from llmobs.budgets.models import Budget, Raise
from llmobs.core.money import MoneyError, parse_usd
from llmobs.tenants import access
from llmobs.tenants.access import caller_of_person

SHARES = (10, 25, 50, 100)  # percent that the buttons offer
PROBLEM = "easing_problem"  # of the session: told once, on the page that comes next
MOST_SHOWN = 5


@dataclass(frozen=True)
class Easing:
    """What the selected budget's buttons need, and what was done with them in windows that have not ended."""

    may_change: bool
    shares: tuple[int, ...]
    rows: list[Raise]
    problem: str


def easing_of(visit: Visit, figure: BudgetFigure) -> Easing:
    """For the page of budgets."""
    rows = Raise.objects.filter(budget_id=figure.info.id, ends_at__gt=visit.now).select_related("budget")
    may_change = caller_of_person(visit.request.user).may_change(figure.info.tenant_id)
    problem = str(visit.request.session.pop(PROBLEM, ""))
    return Easing(may_change, SHARES, list(rows[:MOST_SHOWN]), problem)


@login_required
@require_POST
def ease(request: HttpRequest, pk: str) -> HttpResponse:
    """Do what the pressed button says, and show the budget."""
    caller = caller_of_person(request.user)
    budget = access.find(Budget.objects.select_related("tenant"), caller, pk=pk)
    if not caller.may_change(budget.tenant_id):
        raise PermissionDenied
    given, now = request.POST, timezone.now()
    reason = given.get("reason", "").replace("\x00", "")
    value = given.get("value", "").replace("\x00", "") or None
    try:
        if given.get("do") == "release":
            release(budget, caller.actor, reason, now, value)
        else:
            raise_limit(budget, _by(budget, given), caller.actor, reason, now, value, given.get("for") == "good")
    except ValidationError as error:
        request.session[PROBLEM] = " ".join(error.messages)
    query = urlencode({"tenant": budget.tenant.slug, "budget": budget.pk})
    return HttpResponseRedirect(f"{reverse('dashboards:budgets')}?{query}")


def _by(budget: Budget, given: Any) -> By:
    """An amount where one was typed, else the percentage of the button. Raises ValidationError."""
    typed = given.get("amount", "").strip().lstrip("$")
    try:
        if not typed:
            return By(percent=int(given.get("percent", "")))
        return By(amount=parse_usd(typed) if budget.limit_nanousd is not None else int(typed))
    except (MoneyError, ValueError):
        raise ValidationError({"amount": f"{typed[:40] or 'Nothing'} is no amount."}) from None
