"""What a re-pricing would change, and changes nothing: by tenant, day, provider and model, and budget.

It takes any price book: today's, one with a price that nobody has set, or one of another provider's prices (what if).
Each stretch is read in a transaction of its own that is rolled back; no lock is taken, so that calls that come
meanwhile may be in it or not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from llmobs.budgets.definition import Budgets
from llmobs.budgets.spend import IN_ORDER, SpendKey
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.core.money import exact_usd
from llmobs.ingest import adjust
from llmobs.ingest.adjust import Connection, Stretch
from llmobs.ingest.adjust_run import plan
from llmobs.ingest.adjust_write import of_budgets
from llmobs.pricing.book import PriceBook
from llmobs.pricing.repricing import Question

MOST_SHOWN = 1000  # groups of a kind that are kept, those with the largest differences


@dataclass(slots=True)
class Change:
    """Bills of one group that would change. `gained`: how many of them have no price now."""

    bills: int = 0
    old_nanousd: int = 0
    new_nanousd: int = 0
    gained: int = 0

    @property
    def difference_nanousd(self) -> int:
        return self.new_nanousd - self.old_nanousd

    def add(self, bills: int, old: int, new: int, gained: int) -> None:
        self.bills += bills
        self.old_nanousd += old
        self.new_nanousd += new
        self.gained += gained


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """A window of a budget, for one value. `passes`: it is within its limit now, and would not be any more."""

    key: SpendKey
    name: str
    spent_nanousd: int
    difference_nanousd: int
    limit_nanousd: int

    @property
    def passes(self) -> bool:
        return self.spent_nanousd <= self.limit_nanousd < self.spent_nanousd + self.difference_nanousd


@dataclass(slots=True)
class Preview:
    """All of it. Days are the tenants' own."""

    total: Change = field(default_factory=Change)
    tenants: dict[int, Change] = field(default_factory=dict)
    days: dict[tuple[int, date], Change] = field(default_factory=dict)
    models: dict[tuple[str, str], Change] = field(default_factory=dict)
    budgets: list[BudgetChange] = field(default_factory=list)


def preview(conn: Connection, question: Question, book: PriceBook, budgets: Budgets) -> Preview:
    """What computing these bills by this book would change. `conn` is in autocommit, or in a transaction."""
    found = Preview()
    spend: dict[SpendKey, int] = {}
    priced_as = adjust.providers_priced_as(conn)
    for stretch in plan(conn, question):
        with conn.transaction(force_rollback=True):
            adjust.find_changed(conn, stretch, question, book, priced_as)
            _add(conn, stretch, found)
            for key, amount in of_budgets(conn, stretch, budgets).items():
                spend[key] = spend.get(key, 0) + amount
    found.budgets = _budgets(conn, budgets, spend)
    return found


def _add(conn: Connection, stretch: Stretch, found: Preview) -> None:
    rows = conn.execute(
        "SELECT (begin_at AT TIME ZONE (SELECT time_zone FROM tenants_tenant WHERE id = %s))::date, provider_name, "
        "model, count(*), sum(old)::bigint, sum(new)::bigint, sum(gains)::bigint FROM changed GROUP BY 1, 2, 3",
        (stretch.tenant_id,),
    )
    for day, provider, model, *sums in rows:
        found.total.add(*sums)
        found.tenants.setdefault(stretch.tenant_id, Change()).add(*sums)
        found.days.setdefault((stretch.tenant_id, day), Change()).add(*sums)
        found.models.setdefault((provider, model), Change()).add(*sums)


def _budgets(conn: Connection, budgets: Budgets, spend: dict[SpendKey, int]) -> list[BudgetChange]:
    """The windows that change, those that would pass their limit first, then by how much."""
    spent = _spent(conn, spend)
    found = []
    for key, difference in spend.items():
        budget = budgets.get(key.budget_id)
        if budget is not None and difference:
            limit = budget.limit_in(key.window_start_s, key.value)
            limit = budget.limit if limit is None else limit
            found.append(BudgetChange(key, budget.name, spent.get(key, 0), difference, limit))
    return sorted(found, key=lambda each: (not each.passes, -abs(each.difference_nanousd), IN_ORDER(each.key)))


def _spent(conn: Connection, keys: Iterable[SpendKey]) -> dict[SpendKey, int]:
    asked = list(keys)
    rows = conn.execute(
        "SELECT tenant_id, budget_id, revision, value, extract(epoch FROM window_start)::bigint, spent "
        "FROM budget_spend JOIN unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::text[], %s::timestamptz[]) "
        "AS k (tenant_id, budget_id, revision, value, window_start) "
        "USING (tenant_id, budget_id, revision, value, window_start)",
        (
            [key.tenant_id for key in asked],
            [key.budget_id for key in asked],
            [key.revision for key in asked],
            [key.value for key in asked],
            [utc_from_ns(key.window_start_s * NS_PER_SECOND) for key in asked],
        ),
    )
    return {SpendKey(*row[:5]): row[5] for row in rows}


# ---------------------------------------------------------------- as it is kept and shown


def as_json(found: Preview, slugs: dict[int, str]) -> dict[str, Any]:
    """A preview as the re-pricing keeps it: sums in USD as decimal strings, the largest groups of each kind."""
    passing = [each for each in found.budgets if each.passes]
    return {
        "total": _change(found.total),
        "by_tenant": _largest({(slugs.get(t, str(t)),): c for t, c in found.tenants.items()}, ("tenant",)),
        "by_day": _largest({(slugs.get(t, str(t)), str(d)): c for (t, d), c in found.days.items()}, ("tenant", "day")),
        "by_model": _largest(found.models, ("provider", "model")),
        "by_budget": [_budget(each, slugs) for each in found.budgets[:MOST_SHOWN]],
        "budgets_changed": len(found.budgets),
        "budgets_passing": len(passing),
    }


def _largest(groups: dict[Any, Change], names: tuple[str, ...]) -> list[dict[str, Any]]:
    ordered = sorted(groups.items(), key=lambda item: (-abs(item[1].difference_nanousd), item[0]))[:MOST_SHOWN]
    return [{**dict(zip(names, key, strict=True)), **_change(change)} for key, change in ordered]


def _change(change: Change) -> dict[str, Any]:
    return {
        "bills": change.bills,
        "old_usd": exact_usd(change.old_nanousd),
        "new_usd": exact_usd(change.new_nanousd),
        "difference_usd": exact_usd(change.difference_nanousd),
        "unpriced_before": change.gained,
    }


def _budget(each: BudgetChange, slugs: dict[int, str]) -> dict[str, Any]:
    return {
        "tenant": slugs.get(each.key.tenant_id, str(each.key.tenant_id)),
        "budget": each.name,
        "value": each.key.value,
        "window_start": utc_from_ns(each.key.window_start_s * NS_PER_SECOND).isoformat(),
        "spent_usd": exact_usd(each.spent_nanousd),
        "difference_usd": exact_usd(each.difference_nanousd),
        "limit_usd": exact_usd(each.limit_nanousd),
        "passes_limit": each.passes,
    }
