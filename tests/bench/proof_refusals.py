"""The proof's other side: each refusal by a budget, from its own figures and from what was truly spent and held then.

The truth at a moment, from the spans that bills are made of: what ended before it at its cost, what was under way at
what it held. Where it leaves room for the call that was refused, the ledger counted too much.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from llmobs.budgets.definition import USD, BudgetInfo, load
from llmobs.budgets.scope import COLUMNS, canonical_value, key_value
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from tests.bench.proof_account import Findings

CLOSE_NS = 100_000_000  # a settlement may come so long after the End
_REFUSED = """
SELECT tenant_id, start, duration_ns, attributes FROM span WHERE status = 'refused' AND error_type = 'budget_exhausted'
"""
_HELD = """
SELECT start, duration_ns, greatest(held_nanousd, coalesce(cost_nanousd, 0)), coalesce(cost_nanousd, 0), {columns}
FROM span WHERE source = 1 AND is_call AND tenant_id = %s AND status <> 'refused' {scope}
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    tenant_id: int
    from_ns: int
    to_ns: int
    budget: str
    value: str
    limit: int
    spent: int
    held: int
    requested: int


def refusals(conn: psycopg.Connection[Any]) -> list[Refusal]:
    """All refusals by a budget, as they were journalled."""
    found = []
    for tenant_id, start, duration_ns, attributes in conn.execute(_REFUSED).fetchall():
        told = {name.removeprefix("llmobs.refusal."): value for name, value in attributes.items()}
        figures = (int(told[name]) for name in ("limit", "held", "requested"))
        limit, held, requested = figures
        spent = int(told["base"]) + int(told["pending"])
        begin = ns_from_utc(start)
        who = (tenant_id, begin, begin + duration_ns, str(told["budget"]), str(told["value"]))
        found.append(Refusal(*who, limit, spent, held, requested))
    return found


def check(conn: psycopg.Connection[Any], kills_ns: list[int], found: Findings) -> None:
    """That each was right by its own figures, and how many the truth would not have refused."""
    by_budget: dict[tuple[int, str], list[Refusal]] = defaultdict(list)
    for refusal in refusals(conn):
        is_full = refusal.spent + refusal.held + refusal.requested > refusal.limit
        found.expect(is_full, "a call whose worst case fits is not refused", refusal)
        by_budget[refusal.tenant_id, refusal.budget].append(refusal)
    too_careful = []
    compared = 0
    for budget in load(conn).infos:
        asked = by_budget[budget.tenant_id, budget.name]
        if asked and budget.unit == USD:  # spans do not say how many tokens they held
            compared += len(asked)
            too_careful += _too_careful(conn, budget, asked)
    behind_s = sorted(_seconds_after(kills_ns, refusal.from_ns) for refusal in too_careful)
    found.figures |= {
        "refusals by a budget": sum(map(len, by_budget.values())),
        "of these by budget": dict(Counter(name for (_, name), each in by_budget.items() for _ in each)),
        "compared with the truth": compared,
        "refused though it would have fit": len(too_careful),
        "at most so many seconds after a kill": round(behind_s[-1], 2) if behind_s else 0,
    }


def _too_careful(conn: psycopg.Connection[Any], budget: BudgetInfo, asked: list[Refusal]) -> list[Refusal]:
    held = _held(conn, budget)
    found = []
    for refusal in asked:
        begin, end, most, cost = held.get(refusal.value, (np.zeros(0, np.int64),) * 4)
        is_under_way = (begin <= refusal.to_ns) & (end >= refusal.from_ns - CLOSE_NS)
        is_over = end < refusal.from_ns - CLOSE_NS
        truth = int(most[is_under_way].sum() + cost[is_over].sum())
        if truth + refusal.requested <= refusal.limit:
            found.append(refusal)
    return found


def _held(conn: psycopg.Connection[Any], budget: BudgetInfo) -> dict[str, tuple[Any, ...]]:
    """Begin, end, most and cost of every attempt, by the budget's value."""
    columns = {"model": "request_model", "provider": "provider_name"}
    names = [columns.get(name, COLUMNS[name]) for name in budget.each]
    fixed = [(columns.get(name, COLUMNS[name]), value) for name, value in budget.scope if value != "*"]
    scope = "".join(f" AND {column} = %s" for column, _ in fixed)
    query = _HELD.format(columns=", ".join(names) or "''", scope=scope)
    values = [int(value) if column == "key_id" else value for column, value in fixed]
    rows: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for start, duration_ns, most, cost, *which in conn.execute(query, (budget.tenant_id, *values)).fetchall():
        begin = ns_from_utc(start)
        rows[_value(budget, which)].append((begin, begin + duration_ns, most, cost))
    return {value: tuple(np.array(each, np.int64).T) for value, each in rows.items()}


def _value(budget: BudgetInfo, which: list[Any]) -> str:
    texts = tuple(key_value(v) if n == "key" else str(v) for n, v in zip(budget.each, which, strict=False))
    return canonical_value(texts[0] if len(texts) == 1 else texts) if texts else ""


def _seconds_after(kills_ns: list[int], at_ns: int) -> float:
    before = [kill for kill in kills_ns if kill <= at_ns]
    return (at_ns - max(before)) / NS_PER_SECOND if before else float("inf")
