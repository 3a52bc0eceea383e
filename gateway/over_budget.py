"""What a caller is told where a budget has nothing left for it: in words, and field by field for programs.

Every figure is the ledger's at the moment of the refusal: what was spent (written and settled), what running calls
hold, what this one may need; so that base + held + requested > limit can be checked by whoever reads it.
"""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.call import Call
from gateway.errors import Refusal
from llmobs.budgets.definition import USD, Applied
from llmobs.budgets.ledger import Exhausted
from llmobs.budgets.scope import EACH
from llmobs.budgets.window import TOTAL, rolling_days, window_words
from llmobs.core.money import exact_usd

_EXHAUSTED = "budget_exhausted"


def exhausted(call: Call, applied: Applied, amount: int, outcome: Exhausted) -> Refusal:
    """The budget would be passed: which, by how much, and when it allows more again."""
    budget = applied.budget
    unit = "USD" if budget.unit == USD else "tokens"
    limit, spent, held, needed = (
        exact_usd(n) if budget.unit == USD else str(n) for n in (applied.limit, outcome.spent, outcome.held, amount)
    )
    scope, resets_at = scope_of(call, applied), resets(applied)
    message = (
        f"budget {budget.name!r} ({_whose(scope)}): of {limit} {unit} per {window_words(budget.window)}, {spent} are "
        f"spent and {held} are held by running calls, and this call may need {needed}; {_when(applied, resets_at)}"
    )
    told: dict[str, object] = {
        "name": budget.name,
        "scope": scope,
        "window": budget.window,
        "unit": budget.unit,
        "limit": limit,
        "spent": spent,
        "held": held,
        "requested": needed,
        "resets_at": resets_at or None,
    }
    details: dict[str, str | int] = {
        "budget": budget.name,
        "scope": ", ".join(f"{name}={value}" for name, value in scope.items()),
        "value": applied.value,
        "window": budget.window,
        "window_start": applied.window_start_s,
        "unit": budget.unit,
        "limit": applied.limit,
        "base": outcome.base,
        "pending": outcome.pending,
        "spent": outcome.spent,
        "held": outcome.held,
        "requested": amount,
        "resets_at": resets_at,
    }
    return Refusal(_EXHAUSTED, message, details, budget=budget, told={"budget": told})


def scope_of(call: Call, applied: Applied) -> dict[str, str]:
    """The budget's scope with the values that it was held by. A key has its name, where it is the call's own."""
    budget = applied.budget
    named = [name for name, value in budget.scope if value == EACH]
    values = dict(zip(named, _values(applied.value, len(named)), strict=False))
    scope = {name: values.get(name, "…") if value == EACH else value for name, value in budget.scope}
    if scope.get("key") == str(call.key.id):
        scope["key"] = call.key.name
    return scope


def _values(value: str, dimensions: int) -> list[str]:
    if dimensions == 1:
        return [value]
    try:
        return [str(each) for each in json.loads(value)] if dimensions else []
    except ValueError:  # kept by its hash, being long
        return []


def resets(applied: Applied) -> str:
    """When the window ends, in the tenant's own time; of a rolling one, when its oldest day leaves it. "": never."""
    if applied.budget.window == TOTAL:
        return ""
    return datetime.fromtimestamp(applied.window_end_s, ZoneInfo(applied.budget.zone)).isoformat()


def _whose(scope: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in scope.items()) or "the whole tenant"


def _when(applied: Applied, resets_at: str) -> str:
    if not resets_at:
        return "it does not reset"
    if rolling_days(applied.budget.window):
        return f"its oldest day leaves it at {resets_at}"
    return f"it resets at {resets_at}"
