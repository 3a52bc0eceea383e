"""A tenant's part `budgets`: money or tokens allowed per window."""

from typing import Literal

import msgspec

from llmobs.budgets.models import Budget
from llmobs.core.money import MOST_NANOUSD
from llmobs.ops.configuring.applying import Applying, at, named, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import limit_nanousd, scope
from llmobs.tenants.models import Tenant


class BudgetEntry(Entry, frozen=True):
    name: str
    limit_usd: str | int | None = None
    limit_tokens: int | None = None
    window: str = "month"
    scope: dict[str, str | int | bool] = {}
    parent: str = ""
    action: Literal["block", "downgrade", "cache_only", "static", "alert"] = "block"
    downgrade_to: str = ""
    static_text: str = ""
    thresholds: list[int] = msgspec.field(default_factory=lambda: [70, 80, 100])
    is_active: bool = True


def apply(applying: Applying, tenant: Tenant, entry: BudgetEntry, path: str) -> None:
    with at(path):
        budget = row(Budget, tenant=tenant, name=entry.name)
        if (entry.limit_usd is None) == (entry.limit_tokens is None):
            refuse("", "a budget has limit_usd or limit_tokens, one of the two")
        budget.limit_nanousd = None if entry.limit_usd is None else limit_nanousd("limit_usd", entry.limit_usd)
        budget.limit_tokens = entry.limit_tokens
        if entry.limit_tokens is not None and not 0 <= entry.limit_tokens <= MOST_NANOUSD:
            refuse("limit_tokens", f"{entry.limit_tokens} is not between 0 and {MOST_NANOUSD:,}")
        budget.scope = scope(entry.scope)
        budget.thresholds = list(entry.thresholds)
        budget.parent = named(Budget, "parent", tenant=tenant, name=entry.parent) if entry.parent else None
        budget.downgrade_to, budget.static_text = entry.downgrade_to, entry.static_text
        budget.window = entry.window.removeprefix("rolling_")
        budget.action, budget.is_active = entry.action, entry.is_active
        applying.save(budget)


BUDGETS = Part(
    "budgets",
    BudgetEntry,
    apply,
    explained="name, limit_usd or limit_tokens, window (hour, day, week, month, total; 7d, or rolling_7d: "
    "seven rolling days), "
    "parent (a budget above it in the list), action (block, downgrade with downgrade_to, cache_only, static with "
    "static_text, alert), thresholds (percents), is_active; scope: any of tenant, feature, environment, service, user, "
    'session, key, model, provider, prompt, each a value or "*" for one budget for each value; {}: the whole tenant',
)
